"""Galen's reader beside PyPI fhir.resources (its R4B models): the same resources, one core each, one after the other.
Processor time, so that a busy machine changes little.

Takes the folder of Synthea bundles (default ../shared/fhir/synthea). Prints resources a second and the ratio.
Exits with 1 if either refuses a resource.

    cargo build --release -p galen-fhir --example check_lines
    "$(scripts/tools)/venv/bin/python" tests/oracles/python/reader_speed.py [FOLDER]
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fhir.resources.R4B import get_fhir_model_class

ROOT = Path(__file__).resolve().parents[3]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
# Every so many resources are enough for the slower one, which takes some milliseconds for each.
STEP = 8


def resources(folder):
    for path in sorted(folder.glob("*.json")):
        for entry in json.loads(path.read_text())["entry"]:
            yield json.dumps(entry["resource"], ensure_ascii=False)


def python(lines):
    """Seconds to check the lines; models are imported before."""
    parsed = [(get_fhir_model_class(json.loads(line)["resourceType"]), line) for line in lines]
    start = time.process_time()
    for model, line in parsed:
        model.model_validate_json(line)
    return time.process_time() - start


def galen(lines):
    """Seconds to check the lines ten times, a tenth of it."""
    with tempfile.NamedTemporaryFile("w", suffix=".ndjson") as file:
        file.write("\n".join(lines * 10) + "\n")
        file.flush()
        command = [TARGET / "release/examples/check_lines", file.name]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    accepted, refused = output.split()
    if refused != "0" or int(accepted) != 10 * len(lines):
        sys.exit(f"galen refuses {refused} of {10 * len(lines)}")
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / 10


def main(arguments):
    folder = Path(arguments[0]) if arguments else ROOT / "../shared/fhir/synthea"
    lines = list(resources(folder))
    sample = lines[::STEP]
    theirs = len(sample) / python(sample)
    ours = len(lines) / galen(lines)
    print(f"fhir.resources  {theirs:>9.0f} resources/s  ({len(sample)} resources)")
    print(f"galen           {ours:>9.0f} resources/s  ({len(lines)} resources)")
    print(f"ratio           {ours / theirs:>9.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
