"""
The only place for the gates of an entry that a signal asks for (domain section 5): one row each, all told, none hidden.

A gate looks at one thing and says what it found, what is allowed, and ``pass``, ``refuse`` or ``unknown``. What cannot
be seen refuses where the row says so (liquidity, spread, impact: P5) and is ``unknown``, without refusing, where only
an extreme would refuse (basis, open interest, cascade, walls). Every gate is judged at every closed bar, so that people
can read why not; the account's own (slots, cool-down, day loss, heat) stand in ``core.risk`` and ``core.account``.

All numbers are integers of ``Scores`` (1/1000) and the policy; written for a long and mirrored by the sign of the side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from pipeline.core.bars import BAR_MS
from pipeline.core.commands import GateRow
from pipeline.core.events import Side
from pipeline.core.feeds import age_ms, entry_blocks
from pipeline.core.policies import Policy
from pipeline.core.scores import Scores
from pipeline.core.sizing import Plan
from pipeline.core.state import SymbolState
from pipeline.core.units import ONE_E8
from pipeline.core.wall_rules import Zone, opposing_kinds

PASS: Final = "pass"
REFUSE: Final = "refuse"
UNKNOWN: Final = "unknown"
LEVELS_SEEN: Final = 200  # of the local book, for the impact of the order
FEEDS: Final = 6
UNIVERSE: Final = "universe"
DAY_BARS: Final = 288
MISMATCH_BPS: Final = 50  # mark and middle farther apart than this disagree


class View(msgspec.Struct, frozen=True):
    """
    What the gates look at: one symbol at one moment for one side.

    ``plan`` are the levels an entry would have now, or why there are none; ``zones`` walls and bands; ``funding`` is
    (last, next) settlement in ms, 0 unknown; ``order_e8`` the notional that the impact is judged for.
    """

    state: SymbolState
    scores: Scores
    side: Side
    plan: Plan | str
    zones: list[Zone]
    funding: tuple[int, int]
    order_e8: int

    @property
    def sign(self) -> int:
        """+1 for a long."""
        return self.side.sign

    @property
    def touch(self) -> int:
        """The price an entry would pay, in ticks; 0 without a quote."""
        quote = self.state.quote
        if quote is None:
            return 0
        return quote.ask if self.side is Side.BUY else quote.bid


Found = tuple[str, str, str]  # value, limit, verdict


class Gate(msgspec.Struct, frozen=True):
    """One row: its id, what it asks for (for people), and the look."""

    id: str
    text: str
    look: Callable[[View, Policy], Found]


def judge(view: View, policy: Policy) -> list[GateRow]:
    """Every gate in the order of the table."""
    rows = []
    for gate in GATES:
        value, limit, verdict = gate.look(view, policy)
        rows.append(GateRow(gate.id, value, limit, verdict, "" if verdict == PASS else gate.text))
    if policy.plugins:
        rows += _plugin_rows(view, policy)
    return rows


def _plugin_rows(view: View, policy: Policy) -> list[GateRow]:
    """
    A row for each factor of the owner that is to gate. It speaks of the newest bar or of the one before (its answer to
    the newest may still be on the way); one that is silent, doubtful or switched off refuses, as nothing seen does.
    """
    rows: list[GateRow] = []
    for row in policy.plugins:
        if row.least is None or row.shadow:
            continue
        known = view.state.plugins.get(row.name)
        value = None
        if known is not None and known.row == row and 2 * known.quality >= 1_000 and not known.off:
            fresh = view.scores.bar_close_ms - known.value_ms <= BAR_MS
            value = view.sign * known.value if fresh else None
        found, limit, verdict = _atleast(value, row.least * 1_000, 1_000, "", missing=REFUSE)
        text = "" if verdict == PASS else f"the plug-in {row.name} speaks for the side"
        rows.append(GateRow(f"plugin {row.name}", found, limit, verdict, text))
    return rows


def refusals(rows: list[GateRow]) -> list[str]:
    """The ids of the gates that refuse."""
    return [row.id for row in rows if row.verdict == REFUSE]


def _upto(value: int | None, limit: int, unit: int, word: str, *, missing: str) -> Found:
    """At most *limit*, both in 1/*unit*."""
    if value is None:
        return "not known", f"≤ {limit / unit:g}{word}", missing
    return f"{value / unit:g}{word}", f"≤ {limit / unit:g}{word}", PASS if value <= limit else REFUSE


def _atleast(value: int | None, limit: int, unit: int, word: str, *, missing: str) -> Found:
    if value is None:
        return "not known", f"≥ {limit / unit:g}{word}", missing
    return f"{value / unit:g}{word}", f"≥ {limit / unit:g}{word}", PASS if value >= limit else REFUSE


# ---------------------------------------------------------------------------------------------------------- the looks


def _feeds(view: View, _: Policy) -> Found:
    blocks = entry_blocks(view.state)
    return "; ".join(blocks) or "whole and fresh", "whole and fresh", REFUSE if blocks else PASS


def _position(view: View, _: Policy) -> Found:
    held = view.state.position is not None
    return "open" if held else "none", "none", REFUSE if held else PASS


def _coverage(view: View, policy: Policy) -> Found:
    return _atleast(view.scores.coverage, policy.gate_coverage_permille, 1_000, "", missing=REFUSE)


def data_quality(state: SymbolState) -> int:
    """
    Permille: 1 − 0.40 missing − 0.25 out of order − 0.20 drift − 0.15 mismatch (domain section 5).

    Missing: feeds that are not whole, of six. Out of order: lines more than a second off, of all. Drift: age of the
    quote, of what is allowed. Mismatch: mark and middle apart by more than 50 bps (two sources of one price).
    """
    missing = min(1_000, 1_000 * len(state.feeds) // FEEDS)
    late = 1_000 * state.late_lines // max(1, state.lines)
    drift = 1_000
    if state.quote_stamp is not None:
        drift = min(1_000, max(0, 1_000 * age_ms(state, state.quote_stamp.at_ms) // state.policy.quote_max_age_ms))
    mismatch = 1_000
    quote, mark, instrument = state.quote, state.mark, state.instrument
    if quote is not None and mark is not None and instrument is not None:
        twice_middle = (quote.bid + quote.ask) * instrument.tick_e8
        apart = abs(twice_middle - 2 * mark.mark)
        mismatch = 1_000 if apart * 10_000 > MISMATCH_BPS * twice_middle else 0
    return 1_000 - (400 * missing + 250 * late + 200 * drift + 150 * mismatch) // 1_000


def _data_quality(view: View, policy: Policy) -> Found:
    return _atleast(data_quality(view.state), policy.gate_data_quality_permille, 1_000, "", missing=REFUSE)


def _liquidity(view: View, policy: Policy) -> Found:
    value = view.scores.value("L") if view.scores.ready("L") else None
    return _atleast(value, policy.gate_liquidity_points * 1_000, 1_000, "", missing=REFUSE)


def _spread(view: View, policy: Policy) -> Found:
    quote = view.state.quote
    value = None
    if quote is not None and quote.bid > 0:
        value = (quote.ask - quote.bid) * 20_000_000 // (quote.bid + quote.ask)
    return _upto(value, policy.gate_spread_bps * 1_000, 1_000, " bps", missing=REFUSE)


def impact_millibps(view: View) -> int | None:
    """
    How far the average price of a market order of ``order_e8`` lies from the middle, in 1/1000 bps (domain 4.7).

    None when the book is not whole or too thin for the order.
    """
    book, instrument = view.state.book, view.state.instrument
    if not book.whole or instrument is None:
        return None
    bids, asks = book.top(LEVELS_SEEN)
    levels = asks if view.side is Side.BUY else bids
    if not bids or not asks or bids[0][0] <= 0:
        return None
    twice_middle = bids[0][0] + asks[0][0]
    left, lots_e8 = view.order_e8, 0
    for price, lots in levels:
        price_e8 = instrument.price_e8(price)
        notional = instrument.notional_e8(lots=lots, price_e8=price_e8)
        if notional >= left:
            lots_e8 += left * ONE_E8 // price_e8
            left = 0
            break
        lots_e8 += lots * instrument.step_e8
        left -= notional
    if left or not lots_e8:
        return None
    average_e8 = view.order_e8 * ONE_E8 // lots_e8
    away = abs(2 * average_e8 - twice_middle * instrument.tick_e8)
    return away * 10_000_000 // (twice_middle * instrument.tick_e8)


def _impact(view: View, policy: Policy) -> Found:
    return _upto(impact_millibps(view), policy.gate_impact_bps * 1_000, 1_000, " bps", missing=REFUSE)


def _imbalance(view: View, policy: Policy) -> Found:
    value = view.sign * view.scores.obi if view.scores.ready("L") else None
    return _atleast(value, -policy.gate_imbalance_permille, 1_000, "", missing=REFUSE)


def _basis(view: View, policy: Policy) -> Found:
    value = abs(view.scores.basis_millibps) if view.scores.ready("B") else None
    return _upto(value, policy.gate_basis_bps * 1_000, 1_000, " bps", missing=UNKNOWN)


def _open_interest(view: View, _: Policy) -> Found:
    if not view.scores.ready("O"):
        return "not known", "≤ 1.5 × its mean", UNKNOWN
    crowded = view.scores.blocks_entries
    return "above" if crowded else "below", "≤ 1.5 × its mean", REFUSE if crowded else PASS


def _carry(view: View, _: Policy) -> Found:
    if not view.scores.ready("B"):
        return "not known", "not paid by this side", UNKNOWN
    pays = view.scores.carry_extreme == view.sign
    return "this side pays" if pays else "not paid", "not paid by this side", REFUSE if pays else PASS


def _money_first(view: View, _: Policy) -> Found:
    """F: a side that chases (F_al < −70) is vetoed by the composite (domain 4.11)."""
    vetoes = view.scores.vetoes_long if view.side is Side.BUY else view.scores.vetoes_short
    return "; ".join(vetoes) or "no veto", "no veto", REFUSE if vetoes else PASS


def _funding(view: View, policy: Policy) -> Found:
    last, coming = view.funding
    window, now = policy.gate_funding_window_ms, view.state.log_ms
    limit = f"± {window // 1_000} s"
    if not last and not coming:
        return "not known", limit, UNKNOWN
    apart = min(abs(now - at) for at in (last, coming) if at)
    return f"{apart // 1_000} s away", limit, REFUSE if apart <= window else PASS


def _cascade(view: View, _: Policy) -> Found:
    if not view.scores.ready("Q"):
        return "not known", "none against", UNKNOWN
    against = view.scores.cascade_down if view.side is Side.BUY else view.scores.cascade_up
    return "against" if against else "none", "none against", REFUSE if against else PASS


def _room(view: View, policy: Policy) -> Found:
    """Distance to the nearest opposing level of S, in A (domain 4.3)."""
    scores, touch, sign = view.scores, view.touch, view.sign
    limit = policy.gate_room_atr_permille
    if not scores.atr_1h_milliticks or not touch or not scores.ready("S"):
        return "not known", f"≥ {limit / 1_000:g} A", REFUSE
    levels = (scores.swing_high, scores.highest_day) if sign > 0 else (scores.swing_low, scores.lowest_day)
    ahead = [(level - touch) * sign for level in levels if level and (level - touch) * sign > 0]
    if not ahead:
        return "nothing ahead", f"≥ {limit / 1_000:g} A", PASS
    return _atleast(min(ahead) * 1_000_000 // scores.atr_1h_milliticks, limit, 1_000, " A", missing=REFUSE)


def _wall(view: View, policy: Policy) -> Found:
    limit = policy.gate_wall_r_permille
    instrument = view.state.instrument
    if isinstance(view.plan, str) or instrument is None:
        return "no levels", f"≥ {limit / 1_000:g} R", UNKNOWN
    touch_e8, risk_e8 = instrument.price_e8(view.touch), instrument.price_e8(view.plan.stop_distance)
    wall = opposing_kinds(view.side)[0]
    near = [
        ((zone.low_e8 if view.sign > 0 else zone.high_e8) - touch_e8) * view.sign
        for zone in view.zones
        if zone.kind is wall and ((zone.high_e8 if view.sign > 0 else zone.low_e8) - touch_e8) * view.sign >= 0
    ]
    if not near:
        return "none seen", f"≥ {limit / 1_000:g} R", PASS if view.state.walls is not None else UNKNOWN
    return _atleast(max(0, min(near)) * 1_000 // risk_e8, limit, 1_000, " R", missing=UNKNOWN)


def _levels(view: View, policy: Policy) -> Found:
    """The levels of domain 6.2 exist; TP1 ≥ 1.2 × the stop distance is part of them."""
    limit = policy.target_min_permille_of_stop
    if isinstance(view.plan, str):
        return view.plan, f"TP1 ≥ {limit / 1_000:g} D", REFUSE
    ratio = view.plan.target_distance * 1_000 // view.plan.stop_distance
    return _atleast(ratio, limit, 1_000, " D", missing=REFUSE)


def _universe(view: View, policy: Policy) -> Found:
    """
    24 h of quote volume and trades (domain section 7) from the closed bars at hand: the venue's ticker/24hr is the same
    sum, asked for by REST. Fewer bars speak for the day; ``feeds`` refuses until there are enough of them.
    """
    limit = f"≥ {policy.gate_day_quote_usdt / 1e6:g} M USDT and {policy.gate_day_trades} trades a day"
    bars = view.state.bars.bars[-DAY_BARS:]
    if not bars:
        return "not known", limit, REFUSE
    quote = sum(bar.quote_volume for bar in bars) * DAY_BARS // len(bars) // ONE_E8
    trades = sum(bar.trades for bar in bars) * DAY_BARS // len(bars)
    inside = quote >= policy.gate_day_quote_usdt and trades >= policy.gate_day_trades
    return f"{quote / 1e6:.1f} M USDT, {trades} trades", limit, PASS if inside else REFUSE


GATES: Final[tuple[Gate, ...]] = (
    Gate("feeds", "every feed of the symbol is whole and fresh", _feeds),
    Gate(UNIVERSE, "the symbol is traded enough", _universe),
    Gate("position", "one position a symbol", _position),
    Gate("coverage", "enough of the factors speak", _coverage),
    Gate("data_quality", "the data are complete, in order, fresh and agree", _data_quality),
    Gate("liquidity", "factor L", _liquidity),
    Gate("spread", "the spread is narrow", _spread),
    Gate("impact", "the order does not move the price", _impact),
    Gate("imbalance", "the book does not lean against the trade", _imbalance),
    Gate("basis", "perpetual and index agree", _basis),
    Gate("open_interest", "open interest is not crowded", _open_interest),
    Gate("carry", "no extreme carry is paid", _carry),
    Gate("money_first", "money leads the price", _money_first),
    Gate("funding", "this symbol's settlement is not near", _funding),
    Gate("cascade", "no liquidation cascade runs against the trade", _cascade),
    Gate("room", "the next level of the structure leaves room", _room),
    Gate("wall", "no opposing wall stands within the risk", _wall),
    Gate("levels", "stop and target can be placed and pay", _levels),
)
