"""Drives unmodified ccxt (REST and pro) against the simulator; only documented options and `urls` are set."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import Any

import ccxt.pro

from tests.clients.table import Table, run

SYMBOL = "BTC/USDT:USDT"
OTHER = "ETH/USDT:USDT"


def exchange(rest: str, ws: str) -> Any:
    """A ccxt.pro client of this exchange."""
    client = ccxt.pro.binanceusdm(
        {
            "apiKey": "simulator-key",
            "secret": "simulator-secret",
            "enableRateLimit": False,
            "options": {"fetchMarkets": {"types": ["linear"]}, "fetchCurrencies": False},
        }
    )
    for name in client.urls["api"]:
        if name.startswith("fapi"):
            path = {"fapiData": "/futures/data"}.get(name, f"/fapi/v{name[-1] if name[-1] in '23' else '1'}")
            client.urls["api"][name] = rest + path
    client.urls["api"]["ws"]["linear"] = f"{ws}/ws"
    client.urls["api"]["ws"]["ws-api"]["linear"] = f"{ws}/ws-fapi/v1"
    return client


async def market_data(table: Table, client: Any) -> float:
    """What anyone may ask; returns the last price."""
    await table.call("load_markets", client.load_markets, lambda found: SYMBOL in found)
    await table.call("fetch_time", client.fetch_time, lambda now: now > 0)
    await table.call(
        "fetch_order_book", lambda: client.fetch_order_book(SYMBOL, 20), lambda book: len(book["bids"]) > 4
    )
    ticker = await table.call("fetch_ticker", lambda: client.fetch_ticker(SYMBOL), lambda one: one["last"] > 0)
    await table.call("fetch_tickers", lambda: client.fetch_tickers([SYMBOL, OTHER]), lambda found: len(found) == 2)
    await table.call(
        "fetch_bids_asks", lambda: client.fetch_bids_asks([SYMBOL]), lambda found: found[SYMBOL]["bid"] > 0
    )
    await table.call("fetch_last_prices", lambda: client.fetch_last_prices([SYMBOL]), lambda found: SYMBOL in found)
    await table.call("fetch_trades", lambda: client.fetch_trades(SYMBOL, limit=10), lambda rows: rows[0]["price"] > 0)
    await table.call(
        "fetch_trades (recent)",
        lambda: client.fetch_trades(SYMBOL, limit=5, params={"fetchTradesMethod": "fapiPublicGetTrades"}),
        lambda rows: rows[0]["amount"] > 0,
    )
    await table.call("fetch_ohlcv", lambda: client.fetch_ohlcv(SYMBOL, "5m", limit=50), lambda rows: len(rows) == 50)
    for kind in ("mark", "index", "premiumIndex"):
        await table.call(
            f"fetch_ohlcv ({kind})",
            partial(client.fetch_ohlcv, SYMBOL, "5m", limit=10, params={"price": kind}),
            lambda rows: len(rows) == 10,
        )
    await table.call(
        "fetch_funding_rate", lambda: client.fetch_funding_rate(SYMBOL), lambda one: one["fundingTimestamp"] > 0
    )
    await table.call(
        "fetch_funding_rates", lambda: client.fetch_funding_rates([SYMBOL, OTHER]), lambda all: len(all) == 2
    )
    await table.call("fetch_funding_intervals", client.fetch_funding_intervals, lambda found: isinstance(found, dict))
    await table.call(
        "fetch_funding_rate_history",
        lambda: client.fetch_funding_rate_history(SYMBOL, limit=5),
        lambda rows: len(rows) == 5,
    )
    await table.call("fetch_mark_price", lambda: client.fetch_mark_price(SYMBOL), lambda one: one["markPrice"] > 0)
    await table.call("fetch_mark_prices", lambda: client.fetch_mark_prices([SYMBOL]), lambda found: SYMBOL in found)
    await table.call(
        "fetch_open_interest", lambda: client.fetch_open_interest(SYMBOL), lambda one: one["openInterestAmount"] > 0
    )
    await table.call(
        "fetch_open_interest_history",
        lambda: client.fetch_open_interest_history(SYMBOL, "5m", limit=10),
        lambda rows: len(rows) == 10,
    )
    await table.call(
        "fetch_long_short_ratio_history",
        lambda: client.fetch_long_short_ratio_history(SYMBOL, "5m", limit=5),
        lambda rows: len(rows) == 5,
    )
    return float(ticker["last"])


async def account(table: Table, client: Any) -> None:
    """Balances, settings and limits."""
    await table.call("fetch_balance", client.fetch_balance, lambda found: found["USDT"]["total"] > 0)
    await table.call("fetch_positions (flat)", lambda: client.fetch_positions([SYMBOL]), lambda rows: rows == [])
    await table.call(
        "fetch_position_mode", lambda: client.fetch_position_mode(SYMBOL), lambda one: one["hedged"] is False
    )
    await table.call("set_leverage", lambda: client.set_leverage(10, SYMBOL), lambda one: int(one["leverage"]) == 10)
    await table.call(
        "set_margin_mode", lambda: client.set_margin_mode("isolated", OTHER), lambda one: one["code"] == 200
    )
    await table.call("set_position_mode (same)", lambda: client.set_position_mode(False, SYMBOL), refused="-4059")
    await table.call("fetch_leverage", lambda: client.fetch_leverage(SYMBOL), lambda one: one["longLeverage"] == 10)
    await table.call("fetch_leverages", lambda: client.fetch_leverages([SYMBOL]), lambda found: SYMBOL in found)
    await table.call(
        "fetch_margin_mode", lambda: client.fetch_margin_mode(OTHER), lambda one: one["marginMode"] == "isolated"
    )
    await table.call("fetch_margin_modes", lambda: client.fetch_margin_modes([SYMBOL]), lambda found: SYMBOL in found)
    await table.call(
        "fetch_leverage_tiers", lambda: client.fetch_leverage_tiers([SYMBOL]), lambda found: len(found[SYMBOL]) > 3
    )
    await table.call(
        "fetch_market_leverage_tiers", lambda: client.fetch_market_leverage_tiers(SYMBOL), lambda rows: len(rows) > 3
    )
    await table.call("fetch_trading_fee", lambda: client.fetch_trading_fee(SYMBOL), lambda one: one["taker"] == 0.0005)


async def orders(table: Table, client: Any, last: float) -> None:
    """Orders, batches, changes, conditional orders, positions, histories, error paths."""
    low, high = round(last * 0.98, 1), round(last * 1.02, 1)
    limit = await table.call(
        "create_order (limit)",
        lambda: client.create_order(SYMBOL, "limit", "buy", 0.01, low),
        lambda order: order["status"] == "open",
    )
    await table.call(
        "fetch_order", lambda: client.fetch_order(limit["id"], SYMBOL), lambda order: order["price"] == low
    )
    await table.call(
        "fetch_open_order", lambda: client.fetch_open_order(limit["id"], SYMBOL), lambda one: one["id"] == limit["id"]
    )
    await table.call("fetch_open_orders", lambda: client.fetch_open_orders(SYMBOL), lambda rows: len(rows) == 1)
    await table.call(
        "edit_order",
        lambda: client.edit_order(limit["id"], SYMBOL, "limit", "buy", 0.02, round(low - 10, 1)),
        lambda order: order["amount"] == 0.02,
    )
    await table.call(
        "fetch_order_amendments (implicit)",
        lambda: client.fapiPrivateGetOrderAmendment({"symbol": "BTCUSDT", "orderId": limit["id"]}),
        lambda rows: len(rows) == 1,
    )
    await table.call(
        "cancel_order", lambda: client.cancel_order(limit["id"], SYMBOL), lambda order: order["status"] == "canceled"
    )
    await table.call("cancel_order (gone)", lambda: client.cancel_order(limit["id"], SYMBOL), refused="-2011")
    batch = await table.call(
        "create_orders",
        lambda: client.create_orders(
            [
                {"symbol": SYMBOL, "type": "limit", "side": "buy", "amount": 0.01, "price": round(low - index, 1)}
                for index in range(3)
            ]
        ),
        lambda rows: len(rows) == 3 and all(row["status"] == "open" for row in rows),
    )
    await table.call(
        "edit_orders",
        lambda: client.edit_orders(
            [
                {
                    "id": batch[0]["id"],
                    "symbol": SYMBOL,
                    "type": "limit",
                    "side": "buy",
                    "amount": 0.02,
                    "price": round(low - 20, 1),
                }
            ]
        ),
        lambda rows: rows[0]["amount"] == 0.02,
    )
    await table.call(
        "cancel_orders",
        lambda: client.cancel_orders([batch[0]["id"], batch[1]["id"]], SYMBOL),
        lambda rows: len(rows) == 2,
    )
    await table.call("cancel_all_orders", lambda: client.cancel_all_orders(SYMBOL), lambda answer: answer is not None)
    await table.call(
        "create_order (test)",
        lambda: client.create_order(SYMBOL, "limit", "buy", 0.01, low, {"test": True}),
        lambda order: order is not None,
    )
    market = await table.call(
        "create_order (market)", lambda: client.create_order(SYMBOL, "market", "buy", 0.02), lambda order: order["id"]
    )
    await table.call(
        "fetch_order (filled)", lambda: client.fetch_order(market["id"], SYMBOL), lambda one: one["status"] == "closed"
    )
    await table.call("fetch_my_trades", lambda: client.fetch_my_trades(SYMBOL), lambda rows: rows[0]["fee"]["cost"] > 0)
    await table.call("fetch_orders", lambda: client.fetch_orders(SYMBOL), lambda rows: len(rows) >= 5)
    await table.call("fetch_closed_orders", lambda: client.fetch_closed_orders(SYMBOL), lambda rows: len(rows) == 1)
    await table.call("fetch_canceled_orders", lambda: client.fetch_canceled_orders(SYMBOL), lambda rows: len(rows) == 4)
    await table.call(
        "fetch_positions", lambda: client.fetch_positions([SYMBOL]), lambda rows: rows[0]["contracts"] == 0.02
    )
    await table.call(
        "fetch_positions_risk", lambda: client.fetch_positions_risk([SYMBOL]), lambda rows: rows[0]["side"] == "long"
    )
    await table.call(
        "fetch_account_positions",
        lambda: client.fetch_account_positions([SYMBOL]),
        lambda rows: rows[0]["side"] == "long",
    )
    await conditional(table, client, last, high)
    await table.call("fetch_ledger", lambda: client.fetch_ledger("USDT"), lambda rows: len(rows) >= 1)
    await table.call(
        "fetch_income (implicit)",
        lambda: client.fapiPrivateGetIncome({"incomeType": "COMMISSION"}),
        lambda rows: len(rows) >= 1,
    )
    await table.call("fetch_funding_history", lambda: client.fetch_funding_history(SYMBOL), lambda rows: rows == [])
    await table.call("fetch_my_liquidations", lambda: client.fetch_my_liquidations(SYMBOL), lambda rows: rows == [])
    await table.call(
        "create_order (reduce only)",
        lambda: client.create_order(SYMBOL, "market", "sell", 0.02, None, {"reduceOnly": True}),
        lambda one: one["id"],
    )
    await isolated(table, client)
    await errors(table, client, last, low)


async def conditional(table: Table, client: Any, last: float, high: float) -> None:
    """Conditional orders of the algo service."""
    stop = await table.call(
        "create_order (stop market)",
        lambda: client.create_order(
            SYMBOL, "STOP_MARKET", "sell", 0.02, None, {"triggerPrice": round(last * 0.97, 1), "reduceOnly": True}
        ),
        lambda order: order["id"],
    )
    await table.call(
        "create_order (take profit)",
        lambda: client.create_order(
            SYMBOL, "TAKE_PROFIT_MARKET", "sell", None, None, {"triggerPrice": high, "closePosition": True}
        ),
        lambda order: order["id"],
    )
    await table.call(
        "create_order (trailing)",
        lambda: client.create_order(
            SYMBOL, "TRAILING_STOP_MARKET", "sell", 0.02, None, {"trailingPercent": 1, "reduceOnly": True}
        ),
        lambda order: order["id"],
    )
    params = {"trigger": True}
    await table.call(
        "fetch_open_orders (conditional)",
        lambda: client.fetch_open_orders(SYMBOL, params=params),
        lambda rows: len(rows) == 3,
    )
    await table.call(
        "fetch_order (conditional)",
        lambda: client.fetch_order(stop["id"], SYMBOL, params),
        lambda one: one["triggerPrice"] > 0,
    )
    await table.call(
        "cancel_order (conditional)",
        lambda: client.cancel_order(stop["id"], SYMBOL, params),
        lambda one: one is not None,
    )
    await table.call(
        "cancel_all_orders (conditional)", lambda: client.cancel_all_orders(SYMBOL, params), lambda one: one is not None
    )
    await table.call(
        "create_order (stop through the price)",
        lambda: client.create_order(SYMBOL, "STOP_MARKET", "sell", 0.02, None, {"triggerPrice": high}),
        refused="-2021",
    )


async def isolated(table: Table, client: Any) -> None:
    """Margin of an isolated position."""
    await client.create_order(OTHER, "market", "buy", 0.1)
    await table.call("add_margin", lambda: client.add_margin(OTHER, 5), lambda one: one["amount"] == 5)
    await table.call("reduce_margin", lambda: client.reduce_margin(OTHER, 3), lambda one: one["amount"] == 3)
    await client.create_order(OTHER, "market", "sell", 0.1, None, {"reduceOnly": True})


async def errors(table: Table, client: Any, last: float, low: float) -> None:
    """Typical error paths, as ccxt's own exceptions with the venue's code."""
    await table.call("error: margin", lambda: client.create_order(SYMBOL, "market", "buy", 20), refused="-2019")
    await table.call(
        "error: reduce only",
        lambda: client.create_order(SYMBOL, "market", "sell", 0.02, None, {"reduceOnly": True}),
        refused="-2022",
    )
    await table.call(
        "error: post only",
        lambda: client.create_order(SYMBOL, "limit", "buy", 0.01, round(last * 1.01, 1), {"postOnly": True}),
        refused="-5022",
    )
    await table.call(
        "error: percent price",
        lambda: client.create_order(SYMBOL, "limit", "buy", 0.01, round(last * 1.2, 1)),
        refused="-4016",
    )
    await table.call("error: unknown order", lambda: client.fetch_order("1", SYMBOL), refused="-2013")
    await table.call(
        "error: leverage",
        lambda: client.fapiPrivatePostLeverage({"symbol": "BTCUSDT", "leverage": 126}),
        refused="-4028",
    )
    await client.create_order(SYMBOL, "limit", "buy", 0.01, low, {"clientOrderId": "twice"})
    await table.call(
        "error: duplicate id",
        lambda: client.create_order(SYMBOL, "limit", "buy", 0.01, low, {"clientOrderId": "twice"}),
        refused="-4116",
    )
    secret, client.secret = client.secret, "wrong"
    await table.call("error: signature", client.fetch_balance, refused="-1022")
    client.secret = secret
    await client.cancel_all_orders(SYMBOL)


async def streams(table: Table, client: Any, last: float) -> None:
    """ccxt.pro: public and user streams, and orders over the WebSocket API."""
    await table.call("watch_order_book", lambda: client.watch_order_book(SYMBOL), lambda book: len(book["bids"]) > 4)
    await table.call("watch_ticker", lambda: client.watch_ticker(SYMBOL), lambda one: one["last"] > 0)
    await table.call("watch_tickers", lambda: client.watch_tickers([SYMBOL]), lambda found: SYMBOL in found)
    await table.call(
        "watch_trades",
        lambda: client.watch_trades(SYMBOL, params={"name": "aggTrade"}),
        lambda rows: rows[0]["price"] > 0,
    )
    await table.call("watch_ohlcv", lambda: client.watch_ohlcv(SYMBOL, "1m"), lambda rows: len(rows[0]) == 6)
    await table.call("watch_mark_price", lambda: client.watch_mark_price(SYMBOL), lambda one: one["markPrice"] > 0)
    await table.call("watch_bids_asks", lambda: client.watch_bids_asks([SYMBOL]), lambda found: SYMBOL in found)
    low = round(last * 0.98, 1)
    placed = await table.call(
        "create_order_ws",
        lambda: client.create_order_ws(SYMBOL, "limit", "buy", 0.01, low),
        lambda order: order["status"] == "open",
    )
    await table.call(
        "fetch_order_ws", lambda: client.fetch_order_ws(placed["id"], SYMBOL), lambda one: one["price"] == low
    )
    await table.call(
        "edit_order_ws",
        lambda: client.edit_order_ws(placed["id"], SYMBOL, "limit", "buy", 0.02, low),
        lambda one: one["id"],
    )
    await table.call(
        "cancel_order_ws",
        lambda: client.cancel_order_ws(placed["id"], SYMBOL),
        lambda order: order["status"] == "canceled",
    )
    await table.call("fetch_balance_ws", client.fetch_balance_ws, lambda found: found["USDT"]["total"] > 0)
    await table.call(
        "fetch_positions_ws", lambda: client.fetch_positions_ws([SYMBOL]), lambda rows: isinstance(rows, list)
    )
    await table.call(
        "fetch_order_book_ws", lambda: client.fetch_order_book_ws(SYMBOL, 5), lambda book: len(book["bids"]) == 5
    )
    await table.call(
        "fetch_ticker_ws", lambda: client.fetch_ticker_ws(SYMBOL, {"method": "ticker.book"}), lambda one: one["bid"] > 0
    )
    await user_stream(table, client)


async def user_stream(table: Table, client: Any) -> None:
    """Own orders, trades, balance and positions as they change."""

    async def after(action: Any, watch: Any) -> Any:
        task = asyncio.ensure_future(watch())
        await asyncio.sleep(0.5)
        await action()
        return await task

    await table.call(
        "watch_orders",
        lambda: after(lambda: client.create_order(SYMBOL, "market", "buy", 0.01), lambda: client.watch_orders(SYMBOL)),
        lambda rows: rows[0]["id"],
    )
    await table.call(
        "watch_my_trades",
        lambda: after(
            lambda: client.create_order(SYMBOL, "market", "buy", 0.01), lambda: client.watch_my_trades(SYMBOL)
        ),
        lambda rows: rows[0]["price"] > 0,
    )
    await table.call(
        "watch_positions",
        lambda: after(
            lambda: client.create_order(SYMBOL, "market", "buy", 0.01), lambda: client.watch_positions([SYMBOL])
        ),
        lambda rows: rows[0]["contracts"] > 0,
    )
    await table.call(
        "watch_balance",
        lambda: after(lambda: client.create_order(SYMBOL, "market", "buy", 0.01), client.watch_balance),
        lambda found: found["USDT"]["total"] > 0,
    )


async def drive(table: Table, rest: str, ws: str) -> None:
    """Every call of the table, in order."""
    client = exchange(rest, ws)
    try:
        last = await market_data(table, client)
        await account(table, client)
        await orders(table, client, last)
        await streams(table, client, last)
    finally:
        with contextlib.suppress(ConnectionError):
            await client.close()


if __name__ == "__main__":
    run(drive)
