"""The only place where tests of the wired factors get a log from: a market as lines, folded while it is written."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import msgspec

from pipeline.benchmarks.inputs import InputRecord, LineWriter
from pipeline.binance.fold import Applied, PartitionFold
from pipeline.core.bars import BAR_MS
from pipeline.core.events import Bar, Side
from pipeline.wire.lines import EVERY_SYMBOL
from pipeline.wire.outputs import records_of
from pipeline.wire.records import FactorsRecord
from pipeline.wire.topics import INPUTS, partition_of
from tests.factor_market import walk
from tests.pipeline.binance import frames
from tests.pipeline.binance.frames import combined

MS = 1_000_000
FUNDING_MS = 28_800_000
BITCOIN = "BTCUSDT"
PARTITION = partition_of(BITCOIN)
OTHER = next(f"{letter}USDT" for letter in "ABCDEFGHIJKLMNOP" if partition_of(f"{letter}USDT") == PARTITION)
IDENTITY = "abcdefg"


def money(ticks: int) -> str:
    """A price of 0.1-tick integers as the venue writes it."""
    return f"{ticks // 10}.{ticks % 10}0"


def amount(e8: int) -> str:
    """An amount in E8 as the venue writes it."""
    return f"{e8 // 10**8}.{e8 % 10**8:08d}"


def candle(bar: Bar, symbol: str, *, closed: bool = True, **changes: Any) -> bytes:  # Any: fields of the venue's k
    """The kline frame of a bar."""
    body = {
        "t": bar.open_ms, "T": bar.open_ms + BAR_MS - 1, "s": symbol, "i": "5m", "f": 1, "L": 2, "o": money(bar.open),
        "c": money(bar.close), "h": money(bar.high), "l": money(bar.low), "v": "1.000", "n": bar.trades, "x": closed,
        "q": amount(bar.quote_volume), "V": "0.500", "Q": amount(bar.taker_quote), "B": "0",
    } | changes  # fmt: skip
    data = {"e": "kline", "E": bar.open_ms + BAR_MS, "s": symbol, "k": body}
    return combined("kline_5m", data, symbol=symbol)


def history(bars: Iterable[Bar]) -> bytes:
    """The REST answer of closed bars."""
    return msgspec.json.encode(
        [
            [
                bar.open_ms, money(bar.open), money(bar.high), money(bar.low), money(bar.close), "1.000",
                bar.open_ms + BAR_MS - 1, amount(bar.quote_volume), bar.trades, "0.500", amount(bar.taker_quote), "0",
            ]
            for bar in bars
        ]
    )  # fmt: skip


def new_fold() -> PartitionFold:
    """An empty fold of the partition."""
    return PartitionFold(partition=PARTITION, log_identity=IDENTITY, fold="f", universe={BITCOIN, OTHER})


class Market:
    """
    Two symbols of one partition, written line by line and folded at once, as worker and connector do together.

    Each call of ``flush`` makes one record of what was written since. Ticks name the symbols that the fold asks for,
    and what the fold shares comes back as lines of the next record.
    """

    def __init__(self, *, seed: int = 5, warm: int = 150) -> None:
        self.fold = new_fold()
        self.records: list[InputRecord] = []
        self.applied: list[Applied] = []
        self.writer = LineWriter()
        self.bars = {BITCOIN: walk(warm + 40, seed=seed), OTHER: walk(warm + 40, seed=seed + 1)}
        self.at_ms = self.bars[BITCOIN][warm - 1].open_ms + BAR_MS + 2_000  # REST rows count as closed 1 s after
        self.random = random.Random(seed)
        self._ids = dict.fromkeys(self.bars, 10)
        for symbol, bars in self.bars.items():
            self.answer(symbol, "exchange_info", msgspec.json.encode(frames.EXCHANGE_INFO | {"symbol": symbol}))
            self.answer(symbol, "klines", history(bars[:warm]))
        self.flush()
        self.next_bar = warm

    # ---------------------------------------------------------------------------------------------------------- lines

    def frame(self, symbol: str, frame: bytes) -> None:
        """A frame of the connector, now."""
        self.writer.frame(symbol, self.at_ms * MS, frame)

    def answer(self, symbol: str, kind: str, body: bytes) -> None:
        """An answer of the executor, now."""
        self.writer.answer(symbol, self.at_ms * MS, kind, body)

    def quote(self, symbol: str, bid: int, *, bid_lots: int = 10, ask_lots: int = 10) -> None:
        """A best bid and ask one tick apart."""
        self._ids[symbol] += 1
        data = frames.BOOK_TICKER | {
            "u": self._ids[symbol], "s": symbol, "b": money(bid), "a": money(bid + 1), "T": self.at_ms, "E": self.at_ms,
            "B": f"{bid_lots / 1000:.3f}", "A": f"{ask_lots / 1000:.3f}",
        }  # fmt: skip
        self.frame(symbol, combined("bookTicker", data, symbol=symbol))

    def trade(self, symbol: str, price: int, *, sold: bool) -> None:
        """One aggTrade."""
        self._ids[symbol] += 1
        data = frames.AGG_TRADE | {
            "a": self._ids[symbol], "s": symbol, "p": money(price), "q": "0.010", "m": sold, "T": self.at_ms,
            "E": self.at_ms,
        }  # fmt: skip
        self.frame(symbol, combined("aggTrade", data, symbol=symbol))

    def mark(self, symbol: str, price: int, *, premium: int = 0) -> None:
        """A mark price, *premium* ticks above the index."""
        due_ms = self.at_ms // FUNDING_MS * FUNDING_MS + FUNDING_MS
        data = frames.MARK | {
            "s": symbol, "p": money(price), "i": money(price - premium), "E": self.at_ms, "T": due_ms,
        }  # fmt: skip
        self.frame(symbol, combined("markPrice@1s", data, symbol=symbol))

    def liquidation(self, symbol: str, price: int, *, side: Side) -> None:
        """A forced order of the whole market's stream."""
        order = frames.FORCE_ORDER["o"] | {
            "s": symbol, "S": side.value, "ap": money(price), "p": money(price), "q": "2.000", "z": "2.000",
            "T": self.at_ms,
        }  # fmt: skip
        data = frames.FORCE_ORDER | {"E": self.at_ms, "o": order}
        self.frame(symbol, msgspec.json.encode({"stream": "!forceOrder@arr", "data": data}))

    def book(self, symbol: str, bid: int) -> None:
        """A new book by a snapshot (the diff before it makes the book wanted)."""
        self._ids[symbol] += 1
        first = self._ids[symbol]
        diff = {"e": "depthUpdate", "E": self.at_ms, "T": self.at_ms, "s": symbol, "U": first, "u": first, "pu": 0}
        self.frame(symbol, combined("depth@100ms", diff | {"b": [], "a": []}, symbol=symbol))
        bids = [[money(bid - k), f"{(40 + k % 7) / 10:.3f}"] for k in range(60)]
        asks = [[money(bid + 1 + k), f"{(40 + k % 5) / 10:.3f}"] for k in range(60)]
        body = {"lastUpdateId": first, "E": self.at_ms, "T": self.at_ms, "bids": bids, "asks": asks}
        self.answer(symbol, "depth", msgspec.json.encode(body))

    def tick(self, *, turns: tuple[str, ...] | None = None) -> None:
        """A tick of the worker; it names who is due unless *turns* says otherwise."""
        names = self.fold.turns() if turns is None else turns
        self.writer.line(EVERY_SYMBOL, self.at_ms * MS, "decide/0", tick=self.at_ms, turns=names)

    def close_bar(self, symbol: str, number: int, **changes: Any) -> None:  # Any: fields of the venue's k
        """The closed candle of a bar."""
        self.frame(symbol, candle(self.bars[symbol][number], symbol, **changes))

    # --------------------------------------------------------------------------------------------------------- folding

    def flush(self) -> Applied:
        """Write one record of the lines and fold it; what it shares stands in the next one."""
        rows, self.writer.rows = self.writer.rows, []
        record = InputRecord(append_ms=self.at_ms + 1, value=b"\n".join(line for _, line in rows))
        applied = self.fold.apply_record(offset=len(self.records), append_ms=record.append_ms, value=record.value)
        self.records.append(record)
        self.applied.append(applied)
        for decision in applied.decisions:
            for outgoing in records_of(decision, IDENTITY):
                if outgoing.topic is INPUTS and outgoing.partition == PARTITION:
                    self.writer.add(self.at_ms * MS, outgoing.value)
        return applied

    def busy(self, seconds: int) -> None:
        """Every kind of line for *seconds*, four records a second; bars close when their time has come."""
        for step in range(seconds * 4):
            self.at_ms += 250
            for symbol, bars in self.bars.items():
                self._noise(symbol, bars[self.next_bar].open + self.random.randrange(-30, 30), step)
            if self.at_ms >= self.bars[BITCOIN][self.next_bar].open_ms + BAR_MS:
                for symbol in self.bars:
                    self.close_bar(symbol, self.next_bar)
                self.next_bar += 1
            self.tick()
            self.flush()

    def _noise(self, symbol: str, price: int, step: int) -> None:
        draw = self.random.random
        self.quote(symbol, price, bid_lots=1 + int(draw() * 90), ask_lots=1 + int(draw() * 90))
        if draw() < 0.5:
            self.trade(symbol, price, sold=draw() < 0.5)
        if step % 4 == 0:
            self.mark(symbol, price, premium=self.random.randrange(-20, 20))
        if step % 20 == 0:
            self.book(symbol, price)
        if draw() < 0.02:
            self.liquidation(symbol, price, side=Side.SELL if draw() < 0.7 else Side.BUY)
        if step % 100 == 0:
            body = {"openInterest": f"{50_000 + int(draw() * 500)}.000", "symbol": symbol, "time": self.at_ms}
            self.answer(symbol, "open_interest", msgspec.json.encode(body))

    def skip_to_close(self) -> None:
        """Let the bar's time pass in silence, to just before its close."""
        self.at_ms = self.bars[BITCOIN][self.next_bar].open_ms + BAR_MS - 500

    @property
    def published(self) -> list[FactorsRecord]:
        """Everything published so far."""
        return [record for applied in self.applied for record in applied.factors]
