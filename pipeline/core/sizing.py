"""
The only place for the first levels and the quantity of an entry (domain 5 and 6.2), or the reason why there is none.

Everything is integer: multipliers in permille, distances in E8 or ticks. What the factors do to the levels comes from
``level_factors``; without scores the tables stand by themselves. The distance to liquidation bounds the leverage, once
the symbol's brackets are known; without them 6 % binds first at the highest leverage allowed (5).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pipeline.core.events import Quote, Side
from pipeline.core.instruments import Instrument
from pipeline.core.level_factors import NONE, SOFTNESS_PERMILLE, LevelFactors, soft_minimum
from pipeline.core.liquidation_map import Bracket
from pipeline.core.policies import Policy
from pipeline.core.units import ONE_E8, format_e8

STOP_ATR_FLOOR_PERMILLE = 600  # D ≥ 0.6 · A
STOP_SPREADS = 3  # D ≥ 3 · spread
LIQUIDATION_ROOM_PERMILLE = 700  # 1.25 · D ≤ 0.7 × the distance to liquidation
BASIS_DISCOUNT_PERMILLE = 900  # TP1 × 0.9 of the distance when the basis is more than 50 bps against


class Wanted(msgspec.Struct, frozen=True):
    """
    What an admission asks for: ``lots`` or ``notional_e8``; levels in ticks, 0 = by the tables.

    With ``lots`` the notional is a bound (0: none). ``risk_e8`` asks for size by risk (domain section 5): what may be
    lost between the entry and the working stop, times ``liquidity_permille``; the notional is its cap. ``max_loss_e8``
    is what may be lost at the far rail (0: unbounded). ``margin_e8`` is allocated to the position: times
    ``most_leverage`` it caps a size by risk (0: nothing is known of it).
    """

    side: Side
    lots: int
    notional_e8: int
    stop: int = 0
    target: int = 0
    last_target: int = 0
    risk_e8: int = 0
    max_loss_e8: int = 0
    liquidity_permille: int = 1_000
    margin_e8: int = 0
    most_leverage: int = 0


class Plan(msgspec.Struct, frozen=True):
    """An entry that may be sent: prices in ticks, distances in ticks from the price the levels were planned at."""

    lots: int
    limit: int
    stop: int
    far: int
    stop_distance: int
    target_distance: int
    last_target_distance: int
    leverage: int = 0  # 0: what the venue has stays


class Refused(msgspec.Struct, frozen=True):
    """No entry, and why, in words a person can act on."""

    reason: str


def multiplier_permille(base: int, factors: Sequence[int], *, lowest: int, highest: int) -> int:
    """``base`` times the factors, all in permille; the clip comes last (domain 6.2)."""
    value, scale = base, 1
    for factor in factors:
        value *= factor
        scale *= 1_000
    return min(max(value // scale, lowest), highest)


def stop_distance_e8(policy: Policy, *, atr_e8: int, factors: Sequence[int] = ()) -> int:
    """D = M_sl · A before the bounds."""
    multiplier = multiplier_permille(
        policy.stop_atr_permille,
        factors,
        lowest=policy.stop_atr_min_permille,
        highest=policy.stop_atr_max_permille,
    )
    return multiplier * atr_e8 // 1_000


def target_distance_e8(policy: Policy, *, atr_e8: int, factors: Sequence[int] = (), basis_against: bool = False) -> int:
    """Distance of TP1 = M_tp · A, a tenth less when the basis is more than 50 bps against the trade."""
    multiplier = multiplier_permille(
        policy.target_atr_permille,
        factors,
        lowest=policy.target_atr_min_permille,
        highest=policy.target_atr_max_permille,
    )
    distance = multiplier * atr_e8 // 1_000
    return distance * BASIS_DISCOUNT_PERMILLE // 1_000 if basis_against else distance


def plan_entry(
    wanted: Wanted,
    *,
    quote: Quote,
    instrument: Instrument,
    policy: Policy,
    atr_e8: int,
    factors: LevelFactors = NONE,
    brackets: Sequence[Bracket] = (),
) -> Plan | Refused:
    """
    Levels and quantity of an entry at the touch; ``atr_e8`` is A, 0 when the bars are not ready.

    Explicit levels win over the tables, but not over the bounds in percent, ticks and spreads. The limit is the touch
    plus the slippage allowed, rounded so that it never allows more.
    """
    side = wanted.side
    sign = side.sign
    touch = quote.ask if side is Side.BUY else quote.bid
    distance = _stop_distance(
        wanted, touch=touch, quote=quote, instrument=instrument, policy=policy, atr_e8=atr_e8, factors=factors
    )
    if isinstance(distance, Refused):
        return distance
    targets = _target_distances(
        wanted,
        touch=touch,
        stop_distance=distance,
        instrument=instrument,
        policy=policy,
        atr_e8=atr_e8,
        factors=factors,
    )
    if isinstance(targets, Refused):
        return targets
    stop = touch - sign * distance
    far_distance = -(-distance * policy.far_rail_permille // 1_000)
    lots = _quantity(wanted, touch=touch, distance=distance, far_distance=far_distance, instrument=instrument)
    if isinstance(lots, Refused):
        return lots
    notional_e8 = instrument.notional_e8(lots=lots, price_e8=instrument.price_e8(touch))
    leverage = _bearable(
        _leverage(wanted, notional_e8), notional_e8, far_distance=far_distance, touch=touch, brackets=brackets
    )
    if isinstance(leverage, Refused):
        return leverage
    far = touch - sign * far_distance
    limit = touch + sign * (touch * policy.entry_slippage_bps // 10_000)
    furthest_target = touch + sign * targets[1]
    if min(stop, far, furthest_target) < instrument.min_price_ticks:
        return Refused("a level would lie below the lowest price of the venue")
    if instrument.max_price_ticks and max(stop, far, furthest_target, limit) > instrument.max_price_ticks:
        return Refused("a level would lie above the highest price of the venue")
    return Plan(
        lots=lots,
        limit=limit,
        stop=stop,
        far=far,
        stop_distance=distance,
        target_distance=targets[0],
        last_target_distance=targets[1],
        leverage=leverage,
    )


def _quantity(wanted: Wanted, *, touch: int, distance: int, far_distance: int, instrument: Instrument) -> int | Refused:
    """
    Lots, rounded down; between the venue's minima and half of its market lot maximum (domain 5).

    A size that follows from a risk bends to the loss allowed at the far rail; one that a person typed is refused.
    """
    price_e8 = instrument.price_e8(touch)
    lots = int(wanted.lots)
    if not lots:
        lots = wanted.notional_e8 * ONE_E8 // (price_e8 * instrument.step_e8)
        if wanted.risk_e8:
            budget = wanted.risk_e8 * wanted.liquidity_permille // 1_000
            lots = min(lots, _lots_losing(budget, distance, instrument))
            if wanted.margin_e8 and wanted.most_leverage:
                affordable = wanted.margin_e8 * wanted.most_leverage * ONE_E8 // (price_e8 * instrument.step_e8)
                lots = min(lots, affordable)
    elif wanted.notional_e8 and instrument.notional_e8(lots=lots, price_e8=price_e8) > wanted.notional_e8:
        return Refused(f"the notional is above the {format_e8(wanted.notional_e8)} USDT that the account allows now")
    if wanted.max_loss_e8:
        bearable = _lots_losing(wanted.max_loss_e8, far_distance, instrument)
        if lots > bearable and not wanted.risk_e8:
            return Refused(
                f"the loss at the far rail would be above the {format_e8(wanted.max_loss_e8)} USDT that portfolio "
                f"heat allows now: at most {instrument.quantity_text(bearable)}"
            )
        lots = min(lots, bearable)
    largest = min(instrument.max_market_lots // 2, instrument.max_lots)
    if lots < max(1, instrument.min_lots):
        return Refused(f"the quantity is below the venue's minimum of {instrument.quantity_text(instrument.min_lots)}")
    if lots > largest:
        return Refused(f"the quantity is above half of the market lot maximum, {instrument.quantity_text(largest)}")
    if instrument.notional_e8(lots=lots, price_e8=price_e8) < instrument.min_notional_e8:
        return Refused("the notional is below the venue's minimum")
    return lots


def _lots_losing(loss_e8: int, distance: int, instrument: Instrument) -> int:
    """The most lots that lose at most *loss_e8* over *distance* ticks."""
    return loss_e8 * ONE_E8 // (distance * instrument.tick_e8 * instrument.step_e8)


def _leverage(wanted: Wanted, notional_e8: int) -> int:
    """
    max(1, ceil(notional / allocated margin)), at most what is allowed (domain section 5); 0: no margin was allocated.

    A quantity that a person typed may need more than its share of the margin: whether it is there, the venue says.
    """
    if wanted.margin_e8 <= 0 or not wanted.most_leverage:
        return 0
    return min(max(1, -(-notional_e8 // wanted.margin_e8)), wanted.most_leverage)


def _bearable(
    leverage: int, notional_e8: int, *, far_distance: int, touch: int, brackets: Sequence[Bracket]
) -> int | Refused:
    """
    The leverage, or a lower one, at which the far rail stays inside 0.7 of the way to liquidation (domain section 5):
    1.25·D ≤ 0.7·p·(1/leverage − m), with the maintenance rate m of the bracket that the notional falls into.
    """
    if not leverage or not brackets:
        return leverage
    bracket = next((row for row in brackets if notional_e8 <= row.cap_e8), None)
    if bracket is None:
        return Refused("the notional is above the venue's largest leverage bracket")
    for lower in range(min(leverage, bracket.leverage), 0, -1):
        room_ppm = 1_000_000 // lower - bracket.maintenance_ppm
        if far_distance * 1_000_000 * 1_000 <= LIQUIDATION_ROOM_PERMILLE * touch * room_ppm:
            return lower
    return Refused("the far rail would lie beyond 0.7 of the distance to liquidation at any leverage")


def _stop_distance(
    wanted: Wanted,
    *,
    touch: int,
    quote: Quote,
    instrument: Instrument,
    policy: Policy,
    atr_e8: int,
    factors: LevelFactors,
) -> int | Refused:
    """D in ticks within its bounds; bounds that cross give no entry."""
    tick = instrument.tick_e8
    lowest = max(
        -(-touch * policy.stop_min_bps // 10_000),
        policy.stop_min_ticks,
        STOP_SPREADS * (quote.ask - quote.bid),
    )
    highest = touch * policy.stop_max_bps // 10_000
    if wanted.stop:
        distance = (touch - wanted.stop) * wanted.side.sign
        if distance <= 0:
            return Refused("the stop lies on the wrong side of the price")
        if distance < lowest:
            return Refused(f"the stop is nearer than {instrument.price_text(lowest)}")
        if distance > highest:
            return Refused(f"the stop is farther than {instrument.price_text(highest)}")
        return distance
    if not atr_e8:
        return Refused("the 5m bars are not ready and no stop was given")
    lowest = max(lowest, -(-STOP_ATR_FLOOR_PERMILLE * atr_e8 // (1_000 * tick)))
    if lowest > highest:
        return Refused("the bounds of the stop distance cross: too volatile or too wide a spread")
    distance = -(-stop_distance_e8(policy, atr_e8=atr_e8, factors=factors.stop) // tick)
    behind = (touch - factors.swing) * wanted.side.sign + factors.swing_clearance
    if factors.swing and behind > 0:
        width = SOFTNESS_PERMILLE * atr_e8 // (1_000 * tick)
        distance = -(-soft_minimum(distance, behind, width) // 1_000)
    return min(max(distance, lowest), highest)


def _target_distances(
    wanted: Wanted,
    *,
    touch: int,
    stop_distance: int,
    instrument: Instrument,
    policy: Policy,
    atr_e8: int,
    factors: LevelFactors,
) -> tuple[int, int] | Refused:
    """TP1 and TP2 as distances in ticks; TP1 < 1.2 · D is no entry (domain 6.2)."""
    sign = wanted.side.sign
    if wanted.target:
        first = (wanted.target - touch) * sign
        if first <= 0:
            return Refused("the target lies on the wrong side of the price")
    elif atr_e8 and not wanted.stop:
        first_e8 = target_distance_e8(
            policy, atr_e8=atr_e8, factors=factors.target, basis_against=factors.basis_against
        )
        first = first_e8 // instrument.tick_e8
    else:  # a stop by hand: the tables' own ratio of target to stop
        first = stop_distance * policy.target_atr_permille // policy.stop_atr_permille
    if first * 1_000 < stop_distance * policy.target_min_permille_of_stop:
        return Refused("the first target is nearer than 1.2 times the stop distance")
    if wanted.last_target:
        last = (wanted.last_target - touch) * sign
        if last < first:
            return Refused("the last target is nearer than the first")
    else:
        last = first * policy.last_target_permille // 1_000
    return first, last
