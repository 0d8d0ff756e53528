"""
The only place that asks the broker how far a partition's log reaches.

A client of its own: on the consumer's connection the question would wait behind a fetch that the broker holds open
until there is something to deliver (0.25 s measured, for each of two questions and eight partitions).
"""

from __future__ import annotations

from aiokafka import AIOKafkaConsumer, TopicPartition

from pipeline.settings import Settings
from pipeline.streaming.clients import client_arguments


class LogRanges:
    """Reads first and last offsets; ``start`` before use."""

    def __init__(self, settings: Settings) -> None:
        self._arguments = client_arguments(settings)
        self._consumer: AIOKafkaConsumer | None = None

    async def start(self) -> None:
        """Connect; raises aiokafka's KafkaError when no broker answers."""
        consumer = AIOKafkaConsumer(**self._arguments)
        await consumer.start()
        self._consumer = consumer

    async def stop(self) -> None:
        """Disconnect."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()

    async def of(self, topic: str, partition: int) -> tuple[int, int]:
        """The first offset there is, and the one behind the last."""
        assert self._consumer is not None, "start was not called"
        tp = TopicPartition(topic, partition)
        begin = await self._consumer.beginning_offsets([tp])
        end = await self._consumer.end_offsets([tp])
        return begin[tp], end[tp]
