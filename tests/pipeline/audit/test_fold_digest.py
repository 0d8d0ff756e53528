"""The name of a fold changes with every byte that may change a decision, and with nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.audit.fold_digest import PACKAGE, deciding_files, digest_of, fold_digest


def test_it_covers_the_core_and_the_road_to_it() -> None:
    """Every core file, and what turns lines into events."""
    names = {str(path.relative_to(PACKAGE)) for path in deciding_files()}

    assert {str(path.relative_to(PACKAGE)) for path in (PACKAGE / "core").rglob("*.py")} <= names
    assert {
        "core/exits/table.py",
        "core/factors/trend.py",
        "binance/fold.py",
        "binance/decode.py",
        "binance/numbers.py",
        "binance/answers.py",
        "wire/lines.py",
    } <= names
    assert not any(name.startswith(("streaming", "execution", "audit")) for name in names)


# What the folds import beside it decides nothing: the configuration's values have a digest of their own, ``outputs``
# says where an output goes and not what it is.
DECIDES_NOTHING = {"settings.py", "configuration.py", "plugin_rows.py", "wire/outputs.py", "wire/plugin_asks.py"}
LOADED = """
import sys, pipeline.binance.fold, pipeline.binance.account_fold
print(*(module.__file__ for name, module in sys.modules.items() if name.startswith("pipeline.") and module.__file__))
"""


def test_it_covers_whatever_the_folds_import() -> None:
    """A module that a fold comes to use, in whatever room, is part of its name (packages without code are not)."""
    said = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True).stdout
    loaded = {str(Path(path).resolve().relative_to(PACKAGE)) for path in said.split()}
    covered = {str(path.relative_to(PACKAGE)) for path in deciding_files()}

    left = {name for name in loaded - covered - DECIDES_NOTHING if not name.endswith("__init__.py")}
    assert set() == left
    assert len(loaded & covered) > 50


def test_it_is_the_same_twice_and_differs_by_configuration() -> None:
    """Sixteen hex digits."""
    assert fold_digest(b"a") == fold_digest(b"a") != fold_digest(b"b")
    assert 16 == len(fold_digest(b"a"))


@pytest.mark.parametrize(
    "name", ["core/stops.py", "core/exits/table.py", "core/factors/trend.py", "binance/decode.py", "wire/lines.py"]
)
def test_one_changed_byte_is_another_fold(tmp_path: Path, name: str) -> None:
    """Also in a comment: one refusal too many now and then, never one too few."""
    for part in ("core", "binance", "wire"):
        shutil.copytree(PACKAGE / part, tmp_path / part)
    same = fold_digest(b"", package=tmp_path)
    path = tmp_path / name
    path.write_bytes(path.read_bytes() + b"\n")

    assert fold_digest(b"") == same != fold_digest(b"", package=tmp_path)


def test_names_and_bodies_cannot_run_into_each_other() -> None:
    """A byte moved from one file to the next, or into the configuration, is another digest."""
    digests = {
        digest_of([("a", b"xy"), ("b", b"z")], b""),
        digest_of([("a", b"x"), ("b", b"yz")], b""),
        digest_of([("a", b"xy")], b"z"),
        digest_of([("ax", b"y"), ("b", b"z")], b""),
    }
    assert 4 == len(digests)
