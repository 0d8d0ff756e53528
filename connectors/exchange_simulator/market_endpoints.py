"""The market data half of the REST interface: what anyone may ask (sheet 4.1, 4.2)."""

from __future__ import annotations

from typing import Any, Final

from connectors.exchange_simulator.candles import INTERVALS, rest_row
from connectors.exchange_simulator.errors import VenueError
from connectors.exchange_simulator.fixed_point import format_e8, is_whole
from connectors.exchange_simulator.instruments import exchange_info_row
from connectors.exchange_simulator.market import Market, next_funding
from connectors.exchange_simulator.parameters import Params, mandatory, optional_int
from connectors.exchange_simulator.venue import Venue

Json = Any  # the venue's JSON: objects, arrays and scalars
DEPTH_WEIGHTS: Final = {5: 2, 10: 2, 20: 2, 50: 2, 100: 5, 500: 10, 1000: 20}


def ping(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET ping."""
    return {}


def server_time(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET time: the exchange's clock, which a recording may put ahead of the host's."""
    return {"serverTime": now_ms}


def exchange_info(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET exchangeInfo."""
    limits = venue.settings.limits
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "futuresType": "U_MARGINED",
        "rateLimits": [
            _limit("REQUEST_WEIGHT", "MINUTE", 1, limits.weight_per_minute),
            *_order_limits(venue),
        ],
        "exchangeFilters": [],
        "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
        "symbols": [exchange_info_row(market.row) for market in venue.markets.values()],
    }


def _limit(kind: str, interval: str, number: int, limit: int) -> Json:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}


def _order_limits(venue: Venue) -> list[Json]:
    limits = venue.settings.limits
    return [
        _limit("ORDERS", "MINUTE", 1, limits.orders_per_minute),
        _limit("ORDERS", "SECOND", 10, limits.orders_per_10_seconds),
    ]


def order_limits(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET rateLimit/order: limits only, no usage."""
    return _order_limits(venue)


def depth_weight(params: Params) -> int:
    """2/5/10/20 by limit; an invalid limit is charged as the default."""
    text = params.get("limit", "500")
    return DEPTH_WEIGHTS.get(int(text) if is_whole(text, longest=5) else 500, 10)


def depth(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET depth."""
    market = venue.market(mandatory(params, "symbol"))
    limit = optional_int(params, "limit")
    limit = 500 if limit is None else limit
    if limit not in DEPTH_WEIGHTS:
        raise VenueError(-4021)
    if not market.recorded:
        market.touch(venue.next_update_id())
    first = market.take_first_snapshot(limit)
    return first or market.depth_snapshot(limit, now_ms=now_ms)


def klines_weight(params: Params) -> int:
    """1/2/5/10 by limit."""
    text = params.get("limit", "500")
    limit = int(text) if is_whole(text, longest=5) else 500
    return 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1_000 else 10


def klines(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET klines: oldest first, the last row is the open candle."""
    market = venue.market(mandatory(params, "symbol"))
    interval = mandatory(params, "interval")
    if interval not in INTERVALS:
        raise VenueError(-1120)
    limit = optional_int(params, "limit")
    limit = 500 if limit is None else limit
    if not 1 <= limit <= 1_500:
        raise VenueError(-1130, name="limit")
    start, end = optional_int(params, "startTime"), optional_int(params, "endTime")
    if start is not None and end is not None and start > end:
        raise VenueError(-1023)
    market.close_candles(now_ms, delay_ms=venue.settings.kline_close_delay_ms)
    rows = market.candles.rows(interval, start=start, end=end, limit=limit, now_ms=now_ms)
    return [rest_row(market.row, bar, interval) for bar in rows]


def premium_index(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET premiumIndex, one or all."""
    return _one_or_all(venue, params, lambda market: _premium(market, now_ms))


def _premium(market: Market, now_ms: int) -> Json:
    return {
        "symbol": market.row.symbol,
        "markPrice": format_e8(market.mark_e8),
        "indexPrice": format_e8(market.index_e8),
        "estimatedSettlePrice": format_e8(market.index_e8),
        "lastFundingRate": format_e8(market.funding_rate_e8),
        "interestRate": "0.00010000",
        "nextFundingTime": next_funding(now_ms),
        "time": now_ms,
    }


def _one_or_all(venue: Venue, params: Params, view: Any) -> Json:  # Any: Market → JSON
    if "symbol" in params:
        return view(venue.market(params["symbol"]))
    return [view(market) for market in venue.markets.values()]


def open_interest(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET openInterest."""
    market = venue.market(mandatory(params, "symbol"))
    quantity = market.row.quantity_text(market.open_interest_lots)
    return {"openInterest": quantity, "symbol": market.row.symbol, "time": now_ms}


def open_interest_history(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET /futures/data/openInterestHist: a flat seeded history around the present value (labelled synthetic)."""
    market = venue.market(mandatory(params, "symbol"))
    period = mandatory(params, "period")
    if period not in ("5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d"):
        raise VenueError(-1130, name="period")
    limit = min(optional_int(params, "limit") or 30, 500)
    bars = market.candles.rows(period, start=None, end=None, limit=limit + 1, now_ms=now_ms)[:-1]
    rows = []
    for bar in bars:
        # The wobble follows from the bar itself, so that a repeated call answers the same.
        lots = market.row.open_interest_lots * (1_000 + (bar.lots + bar.count) % 41 - 20) // 1_000
        rows.append(
            {
                "symbol": market.row.symbol,
                "sumOpenInterest": format_e8(lots * market.row.step_e8),
                "sumOpenInterestValue": format_e8(market.row.notional(bar.close, lots)),
                "CMCCirculatingSupply": "0.00",
                "timestamp": bar.open_ms,
            }
        )
    return rows


def funding_rate(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET fundingRate: past settlements at the present rate (labelled synthetic)."""
    market = venue.market(mandatory(params, "symbol"))
    limit = min(optional_int(params, "limit") or 100, 1_000)
    last = next_funding(now_ms) - 28_800_000
    return [
        {
            "symbol": market.row.symbol,
            "fundingTime": last - index * 28_800_000,
            "fundingRate": format_e8(market.funding_rate_e8),
            "markPrice": format_e8(market.mark_e8),
            "rateType": "Regular",
        }
        for index in range(limit - 1, -1, -1)
    ]


def funding_info(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET fundingInfo: only adjusted symbols are listed; here none is."""
    return []


def book_ticker(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET ticker/bookTicker, one or all."""
    return _one_or_all(venue, params, lambda market: _book_ticker(market, now_ms))


def _book_ticker(market: Market, now_ms: int) -> Json:
    bid, bid_lots, ask, ask_lots = market.best()
    row = market.row
    return {
        "symbol": row.symbol,
        "bidPrice": row.price_text(bid),
        "bidQty": row.quantity_text(bid_lots),
        "askPrice": row.price_text(ask),
        "askQty": row.quantity_text(ask_lots),
        "time": market.transaction_ms or now_ms,
        "lastUpdateId": market.update_id,
    }


def price_ticker(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET ticker/price, one or all."""

    def view(market: Market) -> Json:
        return {
            "symbol": market.row.symbol,
            "price": market.row.price_text(market.last_ticks),
            "time": market.last_trade_ms,
        }

    return _one_or_all(venue, params, view)


def day_ticker(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET ticker/24hr, one or all."""
    return _one_or_all(venue, params, lambda market: market.rest_ticker())
