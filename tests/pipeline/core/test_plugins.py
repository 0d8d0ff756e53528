"""Tests of plug-ins in the core: who is asked when, what of an answer is admitted, and that nothing can be loosened."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import engine, plugins, signals
from pipeline.core.commands import Alert, AskPlugins, ClosePosition, MoveStop, Note, Output, ReportSignal, ReportTrade
from pipeline.core.events import Leg, Side, Stamp, SymbolResumed, Ticked
from pipeline.core.gates import refusals
from pipeline.core.plugin_answers import (
    Answer,
    PluginAnswered,
    SaysClose,
    SaysFactor,
    SaysFailed,
    SaysNothing,
    SaysSignal,
    SaysTighten,
)
from pipeline.core.policies import PluginRow
from pipeline.core.state import decode, encode
from pipeline.core.turn import Turn
from pipeline.core.units import E8, ONE_E8, Milliseconds
from tests.core_signals import ready, strong
from tests.sessions.script import BAR_MS, START_MS, Session
from tests.sessions.story import Story

SIDES = (Side.BUY, Side.SELL)
EXIT = PluginRow("guard", "exit", "1")
SIGNAL = PluginRow("idea", "signal", "1")
FACTOR = PluginRow("taste", "factor", "1", least=10)


def with_plugins(session: Session, *rows: PluginRow) -> None:
    session.state.policy = msgspec.structs.replace(session.state.policy, plugins=rows)


def asked(session: Session, *, bar: bool = True) -> AskPlugins | None:
    """The question that the moment leads to; its id is given out as the fold would."""
    stamp = Stamp(3, 5_000_000 + session.now, 0, Milliseconds(session.now), Milliseconds(session.now))
    engine.advance_clock(session.state, stamp)
    turn = Turn(session.state, stamp)
    plugins.ask(turn, bar=bar)
    found = [output for output in turn.outputs if isinstance(output, AskPlugins)]
    assert len(found) <= 1
    return found[0] if found else None


def answer(
    session: Session, row: PluginRow, said: Answer, *, ask: str | None = None, version: str = "", code: str = "c0"
) -> PluginAnswered:
    known = session.state.plugins.get(row.name)
    name = (known.ask if known is not None else "") if ask is None else ask
    return PluginAnswered(ask=name, name=row.name, version=version or row.version, code=code, answer=said)


def say(session: Session, event: PluginAnswered) -> list[Output]:
    first = len(session.outputs)
    session.say(event)
    return session.outputs[first:]


def told(outputs: list[Output]) -> list[str]:
    return [output.code for output in outputs if isinstance(output, Alert | Note)]


def held(side: Side = Side.BUY, row: PluginRow = EXIT, **policy: Any) -> Story:
    """An open position whose rails rest, with one exit plug-in that was just asked."""
    story = Story(side, plugins=(row,), **policy)
    story.seconds(3)
    assert asked(story.session) is not None
    return story


# -------------------------------------------------------------------------------------------------------------- asking


def test_without_plug_ins_nothing_is_asked_and_nothing_is_remembered() -> None:
    """No row in the policy: a tick of an open position asks nobody."""
    story = Story(Side.BUY)
    story.say(Ticked())

    assert [] == story.session.all(AskPlugins)
    assert {} == story.session.state.plugins


def test_factors_and_signals_are_asked_at_a_scored_bar_alone() -> None:
    """A tick between two bars asks neither a factor nor a signal."""
    session = ready()
    with_plugins(session, SIGNAL, FACTOR)

    assert None is asked(session, bar=False)
    found = asked(session)

    assert found is not None
    assert ["idea", "taste"] == found.names


def test_an_exit_is_asked_while_its_position_is_open_and_not_more_often_than_wanted() -> None:
    """The tick line asks; the next question waits for an answer or the deadline, and for ``every_ms``."""
    story = Story(Side.BUY, plugins=(EXIT,))
    story.seconds(3)
    story.say(Ticked())
    story.say(Ticked())

    assert 1 == len(story.session.all(AskPlugins))
    story.session.now += EXIT.deadline_ms + 1
    story.say(Ticked())
    assert 2 == len(story.session.all(AskPlugins))
    story.say(answer(story.session, EXIT, SaysNothing()))
    story.say(Ticked())
    assert 2 == len(story.session.all(AskPlugins))


def test_the_view_shows_symbol_bars_and_position() -> None:
    """As many closed bars as the row wants, oldest first, the open position, prices on the grid."""
    story = Story(Side.SELL, plugins=(msgspec.structs.replace(EXIT, bars=5),))
    story.seconds(3)
    found = asked(story.session)

    assert found is not None
    assert story.session.state.bars.bars[-5:][0].open_ms == found.view.bars[0].open_ms
    assert 5 == len(found.view.bars)
    assert found.view.position is not None
    assert (Side.SELL, 100, story.position.stop) == (
        found.view.position.side,
        found.view.position.lots,
        found.view.position.stop,
    )


def test_three_silent_questions_are_told_once() -> None:
    """Nobody answers: the guards go on, people hear of it with the third question."""
    story = Story(Side.BUY, plugins=(EXIT,))
    story.seconds(3)
    for _ in range(8):
        story.say(Ticked())
        story.session.now += EXIT.deadline_ms + 1

    assert 1 == [a.code for a in story.session.all(Alert)].count("plugin_silent")


# --------------------------------------------------------------------------------------------------------------- exits


@pytest.mark.parametrize("side", SIDES)
def test_an_exit_plug_in_closes(side: Side) -> None:
    """Close: at market, told as the plug-in's, and the line that asked is among the causes."""
    story = held(side)
    story.say(answer(story.session, EXIT, SaysClose("enough")))

    assert ["PLUGIN"] == story.closes
    assert 2 <= len(story.session.decisions[-1].causes) or story.session.all(ReportTrade)
    assert ("PLUGIN", "plugin") == story.ended


@pytest.mark.parametrize("side", SIDES)
def test_an_exit_plug_in_tightens_within_the_ratchet(side: Side) -> None:
    """A price between stop and market moves the stop to the grid; the guards' moves a minute are not used up."""
    story = held(side)
    level = story.price(-100) * ONE_E8 + 12_345_678 * story.sign
    story.say(answer(story.session, EXIT, SaysTighten(E8(level))))

    assert story.stop in {-100, -99}
    assert [] == story.position.stop_changes
    assert [Leg.WORKING] == [m.leg for m in story.session.all(MoveStop) if m.trigger == story.position.stop]


@pytest.mark.parametrize("side", SIDES)
@given(price=st.integers(-(1 << 63), (1 << 63) - 1))
def test_no_price_loosens_a_stop_or_passes_the_market(side: Side, price: int) -> None:
    """Whatever number comes as a price, the stop only ever tightens and keeps its distance from the mark."""
    story = held(side)
    before = story.stop
    story.say(answer(story.session, EXIT, SaysTighten(E8(price))))

    assert before <= story.stop < story.offset


def test_a_plug_in_moves_a_stop_once_a_minute() -> None:
    """A flood of tightenings does not use up the venue's or the ratchet's patience."""
    story = held()
    for step in range(5):
        story.say(answer(story.session, EXIT, SaysTighten(E8(story.price(-150 + 20 * step) * ONE_E8))))
        story.seconds(1)
        asked(story.session)

    assert 1 == story.position.stop_moves


def test_what_the_built_in_rules_have_begun_is_not_touched() -> None:
    """A position that is closing, or that its owner left alone, is closed by nobody else."""
    story = held()
    story.position.left_alone = True
    story.say(answer(story.session, EXIT, SaysClose()))

    assert [] == story.closes


def test_a_shadow_says_what_it_would_do() -> None:
    """``shadow``: the answer stands in the decision, nothing follows from it."""
    story = held(row=msgspec.structs.replace(EXIT, shadow=True))
    first = len(story.session.outputs)
    story.say(answer(story.session, EXIT, SaysClose("enough")))

    assert ["plugin_shadow"] == told(story.session.outputs[first:])


# ------------------------------------------------------------------------------------------------------------- refusals


def test_a_late_answer_a_second_one_and_one_to_nothing_are_refused() -> None:
    """Only the open question is answered, once, in time."""
    story = held()
    session = story.session
    open_ask = session.state.plugins["guard"].ask
    assert ["plugin_refused"] == told(say(session, answer(session, EXIT, SaysClose(), ask="abc.0.1.0.x.0")))
    session.now += EXIT.deadline_ms + 1
    say(session, answer(session, EXIT, SaysClose()))
    asked(session)
    say(session, answer(session, EXIT, SaysClose(), ask=open_ask))  # of the run before

    assert [] == session.all(ClosePosition)
    assert 3 == session.state.plugins["guard"].refused


def test_a_flood_tells_little() -> None:
    """A thousand unwanted answers are counted; four are told; names that nobody configured share one memory."""
    story = held()
    session = story.session
    for number in range(500):
        say(session, answer(session, EXIT, SaysClose(), ask="no"))
        say(session, msgspec.structs.replace(answer(session, EXIT, SaysClose()), name=f"stranger{number}"))

    notes = [note for note in session.all(Note) if note.code == "plugin_refused"]
    assert 6 == len(notes)
    assert {"guard", ""} == set(session.state.plugins)
    assert [] == session.all(ClosePosition)


@pytest.mark.parametrize(
    ("said", "version", "code", "words"),
    [
        (SaysFailed("raised ZeroDivisionError"), "", "c0", "ZeroDivisionError"),
        (SaysFailed("took more than 500 ms"), "", "c0", "took more than"),
        (SaysNothing(), "2", "c0", "calls itself version '2'"),
        (SaysNothing(), "", "c1", "code has changed"),
        (SaysSignal(long=True), "", "c0", "may not propose a long"),
        (SaysTighten(E8(-5)), "", "c0", "is none"),
        (SaysTighten(E8(10**4_299)), "", "c0", "is none"),
        (SaysFactor(10**4_299, -(10**4_299)), "", "c0", "may not say"),
        (SaysNothing(), "", "c" * 100_000, "no digest of ours"),
        (SaysTighten(E8(1 << 62)), "", "c0", "is none"),
    ],
)
def test_one_that_failed_is_switched_off_for_its_symbol(said: Answer, version: str, code: str, words: str) -> None:
    """An alert says why and what to do; nobody asks it again here; the guards go on and the stop moves."""
    story = held()
    session = story.session
    say(session, answer(session, EXIT, SaysNothing()))
    session.now += 1_000
    asked(session)
    say(session, answer(session, EXIT, said, version=version, code=code))

    alert = session.last(Alert)
    assert "plugin_off" == alert.code
    assert words in alert.text
    session.now += 10_000
    assert None is asked(session)
    story.seconds(20, 200)
    assert -180 < story.stop


def test_another_version_and_a_resume_switch_it_on_again() -> None:
    """The configuration's new row begins anew; so does a person's resume of the symbol."""
    story = held()
    session = story.session
    say(session, answer(session, EXIT, SaysFailed("boom")))
    session.now += 5_000
    session.say(SymbolResumed("resume-1"))
    assert asked(session) is not None
    say(session, answer(session, EXIT, SaysFailed("boom")))
    session.now += 5_000
    with_plugins(session, msgspec.structs.replace(EXIT, version="2"))

    assert asked(session) is not None
    assert "" == session.state.plugins["guard"].off


@pytest.mark.parametrize("value", [(-100_001, 1_000), (100_001, 1_000), (0, -1), (0, 1_001), (10**4_299, 1_000)])
def test_a_factor_out_of_range_is_no_factor(value: tuple[int, int]) -> None:
    """Points beyond ±100 or a quality beyond 0 to 1 switch it off."""
    session = ready()
    with_plugins(session, FACTOR)
    asked(session)
    say(session, answer(session, FACTOR, SaysFactor(*value)))

    assert "out of range" in session.state.plugins["taste"].off


# ---------------------------------------------------------------------------------------------------- factors, signals


@pytest.mark.parametrize("side", SIDES)
def test_the_factor_of_a_plug_in_is_a_gate(side: Side) -> None:
    """side · value ≥ ``least`` passes; less, nothing, doubt and an old value refuse."""
    session = ready(side)
    with_plugins(session, FACTOR)
    assert ["plugin taste"] == refusals(signals.judge(session.state, side))
    for value, quality, gate in ((10, 1_000, []), (9, 1_000, ["plugin taste"]), (50, 499, ["plugin taste"])):
        session.now += 1
        asked(session)
        say(session, answer(session, FACTOR, SaysFactor(value * 1_000 * side.sign, quality)))
        assert gate == refusals(signals.judge(session.state, side)), value

    asked(session)
    say(session, answer(session, FACTOR, SaysFactor(50_000 * side.sign)))
    session.state.scores = strong(side, bar_close_ms=START_MS + 2 * BAR_MS)
    assert ["plugin taste"] == refusals(signals.judge(session.state, side))


@pytest.mark.parametrize("side", SIDES)
def test_a_signal_is_told_once_with_every_gate(side: Side) -> None:
    """Fresh and prime when no gate refuses; maintained without another word; silence ends it."""
    session = ready(side)
    with_plugins(session, SIGNAL)
    long = side is Side.BUY
    reports = []
    for said in (SaysSignal(long=long), SaysSignal(long=long), SaysNothing(), SaysSignal(long=long)):
        session.now += 1
        asked(session)
        reports.append([o for o in say(session, answer(session, SIGNAL, said)) if isinstance(o, ReportSignal)])

    assert [1, 0, 0, 1] == [len(found) for found in reports]
    report = reports[0][0]
    assert ("prime", True, side, "idea", []) == (
        report.stage,
        report.fresh,
        report.side,
        report.source,
        report.refused,
    )


def test_a_signal_that_a_gate_refuses_is_not_fresh() -> None:
    """The same gates as a built-in signal; it may come again when they pass."""
    session = ready()
    with_plugins(session, SIGNAL)
    session.state.book.bids, session.state.book.bid_prices = {}, []
    asked(session)
    found = [o for o in say(session, answer(session, SIGNAL, SaysSignal(long=True))) if isinstance(o, ReportSignal)]

    assert [False] == [report.fresh for report in found]
    assert 0 == session.state.plugins["idea"].active


def test_a_restart_between_question_and_answer_changes_nothing() -> None:
    """The state written and read again gives the same decision to the same answer."""
    story, again = held(), held()
    again.session.state = decode(encode(again.session.state))
    for each in (story, again):
        each.say(answer(each.session, EXIT, SaysClose("enough")))

    assert story.session.state.chain == again.session.state.chain
