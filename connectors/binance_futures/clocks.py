"""The only place for the connector's time: the stamp of each frame, and how far the venue's clock is from ours."""

from __future__ import annotations

import re
import statistics
import time
from collections import deque
from collections.abc import Callable
from typing import Final

OFFSET_SAMPLES: Final = 600  # a minute of one sample per tick
SLOWEST_NS: Final = 10_000_000  # a tenth of the 100 ms between two corrections: set back by 1 s, it is right after 10 s
_EVENT_TIME: Final = re.compile(rb'"E":(\d{10,16})')


class ReceiveClock:
    """
    Unix time in ns that never runs back: the monotonic clock on a base that follows the wall clock.

    A wall clock that is set back must not give frames of this minute older stamps than those of the last one: the base
    goes back bit by bit, and a stamp never lies before the one that was given last.
    """

    def __init__(
        self, wall_ns: Callable[[], int] = time.time_ns, monotonic_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._base = wall_ns() - monotonic_ns()
        self._last = 0

    def now_ns(self) -> int:
        """The stamp for a frame that was just read."""
        now = self._base + self._monotonic_ns()
        if now < self._last:
            return self._last
        self._last = now
        return now

    def correct(self) -> None:
        """Follow the wall clock: forwards at once, backwards by at most 10 ms a call (call it every 100 ms)."""
        difference = self._wall_ns() - self._base - self._monotonic_ns()
        self._base += max(difference, -SLOWEST_NS)


class Offsets:
    """Venue time less receive time per kind of stream, in ms, over the last minute (skew less the way)."""

    def __init__(self) -> None:
        self._samples: dict[str, deque[float]] = {}

    def sample(self, kind: str, frame: bytes, at_ns: int) -> None:
        """Take the event time out of *frame*, if it has one."""
        found = _EVENT_TIME.search(frame)
        if found is not None:
            kept = self._samples.setdefault(kind, deque(maxlen=OFFSET_SAMPLES))
            kept.append(int(found[1]) - at_ns / 1e6)

    def summary(self) -> dict[str, dict[str, float]]:
        """Per kind: least, median and greatest offset. The greatest is nearest to the skew: its frame was quickest."""
        return {
            kind: {
                "min_ms": round(min(kept), 3),
                "median_ms": round(statistics.median(kept), 3),
                "max_ms": round(max(kept), 3),
                "samples": len(kept),
            }
            for kind, kept in self._samples.items()
        }
