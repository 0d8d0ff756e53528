"""The only place that watches during a chaos run whether every partition is folded: by the seals in the log."""

from __future__ import annotations

import time

from pipeline.console.log_access import open_log
from pipeline.settings import Settings
from pipeline.wire.topics import ANCHORS, INPUT_PARTITIONS


class Pulse:
    """A worker seals what it has folded once a second and partition; ``run`` follows that until it is cancelled."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.last_ms: dict[int, int] = {}

    async def run(self) -> None:
        """Follow the seals."""
        async with open_log(self._settings) as log:
            async for _, record in log.follow([ANCHORS], since_ms=int(time.time() * 1_000)):
                self.last_ms[record.partition] = record.append_ms

    def beats_since(self, at_ms: int) -> bool:
        """True when every partition was sealed after *at_ms*."""
        return all(self.last_ms.get(partition, 0) > at_ms for partition in range(INPUT_PARTITIONS))
