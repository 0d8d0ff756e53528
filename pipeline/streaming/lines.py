"""
The only place where the workers write lines into ``inputs``: numbered per source, batched by acknowledgement.

Ack-clocked (architecture 2.2): while no record of a partition is in flight a line goes out at once; else lines
collect and leave together when it is acknowledged. Nothing waits at low load, and however many lines come, the number
of records stays near one per round trip.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from pipeline.streaming.producer import OutputProducer
from pipeline.wire import lines
from pipeline.wire.batching import Batcher
from pipeline.wire.topics import INPUTS, partition_of


class LinePublisher:
    """
    Writes lines of one source (``execute/main``, ``decide/0`` …) and incarnation.

    Lines of a symbol are numbered 1, 2, 3 …; lines for every symbol (``*``) per partition, as each partition's fold
    sees only its own. The number is taken when ``publish`` is called, so the log has them in that order. *now_ns* is
    the clock of lines that come without a time of their own.
    """

    def __init__(
        self,
        producer: OutputProducer,
        *,
        source: str,
        incarnation: str,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._producer = producer
        self._source = source
        self._incarnation = incarnation
        self._now_ns = now_ns
        self._numbers: dict[tuple[int, str], int] = {}
        self._batcher = Batcher()
        self._waiting: dict[int, deque[asyncio.Future[None]]] = {}  # of the queued lines, in the batcher's order
        self._senders: dict[int, asyncio.Task[None]] = {}

    def publish(
        self, symbol: str, *, partition: int | None = None, at_ns: int | None = None, **body: Any
    ) -> asyncio.Future[None]:  # Any: the one field of lines.Line that is set
        """
        Write one line of *symbol* (or ``*`` with a *partition*); *body* is the field of ``lines.Line`` to set.

        Returns the future of the acknowledgement; it fails with aiokafka's KafkaError.
        """
        if partition is None:
            assert symbol != lines.EVERY_SYMBOL, "a line for every symbol names its partition"
            partition = partition_of(symbol)
        number = self._numbers[partition, symbol] = self._numbers.get((partition, symbol), 0) + 1
        line = lines.Line(
            at=self._now_ns() if at_ns is None else at_ns,
            src=self._source,
            inc=self._incarnation,
            n=number,
            sym=symbol,
            **body,
        )
        return self.publish_encoded(partition, lines.encode(line))

    def publish_encoded(self, partition: int, line: bytes) -> asyncio.Future[None]:
        """Write one line that carries its own source and number; returns the future of its acknowledgement."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._batcher.add(partition, line)
        self._waiting.setdefault(partition, deque()).append(future)
        sender = self._senders.get(partition)
        if sender is None or sender.done():
            self._senders[partition] = loop.create_task(self._drain(partition))
        return future

    async def flush(self) -> None:
        """Return when everything published so far is acknowledged (or has failed)."""
        if self._senders:
            await asyncio.wait(list(self._senders.values()))

    async def _drain(self, partition: int) -> None:
        while (record := self._batcher.take(partition)) is not None:
            # Lines without an origin never give way, so the record holds exactly the first ones that wait.
            futures = [self._waiting[partition].popleft() for _ in range(record.count(b"\n") + 1)]
            try:
                await (await self._producer.send(INPUTS, value=record, partition=partition))
            except Exception as error:  # noqa: BLE001 - handed to whoever waits for these lines, nothing is swallowed
                for future in futures:
                    if not future.done():
                        future.set_exception(error)
            else:
                for future in futures:
                    if not future.done():
                        future.set_result(None)
            self._batcher.acknowledged(partition)
