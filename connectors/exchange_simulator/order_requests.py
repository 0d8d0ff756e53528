"""The only place that reads order parameters into validated specs, with the venue's codes (sheet 6.2, 6.4, 6.5)."""

from __future__ import annotations

from typing import Final

from connectors.exchange_simulator import filters
from connectors.exchange_simulator.conditional import CONDITIONAL_TYPES, TRAILING
from connectors.exchange_simulator.errors import VenueError
from connectors.exchange_simulator.fixed_point import parse_e8
from connectors.exchange_simulator.market import Market
from connectors.exchange_simulator.order_specs import PRICE_MATCHES, SELF_TRADE_MODES, AlgoSpec, OrderSpec
from connectors.exchange_simulator.parameters import Params, boolean, choice, mandatory, optional_int
from connectors.exchange_simulator.venue import Venue

# goodTillDate must lie between now + 600 s and this (sheet 6.2).
GOOD_TILL_LEAD_MS: Final = 600_000
GOOD_TILL_END: Final = 253_402_300_799_000
# callbackRate in percent, as 1e-8: from 0.1 to 20 since 2026-10-23, in steps of 0.1.
CALLBACK_STEP_E8: Final = 10_000_000
CALLBACK_MOST: Final = 200


def common(venue: Venue, params: Params) -> tuple[Market, str, str, str]:
    """Market, side, type and position side of any order request; refuses what the symbol or mode forbids."""
    market = venue.market(mandatory(params, "symbol"))
    side = mandatory(params, "side")
    if side not in ("BUY", "SELL"):
        raise VenueError(-1117)
    kind = mandatory(params, "type")
    position_side = params.get("positionSide", "BOTH")
    if position_side not in ("BOTH", "LONG", "SHORT"):
        raise VenueError(-4060)
    if position_side not in venue.account.sides:
        raise VenueError(-4061)
    if venue.account.dual and "reduceOnly" in params:
        raise VenueError(-1106, name="reduceOnly")
    if params.get("icebergQty", "0") != "0":
        raise VenueError(-1020, message="not simulated: icebergQty")
    if market.row.status != "TRADING":
        # A symbol about to end still lets positions be reduced; a halted or closed one lets nothing through.
        if market.row.status not in ("PRE_DELIVERING", "PRE_SETTLE"):
            raise VenueError(-4141)
        closing = (position_side, side) in (("LONG", "SELL"), ("SHORT", "BUY"))
        if not closing and not boolean(params, "reduceOnly") and not boolean(params, "closePosition"):
            raise VenueError(-4140)
    return market, side, kind, position_side


def _self_trade(params: Params) -> str:
    return choice(params, "selfTradePreventionMode", SELF_TRADE_MODES, -5039, "EXPIRE_MAKER")


def price_match(params: Params, *, limit: bool) -> str:
    """The priceMatch mode: only of limit orders, not together with a price, not a withdrawn one (-5037, -5038)."""
    mode = params.get("priceMatch", "NONE")
    if mode == "NONE":
        return mode
    if mode not in PRICE_MATCHES:
        raise VenueError(-5037)
    if not limit:
        raise VenueError(-5038)
    if "price" in params:
        raise VenueError(-1106, name="price")
    return mode


def _good_till(params: Params, time_in_force: str, now_ms: int) -> int:
    """goodTillDate: mandatory for GTD, superfluous otherwise, with seconds' precision (-5040 out of range)."""
    if time_in_force != "GTD":
        if params.get("goodTillDate", "0") != "0":
            raise VenueError(-1106, name="goodTillDate")
        return 0
    mandatory(params, "goodTillDate")
    date = optional_int(params, "goodTillDate")
    assert date is not None
    if not now_ms + GOOD_TILL_LEAD_MS < date < GOOD_TILL_END:
        raise VenueError(-5040)
    return date // 1_000 * 1_000


def order_spec(venue: Venue, params: Params, now_ms: int) -> tuple[Market, OrderSpec]:
    """POST order: LIMIT and MARKET only."""
    market, side, kind, position_side = common(venue, params)
    if kind in CONDITIONAL_TYPES or boolean(params, "closePosition"):
        raise VenueError(-4120)
    if kind not in ("LIMIT", "MARKET"):
        raise VenueError(-1116)
    limit = kind == "LIMIT"
    client_id = params.get("newClientOrderId", f"sim-{venue.trading.next_sequence()}")
    filters.check_client_id(client_id)
    if params.get("newOrderRespType", "ACK") not in ("ACK", "RESULT"):
        raise VenueError(-1136)
    time_in_force = mandatory(params, "timeInForce") if limit else "GTC"
    if time_in_force == "RPI":
        raise VenueError(-1020, message="not simulated: timeInForce RPI")
    if time_in_force not in ("GTC", "IOC", "FOK", "GTX", "GTD"):
        raise VenueError(-1115)
    if not limit and "timeInForce" in params:
        raise VenueError(-1106, name="timeInForce")
    if not limit and "price" in params:
        raise VenueError(-1106, name="price")
    matched = price_match(params, limit=limit)
    lots = filters.quantity_lots(market.row, mandatory(params, "quantity"), market=not limit)
    priced = limit and matched == "NONE"
    return market, OrderSpec(
        client_id=client_id,
        side=side,
        order_type=kind,
        time_in_force=time_in_force,
        lots=lots,
        price=filters.price_ticks(market.row, mandatory(params, "price")) if priced else 0,
        position_side=position_side,
        reduce_only=boolean(params, "reduceOnly"),
        self_trade_prevention=_self_trade(params),
        price_match=matched,
        good_till_ms=_good_till(params, time_in_force, now_ms),
    )


def _callback(params: Params) -> int:
    """callbackRate in 1e-4; -2007 outside 0.1 … 20 percent in steps of 0.1."""
    rate = parse_e8(mandatory(params, "callbackRate"))
    if rate is None or rate % CALLBACK_STEP_E8 or not 1 <= rate // CALLBACK_STEP_E8 <= CALLBACK_MOST:
        raise VenueError(-2007)
    return rate // CALLBACK_STEP_E8 * 10


def algo_spec(venue: Venue, params: Params, now_ms: int) -> tuple[Market, AlgoSpec]:
    """POST algoOrder."""
    if mandatory(params, "algoType") != "CONDITIONAL":
        raise VenueError(-1130, name="algoType")
    market, side, kind, position_side = common(venue, params)
    if kind not in CONDITIONAL_TYPES:
        raise VenueError(-1116)
    client_id = params.get("clientAlgoId", f"sim-algo-{venue.trading.next_sequence()}")
    filters.check_client_id(client_id)
    child_is_limit = CONDITIONAL_TYPES[kind][0] == "LIMIT"
    close_position = boolean(params, "closePosition")
    if close_position:
        _check_closing(params, kind, side, position_side)
    elif kind == TRAILING and params.get("triggerPrice"):
        raise VenueError(-1106, name="triggerPrice")
    time_in_force = choice(params, "timeInForce", ("GTC", "IOC", "FOK", "GTX", "GTD", "GTE_GTC"), -1115, "GTC")
    trailing = kind == TRAILING
    trigger = 0 if trailing else filters.price_ticks(market.row, mandatory(params, "triggerPrice"), "triggerPrice")
    matched = price_match(params, limit=child_is_limit)
    lots = 0
    if not close_position:
        lots = filters.quantity_lots(market.row, mandatory(params, "quantity"), market=not child_is_limit)
    priced = child_is_limit and matched == "NONE"
    activation = 0
    if trailing and "activatePrice" in params:
        activation = filters.price_ticks(market.row, params["activatePrice"], "activatePrice")
    return market, AlgoSpec(
        client_id=client_id,
        side=side,
        order_type=kind,
        time_in_force=time_in_force,
        lots=lots,
        price=filters.price_ticks(market.row, mandatory(params, "price")) if priced else 0,
        trigger=trigger,
        working_type=choice(params, "workingType", ("CONTRACT_PRICE", "MARK_PRICE"), -4031, "CONTRACT_PRICE"),
        close_position=close_position,
        reduce_only=boolean(params, "reduceOnly"),
        price_protect=boolean(params, "priceProtect"),
        self_trade_prevention=_self_trade(params),
        position_side=position_side,
        price_match=matched,
        good_till_ms=_good_till(params, time_in_force, now_ms),
        activation=activation,
        callback=_callback(params) if trailing else 0,
    )


def _check_closing(params: Params, kind: str, side: str, position_side: str) -> None:
    """closePosition: market children only, no quantity, no reduceOnly, in hedge mode only the closing direction."""
    if kind not in ("STOP_MARKET", "TAKE_PROFIT_MARKET"):
        raise VenueError(-1106, name="closePosition")
    if "quantity" in params:
        raise VenueError(-4137)
    if "reduceOnly" in params:
        raise VenueError(-1106, name="reduceOnly")
    if (position_side, side) in (("LONG", "BUY"), ("SHORT", "SELL")):
        raise VenueError(-4061)
