"""The only place that decides whether a regular order may be placed: ids, filters, margin, matched prices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connectors.exchange_simulator import filters
from connectors.exchange_simulator.book import Execution
from connectors.exchange_simulator.brackets import largest_notional
from connectors.exchange_simulator.errors import VenueError
from connectors.exchange_simulator.market import Market
from connectors.exchange_simulator.order_specs import PRICE_MATCHES, OrderSpec
from connectors.exchange_simulator.orders import Order

if TYPE_CHECKING:
    from connectors.exchange_simulator.trading import Trading


def judge(trading: Trading, market: Market, spec: OrderSpec) -> tuple[list[Execution], int]:
    """What *spec* would execute now and its price, or the venue's refusal; changes nothing (order/test)."""
    row = market.row
    buy = spec.side == "BUY"
    known = trading.by_client.get((row.symbol, spec.client_id))
    if known is not None and known.is_open:
        raise VenueError(-4116)
    if len(trading.open_orders.get(row.symbol, {})) >= row.max_orders:
        raise VenueError(-2025)
    price = spec.price or matched_price(market, spec.price_match, buy=buy)
    value = row.notional(price, spec.lots) if price else row.value_at_e8(market.mark_e8, spec.lots)
    if spec.closes:
        _check_reduce_budget(trading, market, spec)
    else:
        filters.check_notional(row, value_e8=value)
    if price:
        filters.check_percent_price(row, buy=buy, ticks=price, mark_e8=market.mark_e8)
    bound = price or filters.market_bound(row, buy=buy, mark_e8=market.mark_e8)
    executions = market.book.sweep(buy=buy, lots=spec.lots, limit=bound)
    if spec.order_type == "MARKET" and not executions:
        raise VenueError(-1112 if not (market.book.asks if buy else market.book.bids) else -4131)
    check_entering(trading, market, spec, executions, bound=bound, value=value)
    return executions, price


def check_entering(
    trading: Trading, market: Market, spec: OrderSpec, executions: list[Execution], *, bound: int, value: int
) -> None:
    """What matching refuses of a new order or of a triggered one's child: -5022, -5021, -2019, -2027 (3.6 REJECTED)."""
    if spec.time_in_force == "GTX" and (
        executions or own_opposite(trading.opened(market.row.symbol), buy=spec.side == "BUY", bound=bound)
    ):
        raise VenueError(-5022)
    if spec.time_in_force == "FOK" and sum(part.lots for part in executions) < spec.lots:
        raise VenueError(-5021)
    if not spec.closes:
        _check_margin(trading, market, spec, value)


def matched_price(market: Market, price_match: str, *, buy: bool) -> int:
    """The price of a priceMatch mode, ticks; 0 without one; -5041 when the book has no such level (6.2)."""
    if price_match == "NONE":
        return 0
    opponent, level = PRICE_MATCHES[price_match]
    levels = market.book.top_bids(level) if buy != opponent else market.book.top_asks(level)
    if len(levels) < level:
        raise VenueError(-5041)
    return levels[-1][0]


def _check_reduce_budget(trading: Trading, market: Market, spec: OrderSpec) -> None:
    """
    What only closes needs something to close that is not promised already.

    One-way: -2022 without an opposite position, -4118 when resting reduce-only orders use it all up (V7); a larger
    order is cut. Hedge: closing more than held is refused (-2022; the exact code is unverified, sheet 6.4).
    """
    held = trading.reducible(spec, trading.account.position(market.row, spec.position_side))
    buy = spec.side == "BUY"
    resting = sum(
        order.remaining
        for order in trading.opened(market.row.symbol)
        if order.closes and order.buy == buy and order.position_side == spec.position_side
    )
    if held <= 0 or (spec.position_side != "BOTH" and spec.lots + resting > held):
        raise VenueError(-2022)
    if resting >= held:
        raise VenueError(-4118)


def _check_margin(trading: Trading, market: Market, spec: OrderSpec, value: int) -> None:
    """-2019 without free margin for what increases, -2027 beyond the bracket of the leverage (7.4)."""
    row = market.row
    position = trading.account.position(row, spec.position_side)
    buy = spec.side == "BUY"
    signed = spec.lots if buy else -spec.lots
    increase = abs(position.lots + signed) - abs(position.lots)
    if increase <= 0:
        return
    if value * increase // spec.lots // position.leverage > trading.available():
        raise VenueError(-2019)
    resting = trading.open_notional(row.symbol, buy=buy, side=spec.position_side)
    if abs(row.value_at_e8(market.mark_e8, position.lots + signed)) + resting > largest_notional(
        row, position.leverage
    ):
        raise VenueError(-2027)


def own_opposite(opened: list[Order], *, buy: bool, bound: int) -> list[Order]:
    """Own resting orders a taker of this direction would meet up to *bound* ticks, best price first."""
    found = [
        order
        for order in opened
        if order.buy != buy and order.price and (order.price <= bound if buy else order.price >= bound)
    ]
    return sorted(found, key=lambda order: order.price if buy else -order.price)
