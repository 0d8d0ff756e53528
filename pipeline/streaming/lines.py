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
from typing import Any

from pipeline.streaming.producer import OutputProducer
from pipeline.wire import lines
from pipeline.wire.topics import INPUTS, partition_of


class _Queue:
    """Lines of one partition that wait, each with the future of its acknowledgement."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[bytes, asyncio.Future[None]]] = deque()
        self.sender: asyncio.Task[None] | None = None


class LinePublisher:
    """
    Writes lines of one source (``execute/main``, ``decide/0`` …) and incarnation.

    Lines of a symbol are numbered 1, 2, 3 …; lines for every symbol (``*``) per partition, as each partition's fold
    sees only its own. The number is taken when ``publish`` is called, so the log has them in that order.
    """

    def __init__(self, producer: OutputProducer, *, source: str, incarnation: str) -> None:
        self._producer = producer
        self._source = source
        self._incarnation = incarnation
        self._numbers: dict[tuple[int, str], int] = {}
        self._queues: dict[int, _Queue] = {}

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
            at=time.time_ns() if at_ns is None else at_ns,
            src=self._source,
            inc=self._incarnation,
            n=number,
            sym=symbol,
            **body,
        )
        return self.publish_encoded(partition, lines.encode(line))

    def publish_encoded(self, partition: int, line: bytes) -> asyncio.Future[None]:
        """Write one line that carries its own source and number; returns the future of its acknowledgement."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue = self._queues.setdefault(partition, _Queue())
        queue.waiting.append((line, future))
        if queue.sender is None or queue.sender.done():
            queue.sender = asyncio.get_running_loop().create_task(self._drain(partition, queue))
        return future

    async def flush(self) -> None:
        """Return when everything published so far is acknowledged (or has failed)."""
        senders = [queue.sender for queue in self._queues.values() if queue.sender is not None]
        if senders:
            await asyncio.wait(senders)

    async def _drain(self, partition: int, queue: _Queue) -> None:
        while queue.waiting:
            batch = _take(queue.waiting)
            futures = [future for _, future in batch]
            try:
                await (
                    await self._producer.send(
                        INPUTS, value=lines.join([line for line, _ in batch]), partition=partition
                    )
                )
            except Exception as error:  # noqa: BLE001 - handed to whoever waits for these lines, nothing is swallowed
                for future in futures:
                    if not future.done():
                        future.set_exception(error)
            else:
                for future in futures:
                    if not future.done():
                        future.set_result(None)


def _take(waiting: deque[tuple[bytes, asyncio.Future[None]]]) -> list[tuple[bytes, asyncio.Future[None]]]:
    """Remove and return the first lines that fit into one record (``lines.MAX_*``); at least one."""
    batch = [waiting.popleft()]
    size = len(batch[0][0])
    while waiting and len(batch) < lines.MAX_RECORD_LINES and size + 1 + len(waiting[0][0]) <= lines.MAX_RECORD_BYTES:
        size += 1 + len(waiting[0][0])
        batch.append(waiting.popleft())
    return batch
