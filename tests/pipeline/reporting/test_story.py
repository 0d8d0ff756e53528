"""Tests of the story: which decisions belong to it, and what it says of lines, outputs and requests."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.core import commands
from pipeline.core.commands import Decision, Output
from pipeline.core.events import CloseRequested, EntryAdmitted, FeedLost, Leg, RequestEnded, Side, Verdict
from pipeline.core.policies import Policy
from pipeline.core.units import E8, ONE_E8, Lots, Milliseconds, Ticks
from pipeline.reporting.story import (
    Step,
    by_signal,
    concerning,
    last_positions,
    line_words,
    said,
    signal_of,
    story_of,
    told,
    without_repeats,
)
from pipeline.wire import lines, records
from tests.core_scores import scores

BRACKET = commands.OpenBracket(Side.BUY, Lots(5), Ticks(1_000), Ticks(900), Ticks(950), Milliseconds(9))
REPORT = commands.ReportPosition("L.1.0.p0", "OPEN", Lots(5), E8(ONE_E8), Ticks(950), E8(0))


def decision(offset: int, *outputs: Output, symbol: str = "BTCUSDT", rules: tuple[str, ...] = ()) -> Decision:
    """A decision whose output ids follow from its offset."""
    return Decision(
        symbol=symbol,
        partition=3,
        offset=offset,
        line=0,
        log_ms=Milliseconds(1_700_000_000_000 + offset),
        fold="f",
        rules=list(rules),
        causes=[f"3/{offset}/0"],
        ids=[f"L.{offset}.0.p{number}" for number in range(len(outputs))],
        outputs=list(outputs),
        chain="",
    )


OPENED = decision(1, BRACKET, rules=("X6",))
MOVED = decision(3, commands.MoveStop("L.1.0.p0", Leg.WORKING, Side.BUY, Ticks(960), Lots(5)), rules=("S_be",))
HISTORY = [
    decision(0, commands.Note("trading_state", "active")),
    OPENED,
    decision(2, REPORT),
    MOVED,
    decision(4, BRACKET, symbol="ETHUSDT"),
]


@pytest.mark.parametrize("identity", ["L.1.0.p0", "3/1/0", "L.3.0.p0", "3/3/0"])
def test_any_name_leads_to_the_whole_story_of_its_position(identity: str) -> None:
    """The place of a decision, the id of an output or the position itself give all its decisions, less mere reports."""
    assert [OPENED, MOVED] == concerning(HISTORY, identity)


def test_a_decision_without_a_position_is_its_own_story() -> None:
    """Notes and requests for data belong to no position."""
    assert [HISTORY[0]] == concerning(HISTORY, "3/0/0")
    assert [] == concerning(HISTORY, "3/99/0")


def test_last_positions_of_a_symbol() -> None:
    """A symbol's newest positions are found by their brackets."""
    assert (["L.1.0.p0"], ["L.4.0.p0"]) == (last_positions(HISTORY, "BTCUSDT"), last_positions(HISTORY, "ETHUSDT"))


def test_decisions_that_came_again_are_dropped() -> None:
    """The same place and symbol twice is one decision."""
    assert HISTORY == without_repeats([*HISTORY, OPENED, MOVED])


def test_the_story_names_lines_intents_and_requests() -> None:
    """Each step says what it rests on, what it asked for, what was sent and how that ended."""
    attempted = records.Attempted(
        epoch=1,
        intent="L.1.0.p0",
        position="L.1.0.p0",
        symbol="BTCUSDT",
        leg=Leg.ENTRY,
        action="place",
        path="order",
        client_id="L.1.0.p0-e0",
        parameters={"type": "LIMIT", "side": "BUY", "quantity": "0.005", "price": "100"},
        at_ms=Milliseconds(1_700_000_000_002),
    )
    outcome = RequestEnded(
        intent="L.1.0.p0",
        position="L.1.0.p0",
        leg=Leg.ENTRY,
        client_id="L.1.0.p0-e0",
        verdict=Verdict.ACCEPTED,
        filled_lots=Lots(5),
        average_price=E8(100 * ONE_E8),
    )
    ended = records.AttemptEnded(1, "BTCUSDT", outcome, Milliseconds(1_700_000_000_004))
    steps = story_of(
        [OPENED, MOVED], attempts=[attempted, ended], instruments={}, line_at=lambda place: f"a line at {place}"
    )
    text = told(steps)

    assert [("3/1/0", "a line at 3/1/0")] == steps[0].causes
    for words in (
        "because 3/1/0: a line at 3/1/0",
        "enter BUY 5 lots at 1000 ticks or better, working stop 950 ticks, far rail 900 ticks",
        "place entry LIMIT BUY 0.005 at 100 as L.1.0.p0-e0",
        "accepted, filled 5 lots at 100: L.1.0.p0-e0",
        "S_be: stop to break-even",
        "working stop to 960 ticks for 5 lots",
    ):
        assert words in text, (words, text)


def _signal(offset: int, side: Side, *, fresh: bool = True) -> Decision:
    """The closed bar's word to account."""
    report = commands.ReportSignal(
        bar_ms=Milliseconds(1),
        stage="prime",
        fresh=fresh,
        side=side,
        score=60_000,
        strength=70_000,
        odds=800_000,
        coverage=900,
        liquidity=80,
        independence=-1,
        price=E8(ONE_E8),
        refused=[],
    )
    return decision(offset, report, rules=("signal",) if fresh else ())


def test_the_signal_of_a_position_is_the_last_fresh_one_of_its_side() -> None:
    """Another side's, a maintained one, and one that has led to a position already are not meant."""
    entry = decision(9, BRACKET)
    old, meant = _signal(4, Side.BUY), _signal(5, Side.BUY)
    after = [_signal(6, Side.SELL), _signal(7, Side.BUY, fresh=False), entry, _signal(10, Side.BUY)]

    assert meant == signal_of([old, meant, *after], [entry])
    assert signal_of([meant, decision(8, BRACKET), entry], [entry]) is None
    assert signal_of([entry], [entry]) is None
    assert signal_of([meant], [MOVED]) is None


@pytest.mark.parametrize("signal", (True, False))
def test_an_admission_says_whether_a_signal_asked_for_it(signal: bool) -> None:
    """Nothing else than an admission of a signal is one, and people read it."""
    admission = EntryAdmitted(
        "A.1", Side.BUY, Lots(0), E8(ONE_E8), Ticks(0), Ticks(0), Ticks(0), Milliseconds(9), signal=signal
    )
    raw = lines.encode(lines.Line(at=1, src="account", inc="i", n=1, sym="BTCUSDT", admission=admission))

    assert signal == by_signal(raw)
    assert signal == line_words(raw).endswith(", asked for by a signal")
    assert not by_signal(b"{")
    assert not by_signal(lines.encode(lines.Line(at=1, src="decide/0", inc="i", n=1, sym="*", tick=1)))


def _published(at_ms: int, *, cause: str = "3/0/0", symbol: str = "BTCUSDT") -> records.FactorsRecord:
    row = records.FactorRow(62.4, 1.0, True, Milliseconds(at_ms), (1,), {})
    missing = records.FactorRow(0.0, 0.0, False, Milliseconds(at_ms), (1,), {"missing": "no bars"})
    return records.FactorsRecord(
        symbol=symbol,
        cause=cause,
        at_ms=Milliseconds(at_ms),
        price=E8(ONE_E8),
        factors={"T": row, "Q": missing},
        scores=scores(at_ms=at_ms),
    )


def test_a_signal_and_an_exit_rule_are_told_with_the_factors_of_that_time() -> None:
    """The newest values before the decision; later, much older and other symbols' are not what it rested on."""
    acted = decision(5_000, rules=("X8",))
    at_ms = acted.log_ms
    known = [
        _published(at_ms - 700_000, cause="3/1/0"),
        _published(at_ms - 9_000, cause="3/2/0"),
        _published(at_ms - 8_000, cause="3/3/0"),
        _published(at_ms - 1, cause="3/4/0", symbol="ETHUSDT"),
        _published(at_ms + 1, cause="3/6/0"),
    ]

    def steps(*decisions: Decision, factors: list[records.FactorsRecord] = known) -> list[Step]:
        return story_of(decisions, attempts=[], instruments={}, line_at=lambda place: "", factors=factors)

    found = steps(acted)[0].factors
    assert found is not None
    assert ("3/3/0", {"T": (62.4, 1.0)}) == (found.cause, found.values)
    assert "T +62 (1.00); not ready: Q" in told(steps(acted))
    assert steps(acted, factors=known[:1])[0].factors is None
    assert steps(MOVED)[0].factors is None
    own = _published(at_ms + 1, cause="3/5000/0")
    assert "3/5000/0" == steps(acted, factors=[*known, own])[0].factors.cause  # type: ignore[union-attr]


def test_a_fill_whose_price_the_reply_does_not_know_has_none() -> None:
    """A reply may say how much and not yet at what price: no price of 0 is told."""
    outcome = RequestEnded("L.1.0.p0", "L.1.0.p0", Leg.ENTRY, "c", Verdict.ACCEPTED, filled_lots=Lots(5))
    ended = records.AttemptEnded(1, "BTCUSDT", outcome, Milliseconds(1_700_000_000_004))
    text = told(story_of([OPENED], attempts=[ended], instruments={}, line_at=lambda place: ""))

    assert "accepted, filled 5 lots: c" in text


@pytest.mark.parametrize(
    "output",
    [
        commands.PlaceTarget("p", Leg.TARGET, Side.BUY, Ticks(1), Lots(1)),
        commands.CancelLeg("p", Leg.TARGET),
        commands.ClosePosition("p", Side.BUY, Lots(1), "X3"),
        commands.Sweep("p"),
        commands.RequestData("depth"),
        commands.AnswerAdmission("a", False, "", "expired"),
        REPORT,
        commands.Alert("code", "warning", "words"),
        commands.Note("code", "words"),
    ],
)
def test_every_output_has_words(output: Output) -> None:
    """No kind of output is told as an empty string."""
    assert said(output, None)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"frame": msgspec.Raw(b'{"e":"x"}')}, '{"e":"x"}'),
        ({"frame": msgspec.Raw(b'"' + b"x" * 500 + b'"')}, "…"),
        ({"tick": 1}, "time passed"),
        ({"outcome": RequestEnded("i", "p", Leg.FAR, "c", Verdict.IN_DOUBT)}, "the executor: far rail in doubt"),
        (
            {
                "admission": EntryAdmitted(
                    "a1", Side.SELL, Lots(1), E8(0), Ticks(0), Ticks(0), Ticks(0), Milliseconds(0)
                )
            },
            "account admitted SELL a1",
        ),
        ({"close": CloseRequested("c", "by hand")}, "close asked: by hand"),
        ({"state": lines.TradingStateLine("halted", "why", Policy())}, "trading is halted: why"),
        ({"answer": lines.Answer("depth", error="timeout")}, "REST answer depth, failed: timeout"),
        ({"lost": FeedLost("depth", "socket")}, "stream depth may have a hole: socket"),
    ],
)
def test_every_kind_of_line_has_words(body: dict[str, object], words: str) -> None:
    """A line of any kind is told in one line of text."""
    line = lines.Line(at=1, src="s", inc="i", n=1, sym="BTCUSDT", **body)  # type: ignore[arg-type]

    assert words in line_words(lines.encode(line))


def test_an_unreadable_line_says_so() -> None:
    """Bytes that are no line are told as such."""
    assert line_words(b"rubbish").startswith("unreadable: ")
