"""Drives the unmodified official SDK (REST, WebSocket API, streams) against the simulator; only its configurations."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from binance_common.configuration import (
    ConfigurationRestAPI,
    ConfigurationWebSocketAPI,
    ConfigurationWebSocketStreams,
)
from binance_sdk_derivatives_trading_usds_futures.derivatives_trading_usds_futures import (
    DerivativesTradingUsdsFutures,
)
from binance_sdk_derivatives_trading_usds_futures.rest_api.models import (
    ModifyMultipleOrdersBatchOrdersParameterInner,
    PlaceMultipleOrdersBatchOrdersParameterInner,
)

from tests.clients.table import Table, run

SYMBOL = "BTCUSDT"
KEYS = {"api_key": "simulator-key", "api_secret": "simulator-secret"}


def connected(rest: str, ws: str) -> Any:
    """The SDK's client of this exchange."""
    return DerivativesTradingUsdsFutures(
        config_rest_api=ConfigurationRestAPI(**KEYS, base_path=rest, timeout=10_000),
        config_ws_api=ConfigurationWebSocketAPI(**KEYS, stream_url=f"{ws}/ws-fapi/v1"),
        config_ws_streams=ConfigurationWebSocketStreams(stream_url=ws),
    )


def answered(api: Any, name: str, params: dict[str, Any]) -> Any:
    """The decoded model of a REST call."""
    return getattr(api, name)(**params).data()


def one(model: Any) -> Any:
    """The object inside a model that stands for one of several shapes."""
    return getattr(model, "actual_instance", model)


async def market_data(table: Table, api: Any) -> float:
    """What anyone may ask; returns the last price."""
    bar = {"interval": "5m", "limit": 9}
    ratio = {"symbol": SYMBOL, "period": "5m", "limit": 4}
    rows: tuple[tuple[str, dict[str, Any], Any], ...] = (
        ("test_connectivity", {}, lambda model: True),
        ("check_server_time", {}, lambda model: model.server_time > 0),
        ("exchange_information", {}, lambda model: len(model.symbols) >= 5),
        ("order_book", {"symbol": SYMBOL, "limit": 5}, lambda model: len(model.bids) == 5),
        ("recent_trades_list", {"symbol": SYMBOL, "limit": 5}, lambda rows: float(rows[0].price) > 0),
        ("old_trades_lookup", {"symbol": SYMBOL, "limit": 5}, lambda rows: rows[0].id > 0),
        ("compressed_aggregate_trades_list", {"symbol": SYMBOL}, lambda rows: rows[0].a > 0),
        ("kline_candlestick_data", {"symbol": SYMBOL} | bar, lambda rows: len(rows) == 9),
        ("mark_price_kline_candlestick_data", {"symbol": SYMBOL} | bar, lambda rows: len(rows) == 9),
        ("index_price_kline_candlestick_data", {"pair": SYMBOL} | bar, lambda rows: len(rows) == 9),
        ("premium_index_kline_data", {"symbol": SYMBOL} | bar, lambda rows: len(rows) == 9),
        (
            "continuous_contract_kline_candlestick_data",
            {"pair": SYMBOL, "contract_type": "PERPETUAL"} | bar,
            lambda rows: len(rows) == 9,
        ),
        ("mark_price", {"symbol": SYMBOL}, lambda model: float(one(model).mark_price) > 0),
        ("get_funding_rate_history", {"symbol": SYMBOL, "limit": 3}, lambda rows: len(rows) == 3),
        ("get_funding_rate_info", {}, lambda rows: rows[0].funding_interval_hours == 4),
        ("ticker24hr_price_change_statistics", {"symbol": SYMBOL}, lambda model: float(one(model).last_price) > 0),
        ("symbol_price_ticker", {"symbol": SYMBOL}, lambda model: float(one(model).price) > 0),
        ("symbol_price_ticker_v2", {"symbol": SYMBOL}, lambda model: float(one(model).price) > 0),
        ("symbol_order_book_ticker", {"symbol": SYMBOL}, lambda model: float(one(model).bid_price) > 0),
        ("open_interest", {"symbol": SYMBOL}, lambda model: float(model.open_interest) > 0),
        ("open_interest_statistics", ratio, lambda rows: len(rows) == 4),
        ("long_short_ratio", ratio, lambda rows: len(rows) == 4),
        ("top_trader_long_short_ratio_accounts", ratio, lambda rows: len(rows) == 4),
        ("top_trader_long_short_ratio_positions", ratio, lambda rows: len(rows) == 4),
        ("taker_buy_sell_volume", ratio, lambda rows: len(rows) == 4),
        ("query_insurance_fund_balance_snapshot", {"symbol": SYMBOL}, lambda model: one(model) is not None),
    )
    for name, params, check in rows:
        await table.call(name, partial(answered, api, name, params), check)
    await table.call("error: depth limit", lambda: api.order_book(symbol=SYMBOL, limit=7), refused="depth limit")
    await table.call("error: symbol", lambda: api.open_interest(symbol="NONE"), refused="Invalid symbol")
    return float(one(api.symbol_price_ticker_v2(symbol=SYMBOL).data()).price)


async def account(table: Table, api: Any) -> None:
    """Balances, settings, limits, listen keys."""
    rows: tuple[tuple[str, dict[str, Any], Any], ...] = (
        ("account_information_v2", {}, lambda model: float(one(model).total_wallet_balance) > 0),
        ("account_information_v3", {}, lambda model: float(one(model).total_wallet_balance) > 0),
        ("futures_account_balance_v2", {}, lambda rows: rows[0].asset == "USDT"),
        ("futures_account_balance_v3", {}, lambda rows: rows[0].asset == "USDT"),
        ("futures_account_configuration", {}, lambda model: model.can_trade),
        ("futures_trading_quantitative_rules_indicators", {}, lambda model: one(model) is not None),
        ("get_bnb_burn_status", {}, lambda model: model.fee_burn is False),
        ("get_current_multi_assets_mode", {}, lambda model: model.multi_assets_margin is False),
        ("get_current_position_mode", {}, lambda model: model.dual_side_position is False),
        ("notional_and_leverage_brackets", {"symbol": SYMBOL}, lambda model: one(model) is not None),
        ("query_user_rate_limit", {}, lambda rows: len(rows) == 2),
        ("symbol_configuration", {"symbol": SYMBOL}, lambda rows: rows[0].leverage == 20),
        ("user_commission_rate", {"symbol": SYMBOL}, lambda model: model.taker_commission_rate == "0.0005"),
        ("change_initial_leverage", {"symbol": SYMBOL, "leverage": 10}, lambda model: model.leverage == 10),
        ("change_margin_type", {"symbol": "ETHUSDT", "margin_type": "ISOLATED"}, lambda model: model.code == 200),
        ("start_user_data_stream", {}, lambda model: len(model.listen_key) == 64),
        ("keepalive_user_data_stream", {}, lambda model: len(model.listen_key) == 64),
        ("close_user_data_stream", {}, lambda model: True),
    )
    for name, params, check in rows:
        await table.call(name, partial(answered, api, name, params), check)
    await table.call("error: dead listen key", api.keepalive_user_data_stream, refused="does not exist")
    await table.call(
        "error: same mode", lambda: api.change_position_mode(dual_side_position="false"), refused="No need to change"
    )
    await table.call(
        "error: same assets mode", lambda: api.change_multi_assets_mode(multi_assets_margin="false"), refused="No need"
    )


async def orders(table: Table, api: Any, last: float) -> None:
    """Orders, batches, changes, conditional orders, histories, error paths."""
    low, high = round(last * 0.98, 1), round(last * 1.02, 1)
    limit = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "time_in_force": "GTC", "quantity": 0.01, "price": low}

    async def call(name: str, params: dict[str, Any], check: Any, label: str = "") -> Any:
        return await table.call(label or name, partial(answered, api, name, params), check)

    placed = await call("new_order", limit, lambda model: model.status == "NEW", "new_order (limit)")
    same = {"symbol": SYMBOL, "order_id": placed.order_id}
    await call("query_order", same, lambda model: model.status == "NEW")
    await call("query_current_open_order", same, lambda model: model.status == "NEW")
    await call("current_all_open_orders", {"symbol": SYMBOL}, lambda rows: len(rows) == 1)
    await call(
        "modify_order", same | {"side": "BUY", "quantity": 0.02, "price": low}, lambda model: model.orig_qty == "0.020"
    )
    await call("get_order_modify_history", same, lambda rows: len(rows) == 1)
    await call("cancel_order", same, lambda model: model.status == "CANCELED")
    await table.call("error: cancel twice", lambda: api.cancel_order(**same), refused="Unknown order")
    await call("test_order", limit, lambda model: model is not None)
    item = PlaceMultipleOrdersBatchOrdersParameterInner(
        symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTC", quantity=0.01, price=low
    )
    batch = await call("place_multiple_orders", {"batch_orders": [item, item]}, lambda rows: len(rows) == 2)
    ids = [row.order_id for row in batch]
    change = ModifyMultipleOrdersBatchOrdersParameterInner(
        symbol=SYMBOL, side="BUY", orderId=ids[0], quantity=0.02, price=low
    )
    await call("modify_multiple_orders", {"batch_orders": [change]}, lambda rows: rows[0].orig_qty == "0.020")
    await call(
        "cancel_multiple_orders",
        {"symbol": SYMBOL, "order_id_list": ids[:1]},
        lambda rows: rows[0].status == "CANCELED",
    )
    await call(
        "auto_cancel_all_open_orders",
        {"symbol": SYMBOL, "countdown_time": 60_000},
        lambda model: model.countdown_time == "60000",
    )
    await call("cancel_all_open_orders", {"symbol": SYMBOL}, lambda model: model.code == 200)
    market = {"symbol": SYMBOL, "side": "BUY", "type": "MARKET", "quantity": 0.02, "new_order_resp_type": "RESULT"}
    await call("new_order", market, lambda model: model.status == "FILLED", "new_order (market)")
    await call("all_orders", {"symbol": SYMBOL}, lambda rows: rows[-1].status == "FILLED")
    await call("account_trade_list", {"symbol": SYMBOL}, lambda rows: float(rows[0].commission) > 0)
    await call("get_income_history", {}, lambda rows: rows[0].income_type == "COMMISSION")
    await call("position_information_v2", {"symbol": SYMBOL}, lambda rows: rows[0].position_amt == "0.020")
    await call("position_information_v3", {"symbol": SYMBOL}, lambda rows: rows[0].position_amt == "0.020")
    await call("position_adl_quantile_estimation", {"symbol": SYMBOL}, lambda rows: rows[0].symbol == SYMBOL)
    await call("users_force_orders", {}, lambda rows: len(rows) == 0)
    stop = {"algo_type": "CONDITIONAL", "symbol": SYMBOL, "side": "SELL", "type": "STOP_MARKET", "quantity": 0.02,
            "trigger_price": round(last * 0.97, 1), "reduce_only": "true"}  # fmt: skip
    algo = await call("new_algo_order", stop, lambda model: model.algo_status == "NEW")
    await call("query_algo_order", {"algo_id": algo.algo_id}, lambda model: model.algo_status == "NEW")
    await call("current_all_algo_open_orders", {"symbol": SYMBOL}, lambda rows: len(rows) == 1)
    await call("cancel_algo_order", {"algo_id": algo.algo_id}, lambda model: model.code == "200")
    await call("query_all_algo_orders", {"symbol": SYMBOL}, lambda rows: len(rows) == 1)
    await call("cancel_all_algo_open_orders", {"symbol": SYMBOL}, lambda model: model.code == 200)
    close = market | {"side": "SELL", "reduce_only": "true"}
    await call("new_order", close, lambda model: model.status == "FILLED", "new_order (reduce only)")
    for name, change_of, text in (
        ("error: tick", {"price": round(low + 0.05, 2)}, "tick size"),
        ("error: margin", {"quantity": 50}, "Margin is insufficient"),
        ("error: post only", {"price": high, "time_in_force": "GTX"}, "Post Only"),
        ("error: reduce only", {"reduce_only": "true"}, "ReduceOnly"),
        ("error: conditional on /order", {"type": "STOP_MARKET"}, "Algo Order"),
    ):
        await table.call(name, partial(api.new_order, **(limit | change_of)), refused=text)


async def socket_api(table: Table, client: Any, last: float) -> None:
    """The WebSocket API on one connection."""
    low = round(last * 0.98, 1)
    connection = await client.websocket_api.create_connection()

    async def call(name: str, params: dict[str, Any], check: Any) -> Any:
        async def act() -> Any:
            # Tickers have a model for one of two answers.
            return one((await getattr(connection, name)(**params)).data()).result

        return await table.call(f"websocket_api.{name}", act, check)

    try:
        limit = {
            "symbol": SYMBOL,
            "side": "BUY",
            "type": "LIMIT",
            "time_in_force": "GTC",
            "quantity": 0.01,
            "price": low,
        }
        placed = await call("new_order", limit, lambda model: model.status == "NEW")
        same = {"symbol": SYMBOL, "order_id": placed.order_id}
        await call("query_order", same, lambda model: model.status == "NEW")
        await call(
            "modify_order",
            same | {"side": "BUY", "quantity": 0.02, "price": low},
            lambda model: model.orig_qty == "0.020",
        )
        await call("cancel_order", same, lambda model: model.status == "CANCELED")
        stop = {"algo_type": "CONDITIONAL", "symbol": SYMBOL, "side": "SELL", "type": "STOP_MARKET", "quantity": 0.02,
                "trigger_price": round(last * 0.97, 1)}  # fmt: skip
        algo = await call("new_algo_order", stop, lambda model: model.algo_status == "NEW")
        await call("cancel_algo_order", {"algo_id": algo.algo_id}, lambda model: model.algo_id == algo.algo_id)
        await call("account_information", {}, lambda model: one(model) is not None)
        await call("account_information_v2", {}, lambda model: one(model) is not None)
        await call("futures_account_balance", {}, lambda rows: rows[0].asset == "USDT")
        await call("futures_account_balance_v2", {}, lambda rows: rows[0].asset == "USDT")
        await call("position_information", {"symbol": SYMBOL}, lambda rows: rows[0].symbol == SYMBOL)
        await call("position_information_v2", {"symbol": SYMBOL}, lambda rows: isinstance(rows, list))
        await call(
            "order_book", {"symbol": SYMBOL, "limit": 5}, lambda model: len(model.additional_properties["bids"]) == 5
        )
        await call("symbol_price_ticker", {"symbol": SYMBOL}, lambda model: float(one(model).price) > 0)
        await call("symbol_order_book_ticker", {"symbol": SYMBOL}, lambda model: float(one(model).bid_price) > 0)
        await call("start_user_data_stream", {}, lambda model: len(model.listen_key) == 64)
        await call("keepalive_user_data_stream", {}, lambda model: len(model.listen_key) == 64)
    finally:
        await connection.close_connection(close_session=True)


async def streams(table: Table, client: Any) -> None:
    """Market and user streams."""
    connection = await client.websocket_streams.create_connection()

    async def first(name: str, params: dict[str, Any], act: Any = None) -> Any:
        loop = asyncio.get_running_loop()
        arrived: asyncio.Future[Any] = loop.create_future()
        stream = await getattr(connection, name)(**params)

        def note(message: Any) -> None:
            if not arrived.done():
                arrived.set_result(message)

        stream.on("message", note)
        if act is not None:
            await asyncio.sleep(0.3)
            act()
        found = await arrived
        await stream.unsubscribe()
        return found

    try:
        for name, params in (
            ("aggregate_trade_streams", {"symbol": SYMBOL}),
            ("kline_candlestick_streams", {"symbol": SYMBOL, "interval": "1m"}),
            ("mark_price_stream", {"symbol": SYMBOL, "update_speed": "1s"}),
            ("mark_price_stream_for_all_market", {"update_speed": "1s"}),
            ("individual_symbol_ticker_streams", {"symbol": SYMBOL}),
            ("individual_symbol_mini_ticker_stream", {"symbol": SYMBOL}),
            ("all_market_mini_tickers_stream", {}),
            ("all_market_tickers_streams", {}),
            ("individual_symbol_book_ticker_streams", {"symbol": SYMBOL}),
            ("partial_book_depth_streams", {"symbol": SYMBOL, "levels": "5", "update_speed": "100ms"}),
            ("diff_book_depth_streams", {"symbol": SYMBOL, "update_speed": "100ms"}),
            (
                "continuous_contract_kline_candlestick_streams",
                {"pair": SYMBOL.lower(), "contract_type": "perpetual", "interval": "1m"},
            ),
        ):
            await table.call(f"streams.{name}", partial(first, name, params), lambda found: found)
        key = client.rest_api.start_user_data_stream().data().listen_key
        await table.call(
            "streams.user_data",
            lambda: first(
                "user_data",
                {"listenKey": key},
                lambda: client.rest_api.new_order(symbol=SYMBOL, side="BUY", type="MARKET", quantity=0.01),
            ),
            lambda found: found is not None,
        )
    finally:
        await connection.close_connection(close_session=True)


async def drive(table: Table, rest: str, ws: str) -> None:
    """Every call of the table, in order."""
    client = connected(rest, ws)
    last = await market_data(table, client.rest_api)
    await account(table, client.rest_api)
    await orders(table, client.rest_api, last)
    await socket_api(table, client, last)
    await streams(table, client)


if __name__ == "__main__":
    run(drive)
