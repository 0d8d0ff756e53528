"""The market data half of the REST interface: what anyone may ask (sheet 4.1, 4.2)."""

from __future__ import annotations

from typing import Any, Final

from connectors.exchange_simulator.candles import INTERVALS, Candle, PriceCandles, price_row, rest_row
from connectors.exchange_simulator.errors import VenueError
from connectors.exchange_simulator.fixed_point import E8, format_e8, is_whole
from connectors.exchange_simulator.funding import HOUR, INTEREST_E8, Settlement
from connectors.exchange_simulator.instruments import exchange_info_row
from connectors.exchange_simulator.market import Market
from connectors.exchange_simulator.parameters import Params, mandatory, optional_int
from connectors.exchange_simulator.public_trades import PublicTrade
from connectors.exchange_simulator.venue import Venue

Json = Any  # the venue's JSON: objects, arrays and scalars
DEPTH_WEIGHTS: Final = {5: 2, 10: 2, 20: 2, 50: 2, 100: 5, 500: 10, 1000: 20}


def ping(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET ping."""
    return {}


def server_time(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET time: the exchange's clock, which a recording may put ahead of the host's."""
    return {"serverTime": now_ms + venue.gateway_skew_ms}


def exchange_info(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET exchangeInfo."""
    limits = venue.settings.limits
    return {
        "timezone": "UTC",
        "serverTime": now_ms + venue.gateway_skew_ms,
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


def _bars(venue: Venue, market: Market, params: Params, now_ms: int) -> tuple[str, list[Candle]]:
    """Interval and bars that a kline request names, oldest first; the last one is open."""
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
    candle_ms = now_ms + venue.cadences.candles_ahead_ms
    market.close_candles(candle_ms, delay_ms=venue.settings.kline_close_delay_ms, event_ms=now_ms)
    return interval, market.candles.rows(interval, start=start, end=end, limit=limit, now_ms=candle_ms)


def klines(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET klines: oldest first, the last row is the open candle."""
    market = venue.market(mandatory(params, "symbol"))
    interval, bars = _bars(venue, market, params, now_ms)
    return [rest_row(market.row, bar, interval) for bar in bars]


def continuous_klines(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET continuousKlines: the perpetual of a pair; there are no delivery contracts here."""
    market = venue.market(mandatory(params, "pair"))
    if mandatory(params, "contractType") != "PERPETUAL":
        raise VenueError(-1130, name="contractType")
    interval, bars = _bars(venue, market, params, now_ms)
    return [rest_row(market.row, bar, interval) for bar in bars]


def _price_klines(venue: Venue, market: Market, params: Params, now_ms: int, candles: PriceCandles) -> Json:
    interval, bars = _bars(venue, market, params, now_ms)
    rows = []
    for traded in bars:
        bar = candles.bar(traded, INTERVALS[interval], market.row.tick_e8)
        prices = (format_e8(bar.open), format_e8(bar.high), format_e8(bar.low), format_e8(bar.close))
        rows.append(price_row(prices, bar.open_ms, interval))
    return rows


def mark_price_klines(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET markPriceKlines: sampled marks since the start, traded prices before it (labelled synthetic)."""
    market = venue.market(mandatory(params, "symbol"))
    return _price_klines(venue, market, params, now_ms, market.mark_candles)


def index_price_klines(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET indexPriceKlines by pair."""
    market = venue.market(mandatory(params, "pair"))
    return _price_klines(venue, market, params, now_ms, market.index_candles)


def premium_index_klines(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET premiumIndexKlines: (mark − index) / index of the bars' four prices."""
    market = venue.market(mandatory(params, "symbol"))
    interval, bars = _bars(venue, market, params, now_ms)
    span, tick = INTERVALS[interval], market.row.tick_e8
    rows = []
    for traded in bars:
        mark, index = market.mark_candles.bar(traded, span, tick), market.index_candles.bar(traded, span, tick)
        edges = [(mark.open - index.open) * E8 // index.open, (mark.close - index.close) * E8 // index.close]
        prices = (format_e8(edges[0]), format_e8(max(edges)), format_e8(min(edges)), format_e8(edges[1]))
        rows.append(price_row(prices, traded.open_ms, interval))
    return rows


def trades(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET trades: the last public trades since the start."""
    market = venue.market(mandatory(params, "symbol"))
    return [_trade_row(market, trade) for trade in list(market.trades)[-_limit_of(params, 500) :]]


def historical_trades(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET historicalTrades: from an id on; only what happened since the start and is still kept."""
    market = venue.market(mandatory(params, "symbol"))
    first, limit = optional_int(params, "fromId"), _limit_of(params, 500, most=500)
    found = [trade for trade in market.trades if first is None or trade.trade_id >= first]
    return [_trade_row(market, trade) for trade in (found[-limit:] if first is None else found[:limit])]


def _trade_row(market: Market, trade: PublicTrade) -> Json:
    row = market.row
    return {
        "id": trade.trade_id,
        "price": row.price_text(trade.ticks),
        "qty": row.quantity_text(trade.lots),
        "quoteQty": format_e8(row.notional(trade.ticks, trade.lots), 2),
        "time": trade.at_ms,
        "isBuyerMaker": trade.buyer_is_maker,
        "isRPITrade": False,
    }


def aggregate_trades(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET aggTrades: by fromId, or by times less than an hour apart, or the last ones."""
    market = venue.market(mandatory(params, "symbol"))
    market.flush_aggregate(now_ms)
    first = optional_int(params, "fromId")
    start, end = optional_int(params, "startTime"), optional_int(params, "endTime")
    if start is not None and end is not None and end - start > HOUR:
        raise VenueError(-4166)
    limit = _limit_of(params, 500)
    found = [
        trade
        for trade in market.aggregates
        if (first is None or trade.aggregate_id >= first)
        and (start is None or trade.at_ms >= start)
        and (end is None or trade.at_ms <= end)
    ]
    row = market.row
    return [
        {
            "a": trade.aggregate_id, "p": row.price_text(trade.ticks), "q": row.quantity_text(trade.lots),
            "nq": row.quantity_text(trade.lots), "f": trade.first_id, "l": trade.last_id, "T": trade.at_ms,
            "m": bool(trade.buyer_is_maker),
        }
        for trade in (found[-limit:] if first is None and start is None else found[:limit])
    ]  # fmt: skip


def _limit_of(params: Params, default: int, *, most: int = 1_000) -> int:
    limit = optional_int(params, "limit")
    if limit is None:
        return default
    if not 1 <= limit <= most:
        raise VenueError(-1130, name="limit")
    return limit


def premium_index(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET premiumIndex, one or all."""
    return _one_or_all(venue, params, lambda market: _premium(market, now_ms))


def _premium(market: Market, now_ms: int) -> Json:
    return {
        "symbol": market.row.symbol,
        "markPrice": format_e8(market.mark_e8),
        "indexPrice": format_e8(market.index_e8),
        "estimatedSettlePrice": format_e8(market.index_e8),
        "lastFundingRate": format_e8(market.funding.rate_e8),
        "interestRate": "0.00010000",
        "nextFundingTime": market.funding.next_ms,
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


def _periods(venue: Venue, params: Params, now_ms: int) -> tuple[Market, list[Candle]]:
    """Market and closed bars that a /futures/data request names."""
    market = venue.market(mandatory(params, "symbol" if "symbol" in params else "pair"))
    period = mandatory(params, "period")
    if period not in ("5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d"):
        raise VenueError(-1130, name="period")
    limit = _limit_of(params, 30, most=500)
    start, end = optional_int(params, "startTime"), optional_int(params, "endTime")
    bars = market.candles.rows(period, start=start, end=end, limit=limit + 1, now_ms=now_ms)
    closed = [bar for bar in bars if bar.open_ms + INTERVALS[period] <= now_ms]
    return market, closed[:limit] if start is not None else closed[-limit:]


def open_interest_history(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET /futures/data/openInterestHist: a flat seeded history around the present value (labelled synthetic)."""
    market, bars = _periods(venue, params, now_ms)
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


def long_short_ratio(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET /futures/data/{topLongShort…,global…}Ratio: a ratio that follows from each bar (labelled synthetic)."""
    market, bars = _periods(venue, params, now_ms)
    rows = []
    for bar in bars:
        longs = 5_000 + (bar.lots + bar.count) % 1_001
        rows.append(
            {
                "symbol": market.row.symbol,
                "longShortRatio": format_e8(longs * E8 // (10_000 - longs), 4),
                "longAccount": format_e8(longs * 10_000, 4),
                "shortAccount": format_e8((10_000 - longs) * 10_000, 4),
                "timestamp": bar.open_ms,
            }
        )
    return rows


def taker_ratio(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET /futures/data/takerlongshortRatio from the candles' taker volumes."""
    market, bars = _periods(venue, params, now_ms)
    step = market.row.step_e8
    return [
        {
            "buySellRatio": format_e8(bar.buy_lots * E8 // max(1, bar.lots - bar.buy_lots), 4),
            "sellVol": format_e8((bar.lots - bar.buy_lots) * step, 4),
            "buyVol": format_e8(bar.buy_lots * step, 4),
            "timestamp": bar.open_ms,
        }
        for bar in bars
    ]


def funding_rate(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET fundingRate: settlements since the start; before it the interest rate alone (labelled synthetic)."""
    markets = [venue.market(params["symbol"])] if "symbol" in params else list(venue.markets.values())
    start, end = optional_int(params, "startTime"), optional_int(params, "endTime")
    if start is not None and end is not None and start > end:
        raise VenueError(-1023)
    limit = _limit_of(params, 100)
    rows: list[Json] = []
    for market in markets:
        funding, span = market.funding, market.row.funding_hours * HOUR
        seen = [Settlement(done.at_ms, done.rate_e8, done.mark_e8) for done in funding.settlements]
        first = seen[0].at_ms if seen else funding.next_ms
        invented = INTEREST_E8 * market.row.funding_hours // 8
        before = [Settlement(first - span * back, invented, market.row.price_e8) for back in range(limit, 0, -1)]
        chosen = [
            done
            for done in (*before, *seen)
            if (start is None or done.at_ms >= start) and (end is None or done.at_ms <= end)
        ]
        rows += [
            {
                "symbol": market.row.symbol,
                "fundingTime": done.at_ms,
                "fundingRate": format_e8(done.rate_e8),
                "markPrice": format_e8(done.mark_e8),
                "rateType": "Regular",
            }
            for done in chosen
        ]
    rows.sort(key=lambda row: row["fundingTime"])
    return rows[:limit] if start is not None else rows[-limit:]


def funding_info(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET fundingInfo: only symbols whose interval or cap is not the default of eight hours."""
    return [
        {
            "symbol": market.row.symbol,
            "adjustedFundingRateCap": format_e8(market.funding.cap_e8),
            "adjustedFundingRateFloor": format_e8(-market.funding.cap_e8),
            "fundingIntervalHours": market.funding.hours,
            "disclaimer": False,
            "updateTime": market.funding.changed_ms,
        }
        for market in venue.markets.values()
        if market.funding.hours != 8
    ]


def insurance_balance(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET insuranceBalance: one fund for all symbols."""
    return {
        "symbols": [venue.market(params["symbol"]).row.symbol] if "symbol" in params else list(venue.markets),
        "assets": [
            {"asset": "USDT", "marginBalance": format_e8(venue.account.insurance), "updateTime": now_ms}
        ],
    }  # fmt: skip


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
