"""
The only place for what can happen to a symbol: one past-tense struct per kind of input that ``engine.step`` folds.

Events are what ``pipeline.binance.decode`` makes of the lines of the ``inputs`` topic. Prices on the grid are
``Ticks``, quantities ``Lots``, prices off the grid and money ``E8`` (see ``units``), venue times ``Milliseconds``.
Nothing here knows JSON, Kafka or the venue's field names.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from pipeline.core.instruments import Instrument
from pipeline.core.plugin_answers import PluginAnswered
from pipeline.core.policies import Policy
from pipeline.core.units import E8, Lots, Milliseconds, Ticks

Level = tuple[int, int]  # (price in ticks, quantity in lots); quantity 0 deletes the level


class Side(StrEnum):
    """Direction of an order or of a position (BUY is long)."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        """+1 for BUY, −1 for SELL (domain section 6: d)."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> Side:
        """The side that closes."""
        return Side.SELL if self is Side.BUY else Side.BUY


class Leg(StrEnum):
    """
    What an order is for within a position (domain 6.7); one character, part of the client id.

    ENTRY opens; FAR is rail (a), closePosition at 1.25 × D; WORKING is rail (b), reduce-only at the stop;
    TARGET is TP1 (resting reduce-only LIMIT); LAST_TARGET is TP2 (TAKE_PROFIT_MARKET closePosition);
    CLOSE is a market close.
    """

    ENTRY = "e"
    FAR = "a"
    WORKING = "b"
    TARGET = "t"
    LAST_TARGET = "u"
    CLOSE = "c"


# ----------------------------------------------------------------------------------------------- market data


class Quote(msgspec.Struct, frozen=True, gc=False, tag="quote"):
    """
    Best bid and ask (``bookTicker``); ``update_id`` is comparable with the depth ids of the same symbol. ``polled``: by
    REST while the stream is down, which proves nothing about the stream.
    """

    update_id: int
    bid: Ticks
    bid_lots: Lots
    ask: Ticks
    ask_lots: Lots
    event_ms: Milliseconds
    polled: bool = False


class DepthDiff(msgspec.Struct, frozen=True, tag="depth_diff"):
    """One diff of the order book (venue sheet 2.8: U, u, pu); levels carry the new absolute quantity."""

    first_update_id: int
    final_update_id: int
    previous_final_update_id: int
    bids: list[Level]
    asks: list[Level]
    event_ms: Milliseconds


class DepthSnapshot(msgspec.Struct, frozen=True, tag="depth_snapshot"):
    """A REST depth answer; best first."""

    last_update_id: int
    bids: list[Level]
    asks: list[Level]
    event_ms: Milliseconds


class Trade(msgspec.Struct, frozen=True, gc=False, tag="trade"):
    """One ``aggTrade`` (or raw trade of a recording); ``seller_aggressed`` is the venue's ``m``."""

    trade_id: int
    price: Ticks
    lots: Lots
    seller_aggressed: bool
    trade_ms: Milliseconds


class MarkPrice(msgspec.Struct, frozen=True, gc=False, tag="mark_price"):
    """Mark and index price and the predicted funding rate (10**-8 per interval); ``index`` 0 when absent."""

    mark: E8
    index: E8
    funding_rate_e8: int
    next_funding_ms: Milliseconds
    event_ms: Milliseconds


class Bar(msgspec.Struct, frozen=True, gc=False, tag="bar"):
    """One 5m kline; prices in ticks; ``closed`` is the venue's ``x`` (REST rows: close time passed)."""

    open_ms: Milliseconds
    open: Ticks
    high: Ticks
    low: Ticks
    close: Ticks
    lots: Lots
    quote_volume: E8
    taker_lots: Lots
    taker_quote: E8
    trades: int
    closed: bool


class Bars(msgspec.Struct, frozen=True, tag="bars"):
    """A REST answer of klines, oldest first, the open one already marked ``closed=False``."""

    bars: list[Bar]


class OpenInterest(msgspec.Struct, frozen=True, gc=False, tag="open_interest"):
    """Open interest in lots at venue time."""

    lots: Lots
    event_ms: Milliseconds


class OpenInterestHistory(msgspec.Struct, frozen=True, tag="open_interest_history"):
    """Open interest of past periods of 5m, oldest first: (end of the period in venue ms, lots)."""

    rows: list[tuple[int, int]]


class BasisHistory(msgspec.Struct, frozen=True, tag="basis_history"):
    """Closes of 5m premium-index candles, oldest first: (close of the bar in venue ms, (mark − index)/index in E8)."""

    rows: list[tuple[int, int]]


class FundingHistory(msgspec.Struct, frozen=True, tag="funding_history"):
    """Settled fundings, oldest first: (settlement in venue ms, rate of the interval in E8)."""

    rows: list[tuple[int, int]]


class FundingInfo(msgspec.Struct, frozen=True, gc=False, tag="funding_info"):
    """How many hours lie between two settlements of the symbol."""

    interval_hours: int


class LeverageBrackets(msgspec.Struct, frozen=True, tag="leverage_brackets"):
    """What the venue allows by size, smallest first: (leverage, notional cap in E8, maintenance rate in ppm)."""

    rows: list[tuple[int, int, int]]


class Liquidation(msgspec.Struct, frozen=True, gc=False, tag="liquidation"):
    """
    One liquidation order of the market (``forceOrder``): a sample, at most one a second (domain section 2).

    SELL means that a long was liquidated. ``price`` is the average price, the order's own while nothing was filled;
    ``lots`` what was filled, else what was asked.
    """

    side: Side
    price: E8
    lots: Lots
    trade_ms: Milliseconds


class ReferenceBars(msgspec.Struct, frozen=True, tag="reference_bars"):
    """
    Closed bars of Bitcoin or Ether for every other symbol (domain 4.10), written by the worker that folds them.

    ``closes`` are those of unbroken bars, oldest first, the newest one opened at ``open_ms``; in ticks of that symbol,
    so only their ratios mean something here. ``trend`` is its label (up, down, flat; empty while T is missing).
    """

    symbol: str
    open_ms: Milliseconds
    closes: list[int]
    trend: str = ""


class InstrumentChanged(msgspec.Struct, frozen=True, tag="instrument_changed"):
    """What exchangeInfo (or contractInfo) now says about the symbol."""

    instrument: Instrument


# ------------------------------------------------------------------------------------------- own account, venue


class OrderUpdated(msgspec.Struct, frozen=True, tag="order_updated"):
    """ORDER_TRADE_UPDATE (venue sheet 3.3). ``fill_*`` are 0 unless ``execution`` is TRADE or CALCULATED."""

    client_id: str
    order_id: int
    side: Side
    execution: str  # x: NEW CANCELED CALCULATED EXPIRED TRADE AMENDMENT
    status: str  # X: NEW PARTIALLY_FILLED FILLED CANCELED EXPIRED EXPIRED_IN_MATCH
    original_type: str  # ot
    lots: Lots
    filled_lots: Lots
    fill_lots: Lots
    fill_price: E8
    trade_id: int
    fee: E8
    realised: E8
    reduce_only: bool
    event_ms: Milliseconds


class AlgoUpdated(msgspec.Struct, frozen=True, tag="algo_updated"):
    """ALGO_UPDATE (venue sheet 3.6): life of a conditional order; ``order_id`` is 0 before the trigger."""

    client_id: str
    algo_id: int
    order_type: str
    side: Side
    status: str  # NEW CANCELED TRIGGERING TRIGGERED FINISHED REJECTED EXPIRED
    order_id: int
    lots: Lots
    trigger: Ticks
    close_position: bool
    reason: str
    event_ms: Milliseconds


class PositionUpdated(msgspec.Struct, frozen=True, tag="position_updated"):
    """The symbol's row of ACCOUNT_UPDATE; ``lots`` is signed, ``entry_price`` the venue's average (0 when flat)."""

    lots: Lots
    entry_price: E8
    reason: str
    event_ms: Milliseconds


class OpenAlgoOrder(msgspec.Struct, frozen=True, tag="open_algo_order"):
    """One row of openAlgoOrders."""

    client_id: str
    algo_id: int
    order_type: str
    side: Side
    status: str
    lots: Lots
    trigger: Ticks
    close_position: bool
    reduce_only: bool


class OpenOrder(msgspec.Struct, frozen=True, tag="open_order"):
    """One row of openOrders."""

    client_id: str
    order_id: int
    order_type: str
    side: Side
    lots: Lots
    filled_lots: Lots
    price: Ticks
    reduce_only: bool


class Reconciled(msgspec.Struct, frozen=True, tag="reconciled"):
    """
    A complete read of the venue for this symbol: positionRisk, openOrders and openAlgoOrders of one audit.

    Only complete reads become this event; a read with a missing half is a failed answer and proves nothing
    (pains 3, 11). ``liquidation`` is 0 when the venue states none.
    """

    lots: Lots
    entry_price: E8
    liquidation: E8
    orders: list[OpenOrder]
    algo_orders: list[OpenAlgoOrder]
    event_ms: Milliseconds


# --------------------------------------------------------------------------------------------------- our own lines


class Verdict(StrEnum):
    """
    How one request of the executor ended.

    ACCEPTED: the venue's answer or event says it took effect. REJECTED: the venue refused, nothing happened.
    REFUSED: we did not send it (reason in ``message``: stale, superseded, duplicate, limits, halted, invalid).
    IN_DOUBT: no clear answer; evidence is awaited. ABSENT: a doubt ended, it provably never took effect.
    CANCELLED: a cancel took effect (or the order was already gone without a fill). GONE: cancel found it filled
    or triggered.
    """

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    REFUSED = "refused"
    IN_DOUBT = "in_doubt"
    ABSENT = "absent"
    CANCELLED = "cancelled"
    GONE = "gone"


class RequestEnded(msgspec.Struct, frozen=True, tag="request_ended"):
    """
    The executor's line about one request it sent, or refused to send, for an intent.

    ``client_id`` names the order the request was about (placed or cancelled); ``filled_lots`` and
    ``average_price`` are what an order reply said about fills; ``code`` is the venue's (0: none).
    """

    intent: str
    position: str
    leg: Leg
    client_id: str
    verdict: Verdict
    order_id: int = 0
    trigger: Ticks = Ticks(0)
    lots: Lots = Lots(0)
    filled_lots: Lots = Lots(0)
    average_price: E8 = E8(0)
    status: str = ""
    code: int = 0
    message: str = ""
    venue_ms: Milliseconds = Milliseconds(0)


class DataFailed(msgspec.Struct, frozen=True, gc=False, tag="data_failed"):
    """A data request ended without an answer (shed, expired, refused by the venue, incomplete)."""

    request: str
    kind: str
    reason: str


class TradingMode(StrEnum):
    """State of the account (architecture 2.5). HALTED closes everything and is left only by an explicit resume."""

    ACTIVE = "active"
    REDUCE_ONLY = "reduce_only"
    HALTED = "halted"


class TradingStateSet(msgspec.Struct, frozen=True, gc=False, tag="trading_state_set"):
    """
    The account's trading state, repeated every few seconds into every partition.

    ``shortlisted`` names the symbols that the ranking of all of them chose (domain section 7), best first.
    """

    mode: TradingMode
    reason: str = ""
    shortlisted: tuple[str, ...] = ()


class PolicySet(msgspec.Struct, frozen=True, tag="policy_set"):
    """The parameters of the rules, from the configuration; repeated with the trading state."""

    policy: Policy


class EntryAdmitted(msgspec.Struct, frozen=True, tag="entry_admitted"):
    """
    Account admitted an entry: the slot is reserved until decide answers ``used`` or ``declined``.

    ``lots`` 0 means: size by risk is not asked, take ``notional`` (USDT, E8). ``stop``, ``target`` and
    ``last_target`` are price ticks, 0 = by the tables of domain 6.2. ``expires_ms`` is log time. ``template`` names a
    template of the policy (empty or unknown: none).

    ``risk`` asks for size by risk: the USDT (E8) that may be lost between the entry and the working stop; ``notional``
    then is the cap. ``max_loss`` bounds the loss at the far rail (portfolio heat that is left), 0: unbounded.
    ``liquidity`` is the share in permille that thin liquidity leaves of the size by risk (domain section 5). ``margin``
    is what is allocated to the position (USDT, E8): with ``most_leverage`` it gives the leverage; 0: left as it is.
    """

    admission: str
    side: Side
    lots: Lots
    notional: E8
    stop: Ticks
    target: Ticks
    last_target: Ticks
    expires_ms: Milliseconds
    risk: E8 = E8(0)
    max_loss: E8 = E8(0)
    liquidity: int = 1_000
    signal: bool = False
    template: str = ""
    margin: E8 = E8(0)
    most_leverage: int = 0


class SymbolResumed(msgspec.Struct, frozen=True, tag="symbol_resumed"):
    """A person has looked at a symbol that was halted on a fault; everything is asked for anew and it goes on."""

    command: str


class CloseRequested(msgspec.Struct, frozen=True, tag="close_requested"):
    """A person asked to close the symbol's position."""

    command: str
    reason: str


class PositionOverridden(msgspec.Struct, frozen=True, tag="position_overridden"):
    """
    A person wishes something for the open position alone; None leaves a wish as it is.

    ``pin_stop``: the stop stays where it is. ``leave_alone``: nothing but protection acts. ``disabled_exits`` names
    rules that are off for it (those that protect cannot be).
    """

    command: str
    pin_stop: bool | None = None
    leave_alone: bool | None = None
    disabled_exits: tuple[str, ...] | None = None


class Ticked(msgspec.Struct, frozen=True, gc=False, tag="ticked"):
    """Time passed; the event's own time says how much. ``compute``: it is this symbol's turn to compute its scores."""

    compute: bool = False


class Malformed(msgspec.Struct, frozen=True, tag="malformed"):
    """
    A line that reached the symbol but cannot be folded (number off the grid, field missing, crossed quote).

    The bytes stand in the log; the fold notes the reason and treats the feed named in ``stream`` as not whole.
    """

    stream: str
    reason: str


class SourceGap(msgspec.Struct, frozen=True, gc=False, tag="source_gap"):
    """Lines of one writer are missing: its running number jumped (architecture 2.2). ``missing`` counts them."""

    source: str
    missing: int


class FeedLost(msgspec.Struct, frozen=True, gc=False, tag="feed_lost"):
    """The connector says that a stream of this symbol may have a hole (socket lost, frames given way)."""

    stream: str
    reason: str


Event = (
    Quote
    | DepthDiff
    | DepthSnapshot
    | Trade
    | MarkPrice
    | Bar
    | Bars
    | OpenInterest
    | OpenInterestHistory
    | BasisHistory
    | FundingHistory
    | FundingInfo
    | LeverageBrackets
    | Liquidation
    | ReferenceBars
    | InstrumentChanged
    | OrderUpdated
    | AlgoUpdated
    | PositionUpdated
    | Reconciled
    | RequestEnded
    | DataFailed
    | TradingStateSet
    | PolicySet
    | EntryAdmitted
    | SymbolResumed
    | CloseRequested
    | PositionOverridden
    | PluginAnswered
    | Ticked
    | Malformed
    | SourceGap
    | FeedLost
)


class Stamp(msgspec.Struct, frozen=True, gc=False):
    """
    Where and when a line stands: the identity of a cause (architecture 2.2).

    ``at_ms`` is the line's own receive time, ``append_ms`` the record's LogAppendTime. Log time of a symbol is the
    running maximum of min(at_ms, append_ms + 200); freshness is append_ms − at_ms.
    """

    partition: int
    offset: int
    line: int
    at_ms: Milliseconds
    append_ms: Milliseconds
