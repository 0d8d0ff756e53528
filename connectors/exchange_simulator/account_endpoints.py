"""The account half of the REST interface: balances, positions, settings, listen keys (sheet 3.1, 4.5)."""

from __future__ import annotations

from typing import Any

from connectors.exchange_simulator.account import Position
from connectors.exchange_simulator.errors import VenueError
from connectors.exchange_simulator.fixed_point import format_e8, format_trimmed
from connectors.exchange_simulator.parameters import Params, boolean, choice, mandatory, optional_int
from connectors.exchange_simulator.venue import Venue

Json = Any  # the venue's JSON: objects, arrays and scalars


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
