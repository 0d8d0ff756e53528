"""
The only place where Faust's consumer is made to read on the worker's own loop.

Faust gives its Kafka client a thread and a loop of its own, so that user code that blocks cannot cost the membership of
the group. Our records are folded in about a millisecond, and the two threads then fight for the interpreter: whoever
wants it from a busy one waits up to 5 ms, at every hand-over of a record, a commit or a fetch. On one loop there is
nothing to hand over. What Faust's thread protected is protected otherwise: ``agent`` gives the loop away between
records, and a worker whose loop stands for a whole session loses its partitions, as it should.

Faust also builds four tasks for every record (to be able to leave a full buffer when a rebalance begins); here a record
that nothing can hold up is passed on at once, and only one that has to wait gets them.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from aiokafka.errors import ConsumerStoppedError
from faust.transport.drivers import aiokafka as driver
from mode import Service


class _NoThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]  # Faust has no types here (mypy skips it)
    """What Faust asks its thread to do is done where it is asked; it lives in the loop that started it."""

    abstract = False

    def __init__(self, consumer: Any, **options: Any) -> None:  # Any: Faust's ConsumerT and its settings
        super().__init__(consumer, thread_loop=consumer.loop, loop=consumer.loop, **options)
        self._end: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the client; an error of it (no broker, a refused password) leaves here."""
        assert not self._thread_started.is_set()
        self._thread_started.set()
        try:
            await self._default_start()
            await self.on_thread_started()
        finally:
            self._end = asyncio.get_running_loop().create_task(self._close_at_end())

    async def _close_at_end(self) -> None:
        await self.wait_until_stopped()
        await self._shutdown_thread()

    async def stop(self) -> None:
        """Stop as every service does; Faust's own would wait for the thread."""
        if self._started.is_set():
            await Service.stop(self)

    async def call_thread(self, fun: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call it here: its exceptions and a cancellation go the usual way."""
        result = fun(*arguments, **named)
        return await result if inspect.isawaitable(result) else result

    async def cast_thread(self, fun: Callable[..., Awaitable[Any]], *arguments: Any, **named: Any) -> None:
        """Nobody may ask for work without waiting for it: an error of it would be lost."""
        raise AssertionError(f"{fun} would run unseen")


class Consumer(driver.Consumer):  # type: ignore[misc]
    """Faust's consumer without a thread, and without tasks for a record that nothing holds up."""

    def _new_consumer_thread(self) -> _NoThread:
        return _NoThread(self, beacon=self.beacon)

    def verify_event_path(self, now: float, tp: Any) -> None:  # Any: Faust's TP
        """Watch streams only: a changelog is not read after its recovery, and Faust would call that stuck for ever."""
        if not self._is_changelog_tp(tp):
            super().verify_event_path(now, tp)

    async def _drain_messages(self, fetcher: Any) -> None:  # Any: Faust's Fetcher
        """
        Read until *fetcher* or the consumer stops: Faust's own loop, with the same meaning.

        Repeats are dropped, and a hole in the offsets is told to the bookkeeping of acknowledgements; not so of a topic
        whose records a guard judges (``WorkerApp.unfiltered``). There Faust's filter can only do harm: a seek sets the
        offset back, but a batch that was in flight sets it high again, and then every record that the guard asked for
        would be dropped before the guard sees it, who asks again for ever.
        """
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):
                reader = self.getmany(timeout=1.0)
                async for partition, message in reader:
                    await self._pass_on(partition, message)
                await asyncio.sleep(0)  # a fetch that finds records waiting does not give the loop away
        except (ConsumerStoppedError, asyncio.CancelledError):
            if not self.app.should_stop:
                raise

    async def _pass_on(self, partition: Any, message: Any) -> None:  # Any: Faust's TP and Message
        read = None if partition.topic in self.app.unfiltered else self._read_offset[partition]
        if read is not None:
            if message.offset < read:
                return
            if read and message.offset - read > 1 and self.app.topics.acks_enabled_for(message.topic):
                await self._add_gap(partition, read + 1, message.offset)
        if self._held_up(partition):
            await self.wait_first(self.callback(message), self.suspend_flow.wait())
        else:
            early = self.app.early.get(partition.topic)
            if early is not None:
                early(message)
            await self.callback(message)
        self._read_offset[partition] = message.offset

    def _held_up(self, partition: Any) -> bool:
        """Whether a record might wait: during a rebalance, for a full buffer, or behind Faust's own producer."""
        app = self.app
        outgoing = app.producer.buffer
        return (
            not (self.flow_active and app.flow_control.is_active())
            or outgoing.size > outgoing.max_messages
            or any(channel.queue.full() for channel in app.topics._tp_index.get(partition, ()))
        )


class Transport(driver.Transport):  # type: ignore[misc]
    """Faust's Kafka transport with this consumer."""

    Consumer: ClassVar[type[driver.Consumer]] = Consumer
