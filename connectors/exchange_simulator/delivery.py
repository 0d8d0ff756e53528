"""The only place that ends a contract: at its delivery time orders expire, positions are settled, the symbol closes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from connectors.exchange_simulator.market import Market
from connectors.exchange_simulator.order_specs import OrderSpec

if TYPE_CHECKING:
    from connectors.exchange_simulator.venue import Venue

# Sheet 3.3: er 7 is "symbol delisted", and the closing order's id begins so.
REASON_DELISTED: Final = "7"
CLIENT_ID: Final = "settlement_autoclose-"
CLOSED: Final = "CLOSE"


def close_contract(venue: Venue, market: Market, *, now_ms: int) -> None:
    """
    Settle a symbol: regular orders EXPIRED (er 7), conditional ones too, positions closed at the mark, status CLOSE.

    The settlement price is the mark on the grid, the fee that of a taker (both unverified in the sheet).
    """
    trading, symbol = venue.trading, market.row.symbol
    for order in trading.opened(symbol):
        trading.finish(order, "EXPIRED", reason=REASON_DELISTED, now_ms=now_ms)
    for algo in venue.conditional.opened(symbol):
        if algo.is_open:
            venue.conditional.expire(algo, cause="delisted", now_ms=now_ms)
    ticks = market.row.nearest_tick(market.mark_e8)
    for number, position in enumerate(venue.account.of_symbol(market.row), 1):
        if position.lots == 0:
            continue
        spec = OrderSpec(
            client_id=f"{CLIENT_ID}{now_ms}{number}",
            side="SELL" if position.lots > 0 else "BUY",
            order_type="MARKET",
            time_in_force="GTC",
            lots=abs(position.lots),
            price=0,
            position_side=position.side,
        )
        order = trading.accept(market, spec, price=0, now_ms=now_ms)
        trading.fill(market, order, ticks=ticks, lots=spec.lots, maker=False, now_ms=now_ms)
    venue.change_contract(symbol, status=CLOSED, delivery_ms=None, now_ms=now_ms)
