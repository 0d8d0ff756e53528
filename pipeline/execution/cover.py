"""
The only place that proves cover from the venue's own words: rows of positionRisk and openAlgoOrders, nothing of ours.

This is another code path on purpose (issue 8): it knows no journal, no state and no type of the executor, so what they
get wrong it does not repeat. The auditor of the executor and ``perpguard kill`` ask it.

A stop covers when it is a STOP_MARKET on the closing side of the position, still waiting (NEW), and fires before the
liquidation does. One closePosition stop covers everything, reduce-only stops cover their quantity (domain 6.1).
"""

from __future__ import annotations

from typing import Final

import msgspec

from pipeline.core.units import E8, NotADecimal, parse_e8

BOTH: Final = "BOTH"
BUY: Final = "BUY"
SELL: Final = "SELL"
WAITING: Final = "NEW"
FIRING: Final = frozenset({"TRIGGERING", "TRIGGERED"})


class ReadIncomplete(Exception):
    """What came back is not a whole list: it proves nothing (pains 3, 11)."""


class PositionRow(msgspec.Struct, frozen=True, rename="camel"):
    """A row of positionRisk v3, as far as cover needs it; amounts are the venue's decimals."""

    symbol: str
    position_amt: str
    position_side: str = BOTH
    entry_price: str = "0"
    mark_price: str = "0"
    liquidation_price: str = "0"


class AlgoRow(msgspec.Struct, frozen=True, rename="camel"):
    """A row of openAlgoOrders."""

    client_algo_id: str
    algo_id: int
    order_type: str
    symbol: str
    side: str
    position_side: str = BOTH
    algo_status: str = WAITING
    quantity: str = "0"
    trigger_price: str = "0"
    close_position: bool = False
    reduce_only: bool = False

    @property
    def only_closes(self) -> bool:
        """It can add to no position (one-way mode); in hedge mode see ``closes``."""
        return self.close_position or self.reduce_only

    def closes(self) -> bool:
        """It can only reduce: by its flags, or in hedge mode by side and position side."""
        return self.only_closes or (self.position_side, self.side) in _HEDGE_CLOSES


_HEDGE_CLOSES: Final = frozenset({("LONG", SELL), ("SHORT", BUY)})


class Cover(msgspec.Struct, frozen=True):
    """
    The verdict on one open position; amounts and prices in 10^-8.

    ``firing``: a stop is going off right now, so a position seen without a waiting stop may be on its way out.
    ``through``: the mark is beyond a stop that still waits (X2 if it lasts). ``dangling``: stops behind liquidation.
    """

    symbol: str
    position_side: str
    amount_e8: E8
    covered_e8: E8
    mark_e8: E8
    liquidation_e8: E8
    tightest_e8: E8
    stops: tuple[str, ...]
    firing: bool = False
    through: bool = False
    dangling: int = 0

    @property
    def proven(self) -> bool:
        """True when waiting stops cover the whole position."""
        return self.covered_e8 >= abs(self.amount_e8)

    @property
    def risk_e8(self) -> int:
        """Quote at risk: to the tightest stop, or the whole notional when nothing covers (10^-8)."""
        distance = self.mark_e8
        if self.proven and self.tightest_e8:
            distance = E8(min(abs(self.mark_e8 - self.tightest_e8), self.mark_e8))
        return abs(self.amount_e8) * distance // 10**8

    def words(self) -> str:
        """For people."""
        if self.proven:
            return f"covered by {', '.join(self.stops)}"
        found = f"{self.covered_e8 / 1e8:g} of {abs(self.amount_e8) / 1e8:g} covered"
        return found + (f", {self.dangling} stop(s) behind liquidation" if self.dangling else "")


_positions: Final = msgspec.json.Decoder(list[PositionRow])
_algo_orders: Final = msgspec.json.Decoder(list[AlgoRow])


def position_rows(body: bytes) -> list[PositionRow]:
    """Rows of a positionRisk answer. Raises ReadIncomplete."""
    try:
        return _positions.decode(body)
    except msgspec.DecodeError as error:
        raise ReadIncomplete(f"positionRisk: {error}") from error


def algo_rows(body: bytes) -> list[AlgoRow]:
    """Rows of an openAlgoOrders answer. Raises ReadIncomplete."""
    try:
        return _algo_orders.decode(body)
    except msgspec.DecodeError as error:
        raise ReadIncomplete(f"openAlgoOrders: {error}") from error


def cover(positions: list[PositionRow], algo_orders: list[AlgoRow]) -> tuple[Cover, ...]:
    """
    A verdict for each open position, in the venue's order. Raises ReadIncomplete for a number that is none.

    The same rows give the same verdict; nothing else is looked at.
    """
    try:
        return tuple(_judge(row, algo_orders) for row in positions if parse_e8(row.position_amt))
    except NotADecimal as error:
        raise ReadIncomplete(str(error)) from error


def _judge(position: PositionRow, algo_orders: list[AlgoRow]) -> Cover:
    amount = parse_e8(position.position_amt)
    mark, liquidation = _price(position.mark_price), _price(position.liquidation_price)
    long = amount > 0
    covered = tightest = dangling = 0
    firing = through = False
    stops: list[str] = []
    for order in algo_orders:
        if (order.symbol, order.position_side) != (position.symbol, position.position_side):
            continue
        if order.order_type != "STOP_MARKET" or order.side != (SELL if long else BUY):
            continue
        if not order.closes():
            continue
        if order.algo_status in FIRING:
            firing = True
        if order.algo_status != WAITING:
            continue
        trigger = parse_e8(order.trigger_price)
        if trigger <= 0:
            continue
        if liquidation > 0 and (trigger <= liquidation if long else trigger >= liquidation):
            dangling += 1
            continue
        if mark and (trigger >= mark if long else trigger <= mark):
            through = True
        covered += abs(amount) if order.close_position else parse_e8(order.quantity)
        stops.append(order.client_algo_id)
        if not tightest or (trigger > tightest if long else trigger < tightest):
            tightest = trigger
    return Cover(
        symbol=position.symbol,
        position_side=position.position_side,
        amount_e8=amount,
        covered_e8=E8(min(covered, abs(amount))),
        mark_e8=mark,
        liquidation_e8=liquidation,
        tightest_e8=E8(tightest),
        stops=tuple(stops),
        firing=firing,
        through=through,
        dangling=dangling,
    )


def _price(text: str) -> E8:
    """A computed price (mark, liquidation) may have more decimals than anything counts: they are cut."""
    whole, _, fraction = text.partition(".")
    return parse_e8(f"{whole}.{fraction[:8]}" if fraction else whole)
