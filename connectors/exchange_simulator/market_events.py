"""The only definitions of what a market source tells the venue; integers in ticks, lots and exchange milliseconds."""

from __future__ import annotations

from typing import Any

import msgspec

Levels = list[tuple[int, int]]


class BookChange(msgspec.Struct, frozen=True):
    """New absolute quantities from a synthetic market; the venue numbers and groups them into diffs."""

    symbol: str
    bids: Levels
    asks: Levels


class MarketTrade(msgspec.Struct, frozen=True):
    """A public trade of strangers. *trade_id* and *at_ms* are given by recordings, else the venue assigns them."""

    symbol: str
    ticks: int
    lots: int
    buyer_is_maker: bool
    trade_id: int | None = None
    at_ms: int | None = None


class RecordedDiff(msgspec.Struct, frozen=True):
    """A recorded depthUpdate, served unchanged except for its shifted times."""

    symbol: str
    first_id: int
    final_id: int
    previous_id: int
    event_ms: int
    transaction_ms: int
    bids: Levels
    asks: Levels
    payload: dict[str, Any]  # Any: the recorded JSON


def recorded_diff(symbol: str, payload: dict[str, Any], *, bids: Levels, asks: Levels) -> RecordedDiff:  # Any: JSON
    """The event of a depthUpdate frame whose levels were put on the symbol's grid."""
    return RecordedDiff(
        symbol=symbol,
        first_id=payload["U"],
        final_id=payload["u"],
        previous_id=payload["pu"],
        event_ms=payload["E"],
        transaction_ms=payload["T"],
        bids=bids,
        asks=asks,
        payload=payload,
    )


class RecordedFrame(msgspec.Struct, frozen=True):
    """A recorded frame that is served under *stream* and changes nothing inside the venue (bookTicker, trade)."""

    symbol: str
    stream: str
    payload: dict[str, Any]  # Any: the recorded JSON


class RecordedSnapshot(msgspec.Struct, frozen=True):
    """A recorded REST depth answer: the book from which the recorded diffs go on."""

    symbol: str
    last_update_id: int
    event_ms: int
    transaction_ms: int
    bids: Levels
    asks: Levels


class ContractChange(msgspec.Struct, frozen=True):
    """What exchangeInfo says of a symbol changes; None keeps."""

    symbol: str
    status: str | None = None
    delivery_ms: int | None = None


class TickChange(msgspec.Struct, frozen=True):
    """The symbol's tickSize changes; open orders and levels of the old grid stay where they are."""

    symbol: str
    tick_e8: int


class FundingRate(msgspec.Struct, frozen=True):
    """The rate of the next settlement, e8 of the notional."""

    symbol: str
    rate_e8: int


class StrangerLiquidated(msgspec.Struct, frozen=True):
    """A stranger's position is liquidated at the touch: a trade, and perhaps the forceOrder of this second."""

    symbol: str
    ticks: int
    lots: int
    long: bool


class MarkGiven(msgspec.Struct, frozen=True):
    """Mark, its average, index and funding as another venue states them, e8; *next_ms* is the next settlement."""

    symbol: str
    mark_e8: int
    average_e8: int
    index_e8: int
    rate_e8: int
    next_ms: int


class BookLost(msgspec.Struct, frozen=True):
    """The book is not known any more: it is empty until a snapshot comes."""

    symbol: str


MarketEvent = (
    BookChange
    | MarketTrade
    | RecordedDiff
    | RecordedFrame
    | RecordedSnapshot
    | ContractChange
    | TickChange
    | FundingRate
    | StrangerLiquidated
    | MarkGiven
    | BookLost
)
