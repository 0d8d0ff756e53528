"""
The only place for the run without a broker: a flood goes on while Kafka is stopped and killed, then the log is audited.

The connector's own intakes and publisher feed a real broker at a fixed rate, 200 symbols of which five are held, with
user events between. What gives way must be told exactly: the running numbers that are missing in the log are those that
the ``lost`` lines count, none of them of a held symbol, and no user event is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition

from connectors.binance_futures.intake import MarketIntake, UserIntake
from connectors.binance_futures.publisher import Publisher
from connectors.binance_futures.session import Watch
from connectors.binance_futures.subscriptions import USER_STREAM, kind_of, plan, symbol_of
from pipeline.embedded_kafka import EmbeddedKafka
from pipeline.streaming.topics_admin import ensure_topics
from pipeline.wire import lines
from pipeline.wire.batching import MAX_QUEUED_BYTES
from pipeline.wire.topics import INPUT_PARTITIONS, INPUTS

PREFIX: Final = "away."
SYMBOLS: Final = 200
HELD: Final = 5
FRAME: Final = (
    b'{"stream":"%b","data":{"e":"bookTicker","u":%d,"E":1790771372110,"T":1790771372108,"s":"%b","b":"83860.10"}}'
)
_COUNT: Final = re.compile(r"^(\d+) frames gave way")


def _watch(stream: str) -> Watch:
    return Watch(stream=stream, kind=kind_of(stream), symbol=symbol_of(stream))


async def flood(
    kafka: EmbeddedKafka,
    *,
    how: str,
    seconds: float,
    rate: int,
    max_bytes: int = MAX_QUEUED_BYTES,
    symbols: int = SYMBOLS,
) -> SimpleNamespace:
    """Feed, take the broker away for *seconds* by *how* (stop | kill), feed on, audit what is in the log."""
    names = [f"S{number:03}USDT" for number in range(symbols)]
    incarnation = f"{how}{time.time_ns():x}"
    publisher = Publisher(
        arguments={"bootstrap_servers": kafka.bootstrap}, prefix=PREFIX, incarnation=incarnation, max_bytes=max_bytes
    )
    await publisher.start()
    streams = [stream for group in plan(names) for stream in group.streams if stream[0] != "!"]
    market = MarketIntake(
        source=f"connector/{how}-0.a",
        incarnation=incarnation,
        symbols=names,
        sink=publisher,
        watches=[_watch(stream) for stream in streams],
        answered=lambda reply: None,
    )
    user = UserIntake(
        source=f"connector/user-{how}.a",
        incarnation=incarnation,
        symbols=names,
        sink=publisher,
        watch=_watch(USER_STREAM),
        key_expired=lambda: None,
        concerns=publisher.hold,
    )
    publisher.hold_all(names[:HELD])
    frames = [(stream.encode(), symbol_of(stream).encode()) for stream in streams]
    peak = sent = events = 0

    async def feed(until: float) -> None:
        nonlocal peak, sent, events
        began, first = time.monotonic(), sent
        while (now := time.monotonic()) < until:
            due = first + int((now - began) * rate)
            at_ns = time.time_ns()
            for _ in range(due - sent):
                stream, symbol = frames[sent % len(frames)]
                market.frame(at_ns, FRAME % (stream, sent, symbol))
                sent += 1
                if sent % 2_000 == 0:
                    name = names[sent // 2_000 % HELD]
                    user.frame(at_ns, b'{"e":"ORDER_TRADE_UPDATE","E":%d,"o":{"s":"%b"}}' % (sent, name.encode()))
                    events += 1
            peak = max(peak, publisher.batcher.size)
            await asyncio.sleep(0.005)

    await feed(time.monotonic() + 3)
    if how == "stop":
        kafka.pause()
        await feed(time.monotonic() + seconds)
        kafka.resume()
    else:
        kafka.kill()
        await feed(time.monotonic() + seconds)
        starting = asyncio.create_task(asyncio.to_thread(kafka.start))
        while not starting.done():
            await feed(time.monotonic() + 0.2)
        await starting
    back = time.monotonic()
    await feed(back + 3)
    flushed = await publisher.flush(120)
    recovered = time.monotonic() - back
    await publisher.stop()
    result = await _audit(kafka.bootstrap, incarnation, frozenset(names[:HELD]))
    result.sent, result.events, result.peak, result.flushed = sent, events, peak, flushed
    result.given_way = publisher.batcher.given_way
    result.recovered = recovered
    result.rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return result


async def _values(bootstrap: str) -> AsyncIterator[bytes]:
    """Every record of ``inputs``, partition after partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        for number in range(INPUT_PARTITIONS):
            partition = TopicPartition(INPUTS.named(PREFIX), number)
            consumer.assign([partition])
            await consumer.seek_to_beginning(partition)
            end = (await consumer.end_offsets([partition]))[partition]
            while await consumer.position(partition) < end:
                for found in (await consumer.getmany(partition, timeout_ms=500)).values():
                    for record in found:
                        yield record.value
    finally:
        await consumer.stop()


async def _audit(bootstrap: str, incarnation: str, held: frozenset[str]) -> SimpleNamespace:
    numbers: dict[tuple[str, str], set[int]] = defaultdict(set)
    told: dict[tuple[str, str], int] = defaultdict(int)
    disorder, last = 0, defaultdict(int)
    async for value in _values(bootstrap):
        for raw in lines.split(value):
            line = lines.decode(raw)
            if line.inc != incarnation:
                continue
            key = (line.src, line.sym)
            disorder += line.n < last[key] and line.n not in numbers[key]
            last[key] = max(last[key], line.n)
            numbers[key].add(line.n)
            counted = _COUNT.match(line.lost.reason) if line.lost is not None else None
            if counted is not None:
                told[key] += int(counted[1]) - 1  # the lost line has the first one's number
    missing = {key: max(found) - len(found) for key, found in numbers.items()}
    return SimpleNamespace(
        missing=sum(missing.values()),
        told=sum(told.values()),
        wrong=[key for key in numbers if missing[key] != told[key]],
        held=sum(count for (_, symbol), count in missing.items() if symbol in held),
        users=sum(len(found) for (source, _), found in numbers.items() if source.startswith("connector/user")),
        disorder=disorder,
    )


def faults_of(result: SimpleNamespace, max_bytes: int = MAX_QUEUED_BYTES) -> dict[str, object]:
    """What broke a promise."""
    found = {
        "not flushed": not result.flushed,
        "over the bound": result.peak > max_bytes * 1.01,
        "missing and not told": result.wrong,
        "held symbols lost": result.held,
        "user events lost": result.events - result.users,
        "out of order": result.disorder,
    }
    return {name: what for name, what in found.items() if what}


async def _run(seconds: float, rate: int) -> int:
    bad = 0
    with (
        tempfile.TemporaryDirectory() as directory,
        EmbeddedKafka(directory=Path(directory), profile="bench") as kafka,
    ):
        await ensure_topics(kafka.bootstrap, PREFIX)
        for how in ("stop", "kill"):
            result = await flood(kafka, how=how, seconds=seconds, rate=rate)
            wrong = faults_of(result)
            bad += bool(wrong)
            lost = f"{result.given_way} gave way, {result.missing} numbers missing, {result.told} told by lost lines"
            memory = f"queue at most {result.peak / 2**20:.1f} MB (bound 64), process {result.rss_mb:.0f} MB"
            print(f"{how}: {result.sent} frames at {rate}/s, away {seconds:.0f} s; {memory}; {lost};", flush=True)
            print(f"  {result.users} of {result.events} user events; empty {result.recovered:.1f} s after the return")
            print(f"  wrong: {wrong or 'nothing'}", flush=True)
    return 1 if bad else 0


def run(arguments: argparse.Namespace) -> int:
    """The long run."""
    return uvloop.run(_run(arguments.seconds, arguments.rate))
