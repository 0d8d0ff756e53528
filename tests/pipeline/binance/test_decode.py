"""Frames become events exactly, or Malformed with the field that was refused; nothing is guessed and nothing raises."""

from __future__ import annotations

import random
from typing import Any, get_args

import msgspec
import pytest

from pipeline.binance.decode import EVENTS, STREAMS, FrameDecoder, decode_frame
from pipeline.core import events
from pipeline.core.events import Event, Malformed, Side
from pipeline.core.units import E8, Lots, Milliseconds, Ticks
from tests.pipeline.binance import frames
from tests.pipeline.binance.frames import BTCUSDT, MARKET, USER, bare, combined

EXPECTED: dict[str, Event | None] = {
    "bookTicker": events.Quote(
        update_id=9912345678901,
        bid=Ticks(838_601),
        bid_lots=Lots(4_217),
        ask=Ticks(838_602),
        ask_lots=Lots(1_903),
        event_ms=Milliseconds(1790771372110),
    ),
    "depth@100ms": events.DepthDiff(
        first_update_id=9912345678700,
        final_update_id=9912345678901,
        previous_final_update_id=9912345678655,
        bids=[(838_601, 4_217), (838_600, 0)],
        asks=[(838_602, 1_903), (838_603, 44)],
        event_ms=Milliseconds(1790771372203),
    ),
    "depth20@100ms": None,
    "aggTrade": events.Trade(
        trade_id=3312456789,
        price=Ticks(838_602),
        lots=Lots(12),
        seller_aggressed=False,
        trade_ms=Milliseconds(1790771372049),
    ),
    "trade": events.Trade(
        trade_id=5266583935,
        price=Ticks(618_003),
        lots=Lots(6),
        seller_aggressed=False,
        trade_ms=Milliseconds(1723161256322),
    ),
    "markPrice@1s": events.MarkPrice(
        mark=E8(8_385_841_000_000),
        index=E8(8_386_955_021_739),
        funding_rate_e8=-4_127,
        next_funding_ms=Milliseconds(1790784000000),
        event_ms=Milliseconds(1790771372000),
    ),
    "kline_5m": events.Bar(
        open_ms=Milliseconds(1790771100000),
        open=Ticks(839_021),
        high=Ticks(839_510),
        low=Ticks(838_447),
        close=Ticks(838_602),
        lots=Lots(512_733),
        quote_volume=E8(4_300_911_460_210_000),
        taker_lots=Lots(241_118),
        taker_quote=E8(2_022_487_011_020_000),
        trades=6613,
        closed=True,
    ),
    "ticker": None,
    "miniTicker": None,
    "forceOrder": events.Liquidation(
        side=Side.SELL, price=E8(8_319_072_000_000), lots=Lots(214), trade_ms=Milliseconds(1790771380405)
    ),
}


def decode(raw: bytes) -> Event | None:
    return decode_frame(raw, "BTCUSDT", BTCUSDT)


@pytest.mark.parametrize("stream", sorted(MARKET))
def test_a_market_frame_of_the_sheet_becomes_its_event(stream: str) -> None:
    """Literal values: prices in ticks, quantities in lots, prices off the grid in E8."""
    assert EXPECTED[stream] == decode(combined(stream, MARKET[stream]))


@pytest.mark.parametrize("stream", sorted(MARKET))
def test_spacing_and_order_of_keys_do_not_matter(stream: str) -> None:
    """``data`` before ``stream``, and blanks between: the same event by the slow road."""
    data = msgspec.json.encode(dict(reversed(MARKET[stream].items())))

    assert EXPECTED[stream] == decode(b'{ "data" : %b , "stream" : "btcusdt@%b" }' % (data, stream.encode()))


@pytest.mark.parametrize("stream", sorted(set(MARKET) - {"depth@100ms", "depth20@100ms"}))
def test_a_bare_frame_says_the_same(stream: str) -> None:
    """The raw endpoint sends the data alone; the event type tells the kind."""
    assert EXPECTED[stream] == decode(bare(MARKET[stream]))


def test_a_bare_depth_update_is_refused() -> None:
    """Without its stream a diff cannot be told from a replacement of the top (venue sheet 2.7)."""
    assert Malformed(stream="depthUpdate", reason="unknown event 'depthUpdate'") == decode(bare(frames.DEPTH))


def test_user_events_become_events_bare_and_combined() -> None:
    """ORDER_TRADE_UPDATE, ALGO_UPDATE and the symbol's row of ACCOUNT_UPDATE, also under a listen key's name."""
    order = events.OrderUpdated(
        client_id="exec-000001",
        order_id=812345678901,
        side=Side.BUY,
        execution="TRADE",
        status="PARTIALLY_FILLED",
        original_type="LIMIT",
        lots=Lots(10),
        filled_lots=Lots(4),
        fill_lots=Lots(4),
        fill_price=E8(8_380_000_000_000),
        trade_id=8132505701,
        fee=E8(6_704_000),
        realised=E8(-150_000_000),
        reduce_only=False,
        event_ms=Milliseconds(1790771372036),
    )
    algo = events.AlgoUpdated(
        client_id="O-1",
        algo_id=1000000033225453,
        order_type="STOP_MARKET",
        side=Side.BUY,
        status="TRIGGERED",
        order_id=88937381063,
        lots=Lots(38),
        trigger=Ticks(839_005),
        close_position=False,
        reason="",
        event_ms=Milliseconds(1765431097037),
    )
    position = events.PositionUpdated(
        lots=Lots(-4), entry_price=E8(8_380_005_000_000), reason="ORDER", event_ms=Milliseconds(1790771372036)
    )
    for event, frame in ((order, frames.ORDER), (algo, frames.ALGO), (position, frames.ACCOUNT)):
        assert event == decode(bare(frame))
        assert event == decode(msgspec.json.encode({"stream": "pqia91ma19a5s61cv6a81va65sdf19v8", "data": frame}))


def test_a_new_order_tells_no_fill() -> None:
    """``l``, ``L`` and ``n`` count only when the event is a trade; a fee in BNB is no amount of USDT."""
    new = {**frames.ORDER, "o": frames.ORDER["o"] | {"x": "NEW", "X": "NEW", "l": "0", "z": "0", "L": "0", "t": 0}}
    bnb = {**frames.ORDER, "o": frames.ORDER["o"] | {"N": "BNB"}}

    placed, filled = decode(bare(new)), decode(bare(bnb))

    assert isinstance(placed, events.OrderUpdated) and isinstance(filled, events.OrderUpdated)
    assert (0, 0, 0) == (placed.fill_lots, placed.fill_price, placed.fee)
    assert (4, 0) == (filled.fill_lots, filled.fee)


@pytest.mark.parametrize("frame", [frames.TRADE_LITE, frames.CONFIG, frames.MARGIN_CALL, frames.LISTEN_KEY_EXPIRED])
def test_known_frames_that_decide_nothing_give_nothing(frame: dict[str, Any]) -> None:
    """TRADE_LITE above all: ORDER_TRADE_UPDATE says it again, and a fill is booked once (venue sheet 3.4)."""
    assert decode(bare(frame)) is None


def test_an_account_update_without_the_symbol_gives_nothing() -> None:
    """P lists only changed positions."""
    funding = {"e": "ACCOUNT_UPDATE", "E": 1, "T": 1, "a": {"m": "FUNDING_FEE", "S": "BTCUSDT", "B": []}}

    assert decode(bare(funding)) is None


def test_contract_info_changes_the_status_and_keeps_the_grid() -> None:
    """An all-market frame: the symbol's own changes its instrument, another's says nothing."""
    changed = decode(msgspec.json.encode({"stream": "!contractInfo", "data": frames.CONTRACT_INFO}))

    instrument = msgspec.structs.replace(BTCUSDT, status="SETTLING", delivery_ms=4133404800000)
    assert events.InstrumentChanged(instrument=instrument) == changed
    assert decode(bare(frames.CONTRACT_INFO | {"s": "IOTAUSDT"})) is None


@pytest.mark.parametrize("stream", ["bookTicker", "depth@100ms", "aggTrade", "markPrice@1s", "kline_5m"])
def test_coin_margined_frames_are_ignored(stream: str) -> None:
    """``st`` 2: since 2026-06-30 both kinds come over one host (venue sheet 2)."""
    assert decode(combined(stream, MARKET[stream] | {"st": 2})) is None


def test_candles_of_other_intervals_are_ignored() -> None:
    """The core folds 5m bars only."""
    minute = {**frames.KLINE, "k": frames.KLINE["k"] | {"i": "1m"}}

    assert decode(combined("kline_1m", minute)) is None


def test_trades_outside_the_market_are_ignored() -> None:
    """Insurance-fund and ADL fills of the raw trade stream, as aggTrade leaves them out (venue sheet 2.5)."""
    assert decode(combined("trade", frames.TRADE | {"X": "INSURANCE_FUND", "p": "0", "q": "0"})) is None


REFUSED = [
    ("bookTicker", {"b": "83860.15"}, "b: 83860.15 is no multiple of 0.1"),
    ("bookTicker", {"A": "1.9035"}, "A: 1.9035 is no multiple of 0.001"),
    ("bookTicker", {"b": "83860.20"}, "b: crossed, bid 83860.20 is not below ask 83860.20"),
    ("bookTicker", {"b": "NaN"}, "b: not a decimal: 'NaN'"),
    ("bookTicker", {"b": "-1"}, "b: -1 is too small"),
    ("bookTicker", {"b": "0"}, "b: 0 is too small"),
    ("bookTicker", {"a": "9" * 28}, "a: "),
    ("bookTicker", {"b": 83860.1}, "Expected `str`, got `float` - at `$.data.b`"),
    ("bookTicker", {"u": None}, "Expected `int`, got `null` - at `$.data.u`"),
    ("bookTicker", {"u": 2**63}, "Expected `int` <= 9223372036854775807 - at `$.data.u`"),
    ("bookTicker", {"s": "ETHUSDT"}, "s: 'ETHUSDT' in a line of BTCUSDT"),
    ("bookTicker", {"e": "depthUpdate"}, "Invalid value 'depthUpdate' - at `$.data.e`"),
    ("depth@100ms", {"b": [["83860.1", "1"], ["83860.11", "1"]]}, "b[1][0]: 83860.11 is no multiple of 0.1"),
    ("depth@100ms", {"a": [["83860.1", "-1"]]}, "a[0][1]: -1 is too small"),
    ("depth@100ms", {"a": [["83860.1"]]}, "Expected `array` of length 2 - at `$.data.a[0]`"),
    ("depth@100ms", {"U": 9912345678902}, "U: 9912345678902 is above u 9912345678901"),
    ("aggTrade", {"q": "1e3"}, "q: not a decimal: '1e3'"),
    ("aggTrade", {"m": 0}, "Expected `bool`, got `int` - at `$.data.m`"),
    ("markPrice@1s", {"p": "0"}, "p: 0 is not a positive price"),
    ("markPrice@1s", {"r": "a"}, "r: not a decimal: 'a'"),
    ("markPrice@1s", {"T": -5}, "Expected `int` >= 0 - at `$.data.T`"),
    ("kline_5m", {"k": frames.KLINE["k"] | {"c": "0.05"}}, "k.c: 0.05 is no multiple of 0.1"),
    ("kline_5m", {"k": frames.KLINE["k"] | {"c": "0.1"}}, "candle of 1790771100000: open or close outside"),
]


@pytest.mark.parametrize(("stream", "change", "reason"), REFUSED)
def test_a_frame_that_cannot_be_true_is_malformed_and_the_field_is_named(
    stream: str, change: dict[str, Any], reason: str
) -> None:
    """Off the grid, crossed, negative, NaN, wrong type, wrong symbol: refused by name, never repaired."""
    event = decode(combined(stream, MARKET[stream] | change))

    assert isinstance(event, Malformed)
    assert (f"btcusdt@{stream}", reason) == (event.stream, event.reason[: len(reason)])


REFUSED_USER = [
    (frames.ORDER, {"ps": "LONG"}, "o.ps: 'LONG', but the account must be in one-way mode (BOTH)"),
    (frames.ORDER, {"S": "HOLD"}, "o.S: unknown side 'HOLD'"),
    (frames.ORDER, {"q": "0.0001"}, "o.q: 0.0001 is no multiple of 0.001"),
    (frames.ORDER, {"L": "0"}, "o.L: 0 is not a positive price"),
    (frames.ALGO, {"tp": "83900.55"}, "o.tp: 83900.55 is no multiple of 0.1"),
    (frames.ALGO, {"ai": "x"}, "o.ai: 'x' is no order id"),
]


@pytest.mark.parametrize(("frame", "change", "reason"), REFUSED_USER)
def test_a_user_event_that_cannot_be_true_is_malformed(
    frame: dict[str, Any], change: dict[str, Any], reason: str
) -> None:
    """Hedge mode, unknown words and numbers off the grid: the user feed is not whole, the venue is asked."""
    assert Malformed(stream=frame["e"], reason=reason) == decode(bare({**frame, "o": frame["o"] | change}))


@pytest.mark.parametrize("field", ["u", "s", "b", "B", "a", "A", "E"])
def test_a_missing_field_is_named(field: str) -> None:
    """No default stands in for a field that the venue promises."""
    data = {name: value for name, value in frames.BOOK_TICKER.items() if name != field}

    expected = f"Object missing required field `{field}` - at `$.data`"
    assert Malformed(stream="btcusdt@bookTicker", reason=expected) == decode(combined("bookTicker", data))


@pytest.mark.parametrize(
    ("raw", "stream"),
    [
        (b'{"e":"somethingNew","E":1}', "somethingNew"),
        (b'{"stream":"btcusdt@openInterest","data":{"e":"openInterest"}}', "btcusdt@openInterest"),
        (b'{"stream":"!ticker@arr","data":[]}', "!ticker@arr"),
        (b'{"stream":"btcusdt@bookTicker"}', "btcusdt@bookTicker"),
        (b'{"stream":"ethusdt@depth","data":{"e":"depthUpdate"}}', "ethusdt@depth"),
        (b'{"result":null,"id":2}', "?"),
        (b"[]", "?"),
        (b"null", "?"),
        (b"{", "?"),
        (b"", "?"),
        (b'{"stream":"', "?"),
        (b'{"stream":"btcusdt@bookTicker","data":{"s":"\xff"}}', "?"),
        (b"[" * 100_000, "?"),
    ],
)
def test_unknown_and_broken_frames_are_malformed(raw: bytes, stream: str) -> None:
    """Nothing raises, and nothing that is not known counts as nothing."""
    event = decode(raw)

    assert isinstance(event, Malformed), event
    assert stream in {event.stream, "?"}
    assert event.reason


def test_every_kind_of_the_tables_is_exercised_here() -> None:
    """A stream or event added to the tables gets its example."""
    assert set(EVENTS) == {frame["e"] for frame in [*MARKET.values(), *USER, frames.CONTRACT_INFO]} - {"depthUpdate"}
    assert {id(STREAMS[stream.encode()]) for stream in MARKET} == {id(kind) for kind in STREAMS.values()}


# -------------------------------------------------------------------------------------------------------------- fuzz

HOSTILE: list[Any] = [
    None, True, 0, -1, 2**63, 10**30, 1.5, -0.0, "", "0", "-0", "NaN", "1e9", "0.00000000001", "9" * 31, "ETHUSDT",
    [], {}, [["1"]], [["1", "1", "1"]], [[1, 1]], {"a": []}, "\u0000", "٣", "BUY", 1e308,
]  # fmt: skip


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every field and element of a frame, by its path."""
    found = [path] if path else []
    if isinstance(value, dict):
        for name in value:
            found += _places(value[name], (*path, name))
    elif isinstance(value, list):
        for index in range(len(value)):
            found += _places(value[index], (*path, index))
    return found


def mutated(draw: random.Random, frame: dict[str, Any]) -> bytes:
    """The frame with one field changed, removed or doubled: still valid JSON."""
    copy = msgspec.json.decode(msgspec.json.encode(frame))
    path = draw.choice(_places(copy))
    inner = copy
    for step in path[:-1]:
        inner = inner[step]
    how = draw.randrange(4)
    if how == 0:
        del inner[path[-1]]
    elif how == 1 and isinstance(inner[path[-1]], str) and inner[path[-1]]:
        text = inner[path[-1]]
        place = draw.randrange(len(text))
        inner[path[-1]] = text[:place] + draw.choice("0123456789.-eN") + text[place + 1 :]
    else:
        inner[path[-1]] = draw.choice(HOSTILE)
    return msgspec.json.encode(copy)


def test_fuzz_frames_with_one_field_mutated() -> None:
    """20,000 valid JSON frames with one field changed: an event of the union or None, never an exception."""
    draw = random.Random(4)
    whole = [{"stream": f"btcusdt@{stream}", "data": data} for stream, data in MARKET.items()]
    whole += USER
    decoder = FrameDecoder("BTCUSDT", BTCUSDT)
    kinds = get_args(Event)
    seen = {Malformed: 0, None: 0}
    for _ in range(20_000):
        event = decoder.frame(mutated(draw, draw.choice(whole)))
        assert event is None or isinstance(event, kinds)
        if event is None or isinstance(event, Malformed):
            seen[None if event is None else Malformed] += 1
    assert seen[Malformed] > 5_000


def test_fuzz_frames_with_bytes_damaged() -> None:
    """10,000 frames cut, doubled or with a byte changed: never an exception."""
    draw = random.Random(5)
    whole = [combined(stream, data) for stream, data in MARKET.items()] + [bare(frame) for frame in USER]
    decoder = FrameDecoder("BTCUSDT", BTCUSDT)
    for _ in range(10_000):
        raw = bytearray(draw.choice(whole))
        place = draw.randrange(len(raw))
        match draw.randrange(3):
            case 0:
                raw[place] = draw.randrange(256)
            case 1:
                del raw[place:]
            case _:
                raw[place:place] = raw[:place]
        event = decoder.frame(bytes(raw))
        assert event is None or isinstance(event, get_args(Event))
