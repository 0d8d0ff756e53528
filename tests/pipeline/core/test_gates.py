"""Tests of the gates: each refuses once, alone and with its words, and a mirrored market is judged the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from pipeline.core import gates
from pipeline.core.commands import GateRow
from pipeline.core.events import FeedLost, MarkPrice, Quote, Side
from pipeline.core.scores import FactorScore
from pipeline.core.signals import judge, refusals, see_funding
from pipeline.core.state import SymbolState
from pipeline.core.units import E8, ONE_E8, Lots, Milliseconds, Ticks
from pipeline.core.wall_rules import Zone, ZoneKind
from tests.core_signals import PRICE, ready
from tests.sessions.script import START_MS, Session

SIDES = (Side.BUY, Side.SELL)


def rows(state: SymbolState, side: Side) -> dict[str, GateRow]:
    """Every gate by its id."""
    return {row.id: row for row in judge(state, side)}


def scored(**changes: Any) -> Callable[[Session, Side], None]:
    """Change fields of the scores."""

    def change(session: Session, _: Side) -> None:
        assert session.state.scores is not None
        session.state.scores = msgspec.structs.replace(session.state.scores, **changes)

    return change


def by_side(**changes: Callable[[int], Any]) -> Callable[[Session, Side], None]:
    """Change fields of the scores, each a function of the sign of the side."""

    def change(session: Session, side: Side) -> None:
        scored(**{name: of(side.sign) for name, of in changes.items()})(session, side)

    return change


def factor(letter: str, value: int, *, known: bool = True) -> Callable[[Session, Side], None]:
    """Change one factor."""

    def change(session: Session, side: Side) -> None:
        assert session.state.scores is not None
        found = FactorScore(value=value, quality=1_000 if known else 0, ready=known, as_of_ms=0)
        scored(factors=session.state.scores.factors | {letter: found})(session, side)

    return change


def lost_feed(session: Session, _: Side) -> None:
    session.say(FeedLost(stream="btcusdt@bookTicker", reason="lost"))


def wide(session: Session, _: Side) -> None:
    session.quote(PRICE - 40, PRICE + 40)


def thin(session: Session, _: Side) -> None:
    book = session.state.book
    for price in book.bids:
        book.bids[price] = 3
    for price in book.asks:
        book.asks[price] = 3


def held(session: Session, side: Side) -> None:
    session.admit(side=side)
    assert session.state.position is not None


def settles(session: Session, _: Side) -> None:
    session.say(
        MarkPrice(E8(PRICE * ONE_E8), E8(PRICE * ONE_E8), 0, Milliseconds(START_MS + 290_000), Milliseconds(START_MS))
    )
    see_funding(session.state)


def late(session: Session, _: Side) -> None:
    session.state.late_lines = session.state.lines


def no_reward(session: Session, _: Side) -> None:
    session.state.policy = msgspec.structs.replace(session.state.policy, target_min_permille_of_stop=2_000)


def idle(session: Session, _: Side) -> None:
    bars = session.state.bars.bars
    bars[:] = [msgspec.structs.replace(bar, trades=34) for bar in bars]  # 288 of them make 9,792


CASES: dict[str, Callable[[Session, Side], None]] = {
    "feeds": lost_feed,
    "universe": idle,
    "position": held,
    "coverage": scored(coverage=599),
    "data_quality": late,
    "liquidity": factor("L", 59_999),
    "spread": wide,
    "impact": thin,
    "imbalance": by_side(obi=lambda sign: -301 * sign),
    "basis": scored(basis_millibps=100_001),
    "open_interest": scored(blocks_entries=True),
    "carry": by_side(carry_extreme=lambda sign: sign),
    "money_first": by_side(
        vetoes_long=lambda sign: ("chases",) if sign > 0 else (),
        vetoes_short=lambda sign: ("chases",) if sign < 0 else (),
    ),
    "funding": settles,
    "cascade": by_side(cascade_down=lambda sign: sign > 0, cascade_up=lambda sign: sign < 0),
    "room": scored(swing_high=PRICE + 150, swing_low=PRICE - 150),
    "levels": no_reward,
}
# Some causes are seen by two gates; both must say so.
ALSO: dict[str, set[str]] = {"feeds": {"data_quality"}, "spread": {"levels"}, "liquidity": {"levels"}}


@pytest.mark.parametrize("side", SIDES)
def test_every_gate_passes(side: Side) -> None:
    """A whole, liquid, quiet symbol is refused by no gate, and every gate has looked."""
    found = rows(ready(side).state, side)

    assert {name: row for name, row in found.items() if row.verdict != gates.PASS} == {}
    assert [gate.id for gate in gates.GATES] == list(found)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("gate", CASES)
def test_each_gate_refuses_once(gate: str, side: Side) -> None:
    """What a gate asks for is missing: that gate refuses, says what it found and what is allowed, and no other does."""
    session = ready(side)
    CASES[gate](session, side)
    found = rows(session.state, side)
    refused = set(gates.refusals(list(found.values())))

    assert gate in refused
    assert refused - {gate} <= ALSO.get(gate, set())
    assert found[gate].value
    assert found[gate].limit
    assert found[gate].reason
    assert any(f"gate {gate} refuses" in text for text in refusals(session.state, side))


def test_every_gate_has_a_case() -> None:
    """A new gate without a case that refuses fails here; the wall has a test of its own."""
    assert {gate.id for gate in gates.GATES} == CASES.keys() | {"wall"}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("away", "verdict"), [(50, gates.REFUSE), (3_000, gates.PASS)])
def test_a_wall_within_the_risk_refuses(side: Side, away: int, verdict: str) -> None:
    """The opposing wall must be one R away at least; one behind the price or of the own side does not count."""
    session = ready(side)
    state = session.state
    assert state.scores is not None
    opposing, own = (
        (ZoneKind.ASK_WALL, ZoneKind.BID_WALL) if side is Side.BUY else (ZoneKind.BID_WALL, ZoneKind.ASK_WALL)
    )

    def zone(kind: ZoneKind, ticks: int) -> Zone:
        at = (PRICE + ticks * side.sign) * ONE_E8
        return Zone(kind, 1, at, at, 900, START_MS, START_MS, modelled=False)

    plan = gates.Plan(
        lots=1, limit=1, stop=1, far=1, stop_distance=630, target_distance=900, last_target_distance=1_300
    )
    view = gates.View(
        state=state,
        scores=state.scores,
        side=side,
        plan=plan,
        zones=[zone(own, 20), zone(opposing, -300), zone(opposing, away)],
        funding=(0, 0),
        order_e8=ONE_E8,
    )
    found = {row.id: row.verdict for row in gates.judge(view, state.policy)}

    assert verdict == found["wall"]


@pytest.mark.parametrize(("letter", "gate"), [("B", "basis"), ("B", "carry"), ("O", "open_interest"), ("Q", "cascade")])
def test_an_extreme_that_cannot_be_seen_is_unknown(letter: str, gate: str) -> None:
    """Where only an extreme would refuse, a missing factor is told as unknown and refuses nothing."""
    session = ready()
    factor(letter, 0, known=False)(session, Side.BUY)

    assert gates.UNKNOWN == rows(session.state, Side.BUY)[gate].verdict


@pytest.mark.parametrize(("letter", "gate"), [("L", "liquidity"), ("L", "imbalance"), ("S", "room")])
def test_what_must_be_seen_refuses_while_it_is_not(letter: str, gate: str) -> None:
    """Liquidity and structure that nobody has measured are no liquidity and no room (P5)."""
    session = ready()
    factor(letter, 0, known=False)(session, Side.BUY)

    assert gates.REFUSE == rows(session.state, Side.BUY)[gate].verdict


def test_impact_is_that_of_the_order() -> None:
    """Domain 8.4: asks 50010 × 1, 50020 × 15, N 100k, mid 50005 → 1.9995 bps (rounded down to 1/1000)."""
    session = ready()
    state = session.state
    book = state.book
    book.bids, book.bid_prices = {50_000: 1_000}, [50_000]
    book.asks, book.ask_prices = {50_010: 1_000, 50_020: 15_000}, [50_010, 50_020]
    assert state.scores is not None
    view = gates.View(
        state=state,
        scores=state.scores,
        side=Side.BUY,
        plan="none",
        zones=[],
        funding=(0, 0),
        order_e8=100_000 * ONE_E8,
    )

    assert 1_999 == gates.impact_millibps(view)


def test_a_crossed_or_empty_quote_is_no_spread() -> None:
    """Without a quote nothing is narrow: spread and feeds refuse, and nothing raises."""
    session = ready()
    session.state.quote = None
    found = rows(session.state, Side.BUY)

    assert {"feeds", "spread", "levels", "data_quality"} <= set(gates.refusals(list(found.values())))
    session.state.quote = Quote(1, Ticks(0), Lots(0), Ticks(0), Lots(0), Milliseconds(0))
    assert gates.REFUSE == rows(session.state, Side.SELL)["spread"].verdict


def test_the_day_of_the_universe_is_summed_from_closed_bars() -> None:
    """5 M USDT and 10,000 trades in 288 bars, the newest ones; a shorter past speaks for the day."""
    state = ready().state
    bar = state.bars.bars[0]

    def verdict(count: int, quote: int, trades: int) -> str:
        told = msgspec.structs.replace(bar, quote_volume=E8(quote * ONE_E8), trades=trades)
        old = msgspec.structs.replace(bar, quote_volume=E8(0), trades=0)
        state.bars.bars[:] = [old] * 12 + [told] * count if count == 288 else [told] * count
        return rows(state, Side.BUY)["universe"].verdict

    assert [gates.PASS, gates.REFUSE] == [verdict(288, quote, 35) for quote in (17_362, 17_361)]
    assert [gates.PASS, gates.REFUSE] == [verdict(200, 20_000, trades) for trades in (35, 34)]
    assert gates.REFUSE == verdict(0, 0, 0)
