"""What the factors say to exit rules: a missing or doubtful factor says nothing, never a number."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.core.exits.view import LEAST_QUALITY_PERMILLE, NOTHING, Seen, seen
from pipeline.core.scores import Scores
from pipeline.core.turn import Turn
from tests.core_scores import scores
from tests.sessions.test_targets import opened


def look(said: Scores | None) -> Seen:
    session, _ = opened()
    session.state.scores = said
    return seen(Turn(session.state, session.state.mark_stamp))  # type: ignore[arg-type]


def doubtful(letter: str, **changes: object) -> Scores:
    said = scores(
        values={"T": 50_000, "C": 60_000, "L": 70_000}, regime="dn_up", cascade_down=True, exhausted=True, ofi_z=-3_000
    )
    factors = dict(said.factors)
    factors[letter] = msgspec.structs.replace(factors[letter], **changes)  # type: ignore[arg-type]
    return msgspec.structs.replace(said, factors=factors)


def test_without_scores_nothing_is_seen() -> None:
    """Before the first turn."""
    assert NOTHING is look(None)


def test_what_is_good_is_seen_as_it_is() -> None:
    """Values in thousandths, flags and labels."""
    found = look(doubtful("F", quality=0))

    assert (0, 50_000, 60_000, 70_000, -3_000) == (found.score, found.trend, found.delta, found.liquidity, found.flow_z)
    assert ("dn_up", -1, True) == (found.regime, found.cascade, found.exhausted)


@pytest.mark.parametrize("change", [{"ready": False}, {"quality": LEAST_QUALITY_PERMILLE - 1}])
@pytest.mark.parametrize(
    ("letter", "field", "silent"),
    [("T", "trend", None), ("C", "delta", None), ("L", "liquidity", None), ("O", "regime", "")],
)
def test_a_factor_that_is_not_ready_or_doubtful_says_nothing(
    letter: str, field: str, silent: object, change: dict[str, object]
) -> None:
    """Below one half of quality it is as if it were not there."""
    assert silent == getattr(look(doubtful(letter, **change)), field)


def test_half_is_enough() -> None:
    """The bound itself is good."""
    assert 50_000 == look(doubtful("T", quality=LEAST_QUALITY_PERMILLE)).trend


def test_the_composite_needs_coverage_and_the_flow_its_readiness() -> None:
    """E takes its coverage for its quality; z of the flow is none before its samples are there."""
    assert None is look(scores(score=-90_000, coverage=LEAST_QUALITY_PERMILLE - 1)).score
    assert None is look(scores(ofi_z=-9_000, ofi_ready=False)).flow_z


def test_it_is_read_once_on_an_event() -> None:
    """The same object until ``evaluate`` forgets it."""
    session, _ = opened()
    session.state.scores = scores(score=1)
    turn = Turn(session.state, session.state.mark_stamp)  # type: ignore[arg-type]

    assert seen(turn) is seen(turn)


def test_liquidations_speak_as_soon_as_they_are_ready() -> None:
    """Their past cannot be read: with the floor of the others X5 would be deaf for twelve hours (domain 4.14)."""
    assert [0, -1] == [look(doubtful("Q", ready=ready, quality=42)).cascade for ready in (False, True)]
