"""The settings part of the REST interface: modes, leverage, margin, brackets, rates (sheet 4.5)."""

from __future__ import annotations

from typing import Any

from connectors.exchange_simulator.account import largest_value
from connectors.exchange_simulator.brackets import bracket_rows, largest_notional
from connectors.exchange_simulator.errors import VenueError
from connectors.exchange_simulator.fixed_point import format_trimmed, parse_e8
from connectors.exchange_simulator.parameters import Params, boolean, choice, mandatory, optional_int
from connectors.exchange_simulator.venue import Venue

Json = Any  # the venue's JSON: objects, arrays and scalars


def _symbols(venue: Venue, params: Params) -> list[str]:
    return [venue.market(params["symbol"]).row.symbol] if "symbol" in params else list(venue.markets)


def set_leverage(venue: Venue, params: Params, now_ms: int) -> Json:
    """POST leverage: in range (-4028), enough for what is held (-2027, -2028), not lowered isolated (-4161)."""
    market = venue.market(mandatory(params, "symbol"))
    row = market.row
    leverage = optional_int(params, "leverage")
    if leverage is None:
        raise VenueError(-1102, name="leverage")
    if not 1 <= leverage <= row.max_leverage:
        raise VenueError(-4028, leverage=leverage)
    settings = venue.account.settings_of(row.symbol)
    positions = venue.account.of_symbol(row)
    held = sum(abs(position.notional(market.mark_e8)) for position in positions)
    if held > largest_notional(row, leverage):
        raise VenueError(-2027)
    if leverage < settings.leverage and held:
        if settings.isolated:
            raise VenueError(-4161)
        if held // leverage - held // settings.leverage > venue.trading.available():
            raise VenueError(-2028)
    if settings.leverage != leverage:
        settings.leverage = leverage
        venue.user_events.append(
            {"e": "ACCOUNT_CONFIG_UPDATE", "E": now_ms, "T": now_ms, "ac": {"s": row.symbol, "l": leverage}}
        )
    return {"leverage": leverage, "maxNotionalValue": largest_value(positions[0]), "symbol": row.symbol}


def set_margin_type(venue: Venue, params: Params, now_ms: int) -> Json:
    """POST marginType."""
    market = venue.market(mandatory(params, "symbol"))
    isolated = choice(params, "marginType", ("ISOLATED", "CROSSED"), -1130, "") == "ISOLATED"
    settings = venue.account.settings_of(market.row.symbol)
    if settings.isolated == isolated:
        raise VenueError(-4046)
    if isolated and venue.account.multi_assets:
        raise VenueError(-4168)
    if venue.trading.opened(market.row.symbol):
        raise VenueError(-4047)
    if any(position.lots for position in venue.account.of_symbol(market.row)):
        raise VenueError(-4048)
    settings.isolated = isolated
    return {"code": 200, "msg": "success"}


def position_margin(venue: Venue, params: Params, now_ms: int) -> Json:
    """POST positionMargin: move margin between the cross wallet and an isolated position."""
    market = venue.market(mandatory(params, "symbol"))
    amount = parse_e8(mandatory(params, "amount"))
    kind = choice(params, "type", ("1", "2"), -1130, "")
    side = params.get("positionSide", "BOTH")
    if side not in venue.account.sides:
        raise VenueError(-4061)
    if amount is None:
        raise VenueError(-1102, name="amount")
    if amount <= 0:
        raise VenueError(-4055)
    position = venue.account.position(market.row, side)
    if position.lots == 0 or not position.isolated:
        raise VenueError(-4054)
    spare = position.isolated_wallet + min(0, position.unrealised(market.mark_e8))
    if kind == "1":
        if amount > venue.trading.available():
            raise VenueError(-4050)
        position.isolated_wallet += amount
    else:
        if spare - amount < position.initial_margin(market.mark_e8):
            raise VenueError(-4051)
        position.isolated_wallet -= amount
    venue.trading.tell_account([position], reason="MARGIN_TRANSFER", now_ms=now_ms)
    text = params["amount"]
    return {"amount": float(text), "code": 200, "msg": "Successfully modify position margin.", "type": int(kind)}


def get_dual(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET positionSide/dual: true in hedge mode."""
    return {"dualSidePosition": venue.account.dual}


def set_dual(venue: Venue, params: Params, now_ms: int) -> Json:
    """POST positionSide/dual: only without open orders (-4067) and positions (-4068), for all symbols at once."""
    mandatory(params, "dualSidePosition")
    dual = boolean(params, "dualSidePosition")
    if dual == venue.account.dual:
        raise VenueError(-4059)
    if any(venue.trading.open_orders.values()) or venue.conditional.opened():
        raise VenueError(-4067)
    if any(position.lots for position in venue.account.positions):
        raise VenueError(-4068)
    venue.account.dual = dual
    return {"code": 200, "msg": "success"}


def get_multi_assets(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET multiAssetsMargin."""
    return {"multiAssetsMargin": venue.account.multi_assets}


def set_multi_assets(venue: Venue, params: Params, now_ms: int) -> Json:
    """POST multiAssetsMargin: the same value is -4171; the mode itself needs more assets than this venue has."""
    mandatory(params, "multiAssetsMargin")
    if boolean(params, "multiAssetsMargin") == venue.account.multi_assets:
        raise VenueError(-4171)
    raise VenueError(-1020, message="not simulated: multi-assets mode")


def get_fee_burn(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET feeBurn: whether fees are paid in BNB."""
    return {"feeBurn": venue.account.fee_burn}


def set_fee_burn(venue: Venue, params: Params, now_ms: int) -> Json:
    """POST feeBurn: off may stay off; there is no BNB on this account to burn."""
    mandatory(params, "feeBurn")
    if boolean(params, "feeBurn"):
        raise VenueError(-1020, message="not simulated: fees in BNB")
    return {"code": 200, "msg": "success"}


def account_config(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET accountConfig."""
    return {
        "feeTier": 0, "canTrade": True, "canDeposit": True, "canWithdraw": True,
        "dualSidePosition": venue.account.dual, "updateTime": 0, "multiAssetsMargin": venue.account.multi_assets,
        "tradeGroupId": -1,
    }  # fmt: skip


def symbol_config(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET symbolConfig."""
    rows = []
    for symbol in _symbols(venue, params):
        position = venue.account.of_symbol(venue.markets[symbol].row)[0]
        rows.append(
            {
                "symbol": symbol,
                "marginType": "ISOLATED" if position.isolated else "CROSSED",
                "isAutoAddMargin": False,
                "leverage": position.leverage,
                "maxNotionalValue": largest_value(position),
            }
        )
    return rows


def leverage_bracket(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET leverageBracket."""
    return [
        {"symbol": symbol, "brackets": bracket_rows(venue.markets[symbol].row)} for symbol in _symbols(venue, params)
    ]


def trading_status(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET apiTradingStatus: no symbol is locked by the quantitative rules, so there is no indicator to list."""
    if "symbol" in params:
        venue.market(params["symbol"])
    return {"indicators": {}, "updateTime": now_ms}


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
