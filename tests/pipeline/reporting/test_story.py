"""Tests of the story: which decisions belong to it, and what it says of lines, outputs and requests."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.core import commands
from pipeline.core.commands import Decision, Output
from pipeline.core.events import CloseRequested, EntryAdmitted, FeedLost, Leg, RequestEnded, Side, Verdict
from pipeline.core.policies import Policy
from pipeline.core.units import E8, ONE_E8, Lots, Milliseconds, Ticks
from pipeline.reporting.story import concerning, last_positions, line_words, said, story_of, told, without_repeats
from pipeline.wire import lines, records

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
