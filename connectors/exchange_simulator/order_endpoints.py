"""The regular half of the trading interface: orders, batches, changes, queries (sheet 4.3, 6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from connectors.exchange_simulator import filters
from connectors.exchange_simulator.admission import judge, matched_price
from connectors.exchange_simulator.errors import VenueError
from connectors.exchange_simulator.order_requests import order_spec, price_match
from connectors.exchange_simulator.orders import Order, amendment_row, order_ack, order_query, user_trade
from connectors.exchange_simulator.parameters import Params, limit_of, mandatory, optional_int, time_window
from connectors.exchange_simulator.venue import Venue

Json = Any  # the venue's JSON: objects, arrays and scalars
_LISTS: Final = {"orderidlist": "orderIdList", "origclientorderidlist": "origClientOrderIdList"}
BATCH_SIZE: Final = 5
CANCEL_BATCH_SIZE: Final = 10
WEEK: Final = 7 * 86_400_000
# A cancelled order without a fill is forgotten after three days, everything after ninety (sheet 4.3).
FORGOTTEN_EMPTY: Final = 3 * 86_400_000
FORGOTTEN: Final = 90 * 86_400_000


def new_order(venue: Venue, params: Params, now_ms: int) -> Json:
    """POST order: LIMIT and MARKET only (sheet 6.2)."""
    market, spec = order_spec(venue, params, now_ms)
    order, ack = venue.trading.place(market, spec, now_ms=now_ms)
    return order_ack(order) if params.get("newOrderRespType") == "RESULT" else ack


def test_order(venue: Venue, params: Params, now_ms: int) -> Json:
    """POST order/test: every check of a new order, and nothing happens."""
    market, spec = order_spec(venue, params, now_ms)
    price = judge(venue.trading, market, spec)[1]
    return order_ack(
        Order(
            market.row, order_id=0, client_id=spec.client_id, side=spec.side, order_type=spec.order_type,
            time_in_force=spec.time_in_force, lots=spec.lots, price=price, reduce_only=spec.reduce_only,
            close_position=False, now_ms=now_ms, self_trade_prevention=spec.self_trade_prevention,
            position_side=spec.position_side, price_match=spec.price_match, good_till_ms=spec.good_till_ms,
        )
    )  # fmt: skip


def _batch(venue: Venue, params: Params, now_ms: int, one: Callable[[Venue, Params, int], Json]) -> Json:
    """Carry out up to five orders; each element is an order or its own refusal, in the order sent."""
    try:
        items = msgspec.json.decode(mandatory(params, "batchOrders"))
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise VenueError(-1102, name="batchOrders") from error
    if not isinstance(items, list) or not 1 <= len(items) <= BATCH_SIZE:
        raise VenueError(-4082)
    replies: list[Json] = []
    for item in items:
        try:
            if not isinstance(item, dict):
                raise VenueError(-1102, name="batchOrders")
            replies.append(one(venue, {name: _text(value) for name, value in item.items()}, now_ms))
        except VenueError as refusal:
            replies.append(refusal.body())
    return replies


def _text(value: Any) -> str:  # Any: a JSON scalar; the venue wants text, clients send numbers and booleans too
    return str(value).lower() if isinstance(value, bool) else str(value)


def batch_orders(venue: Venue, params: Params, now_ms: int) -> Json:
    """POST batchOrders."""
    return _batch(venue, params, now_ms, new_order)


def batch_modify(venue: Venue, params: Params, now_ms: int) -> Json:
    """PUT batchOrders."""
    return _batch(venue, params, now_ms, modify_order)


def batch_cancel(venue: Venue, params: Params, now_ms: int) -> Json:
    """DELETE batchOrders: up to ten by orderIdList or origClientOrderIdList."""
    mandatory(params, "symbol")
    # ccxt spells the two lists in lower case, and the venue takes it; elsewhere case is unverified (sheet 10, point 8).
    params = params | {_LISTS[name]: text for name, text in params.items() if name in _LISTS}
    name = "orderIdList" if "orderIdList" in params else "origClientOrderIdList"
    try:
        ids = msgspec.json.decode(mandatory(params, name))
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise VenueError(-1102, name=name) from error
    if not isinstance(ids, list) or not ids:
        raise VenueError(-1102, name=name)
    if len(ids) > CANCEL_BATCH_SIZE:
        raise VenueError(-4032)
    single = "orderId" if name == "orderIdList" else "origClientOrderId"
    replies: list[Json] = []
    for one in ids:
        try:
            replies.append(delete_order(venue, {"symbol": params["symbol"], single: _text(one)}, now_ms))
        except VenueError as refusal:
            replies.append(refusal.body())
    return replies


def modify_order(venue: Venue, params: Params, now_ms: int) -> Json:
    """PUT order: price and quantity of an open LIMIT order (sheet 6.3)."""
    order = _find_order(venue, params, -2013, now_ms)
    market = venue.market(order.row.symbol)
    if market.row.status != "TRADING":
        raise VenueError(-5024)
    side = mandatory(params, "side")
    if side not in ("BUY", "SELL"):
        raise VenueError(-1117)
    if side != order.side:
        raise VenueError(-1130, name="side")
    matched = price_match(params, limit=order.order_type == "LIMIT")
    lots = filters.quantity_lots(market.row, mandatory(params, "quantity"), market=False)
    price = (
        filters.price_ticks(market.row, mandatory(params, "price"))
        if matched == "NONE"
        else matched_price(market, matched, buy=order.buy)
    )
    modify_id = params.get("modifyId")
    venue.trading.modify(market, order, lots=lots, price=price, price_match=matched, modify_id=modify_id, now_ms=now_ms)
    reply = order_ack(order) | {"pair": order.row.symbol}
    return reply if modify_id is None else reply | {"modifyId": modify_id}


def order_amendments(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET orderAmendment: newest first."""
    order = _find_order(venue, params, -2013, now_ms)
    rows = [amendment_row(order, amendment, count) for count, amendment in enumerate(order.amendments, 1)]
    return rows[::-1][: limit_of(params, 50, most=100)]


def countdown_cancel_all(venue: Venue, params: Params, now_ms: int) -> Json:
    """POST countdownCancelAll: cancel the symbol's regular orders when nobody renews in time; 0 stops it."""
    symbol = venue.market(mandatory(params, "symbol")).row.symbol
    mandatory(params, "countdownTime")
    span = optional_int(params, "countdownTime")
    if span:
        venue.trading.countdowns[symbol] = now_ms + span
    else:
        venue.trading.countdowns.pop(symbol, None)
    return {"symbol": symbol, "countdownTime": str(span)}


def _find_order(venue: Venue, params: Params, code: int, now_ms: int) -> Order:
    market = venue.market(mandatory(params, "symbol"))
    order_id = optional_int(params, "orderId")
    if order_id is not None:
        found = venue.trading.orders.get((market.row.symbol, order_id))
    elif "origClientOrderId" in params:
        found = venue.trading.by_client.get((market.row.symbol, params["origClientOrderId"]))
    else:
        raise VenueError(-1102, name="orderId")
    if found is None or _forgotten(found, now_ms):
        raise VenueError(code)
    return found


def _forgotten(order: Order, now_ms: int) -> bool:
    age = now_ms - order.updated_ms
    return not order.is_open and (age > FORGOTTEN or (age > FORGOTTEN_EMPTY and order.filled == 0))


def get_order(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET order."""
    return order_query(_find_order(venue, params, -2013, now_ms))


def get_open_order(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET openOrder: -2013 unless it is open."""
    order = _find_order(venue, params, -2013, now_ms)
    if not order.is_open:
        raise VenueError(-2013)
    return order_query(order)


def delete_order(venue: Venue, params: Params, now_ms: int) -> Json:
    """DELETE order."""
    return order_ack(venue.trading.cancel(_find_order(venue, params, -2011, now_ms), now_ms=now_ms))


def open_orders(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET openOrders: never algo orders."""
    symbols = [venue.market(params["symbol"]).row.symbol] if "symbol" in params else list(venue.markets)
    return [order_query(order) for symbol in symbols for order in venue.trading.opened(symbol)]


def delete_open_orders(venue: Venue, params: Params, now_ms: int) -> Json:
    """DELETE allOpenOrders: regular orders only."""
    venue.trading.cancel_all(venue.market(mandatory(params, "symbol")).row.symbol, now_ms=now_ms)
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def _symbols(venue: Venue, params: Params) -> list[str]:
    return [venue.market(params["symbol"]).row.symbol] if "symbol" in params else list(venue.markets)


def all_orders(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET allOrders: ascending by id; a time window of at most seven days."""
    symbols = _symbols(venue, params)
    first = optional_int(params, "orderId") or 0
    limit = limit_of(params, 500)
    start, end = time_window(params, now_ms, longest=WEEK)
    found = [
        order
        for (name, order_id), order in venue.trading.orders.items()
        if name in symbols and order_id >= first and start <= order.created_ms <= end and not _forgotten(order, now_ms)
    ]
    rows = found[:limit] if first or "startTime" in params else found[-limit:]
    return [
        order_query(order) | {"cumBase": order.row.quantity_text(order.filled), "pair": order.row.symbol}
        for order in rows
    ]


def user_trades(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET userTrades: ascending; by fromId, orderId or a window of at most seven days."""
    symbol = venue.market(mandatory(params, "symbol")).row.symbol
    order_id, first = optional_int(params, "orderId"), optional_int(params, "fromId")
    start, end = time_window(params, now_ms, longest=WEEK)
    limit = limit_of(params, 500)
    if first is not None and ("startTime" in params or "endTime" in params):
        raise VenueError(-1128)
    found = [
        fill
        for fill in venue.trading.fills
        if fill.order.row.symbol == symbol
        and (order_id is None or fill.order.order_id == order_id)
        and (first is None or fill.trade_id >= first)
        and max(start, now_ms - FORGOTTEN) <= fill.at_ms <= end
    ]
    rows = found[:limit] if first is not None or "startTime" in params else found[-limit:]
    return [user_trade(fill) for fill in rows]


def force_orders(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET forceOrders: own liquidations and ADL."""
    symbols = _symbols(venue, params)
    wanted = params.get("autoCloseType")
    if wanted not in (None, "LIQUIDATION", "ADL"):
        raise VenueError(-1130, name="autoCloseType")
    start, end = time_window(params, now_ms, longest=WEEK)
    rows = []
    for order, kind in venue.liquidation.forced:
        if order.row.symbol in symbols and wanted in (None, kind) and start <= order.created_ms <= end:
            row = order_query(order) | {"type": "LIMIT", "origType": "LIMIT"}
            for name in ("priceProtect", "priceMatch", "selfTradePreventionMode", "goodTillDate"):
                del row[name]
            rows.append(row)
    return rows[-limit_of(params, 50, most=100) :]
