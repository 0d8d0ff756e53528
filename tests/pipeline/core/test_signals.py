"""Tests of signals: two strong bars of three, one message, maintained, the gates again at the admission."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import signals
from pipeline.core.commands import AnswerAdmission, OpenBracket, ReportSignal
from pipeline.core.events import EntryAdmitted, MarkPrice, Side, Stamp
from pipeline.core.state import decode, encode
from pipeline.core.turn import Turn
from pipeline.core.units import E8, ONE_E8, Lots, Milliseconds, Ticks
from tests.core_scores import scores
from tests.core_signals import PRICE, ready, strong
from tests.sessions.script import BAR_MS, INSTRUMENT, START_MS, Session

SIDES = (Side.BUY, Side.SELL)


def told(session: Session, bar: int, side: Side = Side.BUY, **changes: Any) -> ReportSignal | None:
    """The word on bar number *bar*, whose scores are those of a strong bar but for the changes."""
    state = session.state
    state.scores = strong(side, bar_close_ms=START_MS + bar * BAR_MS, **changes)
    turn = Turn(state, Stamp(3, 1_000 + bar, 0, Milliseconds(session.now), Milliseconds(session.now)))
    signals.evaluate(turn)
    found = [output for output in turn.outputs if isinstance(output, ReportSignal)]
    assert len(found) <= 1
    return found[0] if found else None


def stages(session: Session, steps: list[tuple[Side, dict[str, Any]]]) -> list[tuple[str, bool]]:
    """Stage and freshness of each bar in turn."""
    found = [told(session, bar, side, **changes) for bar, (side, changes) in enumerate(steps, start=1)]
    return [(report.stage, report.fresh) for report in found if report is not None]


@pytest.mark.parametrize("side", SIDES)
def test_strength_by_its_formula(side: Side) -> None:
    """40 · clip((P − 0.60)/0.15, 0, 1) + 20 · max(0, side · x)/100 for C, V and O (domain section 5)."""
    sign = side.sign
    found = scores(
        values={"C": 50_000 * sign, "V": -30_000 * sign, "O": 100_000 * sign},
        odds_long=675_000 if sign > 0 else 0,
        odds_short=675_000 if sign < 0 else 0,
    )

    assert 20_000 + 10_000 + 0 + 20_000 == signals.strength(found, side)
    assert 0 == signals.strength(scores(odds_long=600_000, odds_short=600_000), side)


@pytest.mark.parametrize("side", SIDES)
def test_prime_needs_two_strong_bars_of_three(side: Side) -> None:
    """One strong bar is a watch; the second within three is prime and fresh, once."""
    weak: dict[str, Any] = {"score": 31_000 * side.sign}

    assert [("watch", False), ("prime", True), ("prime", False)] == stages(ready(side), [(side, {})] * 3)
    assert [("watch", False), ("watch", False), ("prime", True)] == stages(
        ready(side), [(side, {}), (side, weak), (side, {})]
    )
    assert [("watch", False), ("watch", False), ("watch", False), ("watch", False)] == stages(
        ready(side), [(side, {}), (side, weak), (side, weak), (side, {})]
    )


@pytest.mark.parametrize("side", SIDES)
def test_a_prime_signal_says_what_it_proposes_and_no_other_does(side: Side) -> None:
    """Domain section 5: entry band, stop, targets, their ratio, four hours; mirrored for a short."""
    session, sign = ready(side), side.sign
    weak, report = told(session, 1, side), told(session, 2, side)
    assert weak is not None and report is not None and weak.plan is None
    plan = report.plan
    assert plan is not None
    touch, limit = (plan.low, plan.high) if sign > 0 else (plan.high, plan.low)

    assert report.price == touch and sign * (limit - touch) > 0
    assert sign * (touch - plan.stop) > 0 and sign * (plan.last_target - plan.target) > 0
    assert plan.ratio == abs(plan.target - touch) * 1_000 // abs(touch - plan.stop) >= 1_200
    assert (plan.valid_until_ms - session.state.log_ms, plan.first_share) == (4 * 3_600_000, 500)
    assert plan.swings == tuple((PRICE + away) * INSTRUMENT.tick_e8 for away in (-1_000, 1_000))


def test_a_prime_signal_without_levels_proposes_nothing() -> None:
    """A gate tells why; there is no half plan."""
    session = ready()
    told(session, 1)
    session.state.policy = msgspec.structs.replace(session.state.policy, target_min_permille_of_stop=2_000)
    report = told(session, 2)

    assert report is not None and (report.stage, report.plan) == ("prime", None) and "levels" in report.refused


def test_a_strong_bar_of_the_other_side_confirms_nothing() -> None:
    """Two strong bars must be of one side."""
    assert [("watch", False), ("watch", False), ("prime", True)] == stages(
        ready(), [(Side.BUY, {}), (Side.SELL, {}), (Side.BUY, {})]
    )


def test_a_signal_is_maintained_to_nine_tenths_of_the_threshold() -> None:
    """While side · E ≥ 40.5 it stays prime without another message; below it ends, and may come again."""
    steps: list[tuple[Side, dict[str, Any]]] = [(Side.BUY, {}), (Side.BUY, {})]
    steps += [(Side.BUY, {"score": 40_500}), (Side.BUY, {"score": 40_499}), (Side.BUY, {}), (Side.BUY, {})]
    assert [
        ("watch", False),
        ("prime", True),
        ("prime", False),
        ("watch", False),
        ("watch", False),
        ("prime", True),
    ] == stages(ready(), steps)


def test_a_signal_that_a_gate_refuses_is_told_with_the_gate_and_comes_when_it_passes() -> None:
    """A refused prime is not fresh and names the gate; the next bar on which all pass makes it fresh."""
    session = ready()
    told(session, 1)
    refused = told(session, 2, basis_millibps=100_001)
    assert refused is not None
    assert ("prime", False, ["basis"]) == (refused.stage, refused.fresh, refused.refused)
    assert ["basis"] == [row.id for row in refused.gates if row.verdict == "refuse"]

    later = told(session, 3)
    assert later is not None
    assert ("prime", True, []) == (later.stage, later.fresh, later.refused)


@pytest.mark.parametrize(
    "changes", [{"score": 44_999}, {"values": {"V": 0, "C": 0, "O": 0}}, {"tradable": False, "coverage": 599}]
)
def test_nothing_weaker_is_prime(changes: dict[str, Any]) -> None:
    """|E| below 45, strength below 65 or too little coverage never make a signal."""
    assert all(not fresh for _, fresh in stages(ready(), [(Side.BUY, changes)] * 3))


def test_a_bar_is_told_once() -> None:
    """The same bar, or an older one, is not told again; without scores or instrument nothing is."""
    session = ready()
    assert told(session, 2) is not None
    assert told(session, 2) is None
    assert told(session, 1) is None
    session.state.instrument = None
    assert told(session, 3) is None


def test_quiet_scores_are_ranked_all_the_same() -> None:
    """Every symbol is told at every bar, with every gate, so that account can rank and people can read why not."""
    report = told(ready(), 1, score=0)

    assert report is not None
    assert ("none", False, 18) == (report.stage, report.fresh, len(report.gates))


def entry(side: Side, now: int, **changes: Any) -> EntryAdmitted:
    """An admission that a signal asked for: 100 USDT at risk, 10,000 at most."""
    fields: dict[str, Any] = {
        "admission": "a",
        "side": side,
        "lots": Lots(0),
        "notional": E8(10_000 * ONE_E8),
        "stop": Ticks(0),
        "target": Ticks(0),
        "last_target": Ticks(0),
        "expires_ms": Milliseconds(now + 2_000),
        "risk": E8(100 * ONE_E8),
        "signal": True,
    }
    return EntryAdmitted(**(fields | changes))


@pytest.mark.parametrize("side", SIDES)
def test_an_admitted_signal_is_sized_by_its_risk(side: Side) -> None:
    """What is lost between entry and stop is at most the budget, and near it; thin liquidity takes its share."""
    lots = []
    for liquidity in (1_000, 500):
        session = ready(side)
        outputs = session.say(entry(side, session.now, liquidity=liquidity, notional=E8(10**6 * ONE_E8)))
        bracket = next(output for output in outputs if isinstance(output, OpenBracket))
        lots.append(bracket.lots)
        touch = PRICE + side.sign
        loss = abs(touch - bracket.working_trigger) * bracket.lots * 100_000
        assert 99 * ONE_E8 * liquidity // 1_000 < loss <= 100 * ONE_E8 * liquidity // 1_000
    assert lots[0] // 2 == lots[1]


def test_a_size_by_risk_bends_to_its_caps_and_a_typed_one_is_refused() -> None:
    """The notional and the loss at the far rail cap a size by risk; a quantity typed by a person is refused instead."""
    session = ready()
    capped = next(o for o in session.say(entry(Side.BUY, session.now)) if isinstance(o, OpenBracket))
    assert capped.lots * (PRICE + 1) * 100_000 <= 10_000 * ONE_E8

    session = ready()
    bent = next(
        o for o in session.say(entry(Side.BUY, session.now, max_loss=E8(20 * ONE_E8))) if isinstance(o, OpenBracket)
    )
    assert (PRICE + 1 - bent.far_trigger) * bent.lots * 100_000 <= 20 * ONE_E8

    for changes in ({"max_loss": E8(20 * ONE_E8)}, {"notional": E8(100 * ONE_E8)}):
        session = ready()
        typed = session.say(entry(Side.BUY, session.now, lots=Lots(200), risk=E8(0), signal=False, **changes))
        answer = next(o for o in typed if isinstance(o, AnswerAdmission))
        assert not answer.used
        assert "allow" in answer.reason


def test_an_admission_of_a_signal_meets_the_gates_again() -> None:
    """Between the bar and the admission the market may have changed: decide declines with the gate's words."""
    session = ready(basis_millibps=200_000)
    answer = next(o for o in session.say(entry(Side.BUY, session.now)) if isinstance(o, AnswerAdmission))

    assert not answer.used
    assert "gate basis refuses: found 200 bps, allowed ≤ 100 bps" in answer.reason

    session.state.scores = None
    again = session.say(entry(Side.BUY, session.now, admission="b"))
    assert "not known yet" in next(o for o in again if isinstance(o, AnswerAdmission)).reason


def test_a_persons_entry_meets_no_gate() -> None:
    """Gates are for signals: a person who opens by hand is not asked for liquidity."""
    session = ready(basis_millibps=200_000)

    assert any(isinstance(o, OpenBracket) for o in session.say(entry(Side.BUY, session.now, signal=False, risk=E8(0))))


def test_the_last_settlement_is_remembered() -> None:
    """The venue states the next settlement alone; the one that has passed is kept for five minutes' sake."""
    session = ready()
    session.state.signal.next_funding_ms = 0
    for at in (START_MS + 100, START_MS + 28_800_000):
        session.now = at if at > START_MS + 100 else START_MS
        session.now = min(session.now, START_MS + 60_000)
        price = E8(PRICE * ONE_E8)
        session.say(MarkPrice(price, price, 0, Milliseconds(at), Milliseconds(session.now)))
        signals.see_funding(session.state)

    signal = session.state.signal
    assert (START_MS + 100, START_MS + 28_800_000) == (signal.last_funding_ms, signal.next_funding_ms)


BARS = st.tuples(
    st.sampled_from(SIDES),
    st.integers(25_000, 60_000),
    st.sampled_from((0, 60_000)),
    st.integers(1, 3),
    st.sampled_from((0, 150_000)),
)


@given(st.lists(BARS, max_size=12), st.integers(0, 12))
def test_mirrored_and_through_bytes(history: list[tuple[Side, int, int, int, int]], cut: int) -> None:
    """A mirrored history gives mirrored signals, and a state that goes through bytes gives the same."""

    def run(*, mirrored: bool, through_bytes: bool) -> list[tuple[int, str, bool, int, int, list[str]]]:
        session, bar, found = ready(), 0, []
        for place, (side, score, volume, step, basis) in enumerate(history):
            if through_bytes and place == cut:
                session.state = decode(encode(session.state))
            asked = side.opposite if mirrored else side
            bar += step
            report = told(
                session, bar, asked, score=score * asked.sign, values={"V": volume * asked.sign}, basis_millibps=basis
            )
            assert report is not None
            sign = report.side.sign * (-1 if mirrored else 1)
            found.append((sign, report.stage, report.fresh, abs(report.score), report.strength, report.refused))
        return found

    plain = run(mirrored=False, through_bytes=False)
    assert plain == run(mirrored=True, through_bytes=False)
    assert plain == run(mirrored=False, through_bytes=True)


@given(st.dictionaries(st.sampled_from(("C", "V", "O")), st.integers(-(10**9), 10**9)), st.integers(-(10**9), 10**9))
def test_strength_stays_within_its_range(values: dict[str, int], odds: int) -> None:
    """No factor that stays within ±100 takes the strength out of 0 to 100; nothing raises beyond."""
    bounded = {letter: max(-100_000, min(100_000, value)) for letter, value in values.items()}
    found = signals.strength(scores(values=bounded, odds_long=odds, odds_short=odds), Side.BUY)

    assert 0 <= found <= 100_000


def test_the_hook_reports_once_a_bar() -> None:
    """The engine tells a bar when the scores speak of it, not at every tick (msgspec states are compared as bytes)."""
    session = ready()
    before = msgspec.msgpack.encode(session.state.signal)
    session.wait(1_000)

    assert before == msgspec.msgpack.encode(session.state.signal)
