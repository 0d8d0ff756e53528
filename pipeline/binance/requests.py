"""
The only place where intents become requests of the venue: pure builders, one type per kind of request and path.

A conditional order cannot go down the regular path (−4120, venue sheet 6.5): ``RegularOrder`` has no type for it and
``AlgoOrder`` no other path. What the venue would otherwise choose by itself is always sent (pains V2, domain 6.7):
workingType=MARK_PRICE, priceProtect=false, selfTradePreventionMode=EXPIRE_MAKER, newOrderRespType=RESULT.
Parameters are written without timestamp, recvWindow and signature; ``pipeline.binance.rest`` adds these.
"""

from __future__ import annotations

from enum import Enum
from typing import ClassVar, Final
from urllib.parse import quote

import msgspec

from pipeline.core.events import Side
from pipeline.core.instruments import Instrument
from pipeline.core.units import Lots

Parameters = tuple[tuple[str, str], ...]

SELF_TRADE_PREVENTION: Final = "EXPIRE_MAKER"
SLICE_PERMILLE: Final = 900  # pieces of at most 0.9 × the market lot maximum (domain 6.7)
# What reads the market and its history, and nothing of the account: what the lane of data spends its budget on.
DATA_PATHS: Final = frozenset(
    {
        "/fapi/v1/depth",
        "/fapi/v1/klines",
        "/fapi/v1/openInterest",
        "/fapi/v1/premiumIndex",
        "/fapi/v1/exchangeInfo",
        "/fapi/v1/ticker/bookTicker",
        "/fapi/v1/premiumIndexKlines",
        "/fapi/v1/fundingRate",
        "/fapi/v1/fundingInfo",
        "/fapi/v1/leverageBracket",
        "/futures/data/openInterestHist",
    }
)


class Security(Enum):
    """What a request must carry (venue sheet 4)."""

    NONE = "none"
    KEY = "key"
    SIGNED = "signed"


class RegularType(Enum):
    """What POST /fapi/v1/order takes since 2025-12-09 (venue sheet 6.2)."""

    LIMIT = "LIMIT"
    MARKET = "MARKET"


class AlgoType(Enum):
    """The conditional types that are used here (venue sheet 6.5)."""

    STOP_MARKET = "STOP_MARKET"
    TAKE_PROFIT_MARKET = "TAKE_PROFIT_MARKET"


class TimeInForce(Enum):
    """Times in force that are used here (venue sheet 6.2)."""

    GTC = "GTC"
    IOC = "IOC"
    GTX = "GTX"


class RegularOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A LIMIT or MARKET order; asserts that MARKET carries neither price nor time in force and LIMIT both."""

    symbol: str
    client_id: str
    side: Side
    order_type: RegularType
    quantity: str
    price: str = ""
    time_in_force: TimeInForce | None = None
    reduce_only: bool = False

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/fapi/v1/order"
    security: ClassVar[Security] = Security.SIGNED
    weight: ClassVar[int] = 0
    orders: ClassVar[int] = 1

    def __post_init__(self) -> None:
        limit = self.order_type is RegularType.LIMIT
        assert limit == bool(self.price), self
        assert limit == (self.time_in_force is not None), self

    def parameters(self) -> Parameters:
        """As sent."""
        found = [("symbol", self.symbol), ("side", self.side.value), ("type", self.order_type.value)]
        if self.time_in_force is not None:
            found += [("timeInForce", self.time_in_force.value), ("price", self.price)]
        found.append(("quantity", self.quantity))
        if self.reduce_only:
            found.append(("reduceOnly", "true"))
        return (
            *found,
            ("newClientOrderId", self.client_id),
            ("newOrderRespType", "RESULT"),
            ("selfTradePreventionMode", SELF_TRADE_PREVENTION),
        )


class AlgoOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A conditional market order by mark price: the whole position (no *quantity*), or reduce-only with a quantity."""

    symbol: str
    client_id: str
    side: Side
    order_type: AlgoType
    trigger: str
    quantity: str = ""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/fapi/v1/algoOrder"
    security: ClassVar[Security] = Security.SIGNED
    weight: ClassVar[int] = 0
    orders: ClassVar[int] = 1

    @property
    def close_position(self) -> bool:
        """True when it closes whatever is open at the trigger."""
        return not self.quantity

    def parameters(self) -> Parameters:
        """As sent; closePosition goes with neither quantity nor reduceOnly (−4137, −1106)."""
        size = (
            (("closePosition", "true"),)
            if self.close_position
            else (("quantity", self.quantity), ("reduceOnly", "true"))
        )
        return (
            ("algoType", "CONDITIONAL"),
            ("symbol", self.symbol),
            ("side", self.side.value),
            ("type", self.order_type.value),
            ("triggerPrice", self.trigger),
            *size,
            ("workingType", "MARK_PRICE"),
            ("priceProtect", "false"),
            ("selfTradePreventionMode", SELF_TRADE_PREVENTION),
            ("clientAlgoId", self.client_id),
        )


class CancelRegular(msgspec.Struct, frozen=True, kw_only=True):
    """Cancel in the regular book."""

    symbol: str
    client_id: str

    method: ClassVar[str] = "DELETE"
    path: ClassVar[str] = "/fapi/v1/order"
    security: ClassVar[Security] = Security.SIGNED
    weight: ClassVar[int] = 1
    orders: ClassVar[int] = 0

    def parameters(self) -> Parameters:
        """As sent."""
        return (("symbol", self.symbol), ("origClientOrderId", self.client_id))


class CancelAlgo(msgspec.Struct, frozen=True, kw_only=True):
    """Cancel in the conditional book (works until the trigger)."""

    symbol: str
    client_id: str

    method: ClassVar[str] = "DELETE"
    path: ClassVar[str] = "/fapi/v1/algoOrder"
    security: ClassVar[Security] = Security.SIGNED
    weight: ClassVar[int] = 1
    orders: ClassVar[int] = 0

    def parameters(self) -> Parameters:
        """As sent."""
        return (("clientAlgoId", self.client_id),)


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """Any request that changes nothing, or sets what may be set again: the listen key, leverage, margin type."""

    path: str
    query: Parameters = ()
    security: Security = Security.NONE
    weight: int = 1
    method: str = "GET"

    orders: ClassVar[int] = 0

    def parameters(self) -> Parameters:
        """As sent."""
        return self.query


Placement = RegularOrder | AlgoOrder
Cancellation = CancelRegular | CancelAlgo
Request = Placement | Cancellation | Read


def canonical(parameters: Parameters) -> str:
    """The query string, percent-encoded, in the given order: exactly the bytes that are signed and sent."""
    return "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in parameters)


# ------------------------------------------------------------------------------------------------------- orders


def slices(instrument: Instrument, lots: int) -> list[Lots]:
    """Cut a quantity into pieces that one market order may have (MARKET_LOT_SIZE, domain 6.7)."""
    assert lots > 0
    most = max(1, instrument.max_market_lots * SLICE_PERMILLE // 1_000)
    whole, rest = divmod(lots, most)
    return [Lots(most)] * whole + ([Lots(rest)] if rest else [])


def entry(instrument: Instrument, *, client_id: str, side: Side, lots: int, limit: int) -> RegularOrder:
    """Enter by LIMIT IOC: never beyond *limit*, never resting."""
    return RegularOrder(
        symbol=instrument.symbol,
        client_id=client_id,
        side=side,
        order_type=RegularType.LIMIT,
        quantity=instrument.quantity_text(lots),
        price=instrument.price_text(limit),
        time_in_force=TimeInForce.IOC,
    )


def market_close(instrument: Instrument, *, client_id: str, position_side: Side, lots: int) -> RegularOrder:
    """Close *lots* of the position at the market; reduce-only, so it can never flip."""
    return RegularOrder(
        symbol=instrument.symbol,
        client_id=client_id,
        side=position_side.opposite,
        order_type=RegularType.MARKET,
        quantity=instrument.quantity_text(lots),
        reduce_only=True,
    )


def target(
    instrument: Instrument, *, client_id: str, position_side: Side, lots: int, price: int, post_only: bool
) -> RegularOrder:
    """Rest the first target: reduce-only LIMIT, GTX or (when that would take) GTC."""
    return RegularOrder(
        symbol=instrument.symbol,
        client_id=client_id,
        side=position_side.opposite,
        order_type=RegularType.LIMIT,
        quantity=instrument.quantity_text(lots),
        price=instrument.price_text(price),
        time_in_force=TimeInForce.GTX if post_only else TimeInForce.GTC,
        reduce_only=True,
    )


def far_rail(instrument: Instrument, *, client_id: str, position_side: Side, trigger: int) -> AlgoOrder:
    """Rail (a): STOP_MARKET closePosition (domain 6.7)."""
    return AlgoOrder(
        symbol=instrument.symbol,
        client_id=client_id,
        side=position_side.opposite,
        order_type=AlgoType.STOP_MARKET,
        trigger=instrument.price_text(trigger),
    )


def working_stop(instrument: Instrument, *, client_id: str, position_side: Side, lots: int, trigger: int) -> AlgoOrder:
    """Rail (b): STOP_MARKET reduce-only with a quantity (domain 6.7)."""
    return AlgoOrder(
        symbol=instrument.symbol,
        client_id=client_id,
        side=position_side.opposite,
        order_type=AlgoType.STOP_MARKET,
        trigger=instrument.price_text(trigger),
        quantity=instrument.quantity_text(lots),
    )


def last_target(instrument: Instrument, *, client_id: str, position_side: Side, trigger: int) -> AlgoOrder:
    """The last target: TAKE_PROFIT_MARKET closePosition, so that no dust stays."""
    return AlgoOrder(
        symbol=instrument.symbol,
        client_id=client_id,
        side=position_side.opposite,
        order_type=AlgoType.TAKE_PROFIT_MARKET,
        trigger=instrument.price_text(trigger),
    )


# -------------------------------------------------------------------------------------------------------- reads

KLINE_WEIGHTS: Final = ((100, 1), (500, 2), (1_001, 5), (1_501, 10))  # limit below → weight (venue sheet 4.1)
DEPTH_WEIGHTS: Final = {5: 2, 10: 2, 20: 2, 50: 2, 100: 5, 500: 10, 1_000: 20}


def query_order(symbol: str, client_id: str) -> Read:
    """GET one regular order by its client id."""
    query = (("symbol", symbol), ("origClientOrderId", client_id))
    return Read(path="/fapi/v1/order", query=query, security=Security.SIGNED)


def query_algo_order(client_id: str) -> Read:
    """GET one conditional order by its client id."""
    return Read(path="/fapi/v1/algoOrder", query=(("clientAlgoId", client_id),), security=Security.SIGNED)


def position_risk(symbol: str = "") -> Read:
    """GET positions: of one symbol or all (weight 5 either way)."""
    return Read(path="/fapi/v3/positionRisk", query=_symbol(symbol), security=Security.SIGNED, weight=5)


def open_orders(symbol: str = "") -> Read:
    """GET the regular book: one symbol 1, all 40."""
    return Read(path="/fapi/v1/openOrders", query=_symbol(symbol), security=Security.SIGNED, weight=1 if symbol else 40)


def open_algo_orders(symbol: str = "") -> Read:
    """GET the conditional book: one symbol 1, all 40."""
    return Read(
        path="/fapi/v1/openAlgoOrders", query=_symbol(symbol), security=Security.SIGNED, weight=1 if symbol else 40
    )


def balance() -> Read:
    """GET balance v3."""
    return Read(path="/fapi/v3/balance", security=Security.SIGNED, weight=5)


def account() -> Read:
    """GET account v3."""
    return Read(path="/fapi/v3/account", security=Security.SIGNED, weight=5)


def transfers(since_ms: int) -> Read:
    """GET income of kind TRANSFER since *since_ms*, oldest first."""
    query = (("incomeType", "TRANSFER"), ("startTime", str(since_ms)), ("limit", "1000"))
    return Read(path="/fapi/v1/income", query=query, security=Security.SIGNED, weight=30)


def server_time() -> Read:
    """GET the venue's clock."""
    return Read(path="/fapi/v1/time")


def exchange_info() -> Read:
    """GET filters, limits and status of all contracts."""
    return Read(path="/fapi/v1/exchangeInfo")


def depth(symbol: str, limit: int = 1_000) -> Read:
    """GET the order book; *limit* is one of the venue's (−4021)."""
    return Read(path="/fapi/v1/depth", query=(("symbol", symbol), ("limit", str(limit))), weight=DEPTH_WEIGHTS[limit])


def klines(symbol: str, limit: int) -> Read:
    """GET 5m candles, at most 1500 (−1130)."""
    assert 0 < limit <= 1_500, limit
    weight = next(weight for below, weight in KLINE_WEIGHTS if limit < below)
    query = (("symbol", symbol), ("interval", "5m"), ("limit", str(limit)))
    return Read(path="/fapi/v1/klines", query=query, weight=weight)


def premium_index(symbol: str = "") -> Read:
    """GET mark, index and funding: one symbol 1, all 10."""
    return Read(path="/fapi/v1/premiumIndex", query=_symbol(symbol), weight=1 if symbol else 10)


def book_ticker(symbol: str = "") -> Read:
    """GET best bid and ask: one symbol 2, all 5."""
    return Read(path="/fapi/v1/ticker/bookTicker", query=_symbol(symbol), weight=2 if symbol else 5)


def open_interest(symbol: str) -> Read:
    """GET open interest."""
    return Read(path="/fapi/v1/openInterest", query=_symbol(symbol))


def open_interest_history(symbol: str, limit: int) -> Read:
    """GET open interest of the last *limit* periods of 5m, at most 500; weightless (its own pool, sheet 4.1)."""
    assert 30 <= limit <= 500, limit
    query = (("symbol", symbol), ("period", "5m"), ("limit", str(limit)))
    return Read(path="/futures/data/openInterestHist", query=query, weight=0)


def premium_index_klines(symbol: str, limit: int) -> Read:
    """GET 5m candles of the premium index; weights as of klines."""
    assert 0 < limit <= 1_500, limit
    weight = next(weight for below, weight in KLINE_WEIGHTS if limit < below)
    query = (("symbol", symbol), ("interval", "5m"), ("limit", str(limit)))
    return Read(path="/fapi/v1/premiumIndexKlines", query=query, weight=weight)


def funding_rate(symbol: str, limit: int) -> Read:
    """GET settled fundings, ascending; weightless (a pool with fundingInfo: 500 in 5 minutes, sheet 4.1)."""
    return Read(path="/fapi/v1/fundingRate", query=(("symbol", symbol), ("limit", str(limit))), weight=0)


def funding_info(_: str = "") -> Read:
    """GET the symbols whose funding interval or cap is not the default; always all of them."""
    return Read(path="/fapi/v1/fundingInfo", weight=0)


def leverage_brackets(_: str = "") -> Read:
    """GET the leverage brackets of all symbols: the same weight as of one."""
    return Read(path="/fapi/v1/leverageBracket", security=Security.SIGNED)


def listen_key(method: str) -> Read:
    """POST (start), PUT (keep alive) or DELETE (close) the user stream; key header only, no signature."""
    assert method in ("POST", "PUT", "DELETE"), method
    return Read(path="/fapi/v1/listenKey", security=Security.KEY, method=method)


def isolated_margin(symbol: str) -> Read:
    """POST marginType=ISOLATED: may be repeated; −4046 says that it is so already (venue sheet 4.5)."""
    query = (("symbol", symbol), ("marginType", "ISOLATED"))
    return Read(path="/fapi/v1/marginType", query=query, security=Security.SIGNED, method="POST")


def leverage(symbol: str, times: int) -> Read:
    """POST leverage: the symbol's leverage from now on; may be repeated (venue sheet 4.5)."""
    query = (("symbol", symbol), ("leverage", str(times)))
    return Read(path="/fapi/v1/leverage", query=query, security=Security.SIGNED, method="POST")


def _symbol(symbol: str) -> Parameters:
    return (("symbol", symbol),) if symbol else ()
