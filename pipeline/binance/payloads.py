"""
The only place for the venue's JSON as structs: market frames, user events and REST answers (venue sheet 2, 3, 4).

Data only: field names are the venue's by ``rename``, numbers that the venue sends as strings stay strings, unknown
fields are ignored, optional fields carry a default. What is checked here is the shape; grids and meaning are checked by
``decode``, which alone makes events of them. Connectors may import this module.

``Id``, ``Count`` and ``Time`` are bounded so that no number of a hostile frame can outgrow what is stored (64 bits).
"""

from __future__ import annotations

from typing import Annotated, Final, Generic, TypeVar

import msgspec

from pipeline.core.units import Milliseconds

Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Time = Annotated[Milliseconds, msgspec.Meta(ge=0, le=253_402_300_799_999)]  # up to the year 9999
LevelText = tuple[str, str]  # (price, quantity) as sent

COIN_M: Final = 2  # ``st``: 1 = USDⓈ-M, 2 = COIN-M (since 2026-06-30 both come over the all-market streams)

T = TypeVar("T")


class Combined(msgspec.Struct, Generic[T], frozen=True):
    """A frame of the combined endpoint; ``data`` is what the bare endpoint would send."""

    stream: str
    data: T


class Envelope(msgspec.Struct, frozen=True):
    """Just enough of any frame to tell what it is: the stream of a combined one, the event type of a bare one."""

    stream: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")
    event: str = msgspec.field(name="e", default="")


# --------------------------------------------------------------------------------------------------- market frames


class BookTicker(msgspec.Struct, frozen=True, gc=False, tag_field="e", tag="bookTicker"):
    """``<s>@bookTicker`` (2.3): best bid and ask."""

    update_id: Id = msgspec.field(name="u")
    symbol: str = msgspec.field(name="s")
    bid: str = msgspec.field(name="b")
    bid_quantity: str = msgspec.field(name="B")
    ask: str = msgspec.field(name="a")
    ask_quantity: str = msgspec.field(name="A")
    event_ms: Time = msgspec.field(name="E")
    contract_kind: int = msgspec.field(name="st", default=1)


class DepthUpdate(msgspec.Struct, frozen=True, tag_field="e", tag="depthUpdate"):
    """``<s>@depth…`` (2.8, a diff) and ``<s>@depth5|10|20`` (2.7, a replacement), told apart by the stream alone."""

    event_ms: Time = msgspec.field(name="E")
    symbol: str = msgspec.field(name="s")
    first_update_id: Id = msgspec.field(name="U")
    final_update_id: Id = msgspec.field(name="u")
    previous_final_update_id: Id = msgspec.field(name="pu")
    bids: list[LevelText] = msgspec.field(name="b")
    asks: list[LevelText] = msgspec.field(name="a")
    contract_kind: int = msgspec.field(name="st", default=1)


class AggregateTrade(msgspec.Struct, frozen=True, gc=False, tag_field="e", tag="aggTrade"):
    """``<s>@aggTrade`` (2.5); ``seller_aggressed`` is ``m``: the buyer was the maker."""

    trade_id: Id = msgspec.field(name="a")
    symbol: str = msgspec.field(name="s")
    price: str = msgspec.field(name="p")
    quantity: str = msgspec.field(name="q")
    trade_ms: Time = msgspec.field(name="T")
    seller_aggressed: bool = msgspec.field(name="m")
    contract_kind: int = msgspec.field(name="st", default=1)


class RawTrade(msgspec.Struct, frozen=True, gc=False, tag_field="e", tag="trade"):
    """``<s>@trade``: single trades, as recordings carry them (undocumented on USDⓈ-M)."""

    trade_id: Id = msgspec.field(name="t")
    symbol: str = msgspec.field(name="s")
    price: str = msgspec.field(name="p")
    quantity: str = msgspec.field(name="q")
    trade_ms: Time = msgspec.field(name="T")
    seller_aggressed: bool = msgspec.field(name="m")
    execution_type: str = msgspec.field(name="X", default="MARKET")
    contract_kind: int = msgspec.field(name="st", default=1)


class MarkPriceUpdate(msgspec.Struct, frozen=True, gc=False, tag_field="e", tag="markPriceUpdate"):
    """``<s>@markPrice`` (2.4); ``funding_rate`` is "" on dated contracts."""

    event_ms: Time = msgspec.field(name="E")
    symbol: str = msgspec.field(name="s")
    mark: str = msgspec.field(name="p")
    funding_rate: str = msgspec.field(name="r")
    next_funding_ms: Time = msgspec.field(name="T")
    index: str = msgspec.field(name="i", default="")
    contract_kind: int = msgspec.field(name="st", default=1)


class Candle(msgspec.Struct, frozen=True, gc=False):
    """The ``k`` of a kline frame (2.6)."""

    open_ms: Time = msgspec.field(name="t")
    close_ms: Time = msgspec.field(name="T")
    symbol: str = msgspec.field(name="s")
    interval: str = msgspec.field(name="i")
    open: str = msgspec.field(name="o")
    close: str = msgspec.field(name="c")
    high: str = msgspec.field(name="h")
    low: str = msgspec.field(name="l")
    volume: str = msgspec.field(name="v")
    trades: Count = msgspec.field(name="n")
    closed: bool = msgspec.field(name="x")
    quote_volume: str = msgspec.field(name="q")
    taker_volume: str = msgspec.field(name="V")
    taker_quote_volume: str = msgspec.field(name="Q")


class KlineUpdate(msgspec.Struct, frozen=True, tag_field="e", tag="kline"):
    """``<s>@kline_<i>`` (2.6)."""

    event_ms: Time = msgspec.field(name="E")
    symbol: str = msgspec.field(name="s")
    candle: Candle = msgspec.field(name="k")
    contract_kind: int = msgspec.field(name="st", default=1)


class Ticker(msgspec.Struct, frozen=True, gc=False, tag_field="e", tag="24hrTicker"):
    """``<s>@ticker`` (2.1), with the fields that ``<s>@miniTicker`` has too: the rolling 24 hours."""

    event_ms: Time = msgspec.field(name="E")
    symbol: str = msgspec.field(name="s")
    close: str = msgspec.field(name="c")
    open: str = msgspec.field(name="o")
    high: str = msgspec.field(name="h")
    low: str = msgspec.field(name="l")
    volume: str = msgspec.field(name="v")
    quote_volume: str = msgspec.field(name="q")
    trades: Count = msgspec.field(name="n", default=0)
    contract_kind: int = msgspec.field(name="st", default=1)


class MiniTicker(Ticker, frozen=True, gc=False, tag_field="e", tag="24hrMiniTicker"):
    """``<s>@miniTicker`` (2.2)."""


class ForcedOrder(msgspec.Struct, frozen=True, gc=False):
    """The ``o`` of a liquidation frame (2.9); SELL = a long was liquidated."""

    symbol: str = msgspec.field(name="s")
    side: str = msgspec.field(name="S")
    quantity: str = msgspec.field(name="q")
    price: str = msgspec.field(name="p")
    average_price: str = msgspec.field(name="ap")
    status: str = msgspec.field(name="X")
    filled: str = msgspec.field(name="z")
    trade_ms: Time = msgspec.field(name="T")


class ForceOrder(msgspec.Struct, frozen=True, tag_field="e", tag="forceOrder"):
    """``<s>@forceOrder``, ``!forceOrder@arr`` (2.9): a sample, at most one per symbol and second."""

    event_ms: Time = msgspec.field(name="E")
    order: ForcedOrder = msgspec.field(name="o")
    contract_kind: int = msgspec.field(name="st", default=1)


class ContractInfo(msgspec.Struct, frozen=True, gc=False, tag_field="e", tag="contractInfo"):
    """``!contractInfo`` (2.10): listing, settlement, change of status."""

    event_ms: Time = msgspec.field(name="E")
    symbol: str = msgspec.field(name="s")
    status: str = msgspec.field(name="cs")
    delivery_ms: Time = msgspec.field(name="dt", default=Milliseconds(0))
    contract_kind: int = msgspec.field(name="st", default=1)


# ----------------------------------------------------------------------------------------------------- user events


class OrderEvent(msgspec.Struct, frozen=True, gc=False):
    """The ``o`` of ORDER_TRADE_UPDATE (3.3)."""

    symbol: str = msgspec.field(name="s")
    client_id: str = msgspec.field(name="c")
    side: str = msgspec.field(name="S")
    order_type: str = msgspec.field(name="o")
    quantity: str = msgspec.field(name="q")
    execution: str = msgspec.field(name="x")
    status: str = msgspec.field(name="X")
    order_id: Id = msgspec.field(name="i")
    fill_quantity: str = msgspec.field(name="l")
    filled_quantity: str = msgspec.field(name="z")
    fill_price: str = msgspec.field(name="L")
    trade_id: Id = msgspec.field(name="t")
    trade_ms: Time = msgspec.field(name="T")
    reduce_only: bool = msgspec.field(name="R")
    original_type: str = msgspec.field(name="ot")
    position_side: str = msgspec.field(name="ps")
    fee: str = msgspec.field(name="n", default="0")
    fee_asset: str = msgspec.field(name="N", default="")
    realised: str = msgspec.field(name="rp", default="0")
    price: str = msgspec.field(name="p", default="0")
    average_price: str = msgspec.field(name="ap", default="0")
    maker: bool = msgspec.field(name="m", default=False)
    close_position: bool = msgspec.field(name="cp", default=False)


class OrderTradeUpdate(msgspec.Struct, frozen=True, tag_field="e", tag="ORDER_TRADE_UPDATE"):
    """ORDER_TRADE_UPDATE (3.3): every change and every fill of an order."""

    event_ms: Time = msgspec.field(name="E")
    order: OrderEvent = msgspec.field(name="o")


class TradeLite(msgspec.Struct, frozen=True, gc=False, tag_field="e", tag="TRADE_LITE"):
    """TRADE_LITE (3.4): an early word of a fill that ORDER_TRADE_UPDATE repeats; never booked."""

    event_ms: Time = msgspec.field(name="E")
    symbol: str = msgspec.field(name="s")
    client_id: str = msgspec.field(name="c")
    trade_id: Id = msgspec.field(name="t")


class BalanceChange(msgspec.Struct, frozen=True, gc=False):
    """A row of ``B`` of ACCOUNT_UPDATE (3.5); ``change`` excludes PnL and commission."""

    asset: str = msgspec.field(name="a")
    wallet: str = msgspec.field(name="wb")
    cross_wallet: str = msgspec.field(name="cw")
    change: str = msgspec.field(name="bc", default="0")


class PositionChange(msgspec.Struct, frozen=True, gc=False):
    """A row of ``P`` of ACCOUNT_UPDATE (3.5); ``amount`` is signed."""

    symbol: str = msgspec.field(name="s")
    amount: str = msgspec.field(name="pa")
    entry_price: str = msgspec.field(name="ep")
    position_side: str = msgspec.field(name="ps")
    unrealised: str = msgspec.field(name="up", default="0")
    margin_type: str = msgspec.field(name="mt", default="cross")


class AccountChange(msgspec.Struct, frozen=True):
    """The ``a`` of ACCOUNT_UPDATE: reason, balances, changed positions."""

    reason: str = msgspec.field(name="m")
    balances: list[BalanceChange] = msgspec.field(name="B", default_factory=list)
    positions: list[PositionChange] = msgspec.field(name="P", default_factory=list)
    symbol: str = msgspec.field(name="S", default="")


class AccountUpdate(msgspec.Struct, frozen=True, tag_field="e", tag="ACCOUNT_UPDATE"):
    """ACCOUNT_UPDATE (3.5): sent when a balance or a position changed."""

    event_ms: Time = msgspec.field(name="E")
    account: AccountChange = msgspec.field(name="a")


class AlgoEvent(msgspec.Struct, frozen=True, gc=False):
    """The ``o`` of ALGO_UPDATE (3.6); ``order_id`` is text, empty before the trigger."""

    client_id: str = msgspec.field(name="caid")
    algo_id: Id = msgspec.field(name="aid")
    order_type: str = msgspec.field(name="o")
    symbol: str = msgspec.field(name="s")
    side: str = msgspec.field(name="S")
    position_side: str = msgspec.field(name="ps")
    quantity: str = msgspec.field(name="q")
    status: str = msgspec.field(name="X")
    trigger: str = msgspec.field(name="tp")
    order_id: str = msgspec.field(name="ai", default="")
    close_position: bool = msgspec.field(name="cp", default=False)
    reduce_only: bool = msgspec.field(name="R", default=False)
    reason: str = msgspec.field(name="rm", default="")


class AlgoUpdate(msgspec.Struct, frozen=True, tag_field="e", tag="ALGO_UPDATE"):
    """ALGO_UPDATE (3.6): life of a conditional order."""

    event_ms: Time = msgspec.field(name="E")
    order: AlgoEvent = msgspec.field(name="o")


class ListenKeyExpired(msgspec.Struct, frozen=True, gc=False, tag_field="e", tag="listenKeyExpired"):
    """listenKeyExpired (3.7); ``E`` is text in the documentation, a number in the SDK."""

    event_ms: Time | str = msgspec.field(name="E")
    listen_key: str = msgspec.field(name="listenKey", default="")


class LeverageChange(msgspec.Struct, frozen=True, gc=False):
    """The ``ac`` of ACCOUNT_CONFIG_UPDATE."""

    symbol: str = msgspec.field(name="s")
    leverage: Count = msgspec.field(name="l")


class AssetModeChange(msgspec.Struct, frozen=True, gc=False):
    """The ``ai`` of ACCOUNT_CONFIG_UPDATE."""

    multi_assets: bool = msgspec.field(name="j")


class AccountConfigUpdate(msgspec.Struct, frozen=True, tag_field="e", tag="ACCOUNT_CONFIG_UPDATE"):
    """ACCOUNT_CONFIG_UPDATE (3.7): leverage of a symbol, or the asset mode."""

    event_ms: Time = msgspec.field(name="E")
    leverage: LeverageChange | None = msgspec.field(name="ac", default=None)
    asset_mode: AssetModeChange | None = msgspec.field(name="ai", default=None)


class MarginCallPosition(msgspec.Struct, frozen=True, gc=False):
    """A row of ``p`` of MARGIN_CALL."""

    symbol: str = msgspec.field(name="s")
    amount: str = msgspec.field(name="pa")
    maintenance: str = msgspec.field(name="mm")


class MarginCall(msgspec.Struct, frozen=True, tag_field="e", tag="MARGIN_CALL"):
    """MARGIN_CALL (3.7): guidance only."""

    event_ms: Time = msgspec.field(name="E")
    positions: list[MarginCallPosition] = msgspec.field(name="p")
    cross_wallet: str = msgspec.field(name="cw", default="")


# ---------------------------------------------------------------------------------------------------- REST answers


class Depth(msgspec.Struct, frozen=True, rename="camel"):
    """GET depth (4.1)."""

    last_update_id: Id
    bids: list[LevelText]
    asks: list[LevelText]
    event_ms: Time = msgspec.field(name="E", default=Milliseconds(0))


# GET klines (4.1): openTime, o, h, l, c, volume, closeTime, quoteVolume, trades, takerBase, takerQuote, ignore
KlineRow = tuple[Time, str, str, str, str, str, Time, str, Count, str, str, str]


class PremiumIndex(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """GET premiumIndex (4.1)."""

    symbol: str
    mark_price: str
    last_funding_rate: str
    next_funding_time: Time
    time: Time
    index_price: str = ""


class BestPrices(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """GET ticker/bookTicker (4.1)."""

    symbol: str
    bid_price: str
    bid_qty: str
    ask_price: str
    ask_qty: str
    time: Time
    last_update_id: int = 0


class OpenInterest(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """GET openInterest (4.1)."""

    symbol: str
    open_interest: str
    time: Time


class FundingPrint(msgspec.Struct, frozen=True, gc=False):
    """One row of GET fundingRate (4.1)."""

    symbol: str
    funding_time: Time = msgspec.field(name="fundingTime")
    funding_rate: str = msgspec.field(name="fundingRate")


class FundingTerms(msgspec.Struct, frozen=True, gc=False):
    """One row of GET fundingInfo (4.1); a symbol that is not listed has the default."""

    symbol: str
    interval_hours: int = msgspec.field(name="fundingIntervalHours", default=8)


class BracketRow(msgspec.Struct, frozen=True, gc=False):
    """One bracket of GET leverageBracket (4.5): JSON numbers, not text."""

    initial_leverage: int = msgspec.field(name="initialLeverage")
    notional_cap: float = msgspec.field(name="notionalCap")
    maintenance_rate: float = msgspec.field(name="maintMarginRatio")


class LeverageBrackets(msgspec.Struct, frozen=True):
    """One symbol of GET leverageBracket (4.5)."""

    symbol: str
    brackets: list[BracketRow]


class OpenInterestPeriod(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """One row of GET openInterestHist (4.1); ``timestamp`` is text in old answers (read it loosely)."""

    symbol: str
    sum_open_interest: str
    timestamp: Time


class Filter(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """One filter of a symbol (4.2): the fields of all kinds together, those of other kinds empty."""

    filter_type: str
    min_price: str = ""
    max_price: str = ""
    tick_size: str = ""
    min_qty: str = ""
    max_qty: str = ""
    step_size: str = ""
    notional: str = ""


class SymbolInfo(msgspec.Struct, frozen=True, rename="camel"):
    """The symbol's own object of ``symbols`` of GET exchangeInfo (4.2)."""

    symbol: str
    status: str
    filters: list[Filter]
    contract_type: str = ""
    delivery_date: Time = Milliseconds(0)
    onboard_date: Time = Milliseconds(0)
    quote_asset: str = ""
    margin_asset: str = ""


class PositionRisk(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A row of GET positionRisk v3 (4.5): only symbols with a position or an open order."""

    symbol: str
    position_side: str
    position_amt: str
    entry_price: str
    liquidation_price: str
    mark_price: str = "0"
    un_realized_profit: str = "0"
    update_time: Time = Milliseconds(0)


class RestOrder(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A row of GET openOrders, and what POST, GET and DELETE order answer (4.3)."""

    order_id: Id
    symbol: str
    status: str
    client_order_id: str
    price: str
    orig_qty: str
    executed_qty: str
    order_type: str = msgspec.field(name="type")
    side: str
    reduce_only: bool
    position_side: str = "BOTH"
    close_position: bool = False
    orig_type: str = ""
    stop_price: str = "0"
    avg_price: str = "0"
    update_time: Time = Milliseconds(0)


class RestAlgoOrder(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A row of GET openAlgoOrders, and what POST and GET algoOrder answer (4.4)."""

    algo_id: Id
    client_algo_id: str
    order_type: str
    symbol: str
    side: str
    algo_status: str
    quantity: str
    trigger_price: str
    close_position: bool
    reduce_only: bool
    position_side: str = "BOTH"
    actual_order_id: str = ""
    actual_price: str = "0"
    actual_qty: str = "0"
    update_time: Time = Milliseconds(0)


class Balance(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A row of GET balance v3 (4.5)."""

    asset: str
    balance: str
    cross_wallet_balance: str
    available_balance: str
    cross_un_pnl: str = "0"
    update_time: Time = Milliseconds(0)


class Audit(msgspec.Struct, frozen=True, rename="camel"):
    """The body of an ``audit`` answer: three reads of the venue of one moment (``wire.lines.Answer``)."""

    position_risk: list[PositionRisk]
    open_orders: list[RestOrder]
    open_algo_orders: list[RestAlgoOrder]


class VenueError(msgspec.Struct, frozen=True, gc=False):
    """``{"code":-1121,"msg":"Invalid symbol."}`` (4); the cancel reply of algo orders sends the code as text."""

    code: int | str
    msg: str
