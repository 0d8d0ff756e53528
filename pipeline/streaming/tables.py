"""
The only place for the tables: the durable image of what agents hold in memory, on RocksDB with a changelog in Kafka.

Faust's tables ignore schemas, so they hold bytes, and this thin layer gives the durability of each write: ``write``
returns the future of the changelog record. A row goes to the partition of the record that is being handled
(Faust's ``current_event``); a task started while handling one inherits it.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from faust.streams import current_event

from pipeline.streaming.app import STORE_OPTIONS, WorkerApp
from pipeline.streaming.topics_admin import TABLES, changelog_name


class BytesTable:
    """One table of bytes by text keys."""

    def __init__(self, app: WorkerApp, name: str) -> None:
        partitions = TABLES[name][1]
        self.name = name
        self._table: Any = app.Table(  # Any: Faust has no types here
            name,
            partitions=partitions,
            key_type=bytes,
            value_type=bytes,
            options=dict(STORE_OPTIONS),  # a copy each: the store takes keys out of it
            changelog_topic=app.topic(
                changelog_name(app.prefix, name),
                key_serializer="raw",
                value_serializer="raw",
                partitions=partitions,
                compacting=True,
                deleting=False,
            ),
        )

    def read(self, key: str) -> bytes | None:
        """The row in the partition of the current record."""
        value: bytes | None = self._table.data.get(key.encode())
        return value

    def write(self, key: str, value: bytes) -> Awaitable[Any]:
        """
        Write a row into the partition of the current record; the future ends when the changelog has it.

        Rows of one table and partition enter the changelog in the order of the calls.
        """
        event = current_event()
        assert event is not None, "a row is written while a record is handled, or in a task started then"
        written: Awaitable[Any] = self._table.send_changelog(event.message.partition, key.encode(), value)
        self._table.data[key.encode()] = value
        return written

    def remove(self, key: str) -> None:
        """Remove a row from the partition of the current record."""
        event = current_event()
        assert event is not None, "a row is removed while a record is handled"
        self._table.send_changelog(event.message.partition, key.encode(), None, value_serializer="raw")
        del self._table.data[key.encode()]
