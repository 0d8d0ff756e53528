"""``perpguard replay`` from a dump: verified, not verified, not readable, each with its exit code and its JSON."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from pipeline.audit.fold_digest import fold_digest
from pipeline.audit.sources import DumpWriter, Entry, Header
from pipeline.commands.replay import Moment, replay
from pipeline.settings import load
from pipeline.wire.topics import DECISIONS, INPUTS
from tests.pipeline.audit.logs import IDENTITY, PARTITION, SYMBOL, entries, life


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dump of a log that this code and configuration decided."""
    for name in ("PERPGUARD_CONFIG", "PERPGUARD_SYMBOLS"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "log.pglog"
    write(path, own(entries()))
    return path


def own(rows: list[Entry]) -> list[Entry]:
    """The decisions of the tests' log under the name of the running fold."""
    name = fold_digest(load({}).config_digest.encode())
    changed = []
    for row in rows:
        if row.topic == DECISIONS.name:
            plain = msgspec.json.decode(row.value) | {"fold": name}
            row = msgspec.structs.replace(row, value=msgspec.json.encode(plain))  # noqa: PLW2901
        changed.append(row)
    return changed


def write(path: Path, rows: list[Entry]) -> None:
    with path.open("wb") as stream:
        writer = DumpWriter(stream, Header(log_identity=IDENTITY, prefix="p."))
        for row in rows:
            writer.write(row)


def test_an_untouched_log_is_verified(archive: Path, tmp_path: Path) -> None:
    """Exit code 0 and exactly the fields of architecture section 7."""
    result = CliRunner().invoke(
        replay, ["--verify", "--archive", str(archive.parent), "--json", str(tmp_path / "out.json")]
    )

    assert 0 == result.exit_code, result.output
    assert "all equal" in result.output
    expected = {
        "lines": len(life().records), "decisions": len(life().decisions), "equal": True, "first_difference": None,
    }  # fmt: skip
    assert expected == json.loads((tmp_path / "out.json").read_text())


def test_one_changed_byte_fails_and_is_named(archive: Path, tmp_path: Path) -> None:
    """The record's checksum is right, the frame is valid: the place is in the words and in the JSON."""
    rows = own(entries())
    number = next(index for index, row in enumerate(rows) if row.topic == INPUTS.name and b"60000.00" in row.value)
    rows[number] = msgspec.structs.replace(rows[number], value=rows[number].value.replace(b"60000.00", b"60100.00", 1))
    write(archive, rows)

    result = CliRunner().invoke(replay, ["--verify", "--archive", str(archive), "--json", str(tmp_path / "out.json")])

    assert 1 == result.exit_code
    assert f"record at {PARTITION}/{rows[number].offset}" in result.output
    written = json.loads((tmp_path / "out.json").read_text())
    assert (False, "record", PARTITION, rows[number].offset) == (
        written["equal"],
        written["first_difference"]["kind"],
        written["first_difference"]["partition"],
        written["first_difference"]["offset"],
    )


def test_a_log_of_another_fold_is_not_verified(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another configuration is another fold: said, and not equal."""
    write(archive, entries())

    result = CliRunner().invoke(replay, ["--verify", "--archive", str(archive)])

    assert 1 == result.exit_code
    assert f"{len(life().decisions)} decisions were made by another fold" in result.output


def test_without_decisions_nothing_is_verified(archive: Path) -> None:
    """An empty comparison proves nothing."""
    write(archive, [row for row in entries() if row.topic == INPUTS.name])

    result = CliRunner().invoke(replay, ["--verify", "--archive", str(archive)])

    assert 1 == result.exit_code
    assert "no decision could be compared" in result.output


def test_a_span_and_a_symbol_are_chosen(archive: Path) -> None:
    """``--to`` before everything leaves nothing; an unknown symbol is a wrong use."""
    nothing = CliRunner().invoke(replay, ["--archive", str(archive), "--to", "1000", "--symbol", SYMBOL])
    unknown = CliRunner().invoke(replay, ["--archive", str(archive), "--symbol", "NOPE"])

    assert (0, True) == (nothing.exit_code, "0 lines folded again" in nothing.output)
    assert (2, True) == (unknown.exit_code, "not in the configured universe" in unknown.output)


def test_a_file_that_is_no_dump_ends_in_one_line(tmp_path: Path) -> None:
    """Exit code 3: what is needed cannot be read."""
    path = tmp_path / "x.pglog"
    path.write_bytes(b"hello")

    result = CliRunner().invoke(replay, ["--archive", str(path)])

    assert (3, f"Error: {path} is no dump of a log") == (result.exit_code, result.output.strip())


def test_times_are_milliseconds_or_iso() -> None:
    """UTC unless it says otherwise."""
    moment = Moment()

    assert 5 == moment.convert("5", None, None)
    assert 1_795_593_600_000 == moment.convert("2026-11-25T08:00:00", None, None)
    assert 1_795_593_600_000 == moment.convert("2026-11-25T09:00:00+01:00", None, None)
