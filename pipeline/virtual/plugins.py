"""The only place for `perpguard plugin run` in virtual time: questions of the virtual log in, answers out as lines."""

from __future__ import annotations

from pipeline.plugins.blocking import BlockingHost
from pipeline.streaming.lines import LinePublisher
from pipeline.virtual.log import Reader, Stored
from pipeline.virtual.workers import VirtualOutput, Worker, World
from pipeline.wire.plugin_asks import decode_ask
from pipeline.wire.topics import PLUGIN_ASKS, partition_of


class Plugins(Worker):
    """Answers every question; a call takes no virtual time, the way through the log does."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        settings = world.settings
        self._host = BlockingHost(settings.policy.plugins, settings.plugin_directory)
        self._publisher = LinePublisher(
            VirtualOutput(world, self.process),
            source="plugins/0",
            incarnation=world.incarnation(),
            now_ns=self.clock.now_ns,
        )
        self.process.on_death(self._host.stop)

    async def main(self) -> None:
        """Follow the partitions of the universe until killed."""
        first, *others = sorted({partition_of(symbol) for symbol in self.world.settings.symbols})
        for partition in others:
            self.process.spawn(self._follow(partition), f"questions {partition}")
        await self._follow(first)

    async def _follow(self, partition: int) -> None:
        where = self.world.kafka.of(PLUGIN_ASKS.name, partition)
        reader = Reader(self.world.kafka, PLUGIN_ASKS.name, partition, offset=len(where.records))
        while True:
            record = await reader.next()
            ask = decode_ask(record.value)
            for name in ask.asked.names:
                said = self._host.ask(name, ask.id, ask.asked.view)
                self._publisher.publish(ask.symbol, plugin=said)
            # Nobody reads it again, and a year of questions is a gigabyte.
            where.records[record.offset] = Stored(
                record.topic, record.partition, record.offset, record.timestamp, record.key, b""
            )
