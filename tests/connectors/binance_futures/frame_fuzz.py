"""
The only place for the fuzz of frames: honest ones with one field changed, cut, doubled, and bytes that are nothing.

Every frame must be in a line of its symbol, counted as a stranger's, answered as a control reply, or in quarantine with
its bytes: nothing vanishes, nothing raises, and what the fold makes of the lines halts no symbol.
"""

from __future__ import annotations

import argparse
import json
import time
from random import Random
from typing import Any

import msgspec

from connectors.binance_futures.intake import MarketIntake, UserIntake
from connectors.binance_futures.session import Watch
from connectors.binance_futures.subscriptions import USER_STREAM, kind_of, plan, symbol_of
from pipeline.binance.fold import PartitionFold
from pipeline.wire import lines, records
from pipeline.wire.batching import Origin
from pipeline.wire.topics import INPUT_PARTITIONS, partition_of
from tests.pipeline.binance import frames

SYMBOLS = ("BTCUSDT", "ETHUSDT")
MARKET: list[tuple[str, dict[str, Any]]] = [
    ("btcusdt@bookTicker", frames.BOOK_TICKER),
    ("btcusdt@aggTrade", frames.AGG_TRADE),
    (
        "btcusdt@depth@100ms",
        {"e": "depthUpdate", "E": 1, "T": 1, "s": "BTCUSDT", "U": 1, "u": 2, "pu": 0, "b": [], "a": []},
    ),
    ("!forceOrder@arr", {"e": "forceOrder", "E": 1, "o": {"s": "BTCUSDT", "S": "SELL", "q": "1", "ap": "1"}}),
    ("!contractInfo", {"e": "contractInfo", "E": 1, "s": "BTCUSDT", "cs": "TRADING"}),
]
USER: list[dict[str, Any]] = [
    {"e": "ORDER_TRADE_UPDATE", "E": 1, "T": 1, "o": {"s": "BTCUSDT", "c": "x", "x": "NEW", "X": "NEW", "i": 1}},
    {"e": "ACCOUNT_UPDATE", "E": 1, "T": 1, "a": {"m": "ORDER", "P": [{"s": "BTCUSDT", "pa": "1", "ep": "1"}]}},
]
VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    10**400,
    1e308,
    "",
    "x",
    "NaN",
    "\u0000",
    "é",
    [],
    {},
    [[]],
    {"s": 1},
    "9" * 400,
]


class Kept:
    """Takes everything; ``records`` are what a log would hold."""

    def __init__(self) -> None:
        self.count = self.accounted = self.refused = 0
        self.waiting: dict[int, list[bytes]] = {}

    def line(self, partition: int, line: bytes, origin: Origin | None) -> None:
        self.count += 1
        self.waiting.setdefault(partition, []).append(line)

    def account(self, record: bytes) -> None:
        self.accounted += 1

    def quarantine(self, record: records.QuarantineRecord) -> None:
        self.refused += 1


def _mutated(value: Any, draw: Random) -> Any:
    """A copy with one field changed, removed or added, somewhere."""
    if isinstance(value, dict) and value and draw.random() < 0.9:
        copy = dict(value)
        name = draw.choice(list(copy))
        what = draw.random()
        if what < 0.6:
            copy[name] = _mutated(copy[name], draw)
        elif what < 0.8:
            del copy[name]
        else:
            copy[draw.choice(["e", "s", "u", "P", "zz"])] = draw.choice(VALUES)
        return copy
    if isinstance(value, list) and value and draw.random() < 0.7:
        return [_mutated(value[0], draw), *value[1:]]
    return draw.choice(VALUES)


def _bytes(frame: Any, draw: Random) -> bytes:
    what = draw.random()
    if what < 0.6:
        return json.dumps(_mutated(frame, draw), separators=(",", ":"), ensure_ascii=draw.random() < 0.5).encode()
    whole = json.dumps(frame, separators=(",", ":")).encode()
    if what < 0.75:
        place = draw.randrange(len(whole))
        return whole[:place] + bytes([draw.randrange(256)]) + whole[place + 1 :]
    if what < 0.85:
        return whole[: draw.randrange(len(whole))]
    if what < 0.9:
        return whole + draw.choice([b"\n", b"", b" "]) + whole
    if what < 0.98:
        return draw.randbytes(draw.randrange(60))
    if what < 0.985:
        depth = draw.choice([30, 63, 64, 500, 990, 20_000])
        return whole[:-1] + b',"x":' + b"[" * depth + b"]" * draw.choice([depth, depth - 1]) + b"}"
    if what < 0.99:
        return b'{ "stream":"' + draw.randbytes(3) + whole[12:]
    return b'{"stream":"btcusdt@bookTicker","data":"' + b"x" * draw.randrange(300_000) + b'"}'


def fuzz(count: int, seed: int) -> dict[str, int]:
    """Feed *count* frames; raises AssertionError when one vanishes or a symbol is halted."""
    draw, sink, answers = Random(seed), Kept(), []
    watches = [Watch(s, kind_of(s), symbol_of(s)) for group in plan(SYMBOLS) for s in group.streams]
    market = MarketIntake(
        source="connector/public-0.a",
        incarnation="i",
        symbols=SYMBOLS,
        sink=sink,
        watches=watches,
        answered=answers.append,
    )
    user = UserIntake(
        source="connector/user-0.a", incarnation="i", symbols=SYMBOLS, sink=sink,
        watch=Watch(USER_STREAM, kind_of(USER_STREAM), ""), key_expired=lambda: None, concerns=lambda symbol: None,
    )  # fmt: skip
    folds = [
        PartitionFold(partition=p, log_identity="fuzz", fold="f", universe=SYMBOLS) for p in range(INPUT_PARTITIONS)
    ]
    for symbol in SYMBOLS:  # without an instrument no frame would be decoded
        body = msgspec.Raw(msgspec.json.encode(frames.EXCHANGE_INFO | {"symbol": symbol}))
        answer = lines.Answer(kind="exchange_info", body=body)
        line = lines.Line(at=1, src="execute/main", inc="1", n=1, sym=symbol, answer=answer)
        sink.waiting.setdefault(partition_of(symbol), []).append(lines.encode(line))
    offsets, at_ns, nobody = [0] * INPUT_PARTITIONS, 1_790_771_372_000_000_000, 0
    for number in range(count):
        at_ns += 1_000_000
        before = (sink.count, sink.accounted, sink.refused, market.foreign, user.foreign, len(answers))
        if draw.random() < 0.7:
            stream, data = draw.choice(MARKET)
            frame = _bytes({"stream": stream, "data": data}, draw)
            market.frame(at_ns, frame)
            nobody += (
                before == (sink.count, sink.accounted, sink.refused, market.foreign, user.foreign, len(answers))
                and b"!forceOrder@arr" not in frame  # an empty list of orders concerns nobody
            )
        else:
            user.frame(at_ns, _bytes(draw.choice(USER), draw))
            nobody += before[1:3] == (sink.accounted, sink.refused)
        assert not nobody, f"frame {number} of seed {seed} vanished"
        if number % 500 == 499:
            for partition, waiting in sink.waiting.items():
                folds[partition].apply_record(
                    offset=offsets[partition], append_ms=at_ns // 10**6, value=lines.join(waiting)
                )
                offsets[partition] += 1
            sink.waiting.clear()
    halted = [symbol for fold in folds for symbol, state in fold.states.items() if state.halted]
    assert not halted, [fold.states[symbol].halted for fold in folds for symbol in fold.states]
    return {"frames": count, "lines": sink.count, "account": sink.accounted, "quarantined": sink.refused,
            "foreign": market.foreign + user.foreign, "replies": len(answers)}  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """The long run."""
    began = time.monotonic()
    print(fuzz(arguments.frames, arguments.seed), f"{time.monotonic() - began:.0f} s, nothing vanished, nothing halted")
    return 0
