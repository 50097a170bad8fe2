"""Checks the pinned presentations of tests/vectors/parts.json without any code of Galen.

Written from docs/protocol.md, section 33. Verifies each presentation that must hold and finds its root and
its view; refuses each that must not; computes the pinned documents' trees anew from nothing but the draws.

    "$(scripts/tools)/venv/bin/python" tests/oracles/python/parts.py [FILE]
"""

import json
import re
import sys
from pathlib import Path

from eth_utils import keccak

DEFAULT = Path(__file__).resolve().parents[2] / "vectors" / "parts.json"
TYPEHASH = keccak(b"Element(bytes32 salt,uint64 label,uint64 parent,bytes32 content)")
ORDINAL = re.compile(r"~[0-9a-f]{20}")
NAME = re.compile(r"_?[A-Za-z0-9]+")


class Refused(Exception):
    """The presentation is not one, or not of one document."""


def unhex(text):
    return bytes.fromhex(text.removeprefix("0x"))


def node(a, b):
    return keccak(min(a, b) + max(a, b))


def leaf(element):
    content = b""
    for fragment in element["fragments"]:
        for part in fragment:
            part = part.encode()
            content += len(part).to_bytes(4, "big") + part
    numbers = b"".join(bytes(24) + unhex(element[name]) for name in ("label", "parent"))
    return keccak(keccak(TYPEHASH + unhex(element["salt"]) + numbers + keccak(content)))


def check(parts):
    """What must hold before any hash is computed."""
    depth, elements = parts["depth"], parts["elements"]
    if depth not in range(10, 21, 2):
        raise Refused("depth")
    slots = [element["slot"] for element in elements]
    if slots != sorted(set(slots)) or not all(0 <= slot < 1 << depth for slot in slots):
        raise Refused("slots")
    labels = {element["label"] for element in elements}
    if len(labels) < len(elements) or "0" * 16 in labels:
        raise Refused("labels")
    for element in elements:
        parent = element["parent"]
        if parent == element["label"] or parent not in labels | {"0" * 16}:
            raise Refused("parent")


def root_of(parts):
    level = {element["slot"]: leaf(element) for element in parts["elements"]}
    given = [unhex(text) for text in parts["nodes"]]
    for _ in range(parts["depth"]):
        above = {}
        for at in sorted(level):
            if at // 2 in above:
                continue
            beside = level.get(at ^ 1)
            if beside is None:
                if not given:
                    raise Refused("nodes")
                beside = given.pop(0)
            above[at // 2] = node(level[at], beside)
        level = above
    if given:
        raise Refused("nodes")
    return level[0]


def batch_root(root, path):
    if len(path) not in (0, 9):
        raise Refused("path")
    for beside in path:
        root = node(root, unhex(beside))
    return root


def insert(tree, path, value):
    *inner, last = path
    for segment in inner:
        tree = tree.setdefault(segment, {})
        if not isinstance(tree, dict):
            raise Refused("conflict")
    if last in tree:
        raise Refused("conflict")
    tree[last] = value


def write(tree):
    if isinstance(tree, str):
        return tree
    if all(ORDINAL.fullmatch(key) for key in tree):
        return "[" + ",".join(write(tree[key]) for key in sorted(tree)) + "]"
    if not all(NAME.fullmatch(key) for key in tree):
        raise Refused("path")

    def order(key):
        return (key != "resourceType", key.removeprefix("_"), key.startswith("_"))

    return "{" + ",".join(f'"{key}":{write(tree[key])}' for key in sorted(tree, key=order)) + "}"


def view_of(parts):
    tree = {}
    for element in parts["elements"]:
        for path, value in element["fragments"]:
            try:
                json.loads(value)
            except ValueError as error:
                raise Refused("value") from error
            if value != value.strip():
                raise Refused("value")
            if path:
                insert(tree, path.split("/"), value)
            elif not re.fullmatch(r'"[0-9a-f]{64}"', value) or len(element["fragments"]) > 1:
                raise Refused("document")
    return write(tree)


def verify(parts):
    check(parts)
    return root_of(parts), view_of(parts)


def draw(seed, tag, n):
    return keccak(seed + b"galen.parts." + tag + n.to_bytes(8, "big"))


def same_tree(vector):
    """Draws salts, labels, ordinals, decoys and slots anew, and grows the tree from all elements."""
    seed, parts = unhex(vector["seed"]), vector["presentation"]
    size = 1 << parts["depth"]
    order = sorted(range(size), key=lambda n: (draw(seed, b"slot", n)[:8], n))
    count = len(parts["elements"])
    salts = {unhex(e["salt"]): e for e in parts["elements"]}
    leaves = [None] * size
    for slot, n in enumerate(order):
        if n < count:
            element = salts[draw(seed, b"salt", n)]
            if element["slot"] != slot or unhex(element["label"]) != draw(seed, b"label", n)[:8]:
                raise Refused(f"draws of element {n}")
            leaves[slot] = leaf(element)
    free = (slot for slot in range(size) if leaves[slot] is None)
    for m, slot in enumerate(free):
        leaves[slot] = draw(seed, b"decoy", m)
    while len(leaves) > 1:
        leaves = [node(*leaves[at : at + 2]) for at in range(0, len(leaves), 2)]
    ordinals = {s for e in parts["elements"] for p, _ in e["fragments"] for s in p.split("/")}
    gaps = [2**60 // (int.from_bytes(draw(seed, b"ordinal", n)[:8], "big") % 2**20 + 1) ** 3 for n in range(64)]
    sums = {f"~{sum(gaps[a : b + 1]):020x}" for a in range(64) for b in range(a, 64)}
    strange = {o for o in ordinals if ORDINAL.fullmatch(o)} - sums
    if strange:
        raise Refused(f"ordinals {strange}")
    return leaves[0]


def fault(vector):
    """None, or what is wrong with the vector."""
    if vector["expect"] == "refused":
        try:
            root, _ = verify(vector["presentation"])
        except Refused:
            return None
        # Everything is as it should be but the root, which nobody signed.
        return "verifies" if root.hex() == vector["root"].removeprefix("0x") else None
    root, view = verify(vector["presentation"])
    if root.hex() != vector["root"].removeprefix("0x"):
        return f"root is {root.hex()}"
    if view != vector["view"]:
        return "another view"
    if batch_root(root, vector["batchPath"]).hex() != vector["signed"].removeprefix("0x"):
        return "another signed root"
    if "seed" in vector and same_tree(vector) != root:
        return "another tree"
    return None


def main(arguments):
    path = Path(arguments[0]) if arguments else DEFAULT
    vectors = json.loads(path.read_text())
    faults = []
    for vector in vectors:
        try:
            found = fault(vector)
        except (Refused, KeyError) as error:
            found = repr(error)
        if found:
            faults.append(f"{vector['name']}: {found}")
    for kind in ("holds", "refused"):
        if not any(vector["expect"] == kind for vector in vectors):
            faults.append(f"no vector that {kind}")
    for text in faults:
        print(text, file=sys.stderr)
    print(f"parts: {len(vectors)} vectors, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
