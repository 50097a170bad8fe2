"""Reads what `galen consent export` wrote with a FHIR library of others.

Takes a folder with `r4-full.json` and `ihe-pcf.json`, Bundles of Consents. Exits with 1 and names every
Consent that

- PyPI fhir.resources (its R4B models, which a Consent of R4 fits) does not accept, or reads as something
  else than was written, or
- lacks what the profile of its flavour requires, or has what it forbids.

    "$(scripts/tools)/venv/bin/python" tests/oracles/python/consent.py FOLDER
"""

import json
import sys
from pathlib import Path

from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.consent import Consent

# IHE Privacy Consent on FHIR (PCF), InterventionConsent: what must be there.
REQUIRED = ["status", "scope", "category", "patient", "dateTime", "performer", "organization", "policy"]

# PCF: what no provision may have.
FORBIDDEN = ["class", "code", "action"]


def normal(value):
    """The same for every way to write a time in UTC."""
    if isinstance(value, dict):
        return {key: normal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [normal(item) for item in value]
    if isinstance(value, str) and value.endswith("+00:00"):
        return value.removesuffix("+00:00") + "Z"
    return value


def pcf_faults(consent: dict) -> list[str]:
    """What the profile of IHE would refuse."""
    found = [f"no {name}" for name in REQUIRED if not consent.get(name)]
    if not (consent.get("sourceAttachment") or consent.get("sourceReference")):
        found.append("no source[x]")
    if not consent["policy"][0].get("uri"):
        found.append("no policy.uri")
    provision = consent["provision"]
    if "type" not in provision:
        found.append("no provision.type")
    for rule in [provision, *provision.get("provision", [])]:
        found += [f"a provision with {name}" for name in FORBIDDEN if name in rule]
    if any("provision" in rule for rule in provision.get("provision", [])):
        found.append("provisions nested twice")
    return found


def full_faults(consent: dict) -> list[str]:
    """What would make the plain flavour say more, or nothing, to a reader without Galen's labels."""
    found = [] if "type" not in consent["provision"] else ["a type in the root provision"]
    for rule in consent["provision"]["provision"]:
        codes = {label["code"] for label in rule["securityLabel"]}
        if rule.get("type") != "permit":
            found.append("an exception that does not permit")
        if "N" in codes and "class" not in rule:
            found.append("an exception for all normal data")
    return found


def faults(consent: dict, flavour: str) -> list[str]:
    """What is wrong with one Consent; nothing if it is right."""
    try:
        read = Consent.model_validate(consent)
    except ValueError as error:
        return [str(error)]
    again = json.loads(read.model_dump_json())
    found = [] if normal(again) == normal(consent) else ["it is read as something else"]
    return found + (pcf_faults(consent) if flavour == "ihe-pcf" else full_faults(consent))


def main() -> int:
    bad = seen = 0
    for flavour in ["r4-full", "ihe-pcf"]:
        bundle = json.loads((Path(sys.argv[1]) / f"{flavour}.json").read_text())
        Bundle.model_validate(bundle)
        for entry in bundle["entry"]:
            seen += 1
            for fault in faults(entry["resource"], flavour):
                bad += 1
                print(f"{flavour} {seen}: {fault}", file=sys.stderr)
    # One for a reader and one for every organization, in both flavours.
    if seen < 4:
        bad += 1
        print(f"{seen} Consents, expected 4 or more", file=sys.stderr)
    print(f"fhir.resources accepts {seen} Consents" if not bad else f"{bad} faults in {seen} Consents")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
