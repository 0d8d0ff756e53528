"""A line has exactly one kind, every kind but a frame has its events, and nobody writes another's."""

from __future__ import annotations

from itertools import combinations

import pytest

from pipeline.binance.line_events import EVENTS, FOR_EVERY_SYMBOL, KINDS, kind_of, why_refused
from pipeline.core import engine
from pipeline.core.events import (
    CloseRequested,
    EntryAdmitted,
    FeedLost,
    Leg,
    Malformed,
    PolicySet,
    PositionOverridden,
    ReferenceBars,
    RequestEnded,
    Side,
    Stamp,
    SymbolResumed,
    Ticked,
    TradingMode,
    TradingStateSet,
    Verdict,
)
from pipeline.core.plugin_answers import PluginAnswered, SaysNothing
from pipeline.core.policies import Policy
from pipeline.core.units import E8, Lots, Milliseconds, Ticks
from pipeline.wire import lines
from pipeline.wire.lines import WRITERS, Answer, Line, TradingStateLine

STAMP = Stamp(0, 1, 0, Milliseconds(1_000), Milliseconds(1_000))
ADMITTED = EntryAdmitted(
    admission="a",
    side=Side.BUY,
    lots=Lots(1),
    notional=E8(0),
    stop=Ticks(1),
    target=Ticks(2),
    last_target=Ticks(3),
    expires_ms=Milliseconds(1),
)
BODIES = {
    "tick": 0,
    "outcome": RequestEnded(intent="i", position="p", leg=Leg.FAR, client_id="c", verdict=Verdict.ACCEPTED),
    "admission": ADMITTED,
    "close": CloseRequested(command="c", reason="r"),
    "state": TradingStateLine(mode="active", reason="r", policy=Policy()),
    "answer": Answer(kind="depth", error="shed"),
    "lost": FeedLost(stream="depth", reason="r"),
    "resume": SymbolResumed(command="c"),
    "override": PositionOverridden(command="c"),
    "reference": ReferenceBars(symbol="BTCUSDT", open_ms=Milliseconds(0), closes=[1]),
    "plugin": PluginAnswered(ask="a", name="guard", version="1", code="c", answer=SaysNothing()),
}


def line(source: str, **body: object) -> Line:
    """A line through its bytes, as the fold gets it."""
    made = Line(at=1, src=source, inc="1", n=1, sym="BTCUSDT", **body)  # type: ignore[arg-type]  # by the kind
    return lines.decode(lines.encode(made))


def test_every_kind_is_tried_here_and_has_its_events() -> None:
    """A new kind of line wants a row in each."""
    assert set(KINDS) == set(BODIES) == set(EVENTS) == set(WRITERS) - {"frame"}
    assert set(KINDS) >= FOR_EVERY_SYMBOL


@pytest.mark.parametrize("kind", KINDS)
def test_a_line_of_one_kind_is_of_that_kind_and_none_beside_a_frame(kind: str) -> None:
    """The quick look at a frame must not overlook a kind that stands beside it: a forged second half of a line."""
    alone = line("x/y", **{kind: BODIES[kind]})

    assert kind == kind_of(alone, b"")
    assert "" == kind_of(alone, b"{}")
    assert "frame" == kind_of(line("x/y"), b"{}")


def test_a_line_of_two_kinds_has_none() -> None:
    """Whichever two."""
    for one, other in combinations(KINDS, 2):
        assert "" == kind_of(line("x/y", **{one: BODIES[one], other: BODIES[other]}), b""), (one, other)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_another_writer_is_named(kind: str) -> None:
    """The reason names kind and writer."""
    assert "may not be written by 'nobody/0'" in why_refused(line("nobody/0"), kind)


def test_a_state_line_gives_policy_and_mode_and_a_mode_nobody_knows_is_malformed() -> None:
    """The policy first: the mode is judged under it."""
    state = engine.new_state("BTCUSDT")
    known = EVENTS["state"](state, line("account/main", state=BODIES["state"]), STAMP)
    unknown = TradingStateLine(mode="asleep", reason="r", policy=Policy())

    assert [PolicySet, TradingStateSet] == [type(event) for event in known]
    assert isinstance(known[1], TradingStateSet)
    assert TradingMode.ACTIVE is known[1].mode
    found = EVENTS["state"](state, line("account/main", state=unknown), STAMP)
    assert [Malformed("account", "state.mode: unknown trading state 'asleep'")] == found


def test_a_tick_tells_a_symbol_whose_turn_it_is() -> None:
    """The worker names them in the line."""
    named = line("decide/0", tick=0, turns=("BTCUSDT",))

    assert [Ticked(compute=True)] == EVENTS["tick"](engine.new_state("BTCUSDT"), named, STAMP)
    assert [Ticked(compute=False)] == EVENTS["tick"](engine.new_state("ETHUSDT"), named, STAMP)
