"""The trading half of the REST interface: regular and conditional orders (sheet 4.3, 4.4, 6)."""

from __future__ import annotations

from typing import Any, Final

from connectors.exchange_simulator import filters
from connectors.exchange_simulator.conditional import (
    ALL_CONDITIONAL_TYPES,
    CONDITIONAL_TYPES,
    AlgoOrder,
    algo_ack,
    algo_query,
)
from connectors.exchange_simulator.errors import VenueError
from connectors.exchange_simulator.market import Market
from connectors.exchange_simulator.orders import Order, order_ack, order_query, user_trade
from connectors.exchange_simulator.parameters import Params, boolean, choice, mandatory, optional_int
from connectors.exchange_simulator.trading import AlgoSpec, OrderSpec
from connectors.exchange_simulator.venue import Venue

Json = Any  # the venue's JSON: objects, arrays and scalars
SELF_TRADE_MODES: Final = ("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH")


def _common(venue: Venue, params: Params) -> tuple[Market, str, str]:
    market = venue.market(mandatory(params, "symbol"))
    side = mandatory(params, "side")
    if side not in ("BUY", "SELL"):
        raise VenueError(-1117)
    kind = mandatory(params, "type")
    position_side = params.get("positionSide", "BOTH")
    if position_side not in ("BOTH", "LONG", "SHORT"):
        raise VenueError(-4060)
    if position_side != "BOTH":
        raise VenueError(-4061)
    for name, neutral in (("priceMatch", "NONE"), ("goodTillDate", "0"), ("icebergQty", "0")):
        if params.get(name, neutral) != neutral:
            raise VenueError(-1020, message=f"not simulated: {name}")
    if market.row.status != "TRADING":
        # A symbol about to end still lets positions be reduced; a halted or closed one lets nothing through.
        if market.row.status not in ("PRE_DELIVERING", "PRE_SETTLE"):
            raise VenueError(-4141)
        if not boolean(params, "reduceOnly") and not boolean(params, "closePosition"):
            raise VenueError(-4140)
    return market, side, kind


def new_order(venue: Venue, params: Params, now_ms: int) -> Json:
    """POST order: LIMIT and MARKET only (sheet 6.2)."""
    market, side, kind = _common(venue, params)
    if kind in ALL_CONDITIONAL_TYPES:
        raise VenueError(-4120)
    if kind not in ("LIMIT", "MARKET"):
        raise VenueError(-1116)
    limit = kind == "LIMIT"
    client_id = params.get("newClientOrderId", f"sim-{venue.trading.next_sequence()}")
    filters.check_client_id(client_id)
    response = params.get("newOrderRespType", "ACK")
    if response not in ("ACK", "RESULT"):
        raise VenueError(-1136)
    if boolean(params, "closePosition"):
        raise VenueError(-4120)
    time_in_force = mandatory(params, "timeInForce") if limit else "GTC"
    if time_in_force not in ("GTC", "IOC", "FOK", "GTX"):
        raise VenueError(-1115)
    if not limit and "timeInForce" in params:
        raise VenueError(-1106, name="timeInForce")
    if not limit and "price" in params:
        raise VenueError(-1106, name="price")
    lots = filters.quantity_lots(market.row, mandatory(params, "quantity"), market=not limit)
    spec = OrderSpec(
        client_id=client_id,
        side=side,
        order_type=kind,
        time_in_force=time_in_force,
        lots=lots,
        price=filters.price_ticks(market.row, mandatory(params, "price")) if limit else 0,
        reduce_only=boolean(params, "reduceOnly"),
        self_trade_prevention=choice(params, "selfTradePreventionMode", SELF_TRADE_MODES, -1130, "EXPIRE_MAKER"),
    )
    order, ack = venue.trading.place(market, spec, markets=venue.markets, now_ms=now_ms)
    return order_ack(order) if response == "RESULT" else ack


def _find_order(venue: Venue, params: Params, code: int) -> Order:
    market = venue.market(mandatory(params, "symbol"))
    order_id = optional_int(params, "orderId")
    if order_id is not None:
        found = venue.trading.orders.get((market.row.symbol, order_id))
    elif "origClientOrderId" in params:
        found = venue.trading.by_client.get((market.row.symbol, params["origClientOrderId"]))
    else:
        raise VenueError(-1102, name="orderId")
    if found is None:
        raise VenueError(code)
    return found


def get_order(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET order."""
    return order_query(_find_order(venue, params, -2013))


def get_open_order(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET openOrder: -2013 unless it is open."""
    order = _find_order(venue, params, -2013)
    if not order.is_open:
        raise VenueError(-2013)
    return order_query(order)


def delete_order(venue: Venue, params: Params, now_ms: int) -> Json:
    """DELETE order."""
    return order_ack(venue.trading.cancel(_find_order(venue, params, -2011), now_ms=now_ms))


def open_orders(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET openOrders: never algo orders."""
    symbols = [venue.market(params["symbol"]).row.symbol] if "symbol" in params else list(venue.markets)
    return [order_query(order) for symbol in symbols for order in venue.trading.opened(symbol)]


def delete_open_orders(venue: Venue, params: Params, now_ms: int) -> Json:
    """DELETE allOpenOrders: regular orders only."""
    symbol = venue.market(mandatory(params, "symbol")).row.symbol
    for order in venue.trading.opened(symbol):
        venue.trading.cancel(order, now_ms=now_ms)
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def all_orders(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET allOrders: ascending by id."""
    symbol = venue.market(mandatory(params, "symbol")).row.symbol
    first = optional_int(params, "orderId") or 0
    limit = min(optional_int(params, "limit") or 500, 1_000)
    start, end = optional_int(params, "startTime") or 0, optional_int(params, "endTime") or now_ms
    found = [
        order
        for (name, order_id), order in venue.trading.orders.items()
        if name == symbol and order_id >= first and start <= order.created_ms <= end
    ]
    rows = found[:limit] if first else found[-limit:]
    return [order_query(order) | {"cumBase": order.row.quantity_text(order.filled), "pair": symbol} for order in rows]


def user_trades(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET userTrades: ascending; by fromId, orderId or time."""
    symbol = venue.market(mandatory(params, "symbol")).row.symbol
    order_id, first = optional_int(params, "orderId"), optional_int(params, "fromId")
    start, end = optional_int(params, "startTime") or 0, optional_int(params, "endTime") or now_ms
    limit = min(optional_int(params, "limit") or 500, 1_000)
    found = [
        fill
        for fill in venue.trading.fills
        if fill.order.row.symbol == symbol
        and (order_id is None or fill.order.order_id == order_id)
        and (first is None or fill.trade_id >= first)
        and start <= fill.at_ms <= end
    ]
    rows = found[:limit] if first is not None or start else found[-limit:]
    return [user_trade(fill) for fill in rows]


def new_algo_order(venue: Venue, params: Params, now_ms: int) -> Json:
    """POST algoOrder (sheet 6.5)."""
    if mandatory(params, "algoType") != "CONDITIONAL":
        raise VenueError(-1130, name="algoType")
    market, side, kind = _common(venue, params)
    if kind not in CONDITIONAL_TYPES:
        raise VenueError(-1116)
    client_id = params.get("clientAlgoId", f"sim-algo-{venue.trading.next_sequence()}")
    filters.check_client_id(client_id)
    child_is_limit = CONDITIONAL_TYPES[kind][0] == "LIMIT"
    close_position, reduce_only = boolean(params, "closePosition"), boolean(params, "reduceOnly")
    if close_position:
        if child_is_limit:
            raise VenueError(-1106, name="closePosition")
        if "quantity" in params:
            raise VenueError(-4137)
        if "reduceOnly" in params:
            raise VenueError(-1106, name="reduceOnly")
    time_in_force = choice(params, "timeInForce", ("GTC", "IOC", "FOK", "GTX", "GTE_GTC"), -1115, "GTC")
    trigger = filters.price_ticks(market.row, mandatory(params, "triggerPrice"), "triggerPrice")
    lots = 0
    if not close_position:
        lots = filters.quantity_lots(market.row, mandatory(params, "quantity"), market=not child_is_limit)
    spec = AlgoSpec(
        client_id=client_id,
        side=side,
        order_type=kind,
        time_in_force=time_in_force,
        lots=lots,
        price=filters.price_ticks(market.row, mandatory(params, "price")) if child_is_limit else 0,
        trigger=trigger,
        working_type=choice(params, "workingType", ("CONTRACT_PRICE", "MARK_PRICE"), -4031, "CONTRACT_PRICE"),
        close_position=close_position,
        reduce_only=reduce_only,
        price_protect=boolean(params, "priceProtect"),
        self_trade_prevention=choice(params, "selfTradePreventionMode", SELF_TRADE_MODES, -1130, "EXPIRE_MAKER"),
    )
    return algo_ack(venue.trading.place_algo(market, spec, now_ms=now_ms))


def _find_algo(venue: Venue, params: Params, code: int) -> AlgoOrder:
    algo_id = optional_int(params, "algoId")
    if algo_id is not None:
        found = venue.trading.algos.get(algo_id)
    elif "clientAlgoId" in params:
        found = venue.trading.algo_by_client.get(params["clientAlgoId"])
    else:
        raise VenueError(-1102, name="algoId")
    if found is None:
        raise VenueError(code)
    return found


def get_algo_order(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET algoOrder."""
    return algo_query(_find_algo(venue, params, -2013))


def delete_algo_order(venue: Venue, params: Params, now_ms: int) -> Json:
    """DELETE algoOrder; `code` is the string "200"."""
    algo = _find_algo(venue, params, -2011)
    venue.trading.cancel_algo(algo, now_ms=now_ms)
    return {"algoId": algo.algo_id, "clientAlgoId": algo.client_id, "code": "200", "msg": "success"}


def open_algo_orders(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET openAlgoOrders."""
    symbol = venue.market(params["symbol"]).row.symbol if "symbol" in params else None
    algo_id = optional_int(params, "algoId")
    found = venue.trading.opened_algos(symbol)
    return [algo_query(algo) for algo in found if algo_id is None or algo.algo_id == algo_id]


def delete_open_algo_orders(venue: Venue, params: Params, now_ms: int) -> Json:
    """DELETE algoOpenOrders."""
    for algo in venue.trading.opened_algos(venue.market(mandatory(params, "symbol")).row.symbol):
        if algo.state == "NEW":
            venue.trading.cancel_algo(algo, now_ms=now_ms)
    return {"code": 200, "msg": "The operation of cancel all open order is done."}
