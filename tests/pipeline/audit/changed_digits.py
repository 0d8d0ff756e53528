"""
The only place that spoils a real log: one price digit of one record at a time, and ``perpguard replay`` has to name it.

``python -m tests.pipeline.audit.changed_digits DUMP --times 30 --seed 7`` reads a dump of a log (``perpguard replay
--dump FILE``), writes it again with one digit changed (its checksum fits) and runs ``perpguard replay --verify
--archive`` on it. Exit code 0 only when the untouched log is equal and every changed record is the first that is named.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from pipeline.audit.sources import DumpSource, DumpWriter, Entry, Header
from pipeline.wire.topics import INPUTS
from tests.data import REPOSITORY

PRICE = re.compile(rb'\d\.\d+"')


def with_a_digit_changed(value: bytes, draw: random.Random) -> bytes:
    """*value* with the last digit before a decimal point changed to another one; *value* must hold such a number."""
    place = draw.choice([match.start() for match in PRICE.finditer(value)])
    other = draw.choice([digit for digit in b"123456789" if digit != value[place]])
    return value[:place] + bytes([other]) + value[place + 1 :]


def verified(dump: Path, directory: Path) -> dict[str, object]:
    """What ``perpguard replay --verify`` of a process of its own says about a dump."""
    report = directory / "report.json"
    report.unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "pipeline.cli",
        "replay",
        "--verify",
        "--archive",
        str(dump),
        "--json",
        str(report),
    ]
    run = subprocess.run(command, cwd=REPOSITORY, env=os.environ.copy(), capture_output=True, text=True, check=False)
    if not report.exists():
        raise SystemExit(f"perpguard replay: exit {run.returncode}\n{run.stdout}{run.stderr}")
    said: dict[str, object] = msgspec.json.decode(report.read_bytes())
    return said


def main() -> int:
    """Spoil and verify; say each record and what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dump", type=Path)
    parser.add_argument("--times", type=int, default=30)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    source = DumpSource(arguments.dump)
    header = Header(source.log_identity, source.prefix)
    rows = list(source.entries())
    places = [number for number, row in enumerate(rows) if row.topic == INPUTS.name and PRICE.search(row.value)]
    draw = random.Random(arguments.seed)
    missed = 0
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        untouched = verified(arguments.dump, directory)
        print(f"seed {arguments.seed}; untouched, {len(rows)} records: equal {untouched['equal']}", flush=True)
        for number in sorted(draw.sample(places, arguments.times)):
            row = rows[number]
            changed = msgspec.structs.replace(row, value=with_a_digit_changed(row.value, draw))
            found = _first(
                verified(_written(directory, header, [*rows[:number], changed, *rows[number + 1 :]]), directory)
            )
            right = (row.partition, row.offset) == found
            missed += not right
            print(
                f"{row.partition}/{row.offset} changed: {'named' if right else f'NOT FOUND, said {found}'}", flush=True
            )
    print(f"{arguments.times - missed} of {arguments.times} found", flush=True)
    return 0 if untouched["equal"] and not missed else 1


def _written(directory: Path, header: Header, rows: list[Entry]) -> Path:
    path = directory / "spoiled.pglog"
    with path.open("wb") as stream:
        writer = DumpWriter(stream, header)
        for row in rows:
            writer.write(row)
    return path


def _first(report: dict[str, object]) -> tuple[object, object] | None:
    first = report["first_difference"]
    return (first["partition"], first["offset"]) if isinstance(first, dict) else None


if __name__ == "__main__":
    raise SystemExit(main())
