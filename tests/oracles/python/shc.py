"""SMART Health Cards by jwcrypto, without any code of Galen.

    shc.py [FOLDER]   verifies the cards of crates/cli/tests/cmd/input; with a folder of published vectors, those too
    shc.py make N     prints N cards, a line each, as {token, keys, good, why}: half of them must not verify

Exits with 1 and names what does not agree.
"""

import json
import random
import sys
import zlib
from pathlib import Path

from jwcrypto import jwk, jws
from jwcrypto.common import base64url_encode

INPUT = Path(__file__).resolve().parents[3] / "crates" / "cli" / "tests" / "cmd" / "input"
ISSUER = "https://issuer.example/cards"
TYPE = "https://smarthealth.cards#health-card"


def tokens(text):
    text = text.strip()
    if text.startswith("shc:/"):
        digits = text.removeprefix("shc:/")
        return ["".join(chr(int(digits[at : at + 2]) + 45) for at in range(0, len(digits), 2))]
    if text.startswith("{"):
        return json.loads(text)["verifiableCredential"]
    return [text]


def payload_of(token, keys):
    """The payload of a card that one of the keys signed; raises otherwise."""
    signed = jws.JWS()
    signed.deserialize(token)
    kid = signed.jose_header["kid"]
    key = keys.get_key(kid)
    if key is None or key.thumbprint() != kid or signed.jose_header["alg"] != "ES256":
        raise jws.InvalidJWSSignature("no such key")
    signed.verify(key, alg="ES256")
    return json.loads(zlib.decompress(signed.payload, -zlib.MAX_WBITS))


def verifies(token, keys):
    try:
        return TYPE in payload_of(token, keys)["vc"]["type"]
    except (jws.InvalidJWSSignature, jws.InvalidJWSObject, zlib.error, ValueError, KeyError):
        return False


def key_set(path):
    return jwk.JWKSet.from_json(Path(path).read_text())


def check(folder):
    ours = key_set(INPUT / "issuer-jwks.json")
    rows = [(INPUT / name, ours, good) for name, good in (
        ("anna.smart-health-card", True),
        ("anna-qr.txt", True),
        ("changed.smart-health-card", False),
    )]
    if folder:
        theirs = key_set(folder / "hl7-examples" / "issuer-jwks-public.json")
        for name in ("d-jws.txt", "e-file.smart-health-card", "f-qr-code-numeric-value-0.txt"):
            rows.append((folder / "hl7-examples" / f"example-00-{name}", theirs, True))
        tests = folder / "dev-tools-testdata"
        for name, good in (
            ("d-jws-bad-fhir-metadata.txt", True),
            ("d-jws-trailing_chars.txt", True),
            ("d-jws-der-signature-r-neg.txt", False),
            ("d-jws-der-signature-s-neg.txt", False),
            ("d-jws-no_jws_header_alg.txt", False),
            ("e-file-multi-jws.smart-health-card", True),
            ("e-file.wrong-extension", True),
        ):
            rows.append((tests / f"test-example-00-{name}", theirs, good))
    wrong = [path.name for path, keys, good in rows
             if all(verifies(token, keys) for token in tokens(path.read_text())) != good]
    print(f"{len(rows)} files of cards, {len(wrong)} not as they must be", *wrong)
    return not wrong


def sign(key, payload, header=None):
    raw = json.dumps(payload, separators=(",", ":")).encode()
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    token = jws.JWS(deflate.compress(raw) + deflate.flush())
    token.allowed_algs = ["ES256", "HS256"]
    header = header or {"zip": "DEF", "alg": "ES256", "kid": key.thumbprint()}
    token.add_signature(key, None, json.dumps(header, separators=(",", ":")))
    return token.serialize(compact=True)


def make(count):
    draw = random.Random(5)
    for index in range(count):
        key, other = (jwk.JWK.generate(kty="EC", crv="P-256") for _ in range(2))
        public = json.loads(key.export_public())
        public |= {"kid": key.thumbprint(), "use": "sig", "alg": "ES256"}
        entry = {"fullUrl": "resource:0", "resource": {"resourceType": "Patient", "birthDate": "1951-01-20",
                 "address": [{"city": "".join(draw.choice("aäöü€x") for _ in range(draw.randrange(1, 400)))}]}}
        bundle = {"resourceType": "Bundle", "type": "collection", "entry": [entry]}
        subject = {"fhirVersion": "4.0.1", "fhirBundle": bundle}
        payload = {"iss": ISSUER, "nbf": 1767225600, "vc": {"type": [TYPE], "credentialSubject": subject}}
        token, why = sign(key, payload), "signed as it must be"
        match index % 8:
            case 1:
                token, why = sign(other, payload, {"zip": "DEF", "alg": "ES256", "kid": key.thumbprint()}), "another key"
            case 3:
                head, body, signature = token.split(".")
                at = draw.randrange(len(body) - 1)
                body = body[:at] + ("A" if body[at] != "A" else "B") + body[at + 1 :]
                token, why = f"{head}.{body}.{signature}", "a changed payload"
            case 5:
                secret = jwk.JWK(kty="oct", k=base64url_encode(key.export_public()))
                header = {"zip": "DEF", "alg": "HS256", "kid": key.thumbprint()}
                token, why = sign(secret, payload, header), "the public key as a secret"
            case 7:
                head, body, _ = token.split(".")
                head = base64url_encode(json.dumps({"zip": "DEF", "alg": "none", "kid": key.thumbprint()}))
                token, why = f"{head}.{body}.", "no signature"
        good = index % 2 == 0
        keys = jwk.JWKSet.from_json(json.dumps({"keys": [public]}))
        assert verifies(token, keys) == good, why
        print(json.dumps({"token": token, "keys": {"keys": [public]}, "good": good, "why": why}))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", count]:
            make(int(count))
        case []:
            sys.exit(not check(None))
        case [folder]:
            sys.exit(not check(Path(folder)))
        case _:
            sys.exit(__doc__)
