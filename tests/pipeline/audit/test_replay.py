"""A log folded again says what was decided; whatever was changed in it is found and its position named."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import msgspec
import pytest

from pipeline.audit.divergence import Difference
from pipeline.audit.sources import Entry
from pipeline.benchmarks.life import Life
from pipeline.core import exits
from pipeline.wire.records import AnchorRecord, decode_anchor, decode_decision, encode
from pipeline.wire.topics import ANCHORS, DECISIONS, INPUTS
from tests.data import REPOSITORY
from tests.pipeline.audit.changed_digits import PRICE, with_a_digit_changed
from tests.pipeline.audit.logs import FOLD, IDENTITY, PARTITION, SYMBOL, entries, life, replayed

# Rules about factors, funding, walls, the end of a contract, positions opened elsewhere: the obliging venue of this log
# has no market for them.
# Their stories, and the proof that each has one, are in tests/sessions.
TOLD_ELSEWHERE = {
    *("X5", "X8", "X9", "X10", "X11", "X12", "X13", "X14", "X16", "X17", "X18", "X19", "APART", "LEVEL"),
}
TOLD_HERE = sorted({rule.id for rule in exits.RULES} - TOLD_ELSEWHERE)


def replaced(row: Entry, value: bytes) -> Entry:
    return msgspec.structs.replace(row, value=value)


def test_an_untouched_log_is_equal() -> None:
    """More than a thousand decisions of every exit rule that needs no factors, and every byte that was read."""
    result = replayed(entries())

    assert result.report.equal, result.differences[:3]
    assert result.report.decisions > 1_000
    assert set(TOLD_HERE) <= {rule for row in life().decisions for rule in row.rules}
    assert (len(life().records), len(life().decisions)) == (result.report.lines, result.report.decisions)
    assert {SYMBOL: life().fold.states[SYMBOL].chain} == result.digests
    assert ([], {}, 0) == (result.warnings, result.other_folds, result.quarantined)


def test_repeated_decisions_and_seals_are_dropped() -> None:
    """A worker that was killed says again what it had said: the readers drop what they know."""
    rows = entries()
    said = [row for row in rows if row.topic != INPUTS.name]

    result = replayed([*said, *said[len(said) // 2 :], *[row for row in rows if row.topic == INPUTS.name]])

    assert result.report.equal, result.differences[:3]
    assert len(life().decisions) == result.report.decisions


def test_a_changed_price_digit_is_found_wherever_it_stands() -> None:
    """
    One digit of a price in one record, the frame still valid: the record is named, also where it decides nothing.
    """
    rows = entries()
    draw = random.Random(7)
    places = [number for number, row in enumerate(rows) if row.topic == INPUTS.name and PRICE.search(row.value)]
    for number in draw.sample(places, 8):
        row = rows[number]
        changed = with_a_digit_changed(row.value, draw)

        result = replayed([*rows[:number], replaced(row, changed), *rows[number + 1 :]])

        assert not result.report.equal
        first = result.report.first_difference
        assert first is not None
        assert ("record", PARTITION, row.offset, "bytes") == (first.kind, first.partition, first.offset, first.field)
        assert f"record at {PARTITION}/{row.offset}: bytes was" in first.words()


def test_a_changed_append_time_is_found() -> None:
    """Time is an input: the broker's stamp belongs to what was read."""
    rows = entries()
    number = next(index for index, row in enumerate(rows) if row.topic == INPUTS.name) + 30
    late = msgspec.structs.replace(rows[number], append_ms=rows[number].append_ms + 1)

    result = replayed([*rows[:number], late, *rows[number + 1 :]])

    assert result.report.first_difference is not None
    assert ("record", 30) == (result.report.first_difference.kind, result.report.first_difference.offset)


@pytest.mark.parametrize("field", ["chain", "outputs", "log_ms", "rules"])
def test_a_changed_decision_is_found(field: str) -> None:
    """What was decided is held against what folding decides, field by field."""
    rows = entries()
    number = [index for index, row in enumerate(rows) if row.topic == DECISIONS.name][40]
    plain = msgspec.json.decode(rows[number].value)
    plain[field] = {"chain": "00", "outputs": plain["outputs"][1:], "log_ms": 1, "rules": ["X99"]}[field]

    result = replayed([*rows[:number], replaced(rows[number], msgspec.json.encode(plain)), *rows[number + 1 :]])

    first = result.report.first_difference
    assert first is not None
    assert ("decision", field, plain["offset"], plain["line"]) == (first.kind, first.field, first.offset, first.line)


def test_a_missing_and_an_unfounded_decision_are_found() -> None:
    """One that was lost, and one that nothing in the log leads to."""
    rows = entries()
    places = [index for index, row in enumerate(rows) if row.topic == DECISIONS.name]
    lost = replayed([row for index, row in enumerate(rows) if index != places[-1]])
    invented = decode_decision(rows[places[-1]].value)
    invented = msgspec.structs.replace(invented, line=5)
    more = replayed([replaced(rows[places[-1]], encode(invented)), *rows])

    assert [("missing", invented.offset)] == [(row.kind, row.offset) for row in lost.differences]
    assert [("unfounded", 5)] == [(row.kind, row.line) for row in more.differences]


def test_two_decisions_at_one_place_contradict_each_other() -> None:
    """A worker that decided again and said something else has broken P1, whatever is right."""
    rows = entries()
    number = [index for index, row in enumerate(rows) if row.topic == DECISIONS.name][10]
    other = msgspec.structs.replace(decode_decision(rows[number].value), log_ms=1)

    result = replayed([*rows[: number + 1], replaced(rows[number], encode(other)), *rows[number + 1 :]])

    assert "contradiction" == result.differences[0].kind
    assert "log_ms" == result.differences[0].field


@pytest.mark.parametrize("rule", TOLD_HERE)
def test_a_rule_that_was_changed_makes_it_fail(monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    """A rule taken out of the code: the first decision it made in this log is named."""
    expected = next((row for row in life().decisions if rule in row.rules), None)
    assert expected is not None, f"no ending in pipeline/benchmarks/life.py fires {rule}"
    monkeypatch.setattr(exits, "RULES", tuple(row for row in exits.RULES if row.id != rule))

    first = replayed(entries()).report.first_difference

    assert first is not None
    assert (expected.offset, expected.line) == (first.offset, first.line)


def test_decisions_of_another_fold_are_reported_not_believed() -> None:
    """Across folds nothing is equal by promise: the report says how many, and is not equal."""
    result = replayed(entries(), fold="g")

    assert ([], {FOLD: len(life().decisions)}) == (result.differences, result.other_folds)
    assert [] == result.across
    assert not result.report.equal


def test_what_another_fold_decided_otherwise_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new version of a rule replayed over an old log: where and in what it differs, without calling the log wrong."""
    expected = next(row for row in life().decisions if "X6" in row.rules)
    monkeypatch.setattr(exits, "RULES", tuple(row for row in exits.RULES if row.id != "X6"))

    result = replayed(entries(), fold="g")

    assert ("across", expected.offset) == (result.across[0].kind, result.across[0].offset)


def test_what_is_not_decided_yet_is_no_difference() -> None:
    """The worker is behind the log: lines behind its last word are folded and compared with nothing."""
    rows = entries()
    cut = len(life().records) // 2
    behind = []
    for row in rows:
        if row.topic == DECISIONS.name and decode_decision(row.value).offset >= cut:
            continue
        if row.topic == ANCHORS.name:
            sealed = decode_anchor(row.value)
            if sealed.first_offset + len(sealed.digests) > cut:  # type: ignore[union-attr]
                continue
        behind.append(row)

    result = replayed(behind)

    assert result.report.equal, result.differences[:3]
    assert 0 < result.report.decisions < len(life().decisions)


def test_a_log_that_no_longer_reaches_back_starts_at_an_anchor() -> None:
    """Retention took the beginning: states come from the first anchor that fits, the rest is equal."""
    rows = entries()
    early = life_until(len(life().records) // 2)
    anchor: AnchorRecord = early.fold.anchor(at_ms=early.at_ns // 1_000_000)
    said = [row for row in rows if row.topic != INPUTS.name]
    kept = [row for row in rows if row.topic == INPUTS.name and row.offset >= anchor.manifest.next_offset - 20]

    result = replayed([Entry("anchors", PARTITION, 99, 0, b"", encode(anchor)), *said, *kept])
    without = replayed([*said, *kept])

    assert result.report.equal, result.differences[:3]
    assert 0 < result.report.decisions < len(life().decisions)
    assert not without.report.equal
    assert "no anchor fits" in without.warnings[0]


def life_until(offset: int) -> Life:
    """A fold of the first records of the log."""
    grown = Life(fold=FOLD)
    start = len(grown.records)
    for place, record in enumerate(life().records[start:offset], start):
        grown.fold.apply_record(offset=place, append_ms=record.append_ms, value=record.value)
    return grown


def test_only_one_symbol_and_only_a_span_of_time() -> None:
    """``--symbol`` leaves the others out, ``--to`` what came later."""
    rows = entries()
    last = rows[-1].append_ms
    half = replayed(rows, end_ms=rows[-1].append_ms - (last - life().records[0].append_ms) // 2)
    alone = replayed(rows, symbol=SYMBOL)
    other = replayed(rows, symbol="ETHUSDT", universe={"ETHUSDT", SYMBOL})

    assert half.report.equal and 0 < half.report.decisions < len(life().decisions)
    assert alone.report.equal and len(life().decisions) == alone.report.decisions
    assert (True, 0) == (other.report.equal, other.report.decisions)


def test_a_hole_in_the_log_is_said() -> None:
    """Offsets of ``inputs`` are dense: a missing one is a warning, and what it led to is a difference."""
    rows = entries()
    number = len(rows) - 50

    result = replayed([*rows[:number], *rows[number + 1 :]])

    place = rows[number].offset
    assert [f"partition {PARTITION}: offsets {place} to {place} are not there"] == result.warnings


def test_a_log_of_another_identity_is_not_believed() -> None:
    """Seals and anchors of a log that was removed and made anew speak of other records."""
    rows = entries()
    foreign = [
        replaced(row, encode(msgspec.structs.replace(decode_anchor(row.value), log_identity="zzzzzzz")))
        for row in rows
        if row.topic == ANCHORS.name
    ]
    result = replayed([*foreign, *[row for row in rows if row.topic != ANCHORS.name]])

    assert result.report.equal
    assert IDENTITY != "zzzzzzz"


def test_a_fresh_process_says_the_same() -> None:
    """Another interpreter with another hash seed: chains and state digests do not depend on it."""
    program = (
        "import json; from tests.pipeline.audit.logs import entries, replayed; result = replayed(entries());"
        "print(json.dumps([result.digests, result.report.equal]))"
    )
    answers = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PATH": "", "PYTHONPATH": str(REPOSITORY)},
            cwd=REPOSITORY,
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    ]
    assert [[{SYMBOL: life().fold.states[SYMBOL].chain}, True]] * 2 == [json.loads(answer) for answer in answers]


def test_words_name_the_place() -> None:
    """What a person reads first is where to look."""
    difference = Difference(
        kind="decision", partition=3, offset=9, line=1, symbol="X", field="chain", expected="a", found="b"
    )
    assert "decision at 3/9/1 X: chain was 'a', is 'b'" == difference.words()
