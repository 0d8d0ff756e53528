"""
The only place for what the executor needs of the world: journal, venue, outbox and clock, each as small as it can be.

The agent gives it Kafka and HTTP, tests give it plain classes. Everything that can fail says so by the exceptions here
or by those of ``pipeline.binance.errors``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from pipeline.binance.requests import Request
from pipeline.binance.rest import Answer
from pipeline.core.events import RequestEnded
from pipeline.wire import lines
from pipeline.wire.records import AttemptRecord


class JournalUnavailable(Exception):
    """The record is not durable (it may become so later): whoever may not go on without it must not go on."""


class JournalCorrupt(Exception):
    """A record of the log is none: what was sent is not known any more, so nothing may be sent (docs/runbooks)."""


class OutboxUnavailable(Exception):
    """A word could not be made durable now; it is said again."""


class Journal(Protocol):
    """The topic ``attempts``: one order of records, written ahead of what they announce."""

    async def read(self, restore: Callable[[bytes], None]) -> list[AttemptRecord]:
        """
        Everything so far, in order; called once, before ``follow`` and ``append``.

        If an image was kept (``keep``) and belongs to this log, *restore* is called with it first, and only the records
        behind it are returned. *restore* raises msgspec.DecodeError for an image it cannot use; then all are.
        """

    def follow(self, seen: Callable[[AttemptRecord], None]) -> None:
        """Call *seen* for every record behind what ``read`` returned, our own included, in the order of the log."""

    async def keep(self, image: bytes) -> None:
        """Keep an image of everything that ``follow`` has handed over so far; losing it costs time only."""

    async def append(self, record: AttemptRecord, *, spill: bool = False, patient: bool = False) -> None:
        """
        Return when the record is durable; with *spill*, in a local file if the log does not answer in time.

        Records stand in the order of the calls; a *patient* one may wait a moment for others to travel with.
        Raises JournalUnavailable.
        """


class Venue(Protocol):
    """One request, one answer (``pipeline.binance.rest.RestClient``)."""

    server_ahead_ms: int

    async def send(
        self, request: Request, *, timestamp_ms: int = 0, receive_window_ms: int = 0, timeout_ms: int = 5_000
    ) -> Answer:
        """See ``RestClient.send``; raises NotWritten, NoAnswer."""

    async def synchronise(self, *, timeout_ms: int = 2_000) -> int:
        """See ``RestClient.synchronise``; raises VenueFailure."""


class Outbox(Protocol):
    """Where the executor's words go; each returns when it is durable, else raises OutboxUnavailable."""

    async def outcome(self, symbol: str, outcome: RequestEnded) -> None:
        """An ``outcome`` line of the symbol in ``inputs``."""

    async def answer(self, symbol: str, answer: lines.Answer) -> None:
        """An ``answer`` line of the symbol in ``inputs``."""

    async def account(self, record: msgspec.Struct) -> None:
        """A record of topic ``account``."""

    async def alert(self, *, symbol: str, code: str, severity: str, text: str) -> None:
        """A word for people."""


class Clock(Protocol):
    """Time as the executor sees it, in ms."""

    def now_ms(self) -> int:
        """Unix time; never runs back."""

    def boot_ms(self) -> int:
        """Time since boot, suspension included (CLOCK_BOOTTIME): what a lease is measured by."""


class SystemClock:
    """The machine's clocks; ``now_ms`` goes on from the wall clock read once at start: a step of it moves nothing."""

    def __init__(self) -> None:
        self._ahead_ns = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def now_ms(self) -> int:
        """Unix time in ms."""
        return (time.clock_gettime_ns(time.CLOCK_BOOTTIME) + self._ahead_ns) // 1_000_000

    def boot_ms(self) -> int:
        """CLOCK_BOOTTIME in ms."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
