"""
The only place that hands records to the broker without the producer's own task, several requests in flight.

aiokafka's producer wakes a task for each batch, which starts another one, and has one request in flight: a record that
a stop waits for stands behind the words about the move before it. Here the request is written in the turn in which it
is asked for, up to ``MOST`` at once, in the broker's order: with the producer's own id and sequence numbers, so that
none can be written twice or overtake. Whatever is out of the ordinary ends the express: what was not acknowledged goes
back to the producer, in its order and under its numbers, which tries again as it always does; once nothing of it is
left there, the express is open again. Its parts are private to aiokafka: another version without them has no express.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.client import ConnectionGroup
from aiokafka.conn import CloseReason
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import MessageBatch
from aiokafka.protocol.produce import ProduceRequest

log = structlog.get_logger(__name__)

# The broker keeps the order of five of one producer; but a short request costs as much as a long one, and with three
# under way the records of a burst went almost singly.
MOST: Final = 2
Record = tuple[bytes, "asyncio.Future[None]"]
_PARTS: Final = (("_message_accumulator", "_batches", "_pending_batches", "_pop_batch", "reenqueue", "_waiter_future"),
                 ("_sender", "_muted_partitions"), ("_txn_manager", "has_pid"), ("client", "_conns"))  # fmt: skip


class _Carried:
    """One request on its way: the producer's batch, and who waits for its records."""

    __slots__ = ("acknowledged", "batch", "ended", "waiting")

    def __init__(self, batch: Any) -> None:  # Any: aiokafka's MessageBatch
        self.batch = batch
        self.waiting: list[tuple[asyncio.Future[None], Any]] = []
        self.ended = self.acknowledged = False


class Express:
    """The express of one *partition* of a started *producer* whose other user it is; *free* is called after an end."""

    def __init__(self, producer: AIOKafkaProducer, partition: TopicPartition, *, free: Callable[[], None]) -> None:
        self._producer = producer
        self._client = producer.client
        self._accumulator = producer._message_accumulator
        self._sender = producer._sender
        self._numbers = producer._txn_manager
        self._partition = partition
        self._free = free
        self._under_way: deque[_Carried] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._broken = False
        self.carried = 0

    @property
    def busy(self) -> bool:
        """True while requests are under way: nothing may go another road meanwhile."""
        return bool(self._under_way)

    def open(self) -> bool:
        """True when a request can be written now."""
        return not self._broken and len(self._under_way) < MOST and self._connection() is not None

    def send(self, records: deque[Record]) -> None:
        """Write a request with as many of *records* as it takes, and take these away; only while ``open``."""
        connection = self._connection()
        assert connection is not None and not self._broken
        accumulator = self._accumulator
        batch = MessageBatch(
            self._partition, accumulator.create_builder(), accumulator._batch_ttl, accumulator._linger_time
        )
        carried = _Carried(batch)
        while records and (future := batch.append(None, records[0][0], None)) is not None:
            carried.waiting.append((records.popleft()[1], future))
        accumulator._batches[self._partition].append(batch)
        assert accumulator._pop_batch(self._partition) is batch  # gives it its numbers
        self._under_way.append(carried)
        topic, number = self._partition
        request = ProduceRequest(
            transactional_id=None,
            required_acks=-1,
            timeout=self._sender._request_timeout_ms,
            topics=[(topic, [(number, batch.get_data_buffer())])],
        )
        try:
            answer = connection.send(request)
        except KafkaError as error:
            self._fail(carried, error)
            return
        self.carried += 1
        task = asyncio.get_running_loop().create_task(self._wait(carried, connection, answer), name="express")
        self._tasks.add(task)
        task.add_done_callback(partial(self._over, carried))

    def _connection(self) -> Any:  # Any: aiokafka's connection, None when the ordinary road has to be taken
        accumulator = self._accumulator
        if accumulator._closed or accumulator._exception is not None or not self._numbers.has_pid():
            return None
        if accumulator._batches.get(self._partition) or self._partition in self._sender._muted_partitions:
            return None
        leader = self._client.cluster.leader_for_partition(self._partition)
        connection = self._client._conns.get((leader, ConnectionGroup.DEFAULT))
        return connection if connection is not None and connection.connected() else None

    async def _wait(self, carried: _Carried, connection: Any, answer: Any) -> None:  # Any: aiokafka's
        try:
            response = await answer
        except TimeoutError as error:
            connection.close(reason=CloseReason.CONNECTION_TIMEOUT)  # what comes now would answer another request
            self._fail(carried, error)
        except KafkaError as error:
            self._fail(carried, error)
        else:
            ((_, ((_, code, offset, timestamp, *_rest),)),) = response.topics
            if code:
                self._fail(carried, f"code {code}")
                return
            carried.ended = carried.acknowledged = True
            carried.batch.done(offset, timestamp)
            for waiting, _ in carried.waiting:
                if not waiting.done():
                    waiting.set_result(None)
            self._end()

    def _over(self, carried: _Carried, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:  # an answer of another shape
            self._fail(carried, error)

    def _fail(self, carried: _Carried, error: object) -> None:
        log.warning("express_ended", error=repr(error))
        carried.ended = self._broken = True
        self._end()

    def _end(self) -> None:
        """Forget what has ended; after a failure all are waited for before any is given back: none may overtake."""
        if self._broken:
            if not all(carried.ended for carried in self._under_way):
                return
            failed = [carried for carried in self._under_way if not carried.acknowledged]
            for carried in reversed(failed):
                for waiting, future in carried.waiting:
                    future.add_done_callback(partial(hand_on, waiting))
                self._accumulator.reenqueue(carried.batch)
            self._under_way.clear()
            self._broken = False  # what was given back keeps the express shut until it is through
            if not self._accumulator._waiter_future.done():
                self._accumulator._waiter_future.set_result(None)
        while self._under_way and self._under_way[0].ended:
            self._under_way.popleft()
        self._free()


def express_of(producer: AIOKafkaProducer, partition: TopicPartition, *, free: Callable[[], None]) -> Express | None:
    """The express of a partition; None with a version of aiokafka that has not the parts it is made of."""
    for name, *parts in _PARTS:
        part = getattr(producer, name, None)
        if part is None or not all(hasattr(part, inner) for inner in parts):
            log.warning("no_express", without=name)
            return None
    return Express(producer, partition, free=free)


def hand_on(written: asyncio.Future[None], acknowledged: asyncio.Future[Any]) -> None:  # Any: RecordMetadata
    """Carry the producer's verdict over to whoever waits for the record."""
    if written.done():  # whoever waited has given up
        if not acknowledged.cancelled() and (error := acknowledged.exception()) is not None:
            log.warning("attempt_not_written", error=repr(error))
        return
    if acknowledged.cancelled():
        written.set_exception(KafkaError("the producer was stopped"))
    elif (error := acknowledged.exception()) is not None:
        written.set_exception(error)
    else:
        written.set_result(None)
