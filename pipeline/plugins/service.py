"""
The only place that ties plug-ins to the topics: questions in, answers out as lines of ``inputs``.

It joins no group and keeps no offset: a question is worth something now or never, so a start begins at the end, and
what is asked meanwhile the core counts as unanswered. Two services at once are harmless, for the first answer counts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from pipeline import telemetry
from pipeline.core.identity import base62
from pipeline.core.plugin_answers import PluginAnswered, SaysFailed
from pipeline.plugins.host import Host
from pipeline.settings import Settings
from pipeline.streaming.clients import client_arguments
from pipeline.streaming.lines import LinePublisher
from pipeline.streaming.producer import OutputProducer
from pipeline.wire.plugin_asks import PluginAsk, decode_ask
from pipeline.wire.topics import PLUGIN_ASKS

WAITING: Final = 1_000  # questions of one plug-in that may wait; more are left unanswered
SOURCE: Final = "plugins"
Publish = Callable[[str, PluginAnswered], Awaitable[Any]]


class Desk:
    """Takes questions to the host and answers to *publish*; knows neither Kafka nor a clock but *now*."""

    def __init__(self, host: Host, publish: Publish, *, now: Callable[[], float] = time.monotonic) -> None:
        self.answered = 0
        self.failed = 0
        self.dropped = 0
        self._host = host
        self._publish = publish
        self._now = now
        self._waiting: dict[str, int] = dict.fromkeys(host.children, 0)
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, ask: PluginAsk) -> None:
        """Begin to answer a question for each plug-in that it names and that we have."""
        for name in ask.asked.names:
            if name not in self._waiting or self._waiting[name] >= WAITING:
                self.dropped += 1
                continue
            self._waiting[name] += 1
            task = asyncio.get_running_loop().create_task(self._answer(name, ask, self._now()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, name: str, ask: PluginAsk, taken: float) -> None:
        child = self._host.children[name]
        try:
            async with child.queue:
                if self._now() - taken > child.row.deadline_ms / 1_000:
                    self.dropped += 1  # the core no longer takes it
                    return
                said = await self._host.ask(name, ask.id, ask.asked.view)
            await self._publish(ask.symbol, said)
        finally:
            self._waiting[name] -= 1
        self.answered += 1
        if isinstance(said.answer, SaysFailed):
            self.failed += 1
            telemetry.log.warning(telemetry.PLUGIN_FAILED, plugin=name, symbol=ask.symbol, reason=said.answer.reason)

    async def idle(self) -> None:
        """Return when every question taken so far is answered or dropped; raises what a publish raised."""
        while self._tasks:
            await asyncio.gather(*self._tasks)


async def serve(settings: Settings, *, stop: asyncio.Event, ready: Callable[[Host], None]) -> Desk:
    """
    Answer questions until *stop* is set; *ready* is called when the first one could be answered.

    Raises aiokafka's KafkaError when no broker answers.
    """
    host = Host(settings.policy.plugins, settings.plugin_directory)
    producer = OutputProducer(settings, role=SOURCE)
    consumer = AIOKafkaConsumer(**client_arguments(settings), fetch_max_wait_ms=50, enable_auto_commit=False)
    publisher = LinePublisher(
        producer, source=f"{SOURCE}/{settings.instance}", incarnation=base62(time.time_ns() // 1_000_000)
    )

    def publish(symbol: str, said: PluginAnswered) -> Awaitable[None]:
        return publisher.publish(symbol, plugin=said)

    desk = Desk(host, publish)
    try:
        await consumer.start()
        await producer.start()
        await host.start()
        places = [TopicPartition(PLUGIN_ASKS.named(settings.prefix), n) for n in range(PLUGIN_ASKS.partitions)]
        consumer.assign(places)
        await consumer.seek_to_end(*places)
        for place in places:
            await consumer.position(place)  # the end is asked for now, not with the first question
        ready(host)
        while not stop.is_set():
            for records in (await consumer.getmany(timeout_ms=100)).values():
                for record in records:
                    desk.take(decode_ask(record.value))
    finally:
        await host.stop()
        await consumer.stop()
        await producer.stop()
    return desk
