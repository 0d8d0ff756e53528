"""
The only place where an intent begins its road before Faust has carried it to its agent, and never out of turn.

Between the read of a record and its agent lie a queue and the rest of the read: 0.3 ms of a stop's way. Taking an
intent in is idempotent, so it is done as soon as the record is read; the agent takes it in once more, and acknowledges.
A record that cannot be taken in here (the executor is not ready, the bytes are no intent) is left to the agent, and
with it all behind it until the agent has caught up: an older wish must never come behind a newer one.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from pipeline.wire.records import IntentRecord, decode_intent


class Early:
    """Offsets of the one partition of ``intents``; *submit* takes an intent in once *ready* says that it may."""

    def __init__(self, submit: Callable[[IntentRecord], object], ready: Callable[[], bool]) -> None:
        self._submit = submit
        self._ready = ready
        self._left = -1  # the last offset that was left to the agent
        self._handled = -1  # the last one that the agent has dealt with

    def read(self, offset: int, value: bytes) -> None:
        """A record was read and goes to the agent next."""
        if self._ready() and self._handled >= self._left:
            try:
                record = decode_intent(value)
            except msgspec.DecodeError:
                pass  # the agent keeps it with its bytes
            else:
                self._submit(record)
                return
        self._left = max(self._left, offset)

    def handled(self, offset: int) -> None:
        """The agent has taken the record in, or put it aside."""
        self._handled = max(self._handled, offset)
