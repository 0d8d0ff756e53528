"""The only place for tests of step and conclude: log time, ids, chain, digests, causes, faults."""

from __future__ import annotations

from hashlib import blake2b

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.commands import Alert, Decision, Note, OpenBracket, RequestData
from pipeline.core.engine import (
    DIGEST_EVERY_LINES,
    advance_clock,
    conclude,
    decode,
    digest,
    encode,
    halt,
    new_state,
    step,
)
from pipeline.core.events import InstrumentChanged, PolicySet, Side, Stamp, Ticked, Trade
from pipeline.core.identity import intent_of, output_id, symbol_tag
from pipeline.core.policies import Policy
from pipeline.core.units import Lots, Milliseconds, Ticks
from tests.sessions.script import INSTRUMENT, LOG_IDENTITY, START_MS, Session
from tests.sessions.test_targets import opened


def stamp(offset: int, *, at: int = START_MS, append: int | None = None, line: int = 0) -> Stamp:
    """A place in partition 3."""
    return Stamp(3, offset, line, Milliseconds(at), Milliseconds(at if append is None else append))


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), max_size=30))
def test_log_time_never_runs_back_and_no_clock_leads_it_by_more_than_200_ms(times: list[tuple[int, int]]) -> None:
    """The running maximum of min(at, append + 200 ms)."""
    state = new_state("BTCUSDT")
    expected = 0
    for number, (at, append) in enumerate(times):
        advance_clock(state, stamp(number, at=at, append=append))
        expected = max(expected, min(at, append + 200))
        assert expected == state.log_ms


def test_a_line_more_than_a_second_off_is_counted_and_named() -> None:
    """Early or late alike; the decision says so."""
    state = new_state("BTCUSDT")
    events = [InstrumentChanged(instrument=INSTRUMENT)]
    decision = conclude(state, events, stamp(1, append=START_MS + 1_001), log_identity=LOG_IDENTITY, fold="f")

    assert decision is not None
    assert ("late_line", 1) == (decision.rules[0], state.late_lines)
    assert not advance_clock(state, stamp(2, append=START_MS + 1_000))
    assert advance_clock(state, stamp(3, append=START_MS - 1_001))


def test_step_and_conclude_fold_alike() -> None:
    """``conclude`` is ``step`` over the events of a line, with a record around it."""
    one, other = new_state("BTCUSDT", log_identity=LOG_IDENTITY), new_state("BTCUSDT")
    event = InstrumentChanged(instrument=INSTRUMENT)
    outputs = step(one, event, stamp(1))
    decision = conclude(other, [event], stamp(1), log_identity=LOG_IDENTITY, fold="f")

    assert decision is not None
    assert outputs == decision.outputs
    assert ((3, 1, 0), (1, 0), 1) == (
        (decision.partition, decision.offset, decision.line),
        other.applied,
        other.lines,
    )


def test_a_line_without_consequence_gives_no_decision() -> None:
    """But it is applied: its position is the state's."""
    session = Session()
    session.ready()
    trade = Trade(trade_id=1, price=Ticks(1), lots=Lots(1), seller_aggressed=False, trade_ms=Milliseconds(0))

    assert [] == session.say(trade)
    assert (session.offset, 0) == session.state.applied


def test_ids_are_places_in_the_log_and_number_the_outputs() -> None:
    """Folding again gives the same ids; a position is named by the id of its bracket."""
    session, _ = opened()
    decision = next(d for d in session.decisions if any(isinstance(o, OpenBracket) for o in d.outputs))
    expected = [
        output_id(
            log_identity=LOG_IDENTITY,
            partition=3,
            offset=decision.offset,
            line=0,
            tag=symbol_tag("BTCUSDT"),
            ordinal=ordinal,
        )
        for ordinal in range(len(decision.outputs))
    ]

    assert expected == decision.ids
    assert session.position.id in decision.ids
    assert intent_of(f"{session.position.id}-e0") == session.position.id


def test_causes_name_this_line_first_then_what_it_rests_on() -> None:
    """The bracket rests on the quote and the mark it was planned at."""
    session, _ = opened()
    decision = next(d for d in session.decisions if any(isinstance(o, OpenBracket) for o in d.outputs))

    assert [f"3/{decision.offset}/0", f"3/{decision.offset - 2}/0", f"3/{decision.offset - 1}/0"] == decision.causes


def test_a_move_of_the_stop_rests_on_admission_fill_and_mark() -> None:
    """``explain`` can walk back from any intent."""
    session, venue = opened()
    admission = next(d for d in session.decisions if any(isinstance(o, OpenBracket) for o in d.outputs))
    session.wait(6_000)
    venue.mark(50_200)
    moved = next(d for d in reversed(session.decisions) if "S_be" in d.rules)

    assert f"3/{admission.offset}/0" in moved.causes
    assert 3 <= len(moved.causes)


def test_the_chain_hangs_over_position_and_outputs() -> None:
    """One output changed, or one decision left out, changes every later link."""
    session, _ = opened()
    chain = ""
    for decision in session.decisions:
        hasher = blake2b(digest_size=16)
        hasher.update(f"{chain}|{decision.causes[0]}|".encode())
        hasher.update(msgspec.msgpack.encode(decision.outputs))
        chain = hasher.hexdigest()
        assert chain == decision.chain


def test_every_thousandth_line_carries_the_digest_of_the_whole_state() -> None:
    """Also when it has no other consequence."""
    session = Session()
    session.ready()
    trade = Trade(trade_id=1, price=Ticks(1), lots=Lots(1), seller_aggressed=False, trade_ms=Milliseconds(0))
    while session.state.lines < DIGEST_EVERY_LINES:
        session.say(trade)

    decision = session.decisions[-1]
    assert (session.offset, [], digest(session.state)) == (decision.offset, decision.outputs, decision.state_digest)
    assert 1 == sum(bool(d.state_digest) for d in session.decisions)


def test_a_fault_halts_the_symbol_and_is_told() -> None:
    """Recorded with the place; entries stop; nothing more is decided but kill and close."""
    session = Session()
    session.ready()
    decision = halt(session.state, stamp(session.offset + 1), "AssertionError: x", log_identity=LOG_IDENTITY, fold="f")

    assert isinstance(decision, Decision)
    assert [Alert(code="symbol_halted", severity="critical", text="AssertionError: x")] == decision.outputs
    assert (session.offset + 1, 0) == session.state.applied
    session.offset += 1
    assert [] == session.admit()


def test_a_fault_in_the_middle_of_a_line_counts_the_line_once() -> None:
    """``conclude`` had advanced the position before it broke."""
    session = Session()
    session.ready()
    lines = session.state.lines
    session.state.instrument = None
    with pytest.raises(AssertionError):
        conclude(
            session.state,
            [_admission_without_instrument(session)],
            stamp(session.offset + 1),
            log_identity=LOG_IDENTITY,
            fold="f",
        )
    halt(session.state, stamp(session.offset + 1), "broken", log_identity=LOG_IDENTITY, fold="f")

    assert lines + 1 == session.state.lines


def _admission_without_instrument(session: Session) -> Ticked:
    """Any event whose folding breaks a promise of the core: a tick over a position without instrument."""
    other, _ = opened()
    session.state.position = other.position
    return Ticked()


def test_a_policy_line_takes_effect_at_its_place_and_is_noted_once() -> None:
    """Repeated every few seconds, told once."""
    session = Session()
    policy = Policy(digest="abc", stop_atr_permille=2_000)
    first = session.say(PolicySet(policy=policy))

    assert [Note(code="policy", text="abc")] == first
    assert [] == session.say(PolicySet(policy=policy))
    assert policy == session.state.policy


def test_two_symbols_of_one_line_have_different_ids() -> None:
    """A tick for every symbol leads to outputs of several at one place."""
    decisions = [
        conclude(new_state(symbol), [Ticked()], stamp(1), log_identity=LOG_IDENTITY, fold="f")
        for symbol in ("BTCUSDT", "ETHUSDT")
    ]

    assert decisions[0] is not None
    assert decisions[1] is not None
    assert isinstance(decisions[0].outputs[0], RequestData)
    assert decisions[0].ids != decisions[1].ids


def test_the_fold_can_be_taken_up_from_bytes_at_any_place() -> None:
    """``encode`` and ``decode`` are exported beside ``step``: whoever folds needs no other room."""
    session, _ = opened(side=Side.SELL)

    assert encode(session.state) == encode(decode(encode(session.state)))
