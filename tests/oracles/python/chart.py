"""Checks the charts that the test `documents_of_others_reconcile` writes, by other people's models and by rules of its own.

Every export must be valid by fhir.resources (R4B models), every reference of a section or list must lead to an entry,
every original must be the resource that its source document has, and the number of medicines taken now must be what
the few rules below find in the source. Exits with 1 and names what does not agree.

    GALEN_CHART_OUT=FOLDER cargo test -p galen-fhir --test chart
    "$(scripts/tools)/venv/bin/python" tests/oracles/python/chart.py FOLDER
"""

import json
import re
import sys
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

from fhir.resources.R4B.bundle import Bundle

MEDICINES = {
    "MedicationStatement",
    "MedicationRequest",
    "MedicationDispense",
    "MedicationAdministration",
}
REQUIRED = {"10160-0", "11450-4", "48765-2"}
NOW = "2026-06-01"


def load(path):
    """JSON whose numbers keep their text."""
    return json.loads(path.read_text(), parse_float=Decimal)


def resources(document):
    if document["resourceType"] != "Bundle":
        return [(None, document)]
    entries = document.get("entry", [])
    return [(entry.get("fullUrl"), entry["resource"]) for entry in entries if "resource" in entry]


def plain(text):
    return " ".join(word.strip(".") for word in re.split(r"[^\w.%]+", text.lower()) if word.strip("."))


def concept(node):
    """Codes and texts of a CodeableConcept."""
    codings = node.get("coding", [])
    codes = {(c["system"], c["code"]) for c in codings if "system" in c and "code" in c}
    texts = {plain(t) for t in [node.get("text")] + [c.get("display") for c in codings] if t}
    return codes, texts


def medicine(resource, known):
    if "medicationCodeableConcept" in resource:
        return concept(resource["medicationCodeableConcept"])
    reference = resource.get("medicationReference", {})
    target = reference.get("reference", "")
    contained = {"#" + r.get("id", ""): r for r in resource.get("contained", [])}
    found = contained.get(target) or known.get(target) or known.get("/".join(target.split("/")[-2:]))
    if found and "code" in found:
        return concept(found["code"])
    if found and found.get("ingredient"):
        items = [i.get("itemCodeableConcept") for i in found["ingredient"]]
        if len(items) == 1 and items[0]:
            return concept(items[0])
    name = reference.get("display") or reference.get("identifier", {}).get("value") or target
    return set(), {plain(name)} if name else set()


def over(period):
    return "end" in period and period["end"][:10] < NOW


def says(resource):
    """`taken`, `stopped` or nothing, and since when."""
    kind, status = resource["resourceType"], resource["status"]
    period = resource.get("effectivePeriod", {})
    since = resource.get("authoredOn") or resource.get("effectiveDateTime") or period.get("start")
    since = since or resource.get("dateAsserted")
    if kind == "MedicationStatement":
        if status in ("completed", "stopped", "not-taken") or (status == "active" and over(period)):
            return "stopped", since
        return ("taken" if status == "active" else None), since
    if kind == "MedicationRequest":
        ordered = resource["intent"] == "order" or resource["intent"].endswith("-order")
        if resource.get("doNotPerform") or not ordered:
            return None, since
        bounds = [
            d.get("timing", {}).get("repeat", {}).get("boundsPeriod", {})
            for d in resource.get("dosageInstruction", [])
        ]
        if status == "active" and bounds and all(over(b) for b in bounds):
            return None, since
        return {"active": "taken", "stopped": "stopped"}.get(status), since
    if kind == "MedicationAdministration":
        if status == "in-progress" and not over(period):
            return "taken", since
        return ("stopped" if status == "stopped" else None), since
    return None, since


def taken(document):
    """How many medicines are taken now, by the words of one author."""
    all_resources = resources(document)
    known = {}
    for url, resource in all_resources:
        if resource["resourceType"] == "Medication":
            known[url] = resource
            known["Medication/" + resource.get("id", "")] = resource
    medicines, seen = [], set()
    for _, resource in all_resources:
        if resource["resourceType"] not in MEDICINES or resource["status"] == "entered-in-error":
            continue
        text = json.dumps(resource, sort_keys=True, default=str)
        if text not in seen:
            seen.add(text)
            medicines.append((*medicine(resource, known), *says(resource)))
    group = list(range(len(medicines)))

    def root(at):
        while group[at] != at:
            at = group[at]
        return at

    for a, (codes, texts, _, _) in enumerate(medicines):
        for b in range(a):
            others, other_texts = medicines[b][:2]
            apart = {s for s, _ in codes} & {s for s, _ in others}
            if codes & others or (texts & other_texts and not apart):
                group[root(a)] = root(b)
    said = defaultdict(lambda: ([], []))
    for at, (_, _, word, since) in enumerate(medicines):
        if word:
            said[root(at)][word == "stopped"].append(since)
    clear = 0
    for begun, ended in said.values():
        disputed = any(not a or not b or b[:10] >= a[:10] for a in begun for b in ended)
        clear += bool(begun) and not disputed
    return clear


def check_export(path, source):
    """What is wrong with one export."""
    bundle = load(path)
    try:
        Bundle.model_validate_json(path.read_text())
    except ValueError as error:
        # Without the values: they are somebody's.
        yield ", ".join(sorted({".".join(map(str, e["loc"])) for e in error.errors()}))
        return
    urls = [entry["fullUrl"] for entry in bundle["entry"]]
    if len(urls) != len(set(urls)):
        yield "two entries with one fullUrl"
    originals = [r for _, r in resources(source)] if source else []
    made = {"Composition", "List"}
    for entry in bundle["entry"]:
        resource = entry["resource"]
        nobody = resource["resourceType"] == "Patient" and "text" in resource
        if source and resource["resourceType"] not in made and not nobody and resource not in originals:
            yield f"{entry['fullUrl']} is not in the source"
    first = bundle["entry"][0]["resource"]
    if path.name.endswith(".ips.json"):
        sections = first["section"]
        if not REQUIRED <= {s["code"]["coding"][0]["code"] for s in sections}:
            yield "a required section is missing"
        references = [r["reference"] for s in sections for r in s.get("entry", [])]
        if any(("entry" in s) == ("emptyReason" in s) for s in sections):
            yield "a section has neither entries nor a reason, or both"
        references.append(first["subject"]["reference"])
    else:
        lists = [e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == "List"]
        lists = [it for it in lists if it not in originals]
        references = [e["item"]["reference"] for it in lists for e in it.get("entry", [])]
        for it in lists:
            if it["mode"] != "changes" and any(e.get("deleted") for e in it.get("entry", [])):
                yield "an item is deleted outside of changes"
    for reference in references:
        if reference not in urls:
            yield f"{reference} leads nowhere"


def main():
    folder = Path(sys.argv[1])
    figures = json.loads((folder / "figures.json").read_text())
    failures, exports, medicines = [], 0, 0
    sources = {row["name"]: row["file"] for row in figures}
    for path in sorted(folder.glob("*.*.json")):
        source = sources.get(path.name.rsplit(".", 2)[0])
        source = load(Path(source)) if source else None
        failures += [f"{path.name}: {fault}" for fault in check_export(path, source)]
        exports += 1
    for row in figures:
        expected = taken(load(Path(row["file"])))
        medicines += expected
        if expected != row["medications"]:
            failures.append(f"{row['name']}: {row['medications']} medicines, not {expected}")
    print(f"{exports} exports valid, {medicines} medicines taken now in {len(figures)} documents")
    print("\n".join(failures), file=sys.stderr)
    if failures or exports < 2 * len(figures) or medicines == 0:
        sys.exit(1)


if __name__ == "__main__":
    main()
