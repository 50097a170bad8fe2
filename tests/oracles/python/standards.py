"""Reads what `galen fhir export` wrote with a FHIR library of others, and verifies the signatures in it.

Takes a folder of NDJSON files. Exits with 1 and names every resource that

- PyPI fhir.resources (its R4B models, which R4 resources of these types fit) does not accept, or reads as
  something else than was written, or
- is a Provenance whose signature does not recover, by eth-account, to the author that it names.

    "$(scripts/tools)/venv/bin/python" tests/oracles/python/standards.py FOLDER
"""

import base64
import json
import sys
from collections import Counter
from pathlib import Path

from eth_account import Account
from eth_account.messages import encode_typed_data
from fhir.resources.R4B.auditevent import AuditEvent
from fhir.resources.R4B.documentreference import DocumentReference
from fhir.resources.R4B.provenance import Provenance

MODELS = {model.__name__: model for model in (AuditEvent, DocumentReference, Provenance)}

# A file that vanishes would otherwise go unnoticed.
LEAST = {"AuditEvent": 5, "DocumentReference": 3, "Provenance": 3}


def faults(resource: dict) -> list[str]:
    """What is wrong with one resource; nothing if it is right."""
    kind = resource.get("resourceType")
    if kind not in MODELS:
        return [f"an unexpected {kind}"]
    try:
        read = MODELS[kind].model_validate(resource)
    except ValueError as error:
        return [str(error)]
    again = json.loads(read.model_dump_json())
    found = [] if normal(again) == normal(resource) else ["it is read as something else"]
    for signature in resource.get("signature", []):
        found += signature_faults(signature)
    return found


def normal(value):
    """The same for every way to write a time in UTC."""
    if isinstance(value, dict):
        return {key: normal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [normal(item) for item in value]
    if isinstance(value, str) and value.endswith("+00:00"):
        return value.removesuffix("+00:00") + "Z"
    return value


def signature_faults(signature: dict) -> list[str]:
    """Verifies a signature from nothing but what stands in it."""
    data = json.loads(base64.b64decode(signature["data"], validate=True))
    message = encode_typed_data(full_message=data["typedData"])
    signer = Account.recover_message(message, signature=data["signature"])
    named = {data["author"].lower(), signature["who"]["identifier"]["value"].lower()}
    return [] if {signer.lower()} == named else [f"signed by {signer}, names {sorted(named)}"]


def main() -> int:
    seen, signed = Counter(), Counter()
    bad = 0
    for path in sorted(Path(sys.argv[1]).glob("*.ndjson")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            resource = json.loads(line)
            seen[resource.get("resourceType")] += 1
            for signature in resource.get("signature", []):
                signed[json.loads(base64.b64decode(signature["data"]))["typedData"]["primaryType"]] += 1
            for fault in faults(resource):
                bad += 1
                print(f"{path.name}:{number}: {fault}", file=sys.stderr)
    for kind, least in LEAST.items():
        if seen[kind] < least:
            bad += 1
            print(f"{kind}: {seen[kind]} resources, expected {least} or more", file=sys.stderr)
    for kind in ("Attestation", "Proposal"):
        if signed[kind] == 0:
            bad += 1
            print(f"no signature of a {kind}", file=sys.stderr)
    print(f"{sum(seen.values())} resources, {sum(signed.values())} signatures, {bad} faults")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
