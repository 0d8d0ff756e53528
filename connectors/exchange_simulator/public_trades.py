"""The only definitions of what the venue remembers of strangers' trades, single and aggregated."""

from __future__ import annotations

from typing import NamedTuple


class PublicTrade(NamedTuple):
    """A trade of strangers as GET trades tells it."""

    trade_id: int
    ticks: int
    lots: int
    at_ms: int
    buyer_is_maker: bool


class AggregateTrade(NamedTuple):
    """An aggregate trade as GET aggTrades tells it."""

    aggregate_id: int
    ticks: int
    lots: int
    first_id: int
    last_id: int
    at_ms: int
    buyer_is_maker: int
