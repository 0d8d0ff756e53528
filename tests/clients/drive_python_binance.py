"""Drives unmodified python-binance (AsyncClient, BinanceSocketManager) against the simulator; only URLs are set."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Any

from binance import AsyncClient, BinanceSocketManager

from tests.clients.table import Table, run

SYMBOL = "BTCUSDT"


async def connected(rest: str, ws: str) -> Any:
    """A client whose public URL attributes name this exchange."""
    AsyncClient.API_URL = f"{rest}/api"
    AsyncClient.FUTURES_URL = f"{rest}/fapi"
    AsyncClient.FUTURES_DATA_URL = f"{rest}/futures/data"
    AsyncClient.WS_FUTURES_URL = f"{ws}/ws-fapi/v1"
    BinanceSocketManager.FSTREAM_URL = f"{ws}/"
    return await AsyncClient.create("simulator-key", "simulator-secret")


async def market_data(table: Table, client: Any) -> float:
    """What anyone may ask; returns the last price."""
    rows: tuple[tuple[str, dict[str, Any], Any], ...] = (
        ("futures_ping", {}, lambda one: one == {}),
        ("futures_time", {}, lambda one: one["serverTime"] > 0),
        ("futures_exchange_info", {}, lambda one: len(one["symbols"]) >= 5),
        ("futures_order_book", {"symbol": SYMBOL, "limit": 5}, lambda one: len(one["bids"]) == 5),
        ("futures_recent_trades", {"symbol": SYMBOL, "limit": 5}, lambda rows: "price" in rows[0]),
        ("futures_historical_trades", {"symbol": SYMBOL, "limit": 5}, lambda rows: "id" in rows[0]),
        ("futures_aggregate_trades", {"symbol": SYMBOL}, lambda rows: "a" in rows[0]),
        ("futures_klines", {"symbol": SYMBOL, "interval": "5m", "limit": 9}, lambda rows: len(rows) == 9),
        ("futures_mark_price_klines", {"symbol": SYMBOL, "interval": "5m", "limit": 9}, lambda rows: len(rows) == 9),
        ("futures_index_price_klines", {"pair": SYMBOL, "interval": "5m", "limit": 9}, lambda rows: len(rows) == 9),
        ("futures_premium_index_klines", {"symbol": SYMBOL, "interval": "5m", "limit": 9}, lambda rows: len(rows) == 9),
        (
            "futures_continuous_klines",
            {"pair": SYMBOL, "contractType": "PERPETUAL", "interval": "5m", "limit": 9},
            lambda rows: len(rows) == 9,
        ),
        ("futures_mark_price", {"symbol": SYMBOL}, lambda one: float(one["markPrice"]) > 0),
        ("futures_funding_rate", {"symbol": SYMBOL, "limit": 3}, lambda rows: len(rows) == 3),
        ("futures_v1_get_funding_info", {}, lambda rows: rows[0]["fundingIntervalHours"] == 4),
        ("futures_ticker", {"symbol": SYMBOL}, lambda one: float(one["lastPrice"]) > 0),
        ("futures_symbol_ticker", {"symbol": SYMBOL}, lambda one: float(one["price"]) > 0),
        ("futures_orderbook_ticker", {"symbol": SYMBOL}, lambda one: float(one["bidPrice"]) > 0),
        ("futures_open_interest", {"symbol": SYMBOL}, lambda one: float(one["openInterest"]) > 0),
        ("futures_open_interest_hist", {"symbol": SYMBOL, "period": "5m", "limit": 4}, lambda rows: len(rows) == 4),
        ("futures_top_longshort_account_ratio", {"symbol": SYMBOL, "period": "5m"}, lambda rows: len(rows) == 30),
        ("futures_top_longshort_position_ratio", {"symbol": SYMBOL, "period": "5m"}, lambda rows: len(rows) == 30),
        ("futures_global_longshort_ratio", {"symbol": SYMBOL, "period": "5m"}, lambda rows: len(rows) == 30),
        ("futures_taker_longshort_ratio", {"symbol": SYMBOL, "period": "5m"}, lambda rows: len(rows) == 30),
    )
    for name, params, check in rows:
        await table.call(name, partial(getattr(client, name), **params), check)
    await table.call("error: depth limit", lambda: client.futures_order_book(symbol=SYMBOL, limit=7), refused="-4021")
    await table.call("error: symbol", lambda: client.futures_klines(symbol="NONE", interval="5m"), refused="-1121")
    await table.call("error: interval", lambda: client.futures_klines(symbol=SYMBOL, interval="7m"), refused="-1120")
    return float((await client.futures_symbol_ticker(symbol=SYMBOL))["price"])


async def account(table: Table, client: Any) -> None:
    """Balances, settings, limits, listen keys."""
    rows: tuple[tuple[str, dict[str, Any], Any], ...] = (
        ("futures_account_balance", {}, lambda rows: rows[0]["asset"] == "USDT"),
        ("futures_account", {}, lambda one: float(one["totalWalletBalance"]) > 0),
        ("futures_position_information", {"symbol": SYMBOL}, lambda rows: isinstance(rows, list)),
        ("futures_get_position_mode", {}, lambda one: one == {"dualSidePosition": False}),
        ("futures_get_multi_assets_mode", {}, lambda one: one == {"multiAssetsMargin": False}),
        ("futures_account_config", {}, lambda one: one["canTrade"]),
        ("futures_symbol_config", {"symbol": SYMBOL}, lambda rows: rows[0]["leverage"] == 20),
        ("futures_change_leverage", {"symbol": SYMBOL, "leverage": 10}, lambda one: one["leverage"] == 10),
        ("futures_change_margin_type", {"symbol": "ETHUSDT", "marginType": "ISOLATED"}, lambda one: one["code"] == 200),
        ("futures_leverage_bracket", {"symbol": SYMBOL}, lambda rows: len(rows[0]["brackets"]) > 3),
        ("futures_commission_rate", {"symbol": SYMBOL}, lambda one: one["takerCommissionRate"] == "0.0005"),
        ("futures_api_trading_status", {"symbol": SYMBOL}, lambda one: "indicators" in one),
        ("futures_v1_get_rate_limit_order", {}, lambda rows: len(rows) == 2),
        ("futures_v1_get_fee_burn", {}, lambda one: one == {"feeBurn": False}),
    )
    for name, params, check in rows:
        await table.call(name, partial(getattr(client, name), **params), check)
    await table.call(
        "error: same mode", lambda: client.futures_change_position_mode(dualSidePosition="false"), refused="-4059"
    )
    await table.call(
        "error: same margin type",
        lambda: client.futures_change_margin_type(symbol=SYMBOL, marginType="CROSSED"),
        refused="-4046",
    )
    await table.call("error: same assets mode", lambda: client.futures_change_multi_assets_mode(False), refused="-4171")
    key = await table.call(
        "futures_stream_get_listen_key", client.futures_stream_get_listen_key, lambda key: len(key) == 64
    )
    await table.call(
        "futures_stream_keepalive", lambda: client.futures_stream_keepalive(listenKey=key), lambda one: one is not None
    )
    await table.call("futures_stream_close", lambda: client.futures_stream_close(listenKey=key), lambda one: one == {})
    await table.call("error: dead listen key", lambda: client.futures_stream_keepalive(listenKey=key), refused="-1125")


async def orders(table: Table, client: Any, last: float) -> None:
    """Orders, batches, changes, conditional orders, histories, error paths."""
    low, high = f"{last * 0.98:.1f}", f"{last * 1.02:.1f}"
    limit = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.010", "price": low}
    placed = await table.call(
        "futures_create_order (limit)", lambda: client.futures_create_order(**limit), lambda one: one["status"] == "NEW"
    )
    same = {"symbol": SYMBOL, "orderId": placed["orderId"]}
    await table.call("futures_get_order", lambda: client.futures_get_order(**same), lambda one: one["status"] == "NEW")
    await table.call(
        "futures_v1_get_open_order",
        lambda: client.futures_v1_get_open_order(**same),
        lambda one: one["status"] == "NEW",
    )
    await table.call(
        "futures_get_open_orders", lambda: client.futures_get_open_orders(symbol=SYMBOL), lambda rows: len(rows) == 1
    )
    await table.call(
        "futures_modify_order",
        lambda: client.futures_modify_order(**same, side="BUY", quantity="0.020", price=low),
        lambda one: one["origQty"] == "0.020",
    )
    await table.call(
        "futures_v1_get_order_amendment",
        lambda: client.futures_v1_get_order_amendment(**same),
        lambda rows: len(rows) == 1,
    )
    await table.call(
        "futures_cancel_order", lambda: client.futures_cancel_order(**same), lambda one: one["status"] == "CANCELED"
    )
    await table.call("error: cancel twice", lambda: client.futures_cancel_order(**same), refused="-2011")
    await table.call(
        "futures_create_test_order", lambda: client.futures_create_test_order(**limit), lambda one: one is not None
    )
    batch = await table.call(
        "futures_place_batch_order",
        lambda: client.futures_place_batch_order(batchOrders=[dict(limit), dict(limit)]),
        lambda rows: [row["status"] for row in rows] == ["NEW", "NEW"],
    )
    ids = [row.get("orderId", row) for row in batch]
    change = [{"symbol": SYMBOL, "side": "BUY", "orderId": str(ids[0]), "quantity": "0.020", "price": low}]
    # This client signs the JSON before it encodes it; the venue verifies the bytes sent and refuses (sheet 6.1).
    await table.call(
        "futures_v1_put_batch_orders (signs other bytes than it sends)",
        lambda: client.futures_v1_put_batch_orders(batchOrders=json.dumps(change)),
        refused="-1022",
    )
    await table.call(
        "futures_cancel_orders",
        lambda: client.futures_cancel_orders(symbol=SYMBOL, orderidlist=ids[:1]),
        lambda rows: rows[0]["status"] == "CANCELED",
    )
    await table.call(
        "futures_countdown_cancel_all",
        lambda: client.futures_countdown_cancel_all(symbol=SYMBOL, countdownTime=60_000),
        lambda one: one["countdownTime"] == "60000",
    )
    await table.call(
        "futures_cancel_all_open_orders",
        lambda: client.futures_cancel_all_open_orders(symbol=SYMBOL),
        lambda one: one["code"] == 200,
    )
    bought = await table.call(
        "futures_create_order (market)",
        lambda: client.futures_create_order(
            symbol=SYMBOL, side="BUY", type="MARKET", quantity="0.020", newOrderRespType="RESULT"
        ),
        lambda one: one["status"] == "FILLED",
    )
    await table.call(
        "futures_get_all_orders",
        lambda: client.futures_get_all_orders(symbol=SYMBOL),
        lambda rows: rows[-1]["orderId"] == bought["orderId"],
    )
    await table.call(
        "futures_account_trades",
        lambda: client.futures_account_trades(symbol=SYMBOL),
        lambda rows: float(rows[0]["commission"]) > 0,
    )
    await table.call(
        "futures_income_history", client.futures_income_history, lambda rows: rows[0]["incomeType"] == "COMMISSION"
    )
    await table.call(
        "futures_position_information (held)",
        lambda: client.futures_position_information(symbol=SYMBOL),
        lambda rows: rows[0]["positionAmt"] == "0.020",
    )
    await table.call(
        "futures_adl_quantile_estimate",
        lambda: client.futures_adl_quantile_estimate(symbol=SYMBOL),
        lambda rows: rows[0]["symbol"] == SYMBOL,
    )
    await table.call("futures_liquidation_orders", client.futures_liquidation_orders, lambda rows: rows == [])
    await conditional(table, client, last)
    await table.call(
        "futures_create_order (reduce only)",
        lambda: client.futures_create_order(
            symbol=SYMBOL, side="SELL", type="MARKET", quantity="0.020", reduceOnly="true"
        ),
        lambda one: one["reduceOnly"],
    )
    for name, change_of, code in (
        ("error: tick", {"price": f"{low}5"}, "-4014"),
        ("error: precision", {"quantity": "0.00001"}, "-1111"),
        ("error: margin", {"quantity": "50"}, "-2019"),
        ("error: post only", {"price": high, "timeInForce": "GTX"}, "-5022"),
        ("error: missing", {"quantity": ""}, "-1102"),
        ("error: conditional on /order", {"positionSide": "LONG"}, "-4061"),
    ):
        await table.call(name, partial(client.futures_create_order, **(limit | change_of)), refused=code)


async def conditional(table: Table, client: Any, last: float) -> None:
    """Conditional orders of the algo service."""
    stop = {"symbol": SYMBOL, "side": "SELL", "algoType": "CONDITIONAL", "type": "STOP_MARKET", "quantity": "0.020",
            "triggerPrice": f"{last * 0.97:.1f}", "reduceOnly": "true"}  # fmt: skip
    placed = await table.call(
        "futures_create_algo_order",
        lambda: client.futures_create_algo_order(**stop),
        lambda one: one["algoStatus"] == "NEW",
    )
    await table.call(
        "futures_create_order (stop, routed)",
        lambda: client.futures_create_order(
            symbol=SYMBOL, side="SELL", type="TAKE_PROFIT_MARKET", stopPrice=f"{last * 1.03:.1f}", closePosition="true"
        ),
        lambda one: one["algoStatus"] == "NEW",
    )
    same = {"algoId": placed["algoId"]}
    await table.call(
        "futures_get_algo_order", lambda: client.futures_get_algo_order(**same), lambda one: one["algoStatus"] == "NEW"
    )
    await table.call(
        "futures_get_open_algo_orders",
        lambda: client.futures_get_open_algo_orders(symbol=SYMBOL),
        lambda rows: len(rows) == 2,
    )
    await table.call(
        "futures_cancel_algo_order", lambda: client.futures_cancel_algo_order(**same), lambda one: one["code"] == "200"
    )
    await table.call(
        "futures_get_all_algo_orders",
        lambda: client.futures_get_all_algo_orders(symbol=SYMBOL),
        lambda rows: len(rows) == 2,
    )
    await table.call(
        "futures_cancel_all_algo_open_orders",
        lambda: client.futures_cancel_all_algo_open_orders(symbol=SYMBOL),
        lambda one: one["code"] == 200,
    )


async def first(socket: Any) -> Any:
    """The first message of a socket."""
    async with socket as stream:
        return await stream.recv()


async def streams(table: Table, client: Any) -> None:
    """Public and user streams."""
    manager = BinanceSocketManager(client)
    await table.call(
        "kline_futures_socket",
        lambda: first(manager.kline_futures_socket(SYMBOL, interval="1m")),
        lambda one: "kline" in str(one),
    )
    await table.call(
        "aggtrade_futures_socket",
        lambda: first(manager.aggtrade_futures_socket(SYMBOL)),
        lambda one: one["data"]["e"] == "aggTrade",
    )
    await table.call(
        "symbol_ticker_futures_socket",
        lambda: first(manager.symbol_ticker_futures_socket(SYMBOL)),
        lambda one: one["data"]["s"] == SYMBOL,
    )
    await table.call(
        "individual_symbol_ticker_futures_socket",
        lambda: first(manager.individual_symbol_ticker_futures_socket(SYMBOL)),
        lambda one: one["data"]["s"] == SYMBOL,
    )
    await table.call(
        "futures_depth_socket",
        lambda: first(manager.futures_depth_socket(SYMBOL, depth="10")),
        lambda one: "depth" in one["stream"],
    )
    await table.call(
        "futures_multiplex_socket",
        lambda: first(manager.futures_multiplex_socket(["btcusdt@markPrice@1s"], category="market")),
        lambda one: one["data"]["e"] == "markPriceUpdate",
    )

    async def own() -> Any:
        async with manager.futures_user_socket() as stream:
            await asyncio.sleep(0.3)
            await client.futures_create_order(symbol=SYMBOL, side="BUY", type="MARKET", quantity="0.010")
            return [(await stream.recv())["e"] for _ in range(4)]

    await table.call(
        "futures_user_socket",
        own,
        lambda names: names == ["ORDER_TRADE_UPDATE", "TRADE_LITE", "ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE"],
    )


async def socket_api(table: Table, client: Any, last: float) -> None:
    """Orders over the WebSocket API."""
    low = f"{last * 0.98:.1f}"
    placed = await table.call(
        "ws_futures_create_order",
        lambda: client.ws_futures_create_order(
            symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.010", price=low
        ),
        lambda one: one["status"] == "NEW",
    )
    same = {"symbol": SYMBOL, "orderId": placed["orderId"]}
    await table.call(
        "ws_futures_get_order", lambda: client.ws_futures_get_order(**same), lambda one: one["status"] == "NEW"
    )
    await table.call(
        "ws_futures_edit_order",
        lambda: client.ws_futures_edit_order(**same, side="BUY", quantity="0.020", price=low),
        lambda one: one["origQty"] == "0.020",
    )
    await table.call(
        "ws_futures_cancel_order",
        lambda: client.ws_futures_cancel_order(**same),
        lambda one: one["status"] == "CANCELED",
    )
    await table.call(
        "ws_futures_account_balance", client.ws_futures_account_balance, lambda rows: rows[0]["asset"] == "USDT"
    )
    await table.call(
        "ws_futures_account_position", client.ws_futures_account_position, lambda rows: isinstance(rows, list)
    )
    await table.call("ws_futures_v2_account_status", client.ws_futures_v2_account_status, lambda one: "assets" in one)
    await table.call(
        "ws_futures_get_order_book", lambda: client.ws_futures_get_order_book(symbol=SYMBOL), lambda one: "bids" in one
    )
    await table.call(
        "ws_futures_get_order_book_ticker",
        lambda: client.ws_futures_get_order_book_ticker(symbol=SYMBOL),
        lambda one: "bidPrice" in one,
    )


async def drive(table: Table, rest: str, ws: str) -> None:
    """Every call of the table, in order."""
    client = await connected(rest, ws)
    try:
        last = await market_data(table, client)
        await account(table, client)
        await orders(table, client, last)
        await streams(table, client)
        await socket_api(table, client, last)
    finally:
        await client.close_connection()


if __name__ == "__main__":
    run(drive)
