"""Hashes every pinned EIP-712 message anew with eth-account and compares.

Reads tests/vectors/eip712.json: a list of {name, domain, types, primaryType, message, digest}, as the
Solidity and Rust tests read it. Exits with 1 and names every vector that does not agree.

    "$(scripts/tools)/venv/bin/python" tests/oracles/python/eip712.py [FILE]
"""

import json
import re
import sys
from pathlib import Path

from eth_account.messages import encode_typed_data
from eth_utils import keccak

DEFAULT = Path(__file__).resolve().parents[2] / "vectors" / "eip712.json"

# What DESIGN has people sign. A vector that vanishes would otherwise go unnoticed.
SIGNED = {
    "Access",
    "AccessRequest",
    "Attestation",
    "BulkAnchor",
    "Cancellation",
    "ConsentChange",
    "Contact",
    "Cosignature",
    "Envelope",
    "GuardianChange",
    "KeyBundle",
    "KeyRequest",
    "Offer",
    "PieceRequest",
    "Pieces",
    "Proposal",
    "ProxyReport",
    "Recovery",
    "Reply",
    "ReportRequest",
    "Reseal",
    "Rotation",
    "Settlement",
    "Sharing",
    "Vote",
    "Withdrawal",
}

DOMAIN_FIELDS = [
    ("name", "string"),
    ("version", "string"),
    ("chainId", "uint256"),
    ("verifyingContract", "address"),
    ("salt", "bytes32"),
]


def convert(value, kind, types):
    """The value as eth-account wants it: integers as int, whatever notation the file uses."""
    array = re.fullmatch(r"(.*)\[\d*\]", kind)
    if array:
        return [convert(item, array[1], types) for item in value]
    if kind in types:
        declared = {field["name"] for field in types[kind]}
        if declared != set(value):
            raise ValueError(f"{kind}: fields {sorted(declared ^ set(value))}")
        return {f["name"]: convert(value[f["name"]], f["type"], types) for f in types[kind]}
    if re.fullmatch(r"u?int\d*", kind):
        return value if isinstance(value, int) else int(value, 0)
    return value


def digest(vector):
    """The 32 bytes that get signed, as hex with 0x."""
    types = dict(vector["types"])
    types.setdefault(
        "EIP712Domain",
        [{"name": n, "type": t} for n, t in DOMAIN_FIELDS if n in vector["domain"]],
    )
    primary = vector["primaryType"]
    signable = encode_typed_data(
        full_message={
            "types": types,
            "primaryType": primary,
            "domain": convert(vector["domain"], "EIP712Domain", types),
            "message": convert(vector["message"], primary, types),
        }
    )
    return "0x" + keccak(b"\x19" + signable.version + signable.header + signable.body).hex()


def main(arguments):
    path = Path(arguments[0]) if arguments else DEFAULT
    vectors = json.loads(path.read_text())
    faults = [
        f"{vector['name']}: pinned {vector['digest']}, eth-account says {found}"
        for vector in vectors
        if (found := digest(vector)) != vector["digest"].lower()
    ]
    names = [vector["name"] for vector in vectors]
    faults += [f"{name}: twice" for name in sorted({n for n in names if names.count(n) > 1})]
    missing = SIGNED - {vector["primaryType"] for vector in vectors}
    faults += [f"{name}: no vector" for name in sorted(missing)]
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"eip712: {len(vectors)} vectors, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
