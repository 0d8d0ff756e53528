"""
The only place that keeps a symbol's walls and liquidation map up to date, and tells them to the rules.

Walls are watched while a position is held or the symbol is shortlisted (domain 6.5, 7), once a second of log time, on a
tick line: a depth diff pays nothing. The map folds closed bars; it grows only where open interest is polled, which is
for the same symbols. Both forget nothing when a process dies: they are part of the state.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pipeline.core import liquidation_map, walls
from pipeline.core.bars import BAR_MS
from pipeline.core.events import Bar, Side, Trade
from pipeline.core.liquidation_map import Cluster, LiquidationMap
from pipeline.core.state import SymbolState
from pipeline.core.turn import Turn
from pipeline.core.wall_rules import Zone, ZoneKind
from pipeline.core.wall_state import WallState, WallVerdict

DAY_BARS: Final = 288
BEYOND_TICKS: Final = 2  # X12: price closes beyond it by 2 ticks …
BEYOND_MS: Final = 1_000  # … for 1 s


class Lost(msgspec.Struct, frozen=True):
    """The wall a stop leant on is gone (X12)."""

    verdict: WallVerdict
    low_e8: int
    high_e8: int
    at_ms: int
    why: str


def watch(turn: Turn) -> None:
    """Sample the book if another second has begun; verdicts on confirmed walls are noted while a position is held."""
    state = turn.state
    known = state.walls
    if known is not None and not known.due(turn.now):
        return
    if state.position is None and not state.shortlisted:
        state.walls = None
        return
    instrument, book = state.instrument, state.book
    if instrument is None or not book.whole:
        return
    if known is None or known.tick_e8 != instrument.tick_e8 or known.step_e8 != instrument.step_e8:
        known = state.walls = WallState(tick_e8=instrument.tick_e8, step_e8=instrument.step_e8)
    position = state.position
    ended = walls.sample(
        known,
        book,
        now_ms=turn.now,
        atr_1h_e8=state.bars.one_hour.e8(instrument.tick_e8),
        own_lots=abs(position.lots) if position is not None else 0,
        day_quote_e8=_day_quote_e8(state, known),
    )
    mark_moved(state)
    if position is None:
        return
    for ending in ended:
        if ending.confirmed:
            place = f"{instrument.price_text(ending.low)} to {instrument.price_text(ending.high)}"
            turn.note(f"wall_{ending.verdict.value}", f"{_WORDS[ending.side]} {ending.id} at {place}")


_WORDS: Final = {Side.BUY: "bid wall", Side.SELL: "ask wall"}


def _day_quote_e8(state: SymbolState, known: WallState) -> int:
    """Quote volume of 24 h (USDT, E8), extrapolated while fewer bars are known; added up once a bar."""
    bars = state.bars.bars[-DAY_BARS:]
    if not bars:
        return 0
    if known.day_close_ms != bars[-1].open_ms + BAR_MS:
        known.day_close_ms = bars[-1].open_ms + BAR_MS
        known.day_quote_e8 = sum(bar.quote_volume for bar in bars) * DAY_BARS // len(bars)
    return known.day_quote_e8


def traded(state: SymbolState, event: Trade) -> None:
    """A trade at a wall's price is part of what tells eaten from pulled."""
    if state.walls is not None:
        walls.on_trade(state.walls, event)


def mark_moved(state: SymbolState) -> None:
    """Look whether the mark stands beyond a wall that was eaten."""
    known = state.walls
    if known is not None and known.endings and state.mark is not None:
        walls.watch_price(known, price_e8=state.mark.mark, margin_ticks=BEYOND_TICKS, now_ms=state.log_ms)


def bar_closed(state: SymbolState, event: Bar) -> None:
    """Fold a closed bar into the liquidation map; a symbol whose open interest is not polled has none."""
    if state.instrument is None or (state.liquidations is None and not state.open_interest_lots):
        return
    if state.liquidations is None:
        state.liquidations = LiquidationMap()
    liquidation_map.fold_bar(
        state.liquidations,
        event,
        state.instrument,
        open_interest_lots=state.open_interest_lots,
        open_interest_ms=state.open_interest_ms,
        tiers=_tiers(state),
    )


def _tiers(state: SymbolState) -> tuple[liquidation_map.Tier, ...]:
    """The mix of leverages with the symbol's own maintenance rates, once its brackets are known."""
    brackets = state.brackets
    if not brackets:
        return liquidation_map.TIERS
    return liquidation_map.tiers_of(brackets, maximum=max(bracket.leverage for bracket in brackets))


def liquidated(state: SymbolState, *, side: Side, price_e8: int, notional_e8: int) -> None:
    """Count a forced order of the sampled stream; *side* is the order's."""
    if state.liquidations is None:
        state.liquidations = LiquidationMap()
    liquidation_map.on_liquidation(
        state.liquidations, side=side, price_e8=price_e8, notional_e8=notional_e8, now_ms=state.log_ms
    )


def realised_clusters(state: SymbolState) -> list[Cluster]:
    """Where much was liquidated lately (a sample, half-life 30 min)."""
    known = state.liquidations
    return liquidation_map.clusters(known, now_ms=state.log_ms) if known is not None else []


def zones_of(state: SymbolState) -> list[Zone]:
    """Every confirmed wall whose samples are fresh, and the bands of the estimated map (a model)."""
    zones: list[Zone] = []
    known, instrument = state.walls, state.instrument
    if (
        known is not None
        and instrument is not None
        and known.tick_e8 == instrument.tick_e8
        and known.fresh(state.log_ms)
        and state.book.whole
    ):
        zones += [
            Zone(
                kind=ZoneKind.BID_WALL if band.side is Side.BUY else ZoneKind.ASK_WALL,
                id=band.id,
                low_e8=band.low * known.tick_e8,
                high_e8=band.high * known.tick_e8,
                strength_permille=band.strength_permille,
                since_ms=band.since_ms,
                confirmed_ms=band.confirmed_ms,
                modelled=False,
            )
            for band in known.bands
        ]
    if state.liquidations is not None:
        zones += [
            Zone(
                kind=ZoneKind.LONGS if band.side is Side.BUY else ZoneKind.SHORTS,
                id=band.id,
                low_e8=band.low_e8,
                high_e8=band.high_e8,
                strength_permille=band.strength_permille,
                since_ms=band.since_ms,
                confirmed_ms=band.since_ms,
                modelled=True,
            )
            for band in state.liquidations.bands
        ]
    return zones


def wall_lost(state: SymbolState, wall_id: int) -> Lost | None:
    """
    X12: what became of the wall a stop leant on, None while nothing is proven.

    PULLED and FLICKER count at once, EATEN once the mark stood 2 ticks beyond it for 1 s; an ICEBERG and a wall that
    was lost from sight (resync, faded) count never.
    """
    known = state.walls
    if known is None or not wall_id:
        return None
    for ending in reversed(known.endings):
        if ending.id != wall_id:
            continue
        match ending.verdict:
            case WallVerdict.PULLED | WallVerdict.FLICKER:
                why = f"the wall was {'pulled' if ending.verdict is WallVerdict.PULLED else 'a flicker'}"
            case WallVerdict.EATEN if ending.beyond_ms and state.log_ms - ending.beyond_ms >= BEYOND_MS:
                why = "the wall was eaten and the price stands beyond it"
            case _:
                return None
        return Lost(
            verdict=ending.verdict,
            low_e8=ending.low * known.tick_e8,
            high_e8=ending.high * known.tick_e8,
            at_ms=ending.at_ms,
            why=why,
        )
    return None
