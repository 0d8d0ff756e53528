"""Sessions that end by a person, the kill switch or the clock, and entries that never become a position."""

from __future__ import annotations

import msgspec

from pipeline.core.commands import (
    AnswerAdmission,
    ClosePosition,
    Decision,
    MoveStop,
    OpenBracket,
    Output,
    PlaceTarget,
    ReportPosition,
    ReportTrade,
    Sweep,
)
from pipeline.core.engine import decode, encode, halt
from pipeline.core.events import (
    Bar,
    CloseRequested,
    Leg,
    Stamp,
    TradingMode,
    TradingStateSet,
    Verdict,
)
from pipeline.core.positions import Stage
from pipeline.core.units import E8, ONE_E8, Lots, Milliseconds, Ticks
from tests.sessions.script import BAR_MS, LOG_IDENTITY, START_MS, Session
from tests.sessions.test_targets import opened
from tests.sessions.venue import Venue


def closed_bar(index: int, *, price: int = 50_000) -> Bar:
    """The bar that closes *index* bars after the start of the story."""
    return Bar(
        open_ms=Milliseconds(START_MS + (index - 1) * BAR_MS),
        open=Ticks(price),
        high=Ticks(price + 50),
        low=Ticks(price - 50),
        close=Ticks(price),
        lots=Lots(10),
        quote_volume=E8(ONE_E8),
        taker_lots=Lots(5),
        taker_quote=E8(ONE_E8),
        trades=3,
        closed=True,
    )


def test_a_person_closes_the_position() -> None:
    """The stops stay until the venue says zero; the trade is told as closed by hand."""
    session, venue = opened()
    session.wait(1_000)

    session.say(CloseRequested(command="cmd-1", reason="enough"))
    assert Stage.CLOSING is session.position.stage
    assert {Leg.FAR, Leg.WORKING} <= {order.leg for order in venue.resting.values()}
    venue.answer(session.outputs[-8:], session.ids[-8:])

    trade = session.last(ReportTrade)
    assert ("HAND", "closed_by_hand") == (trade.reason, trade.outcome)
    assert {} == venue.resting


def test_the_kill_switch_closes_everything_and_no_entry_follows() -> None:
    """HALTED closes what is open and refuses what is asked (X3)."""
    session, venue = opened()
    session.wait(1_000)

    venue.run(session.say(TradingStateSet(mode=TradingMode.HALTED, reason="kill")))
    session.admit(admission="adm-2")

    assert ("X3", "killed") == (session.last(ReportTrade).reason, session.last(ReportTrade).outcome)
    assert "halted" in session.last(AnswerAdmission).reason


def test_a_fill_after_the_kill_switch_is_closed_at_once() -> None:
    """The kill came while the entry was on its way: what it fills is closed without a target ever resting."""
    session = Session()
    session.ready()
    venue = Venue(session)
    outputs = session.admit()
    session.say(TradingStateSet(mode=TradingMode.HALTED, reason="kill"))

    venue.answer(outputs, ids_of(session, outputs))

    assert "X3" == session.all(ClosePosition)[0].reason
    assert [] == session.all(PlaceTarget)
    assert "killed" == session.last(ReportTrade).outcome


def ids_of(session: Session, outputs: list[Output]) -> list[str]:
    """The ids under which outputs of an earlier line went out."""
    return [
        name for output, name in zip(session.outputs, session.ids, strict=True) if any(output is o for o in outputs)
    ]


def test_x15_closes_after_96_bars_without_trailing() -> None:
    """Eight hours without a trailing stop: out by time, on the closed bar."""
    session, venue = opened()

    for index in range(1, 97):
        session.now = START_MS + index * BAR_MS
        venue.mark(50_000)
        venue.run(session.say(closed_bar(index)))
        if index < 96:
            assert [] == session.all(ClosePosition), index

    assert ("X15", "time") == (session.last(ReportTrade).reason, session.last(ReportTrade).outcome)


def test_x15_can_be_switched_off_but_vital_rules_cannot() -> None:
    """Policy may disable X15; X1, X2, X3 ignore such a wish."""
    session, venue = opened()
    session.state.policy = msgspec.structs.replace(session.state.policy, disabled_exits=("X15", "X3"))

    session.now += 300 * BAR_MS
    venue.run(session.wait(250))
    assert [] == session.all(ClosePosition)
    venue.run(session.say(TradingStateSet(mode=TradingMode.HALTED, reason="kill")))

    assert "X3" == session.last(ClosePosition).reason


def test_the_absolute_limit_holds_without_any_bar() -> None:
    """288 bars of log time are over while the bar stream is dead: closed all the same."""
    session, venue = opened()

    session.now += 288 * BAR_MS
    venue.run(session.wait(250))

    assert "time" == session.last(ReportTrade).outcome


def test_a_close_without_effect_is_asked_for_again_under_a_new_intent() -> None:
    """The executor died with the close: after 15 s another goes out; reduce-only cannot turn the position round."""
    session, _ = opened()
    session.say(CloseRequested(command="cmd-1", reason=""))

    session.wait(14_750)
    assert 1 == len(session.all(ClosePosition))
    session.wait(500)

    assert 2 == len(session.all(ClosePosition))
    assert "close_again" in session.codes()


# ------------------------------------------------------------------------------------------ entries that end empty


def bracket_only() -> tuple[Session, Venue, str]:
    """A bracket is on its way and nothing is known of it."""
    session = Session()
    session.ready()
    venue = Venue(session)
    session.admit()
    return session, venue, session.position.id


def test_an_entry_that_fills_nothing_gives_its_slot_back() -> None:
    """LIMIT IOC expired without a fill: the admission is answered a second time, as not used."""
    session, venue, name = bracket_only()
    entry = venue.order(name, Leg.ENTRY, session.position.side, 50_051, 100, name)

    venue.tell(venue.ended(entry, Verdict.ACCEPTED), venue.expired(entry, filled=0))

    answers = session.all(AnswerAdmission)
    assert [(True, name), (False, name)] == [(answer.used, answer.position) for answer in answers]
    assert session.state.position is None
    assert [] == session.all(ReportTrade)


def test_a_stale_entry_is_refused_and_ends() -> None:
    """The executor refuses an entry that is too old; the refusal is a line and ends it."""
    session, venue, name = bracket_only()
    entry = venue.order(name, Leg.ENTRY, session.position.side, 50_051, 100, name)

    venue.tell(msgspec.structs.replace(venue.ended(entry, Verdict.REFUSED), message="stale"))

    assert session.state.position is None
    assert session.last(AnswerAdmission).used is False


def test_an_entry_in_doubt_waits_for_evidence_and_blocks_the_symbol() -> None:
    """No clear answer: no timer ends it, no second entry goes out."""
    session, venue, name = bracket_only()
    entry = venue.order(name, Leg.ENTRY, session.position.side, 50_051, 100, name)
    venue.tell(venue.ended(entry, Verdict.IN_DOUBT))

    session.wait(60_000)
    session.admit(admission="adm-2")

    assert name == session.position.id
    assert 1 == len(session.all(OpenBracket))


def test_an_entry_nobody_heard_of_is_ended_by_two_complete_reads() -> None:
    """Long after it could have been sent, two agreeing reads prove that it never was."""
    session, venue, _ = bracket_only()

    session.wait(6_000)
    session.say(venue.read())
    assert session.state.position is not None
    session.wait(1_250)
    session.say(venue.read())

    assert session.state.position is None


def test_a_late_fill_brings_a_dead_entry_back_under_guard() -> None:
    """Declared absent, yet it fills: the position lives again, rails are stated, people are told."""
    session, venue, name = bracket_only()
    side = session.position.side
    entry = venue.order(name, Leg.ENTRY, side, 50_051, 100, name)
    venue.tell(venue.ended(entry, Verdict.ABSENT))
    assert session.state.position is None

    session.wait(3_000)
    venue.fill(entry, 100, 50_002, whole=100)
    venue.run(session.wait(1_000))

    assert (name, 100) == (session.position.id, session.position.lots)
    assert "late_fill" in session.codes()
    assert {Leg.FAR, Leg.WORKING} <= {move.leg for move in session.all(MoveStop)}
    assert session.position.unprotected_ms < 0


def test_a_partly_filled_entry_is_guarded_for_what_it_filled() -> None:
    """60 of 100: e, R and targets follow the filled quantity."""
    session = Session()
    session.ready()
    venue = Venue(session)
    venue.fill_share = 0.6

    venue.run(session.admit())

    assert (60, True) == (session.position.lots, session.position.frozen)
    assert [30, 0] == [target.lots for target in session.all(PlaceTarget)]


def test_the_fill_may_come_before_the_outcome() -> None:
    """User events overtake the reply: the quantity is counted once."""
    session, venue, name = bracket_only()
    entry = venue.order(name, Leg.ENTRY, session.position.side, 50_051, 100, name)

    venue.fill(entry, 100, 50_001, whole=100)
    reply = msgspec.structs.replace(
        venue.ended(entry, Verdict.ACCEPTED), filled_lots=Lots(100), average_price=E8(50_001 * ONE_E8), status="FILLED"
    )
    venue.tell(reply, reply)

    assert (100, 50_001 * ONE_E8) == (session.position.lots, session.position.entry_e8)


def test_the_reply_alone_makes_a_position_when_the_user_stream_is_dead() -> None:
    """Fill and average of the reply freeze e and R; the trade that comes later books money, not quantity."""
    session, venue, name = bracket_only()
    entry = venue.order(name, Leg.ENTRY, session.position.side, 50_051, 100, name)
    venue.tell(
        msgspec.structs.replace(
            venue.ended(entry, Verdict.ACCEPTED),
            filled_lots=Lots(100),
            average_price=E8(50_003 * ONE_E8),
            status="FILLED",
        )
    )
    assert (100, 50_003 * ONE_E8) == (session.position.lots, session.position.entry_e8)

    venue.fill(entry, 100, 50_003, whole=100)

    assert 100 == session.position.lots
    assert session.position.fees_e8 > 0


def test_events_told_twice_change_nothing() -> None:
    """A second connection repeats every user event: same quantity, same money, one trade."""
    session, venue = opened()
    twice, both = opened()
    for _ in range(2):
        for order in list(both.resting.values()):
            both.tell(both.algo(order, "NEW"), both.ended(order, Verdict.ACCEPTED))
    for one, at in ((session, venue), (twice, both)):
        one.wait(1_000)
        at.mark(one.position.stop - 1)

    assert session.last(ReportTrade) == msgspec.structs.replace(
        twice.last(ReportTrade), position=session.last(ReportTrade).position
    )


def test_a_position_is_reported_once_a_second_and_an_unheld_symbol_never() -> None:
    """Account hears of an open position at changes and each second; an unheld symbol is silent."""
    idle = Session()
    idle.ready()
    before = len(idle.outputs)
    idle.wait(3_000)
    session, _ = opened()
    told = len(session.all(ReportPosition))

    session.wait(3_000)

    assert before == len(idle.outputs)
    assert 3 == len(session.all(ReportPosition)) - told


def test_a_halted_symbol_still_obeys_the_kill_switch_once() -> None:
    """After a fault nothing is decided but the two orders of people: kill and close."""
    session, _ = opened()
    stamp = Stamp(3, session.offset + 1, 0, Milliseconds(session.now), Milliseconds(session.now))
    decision = halt(session.state, stamp, "AssertionError: broken", log_identity=LOG_IDENTITY, fold="test")
    assert isinstance(decision, Decision)
    session.offset += 1

    session.mark(40_000)
    assert [] == session.all(ClosePosition)
    for _ in range(3):
        session.say(TradingStateSet(mode=TradingMode.HALTED, reason="kill"))

    assert ["X3"] == [close.reason for close in session.all(ClosePosition)]
    assert [] == session.all(Sweep)
    assert session.state.halted == decode(encode(session.state)).halted


def test_a_close_known_by_its_reply_alone_is_valued_at_the_reply() -> None:
    """The user stream is dead: the executor's reply tells quantity and average; a second later the trade is told."""
    session, venue = opened()
    session.wait(1_000)
    session.say(CloseRequested(command="c", reason=""))
    name = session.position.close_intent
    close = venue.order(name, Leg.CLOSE, session.position.side.opposite, 0, 100, session.position.id)
    reply = msgspec.structs.replace(
        venue.ended(close, Verdict.ACCEPTED), filled_lots=Lots(100), average_price=E8(49_901 * ONE_E8), status="FILLED"
    )
    session.say(reply)
    assert [] == session.all(ReportTrade)
    session.wait(1_000)

    trade = session.last(ReportTrade)
    assert (49_901 * ONE_E8, -10 * ONE_E8, "closed_by_hand") == (trade.exit_price, trade.realised, trade.outcome)
