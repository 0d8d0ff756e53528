"""The route table of the simulated REST interface: path → weight, security, handler (sheet sections 4 and 6)."""

from __future__ import annotations

from typing import Any, Final

from connectors.exchange_simulator import filters
from connectors.exchange_simulator.account import Position
from connectors.exchange_simulator.candles import INTERVALS, rest_row
from connectors.exchange_simulator.conditional import (
    ALL_CONDITIONAL_TYPES,
    CONDITIONAL_TYPES,
    AlgoOrder,
    algo_ack,
    algo_query,
)
from connectors.exchange_simulator.errors import VenueError
from connectors.exchange_simulator.fixed_point import format_e8, format_trimmed, is_whole
from connectors.exchange_simulator.instruments import exchange_info_row
from connectors.exchange_simulator.market import Market, next_funding
from connectors.exchange_simulator.orders import Order, order_ack, order_query, user_trade
from connectors.exchange_simulator.trading import AlgoSpec, OrderSpec
from connectors.exchange_simulator.venue import Endpoint, Venue

Json = Any  # the venue's JSON: objects, arrays and scalars
Params = dict[str, str]
DEPTH_WEIGHTS: Final = {5: 2, 10: 2, 20: 2, 50: 2, 100: 5, 500: 10, 1000: 20}
SELF_TRADE_MODES: Final = ("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH")


def mandatory(params: Params, name: str) -> str:
    """A parameter that must be there and not empty (-1102)."""
    value = params.get(name, "")
    if not value:
        raise VenueError(-1102, name=name)
    return value


def optional_int(params: Params, name: str) -> int | None:
    """A whole number, or None when absent; -1102 when it is no number."""
    text = params.get(name)
    if text is None:
        return None
    if not is_whole(text, longest=18):
        raise VenueError(-1102, name=name)
    return int(text)


def boolean(params: Params, name: str) -> bool:
    """ "true"/"false" in any case; absent is false."""
    text = params.get(name, "false").lower()
    if text not in ("true", "false"):
        raise VenueError(-1102, name=name)
    return text == "true"


def choice(params: Params, name: str, allowed: tuple[str, ...] | list[str], code: int, default: str) -> str:
    """One of *allowed*, else the venue's *code*."""
    value = params.get(name, default)
    if value not in allowed:
        raise VenueError(code, name=name)
    return value


# ---- market data ------------------------------------------------------------------------------------------------


def ping(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET ping."""
    return {}


def server_time(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET time: the exchange's clock, which a recording may put ahead of the host's."""
    return {"serverTime": now_ms}


def exchange_info(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET exchangeInfo."""
    limits = venue.settings.limits
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "futuresType": "U_MARGINED",
        "rateLimits": [
            _limit("REQUEST_WEIGHT", "MINUTE", 1, limits.weight_per_minute),
            *_order_limits(venue),
        ],
        "exchangeFilters": [],
        "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
        "symbols": [exchange_info_row(market.row) for market in venue.markets.values()],
    }


def _limit(kind: str, interval: str, number: int, limit: int) -> Json:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}


def _order_limits(venue: Venue) -> list[Json]:
    limits = venue.settings.limits
    return [
        _limit("ORDERS", "MINUTE", 1, limits.orders_per_minute),
        _limit("ORDERS", "SECOND", 10, limits.orders_per_10_seconds),
    ]


def order_limits(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET rateLimit/order: limits only, no usage."""
    return _order_limits(venue)


def depth_weight(params: Params) -> int:
    """2/5/10/20 by limit; an invalid limit is charged as the default."""
    text = params.get("limit", "500")
    return DEPTH_WEIGHTS.get(int(text) if is_whole(text, longest=5) else 500, 10)


def depth(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET depth."""
    market = venue.market(mandatory(params, "symbol"))
    limit = optional_int(params, "limit")
    limit = 500 if limit is None else limit
    if limit not in DEPTH_WEIGHTS:
        raise VenueError(-4021)
    if not market.recorded:
        market.touch(venue.next_update_id())
    first = market.take_first_snapshot(limit)
    return first or market.depth_snapshot(limit, now_ms=now_ms)


def klines_weight(params: Params) -> int:
    """1/2/5/10 by limit."""
    text = params.get("limit", "500")
    limit = int(text) if is_whole(text, longest=5) else 500
    return 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1_000 else 10


def klines(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET klines: oldest first, the last row is the open candle."""
    market = venue.market(mandatory(params, "symbol"))
    interval = mandatory(params, "interval")
    if interval not in INTERVALS:
        raise VenueError(-1120)
    limit = optional_int(params, "limit")
    limit = 500 if limit is None else limit
    if not 1 <= limit <= 1_500:
        raise VenueError(-1130, name="limit")
    start, end = optional_int(params, "startTime"), optional_int(params, "endTime")
    if start is not None and end is not None and start > end:
        raise VenueError(-1023)
    market.close_candles(now_ms, delay_ms=venue.settings.kline_close_delay_ms)
    rows = market.candles.rows(interval, start=start, end=end, limit=limit, now_ms=now_ms)
    return [rest_row(market.row, bar, interval) for bar in rows]


def premium_index(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET premiumIndex, one or all."""
    return _one_or_all(venue, params, lambda market: _premium(market, now_ms))


def _premium(market: Market, now_ms: int) -> Json:
    return {
        "symbol": market.row.symbol,
        "markPrice": format_e8(market.mark_e8),
        "indexPrice": format_e8(market.index_e8),
        "estimatedSettlePrice": format_e8(market.index_e8),
        "lastFundingRate": format_e8(market.funding_rate_e8),
        "interestRate": "0.00010000",
        "nextFundingTime": next_funding(now_ms),
        "time": now_ms,
    }


def _one_or_all(venue: Venue, params: Params, view: Any) -> Json:  # Any: Market → JSON
    if "symbol" in params:
        return view(venue.market(params["symbol"]))
    return [view(market) for market in venue.markets.values()]


def open_interest(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET openInterest."""
    market = venue.market(mandatory(params, "symbol"))
    quantity = market.row.quantity_text(market.open_interest_lots)
    return {"openInterest": quantity, "symbol": market.row.symbol, "time": now_ms}


def open_interest_history(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET /futures/data/openInterestHist: a flat seeded history around the present value (labelled synthetic)."""
    market = venue.market(mandatory(params, "symbol"))
    period = mandatory(params, "period")
    if period not in ("5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d"):
        raise VenueError(-1130, name="period")
    limit = min(optional_int(params, "limit") or 30, 500)
    bars = market.candles.rows(period, start=None, end=None, limit=limit + 1, now_ms=now_ms)[:-1]
    rows = []
    for bar in bars:
        # The wobble follows from the bar itself, so that a repeated call answers the same.
        lots = market.row.open_interest_lots * (1_000 + (bar.lots + bar.count) % 41 - 20) // 1_000
        rows.append(
            {
                "symbol": market.row.symbol,
                "sumOpenInterest": format_e8(lots * market.row.step_e8),
                "sumOpenInterestValue": format_e8(market.row.notional(bar.close, lots)),
                "CMCCirculatingSupply": "0.00",
                "timestamp": bar.open_ms,
            }
        )
    return rows


def funding_rate(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET fundingRate: past settlements at the present rate (labelled synthetic)."""
    market = venue.market(mandatory(params, "symbol"))
    limit = min(optional_int(params, "limit") or 100, 1_000)
    last = next_funding(now_ms) - 28_800_000
    return [
        {
            "symbol": market.row.symbol,
            "fundingTime": last - index * 28_800_000,
            "fundingRate": format_e8(market.funding_rate_e8),
            "markPrice": format_e8(market.mark_e8),
            "rateType": "Regular",
        }
        for index in range(limit - 1, -1, -1)
    ]


def funding_info(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET fundingInfo: only adjusted symbols are listed; here none is."""
    return []


def book_ticker(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET ticker/bookTicker, one or all."""
    return _one_or_all(venue, params, lambda market: _book_ticker(market, now_ms))


def _book_ticker(market: Market, now_ms: int) -> Json:
    bid, bid_lots, ask, ask_lots = market.best()
    row = market.row
    return {
        "symbol": row.symbol,
        "bidPrice": row.price_text(bid),
        "bidQty": row.quantity_text(bid_lots),
        "askPrice": row.price_text(ask),
        "askQty": row.quantity_text(ask_lots),
        "time": market.transaction_ms or now_ms,
        "lastUpdateId": market.update_id,
    }


def price_ticker(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET ticker/price, one or all."""

    def view(market: Market) -> Json:
        return {
            "symbol": market.row.symbol,
            "price": market.row.price_text(market.last_ticks),
            "time": market.last_trade_ms,
        }

    return _one_or_all(venue, params, view)


def day_ticker(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET ticker/24hr, one or all."""
    return _one_or_all(venue, params, lambda market: market.rest_ticker())


# ---- regular orders ---------------------------------------------------------------------------------------------


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


# ---- conditional orders -----------------------------------------------------------------------------------------


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


# ---- account ----------------------------------------------------------------------------------------------------


def _totals(venue: Venue) -> dict[str, int]:
    """Account-wide sums in e8 USDT, keyed by what the replies call them."""
    account, trading = venue.account, venue.trading
    unrealised = position_margin = maintenance = order_margin = cross_profit = 0
    for position in account.positions.values():
        mark = venue.markets[position.row.symbol].mark_e8
        profit = position.unrealised(mark)
        unrealised += profit
        cross_profit += 0 if position.isolated else profit
        position_margin += position.initial_margin(mark)
        maintenance += abs(position.notional(mark)) * position.row.maintenance_bps // 10_000
        order_margin += trading.open_order_margin(position)
    available = max(0, trading.available(venue.markets))
    return {
        "wallet": account.wallet, "unrealised": unrealised, "cross_profit": cross_profit,
        "position_margin": position_margin, "maintenance": maintenance, "order_margin": order_margin,
        "cross_wallet": account.cross_wallet(), "available": available,
        "withdrawable": max(0, min(available, account.cross_wallet())),
    }  # fmt: skip


def balance(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET v3/balance."""
    totals = _totals(venue)
    return [
        {
            "accountAlias": "SimU",
            "asset": "USDT",
            "balance": format_e8(totals["wallet"]),
            "crossWalletBalance": format_e8(totals["cross_wallet"]),
            "crossUnPnl": format_e8(totals["cross_profit"]),
            "availableBalance": format_e8(totals["available"]),
            "maxWithdrawAmount": format_e8(totals["withdrawable"]),
            "marginAvailable": True,
            "updateTime": venue.account.updated_ms,
        }
    ]


def account_info(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET v3/account."""
    totals = {name: format_e8(value) for name, value in _totals(venue).items()}
    sums = _totals(venue)
    initial = format_e8(sums["position_margin"] + sums["order_margin"])
    margin_balance = format_e8(sums["wallet"] + sums["unrealised"])
    return {
        "totalInitialMargin": initial,
        "totalMaintMargin": totals["maintenance"],
        "totalWalletBalance": totals["wallet"],
        "totalUnrealizedProfit": totals["unrealised"],
        "totalMarginBalance": margin_balance,
        "totalPositionInitialMargin": totals["position_margin"],
        "totalOpenOrderInitialMargin": totals["order_margin"],
        "totalCrossWalletBalance": totals["cross_wallet"],
        "totalCrossUnPnl": totals["cross_profit"],
        "availableBalance": totals["available"],
        "maxWithdrawAmount": totals["withdrawable"],
        "assets": [
            {
                "asset": "USDT",
                "walletBalance": totals["wallet"],
                "unrealizedProfit": totals["unrealised"],
                "marginBalance": margin_balance,
                "maintMargin": totals["maintenance"],
                "initialMargin": initial,
                "positionInitialMargin": totals["position_margin"],
                "openOrderInitialMargin": totals["order_margin"],
                "crossWalletBalance": totals["cross_wallet"],
                "crossUnPnl": totals["cross_profit"],
                "availableBalance": totals["available"],
                "maxWithdrawAmount": totals["withdrawable"],
                "updateTime": venue.account.updated_ms,
            }
        ],
        "positions": [_account_position(venue, position) for position in _held(venue)],
    }


def _account_position(venue: Venue, position: Position) -> Json:
    row = _risk_v3(venue, position)
    kept = (
        "symbol", "positionSide", "positionAmt", "unrealizedProfit", "isolatedMargin", "notional", "isolatedWallet",
        "initialMargin", "maintMargin", "updateTime",
    )  # fmt: skip
    row["unrealizedProfit"] = row["unRealizedProfit"]
    return {name: row[name] for name in kept}


def _held(venue: Venue) -> list[Position]:
    """Positions v3 lists: with lots or with an open order."""
    return [
        position
        for position in venue.account.positions.values()
        if position.lots or venue.trading.open_orders.get(position.row.symbol)
    ]


def _risk_v3(venue: Venue, position: Position) -> Json:
    row = position.row
    market = venue.markets[row.symbol]
    trading = venue.trading
    mark = market.mark_e8
    margin, orders_margin = position.initial_margin(mark), trading.open_order_margin(position)
    profit = position.unrealised(mark)
    notional = position.notional(mark)
    opened = trading.opened(row.symbol)
    bids = sum(row.notional(order.price, order.remaining) for order in opened if order.buy)
    asks = sum(row.notional(order.price, order.remaining) for order in opened if not order.buy)
    return {
        "symbol": row.symbol,
        "positionSide": "BOTH",
        "positionAmt": row.quantity_text(position.lots),
        "entryPrice": format_trimmed(position.entry_e8(), row.price_decimals) if position.lots else "0.0",
        "breakEvenPrice": format_trimmed(position.break_even_e8(), row.price_decimals) if position.lots else "0.0",
        "markPrice": format_e8(mark),
        "unRealizedProfit": format_e8(profit),
        "liquidationPrice": format_trimmed(position.liquidation_e8(venue.account.cross_wallet())),
        "isolatedMargin": format_e8(position.isolated_wallet + profit) if position.isolated else "0",
        "notional": format_e8(notional),
        "marginAsset": "USDT",
        "isolatedWallet": format_trimmed(position.isolated_wallet),
        "initialMargin": format_e8(margin + orders_margin),
        "maintMargin": format_e8(abs(notional) * row.maintenance_bps // 10_000),
        "positionInitialMargin": format_e8(margin),
        "openOrderInitialMargin": format_e8(orders_margin),
        "adl": 1 if position.lots else 0,
        "bidNotional": format_trimmed(bids),
        "askNotional": format_trimmed(asks),
        "updateTime": position.updated_ms,
    }


def _of_symbol(venue: Venue, params: Params, positions: list[Position]) -> list[Position]:
    if "symbol" not in params:
        return positions
    symbol = venue.market(params["symbol"]).row.symbol
    return [position for position in positions if position.row.symbol == symbol]


def position_risk_v3(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET v3/positionRisk: only symbols with a position or an open order."""
    return [_risk_v3(venue, position) for position in _of_symbol(venue, params, _held(venue))]


def position_risk_v2(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET v2/positionRisk: all symbols, with leverage and margin type."""
    rows = []
    for market in venue.markets.values():
        position = venue.account.position(market.row)
        v3 = _risk_v3(venue, position)
        kept = (
            "symbol", "positionSide", "positionAmt", "entryPrice", "breakEvenPrice", "markPrice", "unRealizedProfit",
            "liquidationPrice", "isolatedMargin", "notional", "isolatedWallet", "updateTime",
        )  # fmt: skip
        rows.append(
            {name: v3[name] for name in kept}
            | {
                "leverage": str(position.leverage),
                "maxNotionalValue": "100000000",
                "marginType": "isolated" if position.isolated else "cross",
                "isAutoAddMargin": "false",
            }
        )
    if "symbol" in params:
        return [row for row in rows if row["symbol"] == venue.market(params["symbol"]).row.symbol]
    return rows


def set_leverage(venue: Venue, params: Params, now_ms: int) -> Json:
    """POST leverage."""
    market = venue.market(mandatory(params, "symbol"))
    leverage = optional_int(params, "leverage")
    if leverage is None:
        raise VenueError(-1102, name="leverage")
    if not 1 <= leverage <= market.row.max_leverage:
        raise VenueError(-4028, leverage=leverage)
    position = venue.account.position(market.row)
    changed = position.leverage != leverage
    position.leverage = leverage
    if changed:
        venue.user_events.append(
            {"e": "ACCOUNT_CONFIG_UPDATE", "E": now_ms, "T": now_ms, "ac": {"s": market.row.symbol, "l": leverage}}
        )
    return {"leverage": leverage, "maxNotionalValue": "1000000", "symbol": market.row.symbol}


def set_margin_type(venue: Venue, params: Params, now_ms: int) -> Json:
    """POST marginType."""
    market = venue.market(mandatory(params, "symbol"))
    isolated = choice(params, "marginType", ("ISOLATED", "CROSSED"), -1130, "") == "ISOLATED"
    position = venue.account.position(market.row)
    if position.isolated == isolated:
        raise VenueError(-4046)
    if venue.trading.opened(market.row.symbol):
        raise VenueError(-4047)
    if position.lots:
        raise VenueError(-4048)
    position.isolated = isolated
    return {"code": 200, "msg": "success"}


def get_dual(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET positionSide/dual: one-way mode only, so far."""
    return {"dualSidePosition": False}


def set_dual(venue: Venue, params: Params, now_ms: int) -> Json:
    """POST positionSide/dual: staying one-way is -4059; hedge mode is not simulated and says so."""
    if boolean(params, "dualSidePosition"):
        raise VenueError(-1020, message="not simulated: hedge mode")
    raise VenueError(-4059)


def get_multi_assets(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET multiAssetsMargin."""
    return {"multiAssetsMargin": False}


def account_config(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET accountConfig."""
    return {
        "feeTier": 0, "canTrade": True, "canDeposit": True, "canWithdraw": True, "dualSidePosition": False,
        "updateTime": 0, "multiAssetsMargin": False, "tradeGroupId": -1,
    }  # fmt: skip


def symbol_config(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET symbolConfig."""
    symbols = [venue.market(params["symbol"]).row.symbol] if "symbol" in params else list(venue.markets)
    rows = []
    for symbol in symbols:
        position = venue.account.position(venue.markets[symbol].row)
        rows.append(
            {
                "symbol": symbol,
                "marginType": "ISOLATED" if position.isolated else "CROSSED",
                "isAutoAddMargin": False,
                "leverage": position.leverage,
                "maxNotionalValue": "1000000",
            }
        )
    return rows


def leverage_bracket(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET leverageBracket: one bracket per symbol in this cut."""
    symbols = [venue.market(params["symbol"]).row.symbol] if "symbol" in params else list(venue.markets)
    return [
        {
            "symbol": symbol,
            "brackets": [
                {
                    "bracket": 1,
                    "initialLeverage": venue.markets[symbol].row.max_leverage,
                    "notionalCap": 100_000_000,
                    "notionalFloor": 0,
                    "maintMarginRatio": venue.markets[symbol].row.maintenance_bps / 10_000,
                    "cum": 0.0,
                }
            ],
        }
        for symbol in symbols
    ]


def commission_rate(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET commissionRate."""
    symbol = venue.market(mandatory(params, "symbol")).row.symbol
    settings = venue.settings
    return {
        "symbol": symbol,
        "makerCommissionRate": format_trimmed(settings.maker_ppm * 100),
        "takerCommissionRate": format_trimmed(settings.taker_ppm * 100),
        "rpiCommissionRate": "0.00005",
    }


def income(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET income: commissions and realised profits of own fills."""
    rows: list[Json] = []
    symbol, wanted = params.get("symbol"), params.get("incomeType")
    for fill in venue.trading.fills:
        if symbol is not None and fill.order.row.symbol != symbol:
            continue
        for kind, amount in (("COMMISSION", -fill.fee), ("REALIZED_PNL", fill.realised)):
            if amount and wanted in (None, kind):
                rows.append(
                    {
                        "symbol": fill.order.row.symbol, "incomeType": kind, "income": format_e8(amount),
                        "asset": "USDT", "info": str(fill.trade_id), "time": fill.at_ms, "tranId": fill.trade_id,
                        "tradeId": str(fill.trade_id),
                    }
                )  # fmt: skip
    return rows[-min(optional_int(params, "limit") or 100, 1_000) :]


def listen_key_start(venue: Venue, params: Params, now_ms: int) -> Json:
    """POST listenKey."""
    return {"listenKey": venue.start_listen_key(now_ms)}


def listen_key_keep(venue: Venue, params: Params, now_ms: int) -> Json:
    """PUT listenKey; -1125 without an active one."""
    if venue.listen_key is None:
        raise VenueError(-1125)
    return {"listenKey": venue.start_listen_key(now_ms)}


def listen_key_close(venue: Venue, params: Params, now_ms: int) -> Json:
    """DELETE listenKey: ends the stream of every process that shares the key."""
    venue.expire_listen_key(now_ms)
    return {}


def _all_costs(one: int, every: int) -> Any:  # Any: weight function
    return lambda params: one if "symbol" in params else every


def _not_simulated(venue: Venue, params: Params, now_ms: int) -> Json:
    """Paths the venue has and this cut has not: a plain refusal, never silence or a made-up value."""
    raise VenueError(-1020, message="not simulated: this path")


NOT_SIMULATED: Final = (
    "POST /fapi/v1/order/test", "PUT /fapi/v1/order", "POST /fapi/v1/batchOrders", "PUT /fapi/v1/batchOrders",
    "DELETE /fapi/v1/batchOrders", "POST /fapi/v1/countdownCancelAll", "GET /fapi/v1/orderAmendment",
    "GET /fapi/v1/forceOrders", "GET /fapi/v1/allAlgoOrders", "GET /fapi/v1/rpiDepth", "GET /fapi/v1/trades",
    "GET /fapi/v1/historicalTrades", "GET /fapi/v1/aggTrades", "GET /fapi/v1/continuousKlines",
    "GET /fapi/v1/indexPriceKlines", "GET /fapi/v1/markPriceKlines", "GET /fapi/v1/premiumIndexKlines",
    "GET /fapi/v1/symbolAdlRisk", "GET /fapi/v1/insuranceBalance", "GET /fapi/v1/constituents",
    "GET /fapi/v1/assetIndex", "GET /fapi/v1/tradingSchedule", "GET /fapi/v2/account", "GET /fapi/v2/balance",
    "POST /fapi/v1/positionMargin", "POST /fapi/v1/multiAssetsMargin", "GET /fapi/v1/apiTradingStatus",
    "POST /fapi/v1/feeBurn", "GET /fapi/v1/feeBurn", "GET /fapi/v1/adlQuantile",
    "GET /futures/data/topLongShortAccountRatio", "GET /futures/data/topLongShortPositionRatio",
    "GET /futures/data/globalLongShortAccountRatio", "GET /futures/data/takerlongshortRatio",
    "GET /futures/data/basis",
)  # fmt: skip
_SIGNED: Final = "SIGNED"
ROUTES: Final[dict[tuple[str, str], Endpoint]] = {
    ("GET", "/fapi/v1/ping"): Endpoint(ping),
    ("GET", "/fapi/v1/time"): Endpoint(server_time),
    ("GET", "/fapi/v1/exchangeInfo"): Endpoint(exchange_info),
    ("GET", "/fapi/v1/depth"): Endpoint(depth, depth_weight),
    ("GET", "/fapi/v1/klines"): Endpoint(klines, klines_weight),
    ("GET", "/fapi/v1/premiumIndex"): Endpoint(premium_index, _all_costs(1, 10)),
    ("GET", "/fapi/v1/openInterest"): Endpoint(open_interest),
    ("GET", "/futures/data/openInterestHist"): Endpoint(open_interest_history, 0),
    ("GET", "/fapi/v1/fundingRate"): Endpoint(funding_rate, 0),
    ("GET", "/fapi/v1/fundingInfo"): Endpoint(funding_info, 0),
    ("GET", "/fapi/v1/ticker/bookTicker"): Endpoint(book_ticker, _all_costs(2, 5)),
    ("GET", "/fapi/v1/ticker/price"): Endpoint(price_ticker, _all_costs(1, 2)),
    ("GET", "/fapi/v2/ticker/price"): Endpoint(price_ticker, _all_costs(1, 2)),
    ("GET", "/fapi/v1/ticker/24hr"): Endpoint(day_ticker, _all_costs(1, 40)),
    ("POST", "/fapi/v1/order"): Endpoint(new_order, 0, _SIGNED, counts_order=True),
    ("GET", "/fapi/v1/order"): Endpoint(get_order, 1, _SIGNED),
    ("DELETE", "/fapi/v1/order"): Endpoint(delete_order, 1, _SIGNED),
    ("GET", "/fapi/v1/openOrder"): Endpoint(get_open_order, 1, _SIGNED),
    ("GET", "/fapi/v1/openOrders"): Endpoint(open_orders, _all_costs(1, 40), _SIGNED),
    ("DELETE", "/fapi/v1/allOpenOrders"): Endpoint(delete_open_orders, 1, _SIGNED),
    ("GET", "/fapi/v1/allOrders"): Endpoint(all_orders, 5, _SIGNED),
    ("GET", "/fapi/v1/userTrades"): Endpoint(user_trades, 5, _SIGNED),
    ("POST", "/fapi/v1/algoOrder"): Endpoint(new_algo_order, 0, _SIGNED, counts_order=True),
    ("GET", "/fapi/v1/algoOrder"): Endpoint(get_algo_order, 1, _SIGNED),
    ("DELETE", "/fapi/v1/algoOrder"): Endpoint(delete_algo_order, 1, _SIGNED),
    ("GET", "/fapi/v1/openAlgoOrders"): Endpoint(open_algo_orders, _all_costs(1, 40), _SIGNED),
    ("DELETE", "/fapi/v1/algoOpenOrders"): Endpoint(delete_open_algo_orders, 1, _SIGNED),
    ("GET", "/fapi/v3/balance"): Endpoint(balance, 5, _SIGNED),
    ("GET", "/fapi/v3/account"): Endpoint(account_info, 5, _SIGNED),
    ("GET", "/fapi/v3/positionRisk"): Endpoint(position_risk_v3, 5, _SIGNED),
    ("GET", "/fapi/v2/positionRisk"): Endpoint(position_risk_v2, 5, _SIGNED),
    ("POST", "/fapi/v1/leverage"): Endpoint(set_leverage, 1, _SIGNED),
    ("POST", "/fapi/v1/marginType"): Endpoint(set_margin_type, 1, _SIGNED),
    ("GET", "/fapi/v1/positionSide/dual"): Endpoint(get_dual, 30, _SIGNED),
    ("POST", "/fapi/v1/positionSide/dual"): Endpoint(set_dual, 1, _SIGNED),
    ("GET", "/fapi/v1/multiAssetsMargin"): Endpoint(get_multi_assets, 30, _SIGNED),
    ("GET", "/fapi/v1/accountConfig"): Endpoint(account_config, 5, _SIGNED),
    ("GET", "/fapi/v1/symbolConfig"): Endpoint(symbol_config, 5, _SIGNED),
    ("GET", "/fapi/v1/leverageBracket"): Endpoint(leverage_bracket, 1, _SIGNED),
    ("GET", "/fapi/v1/commissionRate"): Endpoint(commission_rate, 20, _SIGNED),
    ("GET", "/fapi/v1/rateLimit/order"): Endpoint(order_limits, 1, _SIGNED),
    ("GET", "/fapi/v1/income"): Endpoint(income, 30, _SIGNED),
    ("POST", "/fapi/v1/listenKey"): Endpoint(listen_key_start, 1, "KEY"),
    ("PUT", "/fapi/v1/listenKey"): Endpoint(listen_key_keep, 1, "KEY"),
    ("DELETE", "/fapi/v1/listenKey"): Endpoint(listen_key_close, 1, "KEY"),
}
ROUTES.update({(row.split(" ")[0], row.split(" ")[1]): Endpoint(_not_simulated) for row in NOT_SIMULATED})
