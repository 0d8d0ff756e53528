"""
The only place for ``bench core``: what one frame of each kind costs from its bytes to the decision, and one evaluation.

Every figure but ``exit_evaluation_us`` and ``factors_…`` includes decoding: raw frame → event → ``engine.conclude``.
Quotes, trades and diffs are the recording's own when it is there; mark prices and candles are made up (recordings carry
none), and so is the market of the factors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from pipeline.benchmarks.factors import market
from pipeline.benchmarks.inputs import BTCUSDT, Inputs, best_available
from pipeline.benchmarks.life import Life
from pipeline.benchmarks.report import Figure, Measured, Options, figure, microseconds_each
from pipeline.binance.answers import decode_answer, instrument_of
from pipeline.binance.decode import FrameDecoder
from pipeline.core import engine, exits, scores
from pipeline.core.book import Book
from pipeline.core.events import Side, Stamp
from pipeline.core.factor_set import FactorState
from pipeline.core.factor_values import FactorCache
from pipeline.core.factors.parameters import DEFAULT
from pipeline.core.state import SymbolState
from pipeline.core.turn import Turn
from pipeline.core.units import E8, Milliseconds
from pipeline.core.wall_state import WallState
from pipeline.core.walls import book_of_top
from pipeline.core.walls import sample as sample_walls
from pipeline.wire import records
from pipeline.wire.records import FactorsRecord, factor_rows

IDENTITY: Final = "abcdefg"
START_MS: Final = 1_790_771_400_000
EVALUATIONS: Final = 20_000
BAR_MS: Final = 300_000

# Figure → (stream names that carry it, must, aim). Budgets: architecture section 8, clarifications section 1.
STREAMED: Final[dict[str, tuple[tuple[bytes, ...], float, float]]] = {
    "book_ticker_us": ((b"@bookTicker",), 15, 5),
    "depth_diff_us": ((b"@depth",), 80, 40),
    "agg_trade_us": ((b"@aggTrade", b"@trade"), 15, 5),
}


def core(options: Options) -> Measured:
    """Measure every kind of frame on a symbol without a position, and quotes and marks on one that is held."""
    source = best_available(quick=options.quick)
    figures: dict[str, Figure] = {}
    levels = 0.0
    for name, (suffixes, must, aim) in STREAMED.items():
        frames = [frame for frame in source.frames if any(suffix in frame[:40] for suffix in suffixes)]
        if name == "depth_diff_us":
            levels = round(sum(frame.count(b'["') for frame in frames) / max(len(frames), 1), 1)
        snapshot = _snapshot(source) if name == "depth_diff_us" else None
        runs = microseconds_each(lambda f=frames, s=snapshot: _fold(source, f, s), options.repetitions)  # type: ignore[misc]
        figures[name] = figure(runs, "µs", must=must, aim=aim)
    count = 200 if options.quick else 5_000
    marks, bars = _marks(count), _bars(count)
    figures["mark_price_us"] = figure(
        microseconds_each(lambda: _fold(source, marks, None), options.repetitions), "µs", must=15, aim=5
    )
    figures["closed_bar_us"] = figure(
        microseconds_each(lambda: _fold(source, bars, None), options.repetitions), "µs", must=300, aim=150
    )
    held = _held()
    figures["exit_evaluation_us"] = figure(
        microseconds_each(lambda: _evaluate(held, count * 4), options.repetitions), "µs", must=50, aim=10
    )
    figures["book_ticker_held_us"] = figure(
        microseconds_each(lambda: _fold_held(held, _quotes(held, count)), options.repetitions), "µs", must=65, aim=15
    )
    state, now_ms = market(400)
    for name, cached, must, aim in (("factors_us", False, 1_000, 200), ("factors_cached_us", True, 20, 2)):
        runs = microseconds_each(
            lambda c=cached: _values(state, now_ms, count, cached=c),  # type: ignore[misc]
            options.repetitions,
        )
        figures[name] = figure(runs, "µs", must=must, aim=aim)
    book = _deep_book()
    figures["walls_us"] = figure(
        microseconds_each(lambda: _walls(book, max(20, count // 50)), options.repetitions), "µs", must=2_000, aim=1_000
    )
    runs = microseconds_each(lambda: _turns(state, now_ms, count), options.repetitions)
    figures["factors_turn_us"] = figure(runs, "µs")
    return Measured(
        figures=figures,
        conditions={
            "source": source.name,
            "frames": len(source.frames),
            "mean_levels_of_a_diff": levels,
            "mark_price_and_candles": "synthetic",
        },
    )


def _instrument(symbol: str) -> Any:  # Any: Instrument
    return instrument_of(msgspec.json.encode(BTCUSDT | {"symbol": symbol}))


def _new(symbol: str) -> SymbolState:
    state = engine.new_state(symbol, log_identity=IDENTITY)
    state.instrument = _instrument(symbol)
    return state


def _fold(source: Inputs, frames: Sequence[bytes], snapshot: bytes | None) -> int:
    """Decode and conclude *frames* on a new state; returns how many there were."""
    state = _new(source.symbol)
    assert state.instrument is not None
    decoder = FrameDecoder(source.symbol, state.instrument)
    if snapshot is not None:
        event = decode_answer(
            kind="depth",
            raw=snapshot,
            request="",
            error="",
            symbol=source.symbol,
            instrument=state.instrument,
            at_ms=START_MS,
        )
        engine.conclude(state, [event], _stamp(0), log_identity=IDENTITY, fold="bench")
    return _conclude(state, decoder, frames)


def _conclude(state: SymbolState, decoder: FrameDecoder, frames: Sequence[bytes]) -> int:
    for number, frame in enumerate(frames, state.lines + 1):
        event = decoder.frame(frame)
        assert event is not None
        engine.conclude(state, [event], _stamp(number), log_identity=IDENTITY, fold="bench")
    return len(frames)


def _stamp(number: int) -> Stamp:
    at_ms = Milliseconds(START_MS + number)
    return Stamp(2, number, 0, at_ms, at_ms)


def _snapshot(source: Inputs) -> bytes:
    """The depth answer among the source's lines."""
    for _, line in source.lines:
        if b'"kind":"depth"' in line:
            body: Any = msgspec.json.decode(line, type=dict[str, msgspec.Raw])["answer"]
            return bytes(msgspec.json.decode(body, type=dict[str, msgspec.Raw])["body"])
    raise AssertionError("a source of benchmarks holds a snapshot")


def _marks(count: int) -> list[bytes]:
    return [
        b'{"stream":"btcusdt@markPrice@1s","data":{"e":"markPriceUpdate","E":%d,"s":"BTCUSDT","st":1,"p":"%d.41000000",'
        b'"ap":"60000.00000000","i":"%d.55021739","P":"60000.1","r":"0.00004127","T":1790784000000}}'
        % (START_MS + 1_000 * number, 60_000 + number % 97, 60_000 + number % 89)
        for number in range(count)
    ]


def _bars(count: int) -> list[bytes]:
    rows = []
    for number in range(count):
        open_ms, base = START_MS + BAR_MS * number, 60_000 + number % 50
        rows.append(
            b'{"stream":"btcusdt@kline_5m","data":{"e":"kline","E":%d,"s":"BTCUSDT","k":{"t":%d,"T":%d,"s":"BTCUSDT",'
            b'"i":"5m","f":1,"L":2,"o":"%d.10","c":"%d.20","h":"%d.90","l":"%d.00","v":"512.733","n":6613,"x":true,'
            b'"q":"43009114.60210","V":"241.118","Q":"20224870.11020","B":"0"}}}'
            % (open_ms + BAR_MS, open_ms, open_ms + BAR_MS - 1, base, base, base + 20, base - 20)
        )
    return rows


def _held() -> Life:
    """A symbol with an open, protected position."""
    life = Life()
    life.admit(Side.BUY)
    for _ in range(4):
        life.move(20)
    assert life.lots
    return life


def _evaluate(life: Life, count: int) -> int:
    state = life.fold.states[life.symbol]
    at_ms = Milliseconds(life.at_ns // 1_000_000)
    stamp = Stamp(life.fold.partition, len(life.records), 0, at_ms, at_ms)
    evaluate: Callable[[Turn], None] = exits.evaluate
    for _ in range(count):
        evaluate(Turn(state, stamp))
    return count


def _quotes(life: Life, count: int) -> list[bytes]:
    at_ms = life.at_ns // 1_000_000
    whole, rest = divmod(life.price, 10)
    return [
        b'{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":%d,"s":"BTCUSDT","b":"%d.%d0","B":"%d.000",'
        b'"a":"%d.50","A":"1.000","T":%d,"E":%d}}' % (10**9 + number, whole, rest, number % 9, whole + 1, at_ms, at_ms)
        for number in range(count)
    ]


def _fold_held(life: Life, frames: Sequence[bytes]) -> int:
    """Quotes on the held symbol, each a line of its own at the position's own time."""
    state = life.fold.states[life.symbol]
    assert state.instrument is not None
    decoder = FrameDecoder(life.symbol, state.instrument)
    at_ms = Milliseconds(life.at_ns // 1_000_000)
    for number, frame in enumerate(frames, state.lines + 1_000_000):
        event = decoder.frame(frame)
        assert event is not None
        stamp = Stamp(life.fold.partition, number, 0, at_ms, at_ms)
        engine.conclude(state, [event], stamp, log_identity=IDENTITY, fold="bench")
    assert state.position is not None
    return len(frames)


def _deep_book() -> Book:
    """A book of 10,000 levels within ±2.5 % (the recorded BTCUSDT has 9,600 after six minutes)."""
    return book_of_top(
        [(599_999 - 3 * i, 1 + i * 7_919 % 5_000) for i in range(5_000)],
        [(600_000 + 3 * i, 1 + i * 6_007 % 5_000) for i in range(5_000)],
    )


def _walls(book: Book, count: int) -> int:
    """The look for walls that a held or shortlisted symbol gets once a second."""
    walls = WallState(tick_e8=10_000_000, step_e8=100_000)
    for second in range(count):
        sample_walls(
            walls, book, now_ms=START_MS + 1_000 * second, atr_1h_e8=300 * 10**8, own_lots=10, day_quote_e8=10**18
        )
    return count


def _values(state: FactorState, now_ms: int, count: int, *, cached: bool) -> int:
    """The whole vector with its composite, *count* times: computed afresh, or served while nothing has changed."""
    cache = FactorCache()
    for _ in range(count):
        if not cached:
            cache.clear()
        cache.values(state, now_ms=now_ms)
    return count


def _turns(state: FactorState, now_ms: int, count: int) -> int:
    """A symbol's turn: the vector computed, made whole numbers and put into the record that is published."""
    for number in range(count):
        at_ms = now_ms + number % 300  # another time is another vector
        found = scores.refreshed(None, state, now_ms=at_ms, parameters=DEFAULT)
        vector = scores.vector_of(state, now_ms=at_ms, parameters=DEFAULT)
        records.encode(
            FactorsRecord(
                symbol=state.symbol,
                cause="0/0/0",
                at_ms=Milliseconds(at_ms),
                price=E8(0),
                factors=factor_rows(vector.factors),
                scores=found,
            )
        )
    return count
