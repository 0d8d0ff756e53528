"""
The only place that carries stored integers over to another tick or lot size (domain 6.7: in one step).

Prices keep their value; one that does not fall on the new grid is rounded so that nothing loosens: stops away from
the price, like every stop (domain 6.4 step 5). Quantities round down. The book is dropped and asked for again.
"""

from __future__ import annotations

from pipeline.core.bars import rebuild
from pipeline.core.book import lose
from pipeline.core.events import Bar, Leg, Quote, Side
from pipeline.core.instruments import Instrument
from pipeline.core.positions import Position
from pipeline.core.state import SymbolState
from pipeline.core.units import Lots, Ticks


class Grid:
    """From one instrument's integers to another's."""

    __slots__ = ("new", "old")

    def __init__(self, old: Instrument, new: Instrument) -> None:
        self.old = old
        self.new = new

    def down(self, ticks: int) -> int:
        """A price in new ticks, rounded down."""
        return ticks * self.old.tick_e8 // self.new.tick_e8

    def up(self, ticks: int) -> int:
        """A price in new ticks, rounded up."""
        return -(-ticks * self.old.tick_e8 // self.new.tick_e8)

    def away(self, ticks: int, side: Side) -> int:
        """A stop of a position of *side*, rounded away from the price."""
        return self.down(ticks) if side is Side.BUY else self.up(ticks)

    def lots(self, lots: int) -> int:
        """A quantity in new lots; towards zero."""
        value = abs(lots) * self.old.step_e8 // self.new.step_e8
        return value if lots >= 0 else -value

    def money(self, money: int) -> int:
        """A sum of price (E8) × lots."""
        return money * self.old.step_e8 // self.new.step_e8


def rescale(state: SymbolState, new: Instrument) -> None:
    """Carry everything in *state* over to the grid of *new*; the caller stores the instrument."""
    old = state.instrument
    assert old is not None, state.symbol
    grid = Grid(old, new)
    lose(state.book)
    if state.quote is not None:
        known = state.quote
        state.quote = Quote(
            update_id=known.update_id,
            bid=Ticks(grid.down(known.bid)),
            bid_lots=Lots(grid.lots(known.bid_lots)),
            ask=Ticks(grid.up(known.ask)),
            ask_lots=Lots(grid.lots(known.ask_lots)),
            event_ms=known.event_ms,
        )
    gapped, ahead = state.bars.gapped, [_bar(grid, bar) for bar in state.bars.ahead]
    rebuild(state.bars, [_bar(grid, bar) for bar in state.bars.bars])
    state.bars.gapped = gapped or state.bars.gapped
    state.bars.ahead = ahead
    state.open_interest_lots = grid.lots(state.open_interest_lots)
    state.forming = None
    state.walls = None  # they stand in a grid of buckets; the book is asked for again anyway
    if state.foreign is not None:
        state.foreign.lots = grid.lots(state.foreign.lots)
    for position in [state.position, *state.ended]:
        if position is not None:
            _position(grid, position)


def _bar(grid: Grid, bar: Bar) -> Bar:
    return Bar(
        open_ms=bar.open_ms,
        open=Ticks(grid.down(bar.open)),
        high=Ticks(grid.up(bar.high)),
        low=Ticks(grid.down(bar.low)),
        close=Ticks(grid.down(bar.close)),
        lots=Lots(grid.lots(bar.lots)),
        quote_volume=bar.quote_volume,
        taker_lots=Lots(grid.lots(bar.taker_lots)),
        taker_quote=bar.taker_quote,
        trades=bar.trades,
        closed=bar.closed,
    )


def _position(grid: Grid, position: Position) -> None:
    side = position.side
    for name in ("stop", "far", "initial_stop", "previous_stop", "proven_stop", "refused_level"):
        setattr(position, name, grid.away(getattr(position, name), side))
    for name in ("limit", "target", "last_target"):
        setattr(position, name, grid.down(getattr(position, name)))
    for step in position.ladder:
        step.distance, step.price = grid.down(step.distance), grid.down(step.price)
    for name in ("stop_distance", "target_distance", "last_target_distance", "target_cap"):
        setattr(position, name, grid.down(getattr(position, name)))
    for name in ("planned_lots", "entered", "left", "external", "exit_booked"):
        setattr(position, name, grid.lots(getattr(position, name)))
    position.exit_money = grid.money(position.exit_money)
    if position.dispute is not None:
        position.dispute.lots = grid.lots(position.dispute.lots)
    for wish in position.wishes.values():
        wish.trigger = grid.away(wish.trigger, side)
        wish.lots = wish.lots if wish.lots < 0 else grid.lots(wish.lots)
    for order in position.orders.values():
        target = order.leg in (Leg.TARGET, Leg.LAST_TARGET, Leg.ENTRY)
        order.trigger = grid.down(order.trigger) if target else grid.away(order.trigger, side)
        order.lots = grid.lots(order.lots)
        order.filled = grid.lots(order.filled)
        order.booked = grid.lots(order.booked)
        order.money = grid.money(order.money)
