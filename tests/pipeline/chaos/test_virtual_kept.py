"""A long run of virtual chaos goes on where it was broken off, and never with what another code showed."""

from __future__ import annotations

from pathlib import Path

import msgspec

from pipeline.chaos.virtual_kept import Kept, code_name


class Shown(msgspec.Struct):
    """What a seed showed, in small."""

    seed: int
    what: str = ""


def test_what_was_added_is_known_again(tmp_path: Path) -> None:
    """Of the same code and transport; half a line at the end is a seed that is run again."""
    file = tmp_path / "kept.jsonl"
    Kept(file, Shown, transport="rest", code="a").add([Shown(1, "x"), Shown(2)])
    with file.open("ab") as torn:
        torn.write(b'{"seed":3,"wh')

    assert {1: Shown(1, "x"), 2: Shown(2)} == Kept(file, Shown, transport="rest", code="a").known


def test_another_code_begins_anew(tmp_path: Path) -> None:
    """Its seeds prove nothing about this one."""
    file = tmp_path / "kept.jsonl"
    Kept(file, Shown, transport="rest", code="a").add([Shown(1)])

    assert {} == Kept(file, Shown, transport="rest", code="b").known
    assert {} == Kept(file, Shown, transport="rest", code="a").known


def test_the_code_has_a_name_that_follows_its_bytes(tmp_path: Path) -> None:
    """A changed file is another code, a test is none."""
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "connectors" / "exchange_simulator").mkdir(parents=True)
    source = tmp_path / "pipeline" / "one.py"
    source.write_text("1")
    before = code_name(tmp_path)
    source.write_text("2")

    assert before != code_name(tmp_path)
