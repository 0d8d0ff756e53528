"""
The only place where the connector reads topics: who holds what, what is shortlisted, which orders the venue has taken.

Nothing here is needed for frames to flow: without these topics every configured symbol is served alike. ``account``
tells of positions at least once a second, so what is held is known a second after the start; ``tiers`` is compacted and
read from its beginning; orders concern the watchdog of the user stream from now on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from connectors.binance_futures.client import Connector
from connectors.binance_futures.routing import UnknownStream
from connectors.binance_futures.subscriptions import Tier
from pipeline.core.events import Verdict
from pipeline.wire import records
from pipeline.wire.topics import ACCOUNT, ATTEMPTS

TIERS: Final = "tiers"
RETRY_SECONDS: Final = 2.0
POSITION: Final = "position"
RECENT_MS: Final = 60_000  # an outcome told again after a restart of the executor says nothing about now

log: Any = structlog.get_logger("perpguard.connector")  # Any: structlog binds its types at run time


class TierLists(msgspec.Struct):
    """What of a record of ``tiers`` concerns the connector."""

    held: list[str] = []
    shortlisted: list[str] = []


_tiers = msgspec.json.Decoder(TierLists).decode


class Following:
    """Turns records into wishes of *connector*. ``take`` is pure of Kafka; ``run`` reads until it is cancelled."""

    def __init__(self, connector: Connector, *, arguments: Mapping[str, Any], prefix: str) -> None:
        self._connector = connector
        self._arguments = dict(arguments)  # Any: keyword arguments of aiokafka's clients
        self._prefix = prefix
        self._listed: dict[str, Tier] = {}

    def take(self, topic: str, value: bytes) -> None:
        """Fold one record of *topic* (without prefix); one that cannot be read is its reader's to quarantine."""
        try:
            if topic == ACCOUNT.name:
                self._position(records.decode_account(value))
            elif topic == ATTEMPTS.name:
                self._order(records.decode_attempt(value))
            else:
                self._lists(_tiers(value))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, UnknownStream) as error:
            log.warning("record_not_followed", topic=topic, error=str(error)[:200])

    def _position(self, message: records.AccountMessage) -> None:
        match message:
            case records.PositionReported(symbol=symbol, report=report):
                self._connector.want(f"{POSITION} {report.position}", symbol, Tier.HELD)
            case records.TradeReported(symbol=symbol, trade=trade):
                self._connector.want(f"{POSITION} {trade.position}", symbol, None)
            case _:
                pass

    def _order(self, message: records.AttemptRecord) -> None:
        """An order that was placed leads to an event under its client id; a cancel to one under the order's."""
        if isinstance(message, records.AttemptEnded) and message.outcome.verdict is Verdict.ACCEPTED:
            now_ms = time.time_ns() // 1_000_000
            if now_ms - message.at_ms < RECENT_MS:
                self._connector.watchdog.taken(message.outcome.client_id, message.symbol, now_ms)

    def _lists(self, lists: TierLists) -> None:
        wanted = dict.fromkeys(lists.shortlisted, Tier.SHORTLISTED) | dict.fromkeys(lists.held, Tier.HELD)
        for symbol in self._listed.keys() - wanted.keys():
            self._connector.want(TIERS, symbol, None)
        self._listed = {}
        for symbol, tier in wanted.items():
            try:
                self._connector.want(TIERS, symbol, tier)
                self._listed[symbol] = tier
            except UnknownStream as error:  # this one entry: the others are wanted all the same
                log.warning("record_not_followed", topic=TIERS, error=str(error)[:200])

    async def run(self) -> None:
        """Read the topics that exist; a broker that goes away is asked again."""
        while True:
            try:
                await self._read()
            except (KafkaError, OSError) as error:
                log.warning("not_followed", error=str(error)[:200])
                await asyncio.sleep(RETRY_SECONDS)

    async def _read(self) -> None:
        consumer = AIOKafkaConsumer(**self._arguments, enable_auto_commit=False)
        try:
            await consumer.start()
            present = await consumer.topics()
            names = [name for name in (ACCOUNT.name, ATTEMPTS.name, TIERS) if f"{self._prefix}{name}" in present]
            partitions = [TopicPartition(f"{self._prefix}{name}", 0) for name in names]
            if not partitions:
                await asyncio.sleep(RETRY_SECONDS)
                return
            consumer.assign(partitions)
            for name, partition in zip(names, partitions, strict=True):
                if name == TIERS:
                    await consumer.seek_to_beginning(partition)
                else:
                    await consumer.seek_to_end(partition)
            async for record in consumer:
                if record.value is not None:
                    self.take(record.topic.removeprefix(self._prefix), record.value)
        finally:
            await consumer.stop()
