"""
The only place for signals (domain section 5): prime, watch and maintain on closed bars, told with every gate.

``evaluate`` runs once a symbol and closed bar, when its scores speak of that bar. A bar is strong when |E| ≥ 45 and the
strength ≥ 65; **prime** needs two strong bars of one side among the last three, this one being one of them, and a
prime signal is *fresh* once: when no gate refuses and none of the same side is maintained. It is maintained, without
another message, while side · E ≥ 0.9 × the threshold. **Watch** is |E| ≥ 30.

Nothing is opened here: account ranks and admits, and decide judges the gates again when the admission comes.
"""

from __future__ import annotations

from typing import Final

from pipeline.core import gates, wall_watch
from pipeline.core.bars import BAR_MS
from pipeline.core.commands import GateRow, ReportSignal, SignalPlan
from pipeline.core.events import Side
from pipeline.core.level_factors import LevelFactors, level_factors
from pipeline.core.policies import Policy
from pipeline.core.scores import MILLI, Scores
from pipeline.core.signal_state import SignalState, StrongBar
from pipeline.core.sizing import Plan, Refused, Wanted, plan_entry
from pipeline.core.state import SymbolState
from pipeline.core.turn import Turn
from pipeline.core.units import E8, ONE_E8, Milliseconds

PRIME: Final = "prime"
WATCH: Final = "watch"
NONE: Final = "none"
BARS_SEEN: Final = 3
BARS_STRONG: Final = 2
ODDS_FROM_PPM: Final = 600_000  # strength: 40 · clip((P − 0.60)/0.15, 0, 1) …
ODDS_SPAN_PPM: Final = 150_000
ODDS_PART: Final = 40_000
VALID_MS: Final = 4 * 3_600_000
ZONES_TOLD: Final = 4
FACTOR_PARTS: Final = ("C", "V", "O")  # … + 20 · max(0, side · x)/100 of each


def strength(scores: Scores, side: Side) -> int:
    """Strength of a side in 1/1000 point, 0 to 100,000 (domain section 5)."""
    odds = scores.odds_long if side is Side.BUY else scores.odds_short
    points = min(max(odds - ODDS_FROM_PPM, 0), ODDS_SPAN_PPM) * ODDS_PART // ODDS_SPAN_PPM
    for letter in FACTOR_PARTS:
        points += max(0, side.sign * scores.value(letter)) // 5
    return points


def evaluate(turn: Turn) -> None:
    """Tell account what the newly closed bar says about the symbol; scores must speak of it already."""
    state = turn.state
    scores, policy = state.scores, state.policy
    if scores is None or state.instrument is None or scores.bar_close_ms <= state.signal.bar_ms:
        return
    signal = state.signal
    signal.bar_ms = scores.bar_close_ms
    see_funding(state)
    side = Side.BUY if scores.score >= 0 else Side.SELL
    strong = _remember(signal, scores, policy, side)
    rows = judge(state, side)
    refused = gates.refusals(rows)
    stage, fresh = _stage(signal, scores, policy, side, strong=strong, refused=bool(refused))
    turn.emit(_report(state, scores, side, rows, stage=stage, fresh=fresh), rule="signal" if fresh else "")
    turn.rest_on(state.quote_stamp)


def proposed(state: SymbolState, side: Side, *, source: str) -> ReportSignal:
    """The word of a signal that somebody else gives now, fresh when no gate refuses; scores must be known."""
    scores = state.scores
    assert scores is not None, state.symbol
    rows = judge(state, side)
    return _report(state, scores, side, rows, stage=PRIME, fresh=not gates.refusals(rows), source=source)


def _report(
    state: SymbolState, scores: Scores, side: Side, rows: list[GateRow], *, stage: str, fresh: bool, source: str = ""
) -> ReportSignal:
    return ReportSignal(
        bar_ms=Milliseconds(scores.bar_close_ms),
        stage=stage,
        fresh=fresh,
        side=side,
        score=scores.score,
        strength=strength(scores, side),
        odds=scores.odds_long if side is Side.BUY else scores.odds_short,
        coverage=scores.coverage,
        liquidity=_points(scores, "L"),
        independence=_points(scores, "I"),
        price=E8(_price(state, side)),
        refused=gates.refusals(rows),
        gates=rows,
        source=source,
        plan=_plan(state, scores, side) if stage == PRIME else None,
    )


def _plan(state: SymbolState, scores: Scores, side: Side) -> SignalPlan | None:
    """What a prime signal proposes; None while its levels cannot be placed."""
    planned, instrument, policy = _planned(state, side), state.instrument, state.policy
    if isinstance(planned, str) or instrument is None or state.quote is None:
        return None
    touch, sign = state.quote.ask if side is Side.BUY else state.quote.bid, side.sign
    middle = instrument.price_e8(touch)
    nearest = sorted(
        wall_watch.zones_of(state), key=lambda zone: (abs(zone.low_e8 + zone.high_e8 - 2 * middle), zone.low_e8)
    )
    return SignalPlan(
        valid_until_ms=Milliseconds(state.log_ms + VALID_MS),
        low=instrument.price_e8(min(touch, planned.limit)),
        high=instrument.price_e8(max(touch, planned.limit)),
        stop=instrument.price_e8(planned.stop),
        target=instrument.price_e8(touch + sign * planned.target_distance),
        last_target=instrument.price_e8(touch + sign * planned.last_target_distance),
        first_share=policy.first_target_share_permille,
        ratio=planned.target_distance * 1_000 // planned.stop_distance,
        atr_1h=E8(state.bars.one_hour.e8(instrument.tick_e8)),
        data_quality=gates.data_quality(state),
        regime=scores.regime,
        swings=(instrument.price_e8(scores.swing_low), instrument.price_e8(scores.swing_high)),
        zones=[(zone.kind.value, E8(zone.low_e8), E8(zone.high_e8)) for zone in nearest[:ZONES_TOLD]],
        basis_millibps=scores.basis_millibps,
        funding_8h=E8(scores.funding_8h_e8),
    )


def _remember(signal: SignalState, scores: Scores, policy: Policy, side: Side) -> bool:
    """Note whether the bar is strong; True when two of the last three are, this one included."""
    oldest = scores.bar_close_ms - BARS_SEEN * BAR_MS
    signal.strong = [bar for bar in signal.strong if bar.bar_ms > oldest]
    score = side.sign * scores.score
    if score < policy.signal_prime_points * MILLI or strength(scores, side) < policy.signal_strength_points * MILLI:
        return False
    signal.strong.append(StrongBar(scores.bar_close_ms, side.sign))
    return sum(bar.sign == side.sign for bar in signal.strong) >= BARS_STRONG


def _stage(
    signal: SignalState, scores: Scores, policy: Policy, side: Side, *, strong: bool, refused: bool
) -> tuple[str, bool]:
    """The stage of the bar, and whether it is a prime signal that nobody has heard of yet."""
    score = side.sign * scores.score
    kept = signal.active == side.sign and score * 1_000 >= (
        policy.signal_prime_points * MILLI * policy.signal_maintain_permille
    )
    if kept:
        return PRIME, False
    signal.active = 0
    if strong and scores.tradable:
        if not refused:
            signal.active = side.sign
        return PRIME, not refused
    return (WATCH if score >= policy.signal_watch_points * MILLI else NONE), False


def judge(state: SymbolState, side: Side) -> list[GateRow]:
    """Every gate of an entry on *side* now; scores must be known."""
    scores, policy = state.scores, state.policy
    assert scores is not None, state.symbol
    view = gates.View(
        state=state,
        scores=scores,
        side=side,
        plan=_planned(state, side),
        zones=wall_watch.zones_of(state),
        funding=(state.signal.last_funding_ms, state.signal.next_funding_ms),
        order_e8=policy.gate_order_usdt * ONE_E8,
    )
    return gates.judge(view, policy)


def _planned(state: SymbolState, side: Side) -> Plan | str:
    """The levels of an entry on *side* now, or why there are none."""
    policy, instrument = state.policy, state.instrument
    if instrument is None or state.quote is None or not state.bars.ready:
        return "no instrument, quote or bars"
    found = plan_entry(
        Wanted(side=side, lots=0, notional_e8=policy.gate_order_usdt * ONE_E8),
        quote=state.quote,
        instrument=instrument,
        policy=policy,
        atr_e8=state.bars.one_hour.e8(instrument.tick_e8),
        factors=factors_of(state, side),
        brackets=state.brackets,
    )
    return found.reason if isinstance(found, Refused) else found


def factors_of(state: SymbolState, side: Side) -> LevelFactors:
    """What the scores of now do to the first levels of a trade on *side* (domain 6.2)."""
    scores = state.scores
    return level_factors(scores, side, strength=0 if scores is None else strength(scores, side))


def refusals(state: SymbolState, side: Side) -> list[str]:
    """Why an entry that a signal asks for is refused now, in words; empty when every gate passes."""
    if state.scores is None:
        return ["gate coverage refuses: the factors are not known yet"]
    see_funding(state)
    rows = judge(state, side)
    return [
        f"gate {row.id} refuses: found {row.value}, allowed {row.limit}" for row in rows if row.verdict == gates.REFUSE
    ]


def see_funding(state: SymbolState) -> None:
    """Keep the last and the next settlement: the venue states the next one alone."""
    signal, mark = state.signal, state.mark
    if mark is None or not mark.next_funding_ms or mark.next_funding_ms == signal.next_funding_ms:
        return
    if signal.next_funding_ms and signal.next_funding_ms <= state.log_ms:
        signal.last_funding_ms = signal.next_funding_ms
    signal.next_funding_ms = mark.next_funding_ms


def _points(scores: Scores, letter: str) -> int:
    return min(100, max(0, scores.value(letter) // MILLI)) if scores.ready(letter) else -1


def _price(state: SymbolState, side: Side) -> int:
    quote, instrument = state.quote, state.instrument
    if quote is None or instrument is None:
        return 0
    return instrument.price_e8(quote.ask if side is Side.BUY else quote.bid)
