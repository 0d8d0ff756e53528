"""The account part of the REST interface: balances, positions, income, listen keys (sheet 3.1, 4.5)."""

from __future__ import annotations

from typing import Any

from connectors.exchange_simulator.account import Income, Position, largest_value
from connectors.exchange_simulator.errors import VenueError
from connectors.exchange_simulator.fixed_point import format_e8, format_trimmed
from connectors.exchange_simulator.parameters import Params, limit_of, optional_int, time_window
from connectors.exchange_simulator.venue import Venue

Json = Any  # the venue's JSON: objects, arrays and scalars


def _totals(venue: Venue) -> dict[str, int]:
    """Account-wide sums in e8 USDT, keyed by what the replies call them."""
    account, trading = venue.account, venue.trading
    unrealised = position_margin = maintenance = order_margin = cross_profit = 0
    for position in account.positions:
        mark = venue.markets[position.row.symbol].mark_e8
        profit = position.unrealised(mark)
        unrealised += profit
        cross_profit += 0 if position.isolated else profit
        position_margin += position.initial_margin(mark)
        maintenance += position.maintenance(mark)
        order_margin += trading.open_order_margin(position)
    available = max(0, trading.available())
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
        for market in venue.markets.values()
        for position in venue.account.of_symbol(market.row)
        if position.lots
        or any(order.position_side == position.side for order in venue.trading.opened(position.row.symbol))
    ]


def _risk_v3(venue: Venue, position: Position) -> Json:
    row = position.row
    market = venue.markets[row.symbol]
    trading = venue.trading
    mark = market.mark_e8
    margin, orders_margin = position.initial_margin(mark), trading.open_order_margin(position)
    profit = position.unrealised(mark)
    notional = position.notional(mark)
    bids = trading.open_notional(row.symbol, buy=True, side=position.side)
    asks = trading.open_notional(row.symbol, buy=False, side=position.side)
    marks = {symbol: other.mark_e8 for symbol, other in venue.markets.items()}
    return {
        "symbol": row.symbol,
        "positionSide": position.side,
        "positionAmt": row.quantity_text(position.lots),
        "entryPrice": format_trimmed(position.entry_e8(), row.price_decimals) if position.lots else "0.0",
        "breakEvenPrice": format_trimmed(position.break_even_e8(), row.price_decimals) if position.lots else "0.0",
        "markPrice": format_e8(mark),
        "unRealizedProfit": format_e8(profit),
        "liquidationPrice": format_trimmed(venue.account.liquidation_e8(position, marks)),
        "isolatedMargin": format_e8(position.isolated_wallet + profit) if position.isolated else "0",
        "notional": format_e8(notional),
        "marginAsset": "USDT",
        "isolatedWallet": format_trimmed(position.isolated_wallet),
        "initialMargin": format_e8(margin + orders_margin),
        "maintMargin": format_e8(position.maintenance(mark)),
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
    every = [position for market in venue.markets.values() for position in venue.account.of_symbol(market.row)]
    for position in every:
        v3 = _risk_v3(venue, position)
        kept = (
            "symbol", "positionSide", "positionAmt", "entryPrice", "breakEvenPrice", "markPrice", "unRealizedProfit",
            "liquidationPrice", "isolatedMargin", "notional", "isolatedWallet", "updateTime",
        )  # fmt: skip
        rows.append(
            {name: v3[name] for name in kept}
            | {
                "leverage": str(position.leverage),
                "maxNotionalValue": largest_value(position),
                "marginType": "isolated" if position.isolated else "cross",
                "isAutoAddMargin": "false",
            }
        )
    if "symbol" in params:
        return [row for row in rows if row["symbol"] == venue.market(params["symbol"]).row.symbol]
    return rows


def account_v2(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET v2/account: v3 with the account's rights and every symbol's settings."""
    body = account_info(venue, params, now_ms)
    positions = []
    for market in venue.markets.values():
        for position in venue.account.of_symbol(market.row):
            v3 = _risk_v3(venue, position)
            kept = ("symbol", "initialMargin", "maintMargin", "positionInitialMargin", "openOrderInitialMargin")
            positions.append(
                {name: v3[name] for name in kept}
                | {
                    "unrealizedProfit": v3["unRealizedProfit"],
                    "leverage": str(position.leverage),
                    "isolated": position.isolated,
                    "entryPrice": v3["entryPrice"],
                    "breakEvenPrice": v3["breakEvenPrice"],
                    "maxNotional": largest_value(position),
                    "bidNotional": v3["bidNotional"],
                    "askNotional": v3["askNotional"],
                    "positionSide": position.side,
                    "positionAmt": v3["positionAmt"],
                    "notional": v3["notional"],
                    "isolatedWallet": v3["isolatedWallet"],
                    "updateTime": v3["updateTime"],
                }
            )
    rights = {"feeTier": 0, "canTrade": True, "canDeposit": True, "canWithdraw": True, "updateTime": 0}
    assets = [asset | {"marginAvailable": True} for asset in body["assets"]]
    own = {"multiAssetsMargin": venue.account.multi_assets, "tradeGroupId": -1, "assets": assets}
    return rights | body | own | {"positions": positions}


def adl_quantile(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET adlQuantile: 1 for a side that is held, 0 otherwise (the queue of strangers is not modelled)."""
    symbols = [venue.market(params["symbol"]).row.symbol] if "symbol" in params else list(venue.markets)
    rows = []
    for symbol in symbols:
        sides = venue.account.of_symbol(venue.markets[symbol].row)
        if any(position.lots for position in sides):
            rows.append(
                {"symbol": symbol, "adlQuantile": {position.side: int(position.lots != 0) for position in sides}}
            )
    return rows


def income(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET income: every change of the wallet, oldest first, by symbol, type, time and page."""
    symbol, wanted = params.get("symbol"), params.get("incomeType")
    start, end = time_window(params, now_ms, longest=100 * 86_400_000)
    limit = limit_of(params, 100)
    page = optional_int(params, "page")
    found = [
        row
        for row in venue.account.incomes
        if symbol in (None, row.symbol) and wanted in (None, row.kind) and start <= row.at_ms <= end
    ]
    if page:
        found = found[(page - 1) * limit : page * limit]
    elif "startTime" in params:
        found = found[:limit]
    return [_income_row(row) for row in found[-limit:]]


def _income_row(row: Income) -> Json:
    trade = str(row.trade_id) if row.trade_id else ""
    return {
        "symbol": row.symbol,
        "incomeType": row.kind,
        "income": format_e8(row.amount),
        "asset": "USDT",
        "info": trade or row.kind,
        "time": row.at_ms,
        "tranId": row.transaction_id,
        "tradeId": trade,
    }


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
