"""The only place for tests of factors in words: every one is told, and a missing one says why."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.core.factor_values import values
from pipeline.core.factors.parameters import DEFAULT
from pipeline.core.scores import scores_of
from pipeline.core.units import E8, Milliseconds
from pipeline.reporting.factor_story import together, told
from pipeline.wire.records import FactorsRecord, factor_rows
from tests.core_scores import scores
from tests.factor_market import fold_all, walk


def published() -> FactorsRecord:
    """A symbol that has bars and nothing else."""
    factors = fold_all(walk(180, seed=71))
    vector = values(factors, now_ms=factors.bar_close_ms)
    return FactorsRecord(
        symbol="SOLUSDT",
        cause="3/7/1",
        at_ms=Milliseconds(vector.at_ms),
        price=E8(6_000_012_000_000),
        factors=factor_rows(vector.factors),
        scores=scores_of(vector, factors, parameters=DEFAULT),
    )


@pytest.fixture(scope="module")
def record() -> FactorsRecord:
    """The record, once for all."""
    return published()


def test_every_factor_has_its_line_and_a_missing_one_its_reason(record: FactorsRecord) -> None:
    """Eleven lines; those without inputs say in words what they wait for."""
    lines = told(record).splitlines()

    assert list("TMSVCOBQLIF") == [line[2] for line in lines[2:13]]
    assert "line 3/7/1" in lines[0] and "60000.12" in lines[0]
    assert "no book yet" in lines[10] and "not ready" in lines[10]
    assert "quality 1.00" in lines[2] and "label" in lines[2]
    assert "swing high" in lines[13]


def test_provisional_values_are_told_as_such(record: FactorsRecord) -> None:
    """Of the forming bar, in a line of their own."""
    early = {letter: record.factors[letter] for letter in "TMVC"}
    text = told(msgspec.structs.replace(record, provisional=early))

    assert f"if the forming bar closed now: T {early['T'].value:+.1f}" in text and "nothing decides on it" in text
    assert "forming" not in told(record)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"regime": "up_dn"}, "short covering"),
        ({"tradable": False, "coverage": 512}, "coverage 0.51, too little to trade"),
        ({"carry_extreme": -1}, "extreme carry, shorts pay"),
        ({"cascade_down": True}, "cascade down"),
        ({"vetoes_long": ("open interest is crowded",)}, "no long: open interest is crowded"),
        ({"score": -12_340}, "E -12.3"),
    ],
)
def test_flags_and_vetoes_are_told(changes: dict[str, object], expected: str) -> None:
    """What is not the case is not mentioned."""
    assert expected in together(scores(**changes))
    assert "carry" not in together(scores())


def test_a_symbol_without_levels_has_no_line_of_them(record: FactorsRecord) -> None:
    """Zero is no price."""
    bare = msgspec.structs.replace(record, scores=msgspec.structs.replace(record.scores, swing_high=0, swing_low=0))

    assert "levels" not in told(bare)
