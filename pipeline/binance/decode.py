"""
The only place where the venue's JSON becomes events: frames of the streams and answers of REST, exact and checked.

Rules:

1. A frame is read in one typed pass. Which type it is stands in its prefix (``{"stream":"…``, combined endpoint) or in
   its ``"e"``; both are looked up in tables. Key order and unknown fields never matter (venue sheet 0).
2. Every number is put on the symbol's grid exactly, or the frame is ``Malformed`` and the reason names the field.
   Nothing is rounded, guessed or replaced.
3. ``None`` means: well-formed, known, and nothing to fold (a ticker, another contract kind, TRADE_LITE, an interval
   that is not 5m). Unknown streams and events are ``Malformed``, never ``None``.
4. Nothing here raises for bad input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar

import msgspec

from pipeline.binance import payloads
from pipeline.binance.answers import checked_bar, instrument_of
from pipeline.binance.numbers import (
    BAD_INPUT,
    Refused,
    SymbolNumbers,
    amount_e8,
    order_id_of,
    positive_e8,
    require_one_way,
    require_symbol,
    side_of,
    signed_lots,
)
from pipeline.core.events import (
    AlgoUpdated,
    Bar,
    DepthDiff,
    Event,
    InstrumentChanged,
    Liquidation,
    Malformed,
    MarkPrice,
    OrderUpdated,
    PositionUpdated,
    Quote,
    Trade,
)
from pipeline.core.instruments import Instrument
from pipeline.core.units import E8, Lots, NotADecimal, OffGrid, parse_e8

__all__ = ["FrameDecoder", "decode_frame", "decoder_of", "instrument_of"]

BAR_INTERVAL: Final = "5m"

Remaining = TypeVar("Remaining")


class _Data(msgspec.Struct, Generic[Remaining], frozen=True):
    """A combined frame of which only ``data`` matters any more."""

    data: Remaining


class _Kind(msgspec.Struct, frozen=True):
    """
    One row of the table of frames. ``convert`` makes the event; ``numbers`` lists the fields that hold numbers (path
    from the payload, then ``t`` ticks, ``l`` lots, ``e`` E8) and is read only to name the one that was refused.
    """

    bare: Callable[[bytes], Any]
    combined: Callable[[bytes], Any]
    convert: Callable[[FrameDecoder, Any], Event | None]
    numbers: str = ""


class FrameDecoder(SymbolNumbers):
    """
    Frames of one symbol with one instrument. Kept by the fold beside the state, made anew when the instrument changes.

    ``frame`` is the whole interface.
    """

    __slots__ = ("_kinds",)

    def __init__(self, symbol: str, instrument: Instrument) -> None:
        super().__init__(symbol, instrument)
        own = symbol.lower().encode()
        self._kinds = {own + b"@" + suffix: kind for suffix, kind in STREAMS.items()}

    def frame(self, raw: bytes) -> Event | None:
        """The event of one frame, combined or bare; Malformed with a reason for anything that is not one."""
        kind = None
        if raw.startswith(b'{"stream":"'):
            kind = self._kinds.get(raw[11 : raw.find(b'"', 11)])
        payload: Any = None
        try:
            if kind is None:
                return self._any_frame(raw)
            payload = kind.combined(raw).data
            return kind.convert(self, payload)
        except BAD_INPUT as error:
            return Malformed(stream=_stream_name(raw), reason=self._reason(kind, payload, error))

    def _any_frame(self, raw: bytes) -> Event | None:
        """A frame whose prefix does not tell: bare, of an all-market or user stream, or with another order of keys."""
        envelope = _envelope(raw)
        body = raw
        kind = None
        if envelope.stream:
            body = bytes(envelope.data)
            kind = self._kinds.get(envelope.stream.encode())
        if kind is None:
            event = _envelope(body).event if envelope.stream else envelope.event
            kind = EVENTS.get(event)
            if kind is None:
                raise Refused(f"unknown event {event!r}" if event else "no event type")
        payload: Any = None
        try:
            payload = kind.bare(body)
            return kind.convert(self, payload)
        except BAD_INPUT as error:
            return Malformed(stream=_stream_name(raw), reason=self._reason(kind, payload, error))

    def _reason(self, kind: _Kind | None, payload: Any, error: Exception) -> str:  # Any: a payload of any kind
        """Name the field that was refused; msgspec does it by itself."""
        if kind is not None and payload is not None and not isinstance(error, msgspec.DecodeError):
            for name, reason in self._bad_numbers(kind, payload):
                return f"{name}: {reason}"
        return str(error) or type(error).__name__

    def _bad_numbers(self, kind: _Kind, payload: Any) -> Iterator[tuple[str, str]]:  # Any: a payload of any kind
        readers: dict[str, Callable[[str], int]] = {
            "t": self.ticks.__getitem__,
            "z": self.instrument.ticks,
            "l": self.lots.__getitem__,
            "e": parse_e8,
        }
        plain = msgspec.to_builtins(payload)
        for entry in kind.numbers.split():
            path, _, letter = entry.partition(":")
            value: Any = plain
            for step in path.split("."):
                value = value[step]
            for place, text, reader in _texts(path, value, letter):
                try:
                    readers[reader](text)
                except (NotADecimal, OffGrid, Refused) as error:
                    yield place, str(error)


def _texts(path: str, value: Any, letter: str) -> Iterator[tuple[str, str, str]]:  # Any: text, or rows of levels
    """The numbers at a path: a text, or the levels of one side of a book (price in ticks, quantity in lots)."""
    if isinstance(value, str):
        yield path, value, letter
        return
    for index, (price, quantity) in enumerate(value):
        yield f"{path}[{index}][0]", price, "t"
        yield f"{path}[{index}][1]", quantity, "l"


def _stream_name(raw: bytes) -> str:
    """The name people know the frame by: its stream, else its event type, else a question mark."""
    try:
        envelope = _envelope(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "?"
    return (envelope.stream or envelope.event or "?")[:80]


# ---------------------------------------------------------------------------------------------------- market frames


def _quote(decoder: FrameDecoder, payload: payloads.BookTicker) -> Event | None:
    if payload.symbol != decoder.symbol:
        require_symbol(payload.symbol, decoder.symbol, "s")
    if payload.contract_kind == payloads.COIN_M:
        return None
    ticks, lots = decoder.ticks, decoder.lots
    bid = ticks[payload.bid]
    ask = ticks[payload.ask]
    if bid >= ask:
        raise Refused(f"b: crossed, bid {payload.bid} is not below ask {payload.ask}")
    return Quote(
        payload.update_id,
        bid,
        lots[payload.bid_quantity],
        ask,
        lots[payload.ask_quantity],
        payload.event_ms,
    )


def _depth_diff(decoder: FrameDecoder, payload: payloads.DepthUpdate) -> Event | None:
    if payload.symbol != decoder.symbol:
        require_symbol(payload.symbol, decoder.symbol, "s")
    if payload.contract_kind == payloads.COIN_M:
        return None
    if payload.first_update_id > payload.final_update_id:
        raise Refused(f"U: {payload.first_update_id} is above u {payload.final_update_id}")
    ticks, lots = decoder.ticks, decoder.lots
    return DepthDiff(
        payload.first_update_id,
        payload.final_update_id,
        payload.previous_final_update_id,
        [(ticks[price], lots[quantity]) for price, quantity in payload.bids],
        [(ticks[price], lots[quantity]) for price, quantity in payload.asks],
        payload.event_ms,
    )


def _trade(decoder: FrameDecoder, payload: payloads.AggregateTrade | payloads.RawTrade) -> Event | None:
    if payload.symbol != decoder.symbol:
        require_symbol(payload.symbol, decoder.symbol, "s")
    if payload.contract_kind == payloads.COIN_M:
        return None
    return Trade(
        payload.trade_id,
        decoder.ticks[payload.price],
        decoder.lots[payload.quantity],
        payload.seller_aggressed,
        payload.trade_ms,
    )


def _raw_trade(decoder: FrameDecoder, payload: payloads.RawTrade) -> Event | None:
    if payload.execution_type != "MARKET":  # insurance fund and ADL fills: aggTrade leaves them out (venue sheet 2.5)
        require_symbol(payload.symbol, decoder.symbol, "s")
        return None
    return _trade(decoder, payload)


def _mark_price(decoder: FrameDecoder, payload: payloads.MarkPriceUpdate) -> Event | None:
    require_symbol(payload.symbol, decoder.symbol, "s")
    if payload.contract_kind == payloads.COIN_M:
        return None
    return MarkPrice(
        mark=positive_e8(payload.mark, "p"),
        index=positive_e8(payload.index, "i") if payload.index else E8(0),
        funding_rate_e8=amount_e8(payload.funding_rate, "r") if payload.funding_rate else 0,
        next_funding_ms=payload.next_funding_ms,
        event_ms=payload.event_ms,
    )


def _bar(decoder: FrameDecoder, payload: payloads.KlineUpdate) -> Event | None:
    require_symbol(payload.symbol, decoder.symbol, "s")
    candle = payload.candle
    if payload.contract_kind == payloads.COIN_M or candle.interval != BAR_INTERVAL:
        return None
    ticks, lots = decoder.ticks, decoder.lots
    return checked_bar(
        Bar(
            open_ms=candle.open_ms,
            open=ticks[candle.open],
            high=ticks[candle.high],
            low=ticks[candle.low],
            close=ticks[candle.close],
            lots=lots[candle.volume],
            quote_volume=amount_e8(candle.quote_volume, "k.q"),
            taker_lots=lots[candle.taker_volume],
            taker_quote=amount_e8(candle.taker_quote_volume, "k.Q"),
            trades=candle.trades,
            closed=candle.closed,
        )
    )


def _contract_info(decoder: FrameDecoder, payload: payloads.ContractInfo) -> Event | None:
    if payload.symbol != decoder.symbol or payload.contract_kind == payloads.COIN_M:
        return None  # an all-market frame: each partition picks its own
    instrument = msgspec.structs.replace(
        decoder.instrument,
        status=payload.status,
        delivery_ms=payload.delivery_ms or decoder.instrument.delivery_ms,
    )
    return InstrumentChanged(instrument=instrument)


def _liquidation(decoder: FrameDecoder, payload: payloads.ForceOrder) -> Event | None:
    order = payload.order
    if order.symbol != decoder.symbol or payload.contract_kind == payloads.COIN_M:
        return None  # an all-market frame: each partition picks its own
    filled = decoder.lots[order.filled]
    return Liquidation(
        side=side_of(order.side, "o.S"),
        price=positive_e8(order.average_price if filled else order.price, "o.ap" if filled else "o.p"),
        lots=Lots(filled or decoder.lots[order.quantity]),
        trade_ms=order.trade_ms,
    )


def _known(_: FrameDecoder, __: Any) -> Event | None:  # Any: whatever the kind carries
    """Known, checked in shape, and nothing the core folds (yet)."""
    return None


# ------------------------------------------------------------------------------------------------------ user events


def _order_updated(decoder: FrameDecoder, payload: payloads.OrderTradeUpdate) -> Event | None:
    order = payload.order
    require_symbol(order.symbol, decoder.symbol, "o.s")
    require_one_way(order.position_side, "o.ps")
    lots = decoder.lots
    fill = order.execution in {"TRADE", "CALCULATED"}
    quoted = bool(order.fee_asset) and order.symbol.endswith(order.fee_asset)
    return OrderUpdated(
        client_id=order.client_id,
        order_id=order.order_id,
        side=side_of(order.side, "o.S"),
        execution=order.execution,
        status=order.status,
        original_type=order.original_type,
        lots=lots[order.quantity],
        filled_lots=lots[order.filled_quantity],
        fill_lots=Lots(lots[order.fill_quantity] if fill else 0),
        fill_price=positive_e8(order.fill_price, "o.L") if fill else E8(0),
        trade_id=order.trade_id,
        # A fee in another asset than the contract's (BNB) is no amount of USDT; the balance tells it.
        fee=amount_e8(order.fee, "o.n") if fill and quoted else E8(0),
        realised=amount_e8(order.realised, "o.rp") if fill else E8(0),
        reduce_only=order.reduce_only,
        event_ms=payload.event_ms,
    )


def _algo_updated(decoder: FrameDecoder, payload: payloads.AlgoUpdate) -> Event | None:
    order = payload.order
    require_symbol(order.symbol, decoder.symbol, "o.s")
    require_one_way(order.position_side, "o.ps")
    return AlgoUpdated(
        client_id=order.client_id,
        algo_id=order.algo_id,
        order_type=order.order_type,
        side=side_of(order.side, "o.S"),
        status=order.status,
        order_id=order_id_of(order.order_id, "o.ai"),
        lots=decoder.lots[order.quantity],
        trigger=decoder.instrument.ticks(order.trigger),
        close_position=order.close_position,
        reason=order.reason,
        event_ms=payload.event_ms,
    )


def _position_updated(decoder: FrameDecoder, payload: payloads.AccountUpdate) -> Event | None:
    for row in payload.account.positions:
        if row.symbol == decoder.symbol:
            require_one_way(row.position_side, "a.P.ps")
            return PositionUpdated(
                lots=signed_lots(decoder.instrument, row.amount, "a.P.pa"),
                entry_price=amount_e8(row.entry_price, "a.P.ep"),
                reason=payload.account.reason,
                event_ms=payload.event_ms,
            )
    return None


# ------------------------------------------------------------------------------------------------ the table of frames


def _kind(
    payload: Any, convert: Callable[[FrameDecoder, Any], Event | None], numbers: str = ""
) -> _Kind:  # Any: a type
    return _Kind(
        bare=msgspec.json.Decoder(payload).decode,
        combined=msgspec.json.Decoder(_Data[payload]).decode,
        convert=convert,
        numbers=numbers,
    )


_envelope = msgspec.json.Decoder(payloads.Envelope).decode

_QUOTE = _kind(payloads.BookTicker, _quote, "b:t B:l a:t A:l")
_DEPTH = _kind(payloads.DepthUpdate, _depth_diff, "b a")
_PARTIAL_DEPTH = _kind(payloads.DepthUpdate, _known)  # 2.7: a replacement of the top, not folded
_AGG_TRADE = _kind(payloads.AggregateTrade, _trade, "p:t q:l")
_TRADE = _kind(payloads.RawTrade, _raw_trade, "p:t q:l")
_MARK = _kind(payloads.MarkPriceUpdate, _mark_price, "p:e i:e r:e")
_KLINE = _kind(payloads.KlineUpdate, _bar, "k.o:t k.h:t k.l:t k.c:t k.v:l k.V:l k.q:e k.Q:e")
_TICKER = _kind(payloads.Ticker, _known)
_MINI_TICKER = _kind(payloads.MiniTicker, _known)
_FORCE_ORDER = _kind(payloads.ForceOrder, _liquidation, "o.q:l o.z:l o.ap:e o.p:e")
_CONTRACT = _kind(payloads.ContractInfo, _contract_info)

# Suffix of a stream of the symbol → kind (venue sheet 2). ``depth@0ms`` is of recordings.
STREAMS: Final[dict[bytes, _Kind]] = {
    b"bookTicker": _QUOTE,
    b"depth": _DEPTH,
    b"depth@0ms": _DEPTH,
    b"depth@100ms": _DEPTH,
    b"depth@250ms": _DEPTH,
    b"depth@500ms": _DEPTH,
    **{
        b"depth%d%b" % (levels, pace): _PARTIAL_DEPTH
        for levels in (5, 10, 20)
        for pace in (b"", b"@0ms", b"@100ms", b"@250ms", b"@500ms")
    },
    b"aggTrade": _AGG_TRADE,
    b"trade": _TRADE,
    b"markPrice": _MARK,
    b"markPrice@1s": _MARK,
    **{b"kline_%b" % interval: _KLINE for interval in b"1m 3m 5m 15m 30m 1h 2h 4h 6h 8h 12h 1d 3d 1w 1M".split()},
    b"ticker": _TICKER,
    b"miniTicker": _MINI_TICKER,
    b"forceOrder": _FORCE_ORDER,
}

# Event type of a bare frame, or of a combined one whose stream is none of the symbol's own. ``depthUpdate`` is missing
# on purpose: without its stream a diff cannot be told from a replacement (venue sheet 2.7).
EVENTS: Final[dict[str, _Kind]] = {
    "bookTicker": _QUOTE,
    "aggTrade": _AGG_TRADE,
    "trade": _TRADE,
    "markPriceUpdate": _MARK,
    "kline": _KLINE,
    "24hrTicker": _TICKER,
    "24hrMiniTicker": _MINI_TICKER,
    "forceOrder": _FORCE_ORDER,
    "contractInfo": _CONTRACT,
    "ORDER_TRADE_UPDATE": _kind(payloads.OrderTradeUpdate, _order_updated, "o.q:l o.z:l o.l:l o.L:e o.n:e o.rp:e"),
    "TRADE_LITE": _kind(payloads.TradeLite, _known),  # 3.4: ORDER_TRADE_UPDATE says it again; never book both
    "ACCOUNT_UPDATE": _kind(payloads.AccountUpdate, _position_updated),
    "ALGO_UPDATE": _kind(payloads.AlgoUpdate, _algo_updated, "o.q:l o.tp:z"),
    "ACCOUNT_CONFIG_UPDATE": _kind(payloads.AccountConfigUpdate, _known),
    "MARGIN_CALL": _kind(payloads.MarginCall, _known),
    "listenKeyExpired": _kind(payloads.ListenKeyExpired, _known),
}


@lru_cache(maxsize=1_024)
def decoder_of(symbol: str, instrument: Instrument) -> FrameDecoder:
    """The decoder of a symbol with the instrument it has now."""
    return FrameDecoder(symbol, instrument)


def decode_frame(raw: bytes, symbol: str, instrument: Instrument) -> Event | None:
    """The event of one frame (see ``FrameDecoder.frame``); for callers that keep no decoder."""
    return decoder_of(symbol, instrument).frame(raw)
