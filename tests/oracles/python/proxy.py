"""Checks the pinned sharing of tests/vectors/proxy.json without any code of Galen.

Written from docs/protocol.md, sections 14 and 16, and from RFC 9496 (ristretto255). Verifies shares, their keys,
the capsule, every answer and its proof, what answers add up to, pieces and leaves of envelopes; refuses what must
be refused. `--foreign` answers for the capsule itself and writes the answers into the file, for Galen to verify.

    "$(scripts/tools)/venv/bin/python" tests/oracles/python/proxy.py [--foreign]
"""

import hashlib
import json
import secrets
import sys
from itertools import combinations
from pathlib import Path

import cbor2
from eth_utils import keccak

FILE = Path(__file__).resolve().parents[2] / "vectors" / "proxy.json"

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)
IDENTITY = (0, 1, 1, 0)


class Refused(Exception):
    """Not canonical, or not valid."""


def sqrt_ratio(u, v):
    """RFC 9496, section 4.2."""
    r = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    check = v * r * r % P
    if check in (-u % P, -u * SQRT_M1 % P):
        r = r * SQRT_M1 % P
    return check in (u % P, -u % P), absolute(r)


def absolute(x):
    x %= P
    return P - x if x % 2 else x


INVSQRT_A_MINUS_D = absolute(sqrt_ratio(1, (-1 - D) % P)[1])


def decode(text):
    """RFC 9496, section 4.3.1; the identity is refused here too, as Galen does everywhere."""
    s = int.from_bytes(text, "little")
    if len(text) != 32 or s >= P or s % 2:
        raise Refused("not canonical")
    u1, u2 = 1 - s * s, 1 + s * s
    v = (-D * u1 * u1 - u2 * u2) % P
    square, invsqrt = sqrt_ratio(1, v * u2 * u2 % P)
    invsqrt = absolute(invsqrt)
    den_x = invsqrt * u2 % P
    x = absolute(2 * s * den_x)
    y = u1 * invsqrt * den_x * v % P
    t = x * y % P
    if not square or t % 2 or y == 0:
        raise Refused("no point")
    if s == 0:
        raise Refused("identity")
    return x, y, 1, t


def encode(point):
    """RFC 9496, section 4.3.2."""
    x, y, z, t = point
    u1, u2 = (z + y) * (z - y) % P, x * y % P
    invsqrt = absolute(sqrt_ratio(1, u1 * u2 * u2 % P)[1])
    den1, den2 = invsqrt * u1 % P, invsqrt * u2 % P
    z_inv = den1 * den2 * t % P
    if t * z_inv % P % 2:
        x, y, den = y * SQRT_M1 % P, x * SQRT_M1 % P, den1 * INVSQRT_A_MINUS_D % P
    else:
        den = den2
    if x * z_inv % P % 2:
        y = -y
    return absolute(den * (z - y)).to_bytes(32, "little")


def add(one, other):
    """Extended coordinates on -x^2 + y^2 = 1 + d x^2 y^2 (Hisil and others 2008)."""
    (x1, y1, z1, t1), (x2, y2, z2, t2) = one, other
    a, b = (y1 - x1) * (y2 - x2), (y1 + x1) * (y2 + x2)
    c, d = 2 * D * t1 * t2, 2 * z1 * z2
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(scalar, point):
    result = IDENTITY
    for bit in bin(scalar % ORDER)[2:]:
        result = add(result, result)
        if bit == "1":
            result = add(result, point)
    return result


def total(points):
    result = IDENTITY
    for point in points:
        result = add(result, point)
    return result


G = decode(bytes.fromhex("e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76"))


def scalar(text):
    value = int.from_bytes(text, "little")
    if value >= ORDER:
        raise Refused("scalar not canonical")
    return value


def challenge(*parts):
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % ORDER


def lagrange(index, indexes):
    value = 1
    for other in indexes:
        if other != index:
            value = value * other * pow(other - index, -1, ORDER) % ORDER
    return value


class Place:
    """What capsule and answers are bound to."""

    def __init__(self, file):
        segment = file["segment"]
        context = file["context"]
        parts = [context["chain_id"].to_bytes(8, "big")]
        parts += [unhex(context[name]) for name in ("contract", "record", "commitment")]
        self.context = b"".join(parts)
        if self.context != unhex(context["bytes"]):
            raise Refused("context")
        self.tail = bytes([segment["segment"]]) + segment["epoch"].to_bytes(4, "big")
        self.secret = scalar(unhex(segment["secret"])[:32])
        self.capsule = unhex(file["capsule"]["point"])
        self.base = decode(self.capsule)
        if encode(times(self.secret, G)) != unhex(segment["point"]):
            raise Refused("public point")
        proof = unhex(file["capsule"]["proof"])
        nonce, response = proof[:32], scalar(proof[32:])
        c = challenge(b"galen.capsule.v1", self.context, self.tail, self.capsule, nonce)
        expected = add(decode(nonce), times(c, self.base))
        if encode(times(response, G)) != encode(expected):
            raise Refused("capsule")

    def challenge(self, index, key, point, first, second):
        return challenge(
            b"galen.proxy.answer.v1", self.context, self.tail, bytes([index]),
            encode(key), self.capsule, point, encode(first), encode(second),
        )

    def verify(self, keys, answer):
        """The point of a valid answer."""
        index, point = answer[0], answer[1:33]
        c, s = scalar(answer[33:65]), scalar(answer[65:])
        if not 1 <= index <= keys.proxies:
            raise Refused("number")
        key, answered = keys.key(index), decode(point)
        first = add(times(s, G), times(-c, key))
        second = add(times(s, self.base), times(-c, answered))
        if self.challenge(index, key, point, first, second) != c:
            raise Refused("proof")
        return answered

    def answer(self, index, share):
        k = secrets.randbelow(ORDER - 1) + 1
        key, point = times(share, G), encode(times(share, self.base))
        c = self.challenge(index, key, point, times(k, G), times(k, self.base))
        s = (k + c * share) % ORDER
        return bytes([index]) + point + c.to_bytes(32, "little") + s.to_bytes(32, "little")


class Keys:
    """The public side of a split."""

    def __init__(self, text):
        self.threshold, self.proxies = text[0], text[1]
        self.points = [decode(text[at:at + 32]) for at in range(2, len(text), 32)]
        if len(self.points) != self.threshold or not 1 <= self.threshold <= self.proxies <= 32:
            raise Refused("counts")

    def key(self, index):
        return total(times(pow(index, power), point) for power, point in enumerate(self.points))


def unhex(text):
    return bytes.fromhex(text.removeprefix("0x"))


def must(what, holds):
    if not holds:
        raise SystemExit(f"{what}: does not hold")


def check_split(place, split):
    keys, half = Keys(unhex(split["keys"])), scalar(unhex(split["half"])[:32])
    shares = {share["index"]: scalar(unhex(share["scalar"])) for share in split["shares"]}
    must("a share for each proxy", sorted(shares) == list(range(1, keys.proxies + 1)))
    points = {}
    for share in split["shares"]:
        index = share["index"]
        must("key of a share", encode(times(shares[index], G)) == encode(keys.key(index)))
        points[index] = place.verify(keys, unhex(share["answer"]))
    expected = encode(times(place.secret, place.base))
    for chosen in combinations(shares, keys.threshold):
        factors = {index: lagrange(index, chosen) for index in chosen}
        secret = (half + sum(factors[index] * shares[index] for index in chosen)) % ORDER
        must("the secret", secret == place.secret)
        parts = [times(factors[index], points[index]) for index in chosen]
        must("what answers add up to", encode(total([times(half, place.base), *parts])) == expected)
    for chosen in combinations(shares, keys.threshold - 1):
        secret = half + sum(lagrange(index, chosen) * shares[index] for index in chosen)
        must("too few", secret % ORDER != place.secret)


def gf_times(a, b):
    result = 0
    while b:
        result ^= a * (b & 1)
        a = a << 1 ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return result


def gf_inverse(a):
    result = 1
    for _ in range(254):
        result = gf_times(result, a)
    return result


def check_pieces(case):
    digests, pieces = unhex(case["digests"]), [unhex(piece) for piece in case["pieces"]]
    threshold = digests[0]
    hashed = [hashlib.sha256(b"galen.piece.v1" + piece).digest() for piece in pieces]
    must("digests", digests[1:] == b"".join(hashed))
    for chosen in (pieces[:threshold], pieces[-threshold:]):
        joined = bytearray(32)
        for piece in chosen:
            factor = 1
            for other in chosen:
                if other[0] != piece[0]:
                    quotient = gf_times(other[0], gf_inverse(other[0] ^ piece[0]))
                    factor = gf_times(factor, quotient)
            for at in range(32):
                joined[at] ^= gf_times(factor, piece[1 + at])
        must("the secret of pieces", joined == unhex(case["secret"]))


def check_envelopes(envelopes):
    for name, envelope in envelopes.items():
        wire = unhex(envelope["wire"])
        fields = cbor2.loads(wire)
        must(f"{name}: one text", cbor2.dumps(fields, canonical=True) == wire)
        if name == "offer":
            del fields[9]
            text = cbor2.dumps(fields, canonical=True)
            must("hash of the offer", keccak(text) == unhex(envelope["text_hash"]))
            continue
        words = [fields[5], bytes(12) + fields[4], fields[7], keccak(fields[8] + fields[9])]
        leaf = keccak(b"".join(words))
        must(f"leaf of {name}", leaf == unhex(envelope["leaf"]))
        siblings = fields[10]
        listed = {siblings[at:at + 32] for at in range(0, len(siblings), 32)}
        must(f"siblings of {name}", not siblings or leaf in listed)


def main():
    file = json.loads(FILE.read_text())
    place = Place(file)
    if sys.argv[1:] == ["--foreign"]:
        split = file["splits"][1]
        answers = [place.answer(it["index"], scalar(unhex(it["scalar"]))) for it in split["shares"]]
        file["foreign"] = [answer.hex() for answer in answers]
        FILE.write_text(json.dumps(file, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    for split in file["splits"]:
        check_split(place, split)
    keys = Keys(unhex(file["splits"][1]["keys"]))
    for answer in file["foreign"]:
        place.verify(keys, unhex(answer))
    for case in file["refused"]:
        try:
            place.verify(keys, unhex(case["answer"]))
        except Refused:
            continue
        raise SystemExit(f"{case['what']}: was not refused")
    for case in file["pieces"]:
        check_pieces(case)
    check_envelopes(file["envelopes"])
    print(f"{len(file['splits'])} splits, {len(file['refused'])} answers refused, "
          f"{len(file['pieces'])} secrets in pieces, {len(file['envelopes'])} envelopes")


if __name__ == "__main__":
    main()
