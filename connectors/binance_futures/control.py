"""
The only place for control messages: what is asked of a socket that stands, how fast, and what the venue said to it.

Sans-I/O: time comes in as an argument. Messages count like pings and pongs, and ten a second end the connection (venue
sheet 1.5): they go out at most five a second, at most 100 names in each.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

NAMES_PER_MESSAGE: Final = 100
MESSAGE_SPACING_MS: Final = 200
NAMED: Final = 5  # streams in a text for people; the count says the rest


class Method(StrEnum):
    """The venue's word for what is asked (venue sheet 1.4)."""

    SUBSCRIBE = "SUBSCRIBE"
    UNSUBSCRIBE = "UNSUBSCRIBE"


class Control:
    """The control messages of one connection: a queue, and what is not answered yet."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Method, tuple[str, ...]]] = deque()
        self._asked: dict[int, tuple[str, ...]] = {}
        self._number = 0
        self._free_ms = 0

    def ask(self, method: Method, streams: Sequence[str]) -> None:
        """Queue *method* for *streams*, in messages of at most 100 names."""
        for start in range(0, len(streams), NAMES_PER_MESSAGE):
            self._waiting.append((method, tuple(streams[start : start + NAMES_PER_MESSAGE])))

    def due(self, now_ms: int) -> str | None:
        """The next message, when it may be sent now."""
        if not self._waiting or now_ms < self._free_ms:
            return None
        method, streams = self._waiting.popleft()
        self._number += 1
        self._asked[self._number] = streams
        self._free_ms = now_ms + MESSAGE_SPACING_MS
        return json.dumps({"method": method, "params": streams, "id": self._number}, separators=(",", ":"))

    def answered(self, number: int | str | None) -> str:
        """The streams that message *number* was about, for people; empty when it is none of ours."""
        streams = self._asked.pop(number, ()) if isinstance(number, int) else ()
        return ", ".join(streams[:NAMED]) + (f" and {len(streams) - NAMED} more" if len(streams) > NAMED else "")

    @property
    def settled(self) -> bool:
        """True when every message was sent and answered."""
        return not self._waiting and not self._asked
