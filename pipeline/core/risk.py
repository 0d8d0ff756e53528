"""
The only place that judges the account as a whole: day loss, margin ratio, drawdown, heat, exposure, cool-downs.

Domain 5, 6.3 (X3, day loss) and 7. Two sources tell how much there is: the *marks* (wallet as the user stream states it
and the open PnL that decide reports once a second) and the *account* (a whole read by the executor). What closes
positions needs both, at least a second apart: the first one that says a bound is broken stops entries at once and asks
for a read with the transfers of the day; only when the other says so too, trading stops. A source that cannot speak
(a position not reported for 5 s, a read older than the wallet) says nothing, neither yes nor no. A read without the
transfers acquits and makes suspicious, but condemns nobody: the money that is missing may have been taken out.

All money is E8 USDT, all bounds permille; nothing here is a float, so no NaN can pass for "no loss".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from pipeline.core.account_state import AccountState, RiskRules, RiskState, Slot, Suspicion, Tier
from pipeline.core.account_words import AccountOutput, AlertWanted, ReadWanted
from pipeline.core.balance import READ_VALID_MS, Figures, Read, equity_by_marks, known, marks
from pipeline.core.bars import BAR_MS
from pipeline.core.commands import ReportTrade
from pipeline.core.entry_terms import Refused
from pipeline.core.events import Side, TradingMode
from pipeline.core.units import E8, ONE_E8, Milliseconds, format_e8

APART_MS: Final = 1_000  # domain 6.3: two readings at least this far apart
READ_AGAIN_MS: Final = 5_000  # between two questions for a second reading
UNCONFIRMED_MS: Final = 30_000  # a suspicion that no read confirms or ends is told to people after this, and again
RELIEF_PERMILLE: Final = 800  # half sizes end when the drawdown is below this share of their bound
STOP_OUTCOMES: Final = ("hard_stop", "trailing_stop", "breakeven_stop", "emergency")


class Bound(msgspec.Struct, frozen=True):
    """
    One row: ``lost`` of ``whole`` may be below ``limit`` permille; ``tier`` is what follows when it is not. With
    ``by_transfers`` money taken out looks like a loss as long as it is not known.
    """

    id: str
    text: str
    lost: Callable[[RiskState, Figures], int]
    whole: Callable[[RiskState, Figures], int]
    limit: Callable[[RiskRules], int]
    tier: Tier
    by_transfers: bool = True


def _below_peak(risk: RiskState, now: Figures) -> int:
    return risk.peak - now.equity


def _peak(risk: RiskState, _: Figures) -> int:
    return risk.peak


BOUNDS: Final[tuple[Bound, ...]] = (
    Bound(
        "X3 day loss",
        "of the balance at 00:00 UTC",
        lambda risk, now: risk.baseline + risk.transfers - now.equity,
        lambda risk, _: risk.baseline + min(0, risk.transfers),
        lambda rules: rules.day_loss_permille,
        Tier.HALTED,
    ),
    Bound(
        "X3 margin ratio",
        "of the margin balance must stay",
        lambda _, now: now.maintenance,
        lambda _, now: now.equity,
        lambda rules: rules.margin_ratio_permille,
        Tier.HALTED,
        by_transfers=False,
    ),
    Bound(
        "drawdown halt",
        "below the highest balance",
        _below_peak,
        _peak,
        lambda rules: rules.drawdown_halted_permille,
        Tier.HALTED,
    ),
    Bound(
        "drawdown close-only",
        "below the highest balance",
        _below_peak,
        _peak,
        lambda rules: rules.drawdown_close_only_permille,
        Tier.CLOSE_ONLY,
    ),
    Bound(
        "drawdown reduced",
        "below the highest balance",
        _below_peak,
        _peak,
        lambda rules: rules.drawdown_reduced_permille,
        Tier.REDUCED,
    ),
)
_RANK: Final = {tier: rank for rank, tier in enumerate(Tier)}
_MODE: Final = {Tier.HALTED: TradingMode.HALTED, Tier.CLOSE_ONLY: TradingMode.REDUCE_ONLY}

# ---------------------------------------------------------------------------------------------------------- judgement


def judge(
    state: AccountState, rules: RiskRules, outputs: list[AccountOutput], *, read: Read
) -> tuple[TradingMode, str] | None:
    """
    Hold what there is against every bound; *read* says what a read that has just been folded is worth.

    Returns the trading mode that must now be set and why, None when nothing changes.
    """
    risk = state.risk
    if state.mode is TradingMode.HALTED or not known(state):
        return None
    sources = [("marks", marks(state))]
    if read is not Read.NONE:
        sources.append(("account", Figures(risk.margin, risk.maintenance)))
    stop: tuple[Bound, Figures] | None = None
    for source, figures in sources:
        if figures is None:
            continue
        for bound in BOUNDS:
            if not _is_broken(risk, rules, bound, figures):
                _acquit(risk, bound.id, source)
                continue
            text = _broken(state, rules, bound, figures)
            proves = source == "marks" or read is Read.WHOLE or not bound.by_transfers or _long_asked(state, bound.id)
            confirmed = _confirmed(state, bound, source, text, outputs, proves=proves)
            if confirmed and (stop is None or _RANK[bound.tier] > _RANK[stop[0].tier]):
                stop = (bound, figures)
    if read is Read.WHOLE or (read is Read.PLAIN and not risk.unexplained):
        _relieve(risk, rules)
    _ask_again(state, outputs)
    if stop is None:
        return None
    bound, figures = stop
    text = _broken(state, rules, bound, figures)
    risk.tier = bound.tier
    mode = _MODE.get(bound.tier)
    if mode is None:
        outputs.append(AlertWanted("", "drawdown_reduced", "warning", f"sizes are reduced: {text}"))
        return None
    risk.stopped_by = bound.id  # also when a person stopped trading before: a resume begins anew
    if state.mode is mode:
        return None
    return mode, text


def _long_asked(state: AccountState, name: str) -> bool:
    """The transfers were asked for all this while and nobody can say them: a read without them must do."""
    suspicion = state.risk.suspicions.get(name)
    return suspicion is not None and 0 <= suspicion.marks_ms <= state.log_ms - UNCONFIRMED_MS


def _confirmed(
    state: AccountState, bound: Bound, source: str, text: str, outputs: list[AccountOutput], *, proves: bool
) -> bool:
    """
    One source says that the bound is broken; True when the other one has said so at least a second before. What proves
    nothing makes suspicious: entries wait, and the account is read with the transfers.
    """
    risk = state.risk
    suspicion = risk.suspicions.get(bound.id)
    if _RANK[risk.tier] >= _RANK[bound.tier]:
        return False  # acted upon already
    if suspicion is None:
        suspicion = risk.suspicions[bound.id] = Suspicion()
        if bound.tier is not Tier.REDUCED:
            outputs.append(AlertWanted("", "risk_suspected", "warning", f"entries wait for a second reading: {text}"))
    if not proves:
        return False
    mine, other = suspicion.marks_ms, suspicion.account_ms
    if source == "marks":
        suspicion.marks_ms = state.log_ms if mine < 0 else mine
        if other >= 0 and state.log_ms - risk.read_ms > READ_VALID_MS:
            suspicion.account_ms = other = -1
    else:
        mine, other = other, mine
        suspicion.account_ms = state.log_ms if mine < 0 else mine
    if other < 0 or state.log_ms - other < APART_MS:
        return False
    del risk.suspicions[bound.id]
    return True


def _acquit(risk: RiskState, name: str, source: str) -> None:
    """A source says that all is well."""
    suspicion = risk.suspicions.get(name)
    if suspicion is None:
        return
    if source == "marks":
        suspicion.marks_ms = -1
    else:
        suspicion.account_ms = -1
    if suspicion.marks_ms < 0 and suspicion.account_ms < 0:
        del risk.suspicions[name]


def _is_broken(risk: RiskState, rules: RiskRules, bound: Bound, figures: Figures) -> bool:
    limit = bound.limit(rules)
    if not limit:
        return False
    lost, whole = bound.lost(risk, figures), bound.whole(risk, figures)
    return lost > 0 and lost * 1_000 >= limit * whole


def _broken(state: AccountState, rules: RiskRules, bound: Bound, figures: Figures) -> str:
    lost, whole = bound.lost(state.risk, figures), bound.whole(state.risk, figures)
    share = f"{lost * 10_000 // whole / 100:.2f} %" if whole > 0 else "more than all"
    return (
        f"{bound.id}: {_usdt(lost)} USDT, {share} {bound.text} ({_usdt(whole)}); "
        f"the limit is {bound.limit(rules) / 10:g} %"
    )


def _usdt(value: int) -> str:
    return format_e8(value // 1_000_000 * 1_000_000)


def _relieve(risk: RiskState, rules: RiskRules) -> None:
    """Half sizes end by a read that stands well above their bound; what stopped trading ends by a resume alone."""
    limit = rules.drawdown_reduced_permille * RELIEF_PERMILLE // 1_000
    if risk.tier is Tier.REDUCED and (risk.peak - risk.margin) * 1_000 < limit * risk.peak:
        risk.tier = Tier.NORMAL


def _ask_again(state: AccountState, outputs: list[AccountOutput]) -> None:
    """While no read with transfers has proven what is suspected, the account is read at once and every five seconds."""
    risk = state.risk
    waiting = {
        name: found.marks_ms if found.marks_ms >= 0 else state.log_ms
        for name, found in risk.suspicions.items()
        if found.account_ms < 0
    }
    if risk.unexplained and not waiting:
        waiting["wallet"] = state.log_ms
    if not waiting or (risk.asked_ms >= 0 and state.log_ms - risk.asked_ms < READ_AGAIN_MS):
        return
    names, since_ms = ", ".join(waiting), min(waiting.values())
    if (state.log_ms - since_ms) // UNCONFIRMED_MS > max(0, risk.asked_ms - since_ms) // UNCONFIRMED_MS:
        text = f"{names}: suspected for {(state.log_ms - since_ms) // 1_000} s, and the account cannot be read"
        outputs.append(AlertWanted("", "risk_unconfirmed", "critical", text))
    risk.asked_ms = state.log_ms
    outputs.append(ReadWanted(names, risk.since_ms))


# ---------------------------------------------------------------------------------------------------------- admission


class Allowance(msgspec.Struct, frozen=True):
    """What an entry may cost: notional at most, the loss at its far rail at most, and the budget of a size by risk."""

    notional: E8
    max_loss: E8
    risk: E8


def allowance(
    state: AccountState, rules: RiskRules, *, side: Side, largest: E8, wanted: E8, independence: int
) -> Allowance:
    """
    Bounds of one more entry of *wanted*, *largest* being the most that is ever allowed; raises Refused without room.

    Heat (domain 5) counts the loss from the entry to the far rail and slippage; what a stop has locked in elsewhere
    does not pay for it. A symbol whose independence is not known counts as correlated with everything on its side.
    """
    risk = state.risk
    if not known(state):
        raise Refused("the balance is not known yet: the executor has to read the account first; try again")
    equity = equity_by_marks(state)
    if equity <= 0:
        raise Refused(f"the account holds {_usdt(equity)} USDT: there is nothing to risk")
    doubts = [name for name in risk.suspicions if name != "drawdown reduced"]
    if doubts:
        raise Refused(f"{', '.join(doubts)}: suspected by one source, entries wait for a second reading")
    share = rules.reduced_size_permille if risk.tier is Tier.REDUCED else 1_000
    most = largest * share // 1_000
    used = exposure(state)
    room = _room(equity, rules.exposure_permille, used, f"exposure: positions of {_usdt(used)} USDT are open")
    most = most if room is None else min(most, room)
    if independence < rules.correlated_below:
        near = exposure(state, side=side, below=rules.correlated_below)
        word = "long" if side is Side.BUY else "short"
        room = _room(
            equity,
            rules.correlated_exposure_permille,
            near,
            f"correlation: {_usdt(near)} USDT stand on the {word} side of one market",
        )
        most = most if room is None else min(most, room)
    heat = portfolio_heat(state, rules)
    left = equity * rules.heat_permille * share // 1_000_000 - heat if rules.heat_permille else most
    if left <= 0:
        raise Refused(
            f"portfolio heat: {_usdt(heat)} USDT would be lost if every far rail were hit, "
            f"risk.heat_permille allows {rules.heat_permille / 10:g} % of {_usdt(equity)}"
        )
    worst = min(most, wanted) * (rules.worst_stop_bps + rules.heat_slippage_bps) // 10_000
    return Allowance(
        notional=E8(most),
        max_loss=E8(min(left, worst)),
        risk=E8(equity * rules.risk_permille * share // 1_000_000),
    )


def _room(equity: int, limit: int, used: int, text: str) -> int | None:
    if not limit:
        return None
    left = equity * limit // 1_000 - used
    if left <= 0:
        raise Refused(f"{text}, {limit / 10:g} % of {_usdt(equity)} is allowed")
    return left


def exposure(state: AccountState, *, side: Side | None = None, below: int = 101) -> int:
    """Notional of all slots at their entry prices; of one *side* and of independence *below* alone when asked."""
    total = 0
    for slot in state.slots.values():
        if (side is None or slot.side is side) and slot.independence < below:
            total += slot_notional(state, slot)
    return total


def slot_notional(state: AccountState, slot: Slot) -> int:
    """What a slot costs: as reported, else as admitted."""
    report, instrument = slot.report, state.instruments.get(slot.symbol)
    if report is None or not report.lots or instrument is None:
        return slot.notional
    return instrument.notional_e8(lots=report.lots, price_e8=report.entry_price)


def portfolio_heat(state: AccountState, rules: RiskRules) -> int:
    """The loss if every far rail were hit at once, with slippage; no position counts as a gain."""
    return sum(_slot_heat(state, rules, slot) for slot in state.slots.values())


def _slot_heat(state: AccountState, rules: RiskRules, slot: Slot) -> int:
    report, instrument = slot.report, state.instruments.get(slot.symbol)
    if report is None or not report.lots or instrument is None:
        return slot.reserved
    notional = slot_notional(state, slot)
    rail = report.far or report.stop
    if not rail:
        return notional * (rules.worst_stop_bps + rules.heat_slippage_bps) // 10_000
    sign = 1 if report.lots > 0 else -1
    distance = max(0, (report.entry_price - instrument.price_e8(rail)) * sign)
    loss = abs(report.lots) * instrument.step_e8 * distance // ONE_E8
    return loss + notional * rules.heat_slippage_bps // 10_000


# --------------------------------------------------------------------------------------------------------- cool-downs


def cool_down(state: AccountState, rules: RiskRules, symbol: str, trade: ReportTrade) -> None:
    """After a trade the symbol rests: 3 bars, 12 after a stop-out (domain section 5)."""
    lost = trade.outcome == "hard_stop" or (trade.outcome in STOP_OUTCOMES and trade.realised < trade.fees)
    bars = rules.cool_down_stop_bars if lost else rules.cool_down_bars
    if bars:  # a trade by hand meanwhile does not shorten the rest after a stop-out
        until_ms = (state.log_ms // BAR_MS + bars) * BAR_MS
        state.risk.cool_until_ms[symbol] = max(until_ms, state.risk.cool_until_ms.get(symbol, 0))


def cooling(state: AccountState, symbol: str) -> Milliseconds:
    """How long the symbol still rests, in ms; 0 when it may be entered."""
    return Milliseconds(max(0, state.risk.cool_until_ms.get(symbol, 0) - state.log_ms))
