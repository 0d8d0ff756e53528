"""
The only place for how lines become records: ack-clocked, in order, within a bound of bytes (architecture 2.2).

Rules:

1. Per partition at most one record is in flight. While there is none, an urgent line goes out at once; what arrives
   meanwhile goes out together when the acknowledgement is there. So nothing urgent is delayed at low load, and at high
   load the number of records stays near 1/RTT. Urgent are market frames of symbols that are held: they go alone and
   first, for the venue sends the mark prices of all symbols in one instant. The others collect until their owner calls
   ``release``. A line that may not give way (rule 3) goes at once, too, and takes along all that came before it. Lines
   of one symbol and source never overtake each other.
2. A record holds at most ``lines.MAX_RECORD_LINES`` lines and ``lines.MAX_RECORD_BYTES`` bytes; a longer line gets a
   record of its own.
3. All queues together are bounded by bytes. Over the bound, the oldest lines that were added with an ``Origin`` (market
   frames) give way: those of symbols nobody holds first, then the others. Lines without an origin never give way, even
   if the bound is exceeded by them.
4. What gave way is named: one ``lost`` line per symbol and stream stands where the first line stood that is missing,
   carries its running number, and counts the missing frames of all sources in its reason. The running numbers of the
   others stay missing, so that the fold sees the hole by them too. A ``lost`` line that gave way itself is in its
   words. So there are never more of them than streams, however often connections come while the broker is away.

Nothing here sends: the owner calls ``take``, produces the record (again and again until it is acknowledged) and calls
``acknowledged``.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from pipeline.core.events import FeedLost
from pipeline.wire import lines
from pipeline.wire.topics import INPUT_PARTITIONS

MAX_QUEUED_BYTES: Final = 64 * 1024 * 1024
LINE_OVERHEAD: Final = 128  # what Python adds to a queued line: the bytes object, its tuple, its place in the queue
LOST_LINE_BYTES: Final = 512  # what a ``lost`` line is reckoned at: it is encoded only when it is taken
LOST_REASON_LENGTH: Final = 120
FREED_SHARE: Final = 64  # over the bound, this part of it is freed at once: the search is rare, and a pause is short


class Origin(msgspec.Struct, frozen=True, gc=False):
    """What a line that may give way is about: symbol and stream name of the venue. Made once, shared by its lines."""

    symbol: str
    stream: str


class _Lost(msgspec.Struct):
    """
    Lines of one stream that gave way and are not yet reported; takes the first one's place and running number.
    ``hole`` is the last reason of the ``lost`` lines among them.
    """

    first: lines.Line
    stream: str
    last_at: int
    count: int = 0
    hole: str = ""

    def line(self) -> bytes:
        first = self.first
        reason = f"{self.count} frames gave way to the memory bound, received from {first.at} to {self.last_at} ns"
        if self.hole:
            reason = f"{reason}, among them a hole: {self.hole}" if self.count else self.hole
        lost = FeedLost(stream=self.stream, reason=reason)
        return lines.encode(lines.Line(at=first.at, src=first.src, inc=first.inc, n=first.n, sym=first.sym, lost=lost))


_Entry = tuple[int, bytes | _Lost, Origin | None]  # (order of arrival over all partitions, line, origin)
_LostKey = tuple[int, Origin]


class Batcher:
    """Queues of lines per partition; see the rules above. Not thread-safe: one event loop owns it."""

    def __init__(self, partitions: int = INPUT_PARTITIONS, *, max_bytes: int = MAX_QUEUED_BYTES) -> None:
        self._partitions = partitions
        # One queue a partition of what may collect, then one a partition of what goes first; each in order of arrival.
        self._queues: list[deque[_Entry]] = [deque() for _ in range(2 * partitions)]
        self._in_flight: list[int] = [0] * partitions  # bytes; 0 = none
        self._released: list[bool] = [False] * partitions  # everything that waits goes, until nothing waits
        self._held: frozenset[str] = frozenset()
        self._lost: dict[_LostKey, _Lost] = {}
        self._max_bytes = max_bytes
        self._search_above = max_bytes
        self._sequence = 0
        self._bytes = 0
        self._given_way = 0

    @property
    def size(self) -> int:
        """Bytes queued and in flight over all partitions, Python's overhead reckoned in."""
        return self._bytes

    @property
    def given_way(self) -> int:
        """How many frames have given way since the start."""
        return self._given_way

    @property
    def is_empty(self) -> bool:
        """True when nothing is queued and nothing is in flight."""
        return not any(self._in_flight) and not any(self._queues)

    @property
    def in_flight(self) -> int:
        """Records that are not acknowledged yet."""
        return sum(size > 0 for size in self._in_flight)

    @property
    def waiting(self) -> tuple[int, int]:
        """How many lines wait, over all partitions, and how many of them may never give way."""
        firm = sum(entry[2] is None for queue in self._queues for entry in queue)
        return sum(map(len, self._queues)), firm

    def queued(self, partition: int) -> int:
        """How many lines wait in *partition* (in flight ones not counted)."""
        return len(self._queues[partition]) + len(self._queues[self._partitions + partition])

    def urgent(self, partition: int) -> bool:
        """True when something should go at once, as soon as nothing is in flight."""
        return self._released[partition] or bool(self._queues[self._partitions + partition])

    def release(self, partition: int) -> None:
        """What waits in *partition* has collected for long enough."""
        self._released[partition] = self.queued(partition) > 0

    def hold(self, symbols: Iterable[str]) -> None:
        """From now on the lines of these symbols go first, and give way after all others."""
        held = frozenset(symbols)
        fresh, self._held = held - self._held, held
        for partition in range(self._partitions) if fresh else ():
            # What waits of them must not be overtaken by what will come.
            waiting, first = self._queues[partition], self._queues[self._partitions + partition]
            moved = [entry for entry in waiting if entry[2] is not None and entry[2].symbol in fresh]
            if moved:
                kept = [entry for entry in waiting if entry[2] is None or entry[2].symbol not in fresh]
                self._queues[partition] = deque(kept)
                self._queues[self._partitions + partition] = deque(heapq.merge(first, moved, key=_sequence))

    def add(self, partition: int, line: bytes, origin: Origin | None = None) -> None:
        """
        Queue *line* (one whole line of ``lines``, without newline). With *origin* it may give way, else never.

        Lines of one symbol keep their order. The line's running number must be set already: a line that is added is
        either in a record or counted by a ``lost`` line.
        """
        self._sequence += 1
        queue = self._queues[partition]
        if origin is None:
            self._released[partition] = True
        elif origin.symbol in self._held:
            queue = self._queues[self._partitions + partition]
        elif len(queue) >= lines.MAX_RECORD_LINES - 1:
            self._released[partition] = True  # a full record
        queue.append((self._sequence, line, origin))
        self._bytes += len(line) + LINE_OVERHEAD
        if self._bytes > self._search_above:
            self._give_way()

    def take(self, partition: int) -> bytes | None:
        """Return the next record and count it as in flight; None when one is in flight or nothing should go."""
        waiting, first = self._queues[partition], self._queues[self._partitions + partition]
        if self._in_flight[partition] or not self.urgent(partition):
            return None
        released = self._released[partition]
        taken: list[bytes] = []
        size = -1  # no newline before the first line
        while len(taken) < lines.MAX_RECORD_LINES:
            queue = first
            if released and waiting and not (first and first[0][0] < waiting[0][0]):
                queue = waiting
            if not queue:
                break
            payload = queue[0][1]
            line = payload if isinstance(payload, bytes) else payload.line()
            if taken and size + 1 + len(line) > lines.MAX_RECORD_BYTES:
                break
            origin = queue.popleft()[2]
            if isinstance(payload, bytes):
                self._bytes -= len(line) + LINE_OVERHEAD
            else:
                assert origin is not None, "a lost line keeps the origin of the lines it stands for"
                del self._lost[(partition, origin)]
                self._bytes -= LOST_LINE_BYTES
            taken.append(line)
            size += 1 + len(line)
        if released and not waiting:
            self._released[partition] = False
        if not taken:
            return None  # what was released has given way
        record = lines.join(taken)
        self._in_flight[partition] = len(record)
        self._bytes += len(record)
        return record

    def acknowledged(self, partition: int) -> None:
        """The record in flight is durable: the next may be taken."""
        assert self._in_flight[partition], "nothing was in flight"
        self._bytes -= self._in_flight[partition]
        self._in_flight[partition] = 0
        if self._bytes <= self._max_bytes:
            self._search_above = self._max_bytes

    # ------------------------------------------------------------------------------------------ giving way (rule 3)

    def _give_way(self) -> None:
        """Let the oldest lines give way until a part of the bound is free again, or nothing is left that may."""
        goal = self._max_bytes - self._max_bytes // FREED_SHARE
        for held in (False, True):
            # Lost lines weigh something themselves: with few and short lines one pass may not be enough.
            while self._bytes > self._max_bytes and (cutoff := self._cutoff(self._bytes - goal, held=held)):
                self._drop_through(cutoff, held=held)
        self._search_above = self._max_bytes
        if self._bytes > self._max_bytes:
            # Too little may give way: searching again at every line would walk the whole queue each time.
            self._search_above = self._bytes + self._max_bytes // FREED_SHARE

    def _may_go(self, entry: _Entry, *, held: bool) -> bool:
        _, payload, origin = entry
        return isinstance(payload, bytes) and origin is not None and (origin.symbol in self._held) == held

    def _cutoff(self, wanted: int, *, held: bool) -> int:
        """The place in the order of arrival up to which lines go so that *wanted* bytes become free; 0: none can go."""

        def candidates(queue: deque[_Entry]) -> Iterator[tuple[int, int]]:
            for entry in queue:
                if self._may_go(entry, held=held):
                    yield entry[0], len(entry[1]) + LINE_OVERHEAD  # type: ignore[arg-type]  # bytes, says _may_go

        sequence = freed = 0
        for sequence, size in heapq.merge(*map(candidates, self._queues)):  # noqa: B007  # the last one counts
            freed += size
            if freed >= wanted:
                break
        return sequence

    def _drop_through(self, cutoff: int, *, held: bool) -> None:
        """Replace every line that may go and came not after *cutoff* by the lost line of its stream."""
        for number, queue in enumerate(self._queues):
            partition = number % self._partitions
            kept: list[_Entry] = []
            while queue and queue[0][0] <= cutoff:
                entry = queue.popleft()
                if not self._may_go(entry, held=held):
                    kept.append(entry)
                    continue
                replacement = self._replace(partition, entry)
                if replacement is not None:
                    kept.append(replacement)
            queue.extendleft(reversed(kept))

    def _replace(self, partition: int, entry: _Entry) -> _Entry | None:
        """Count the line in the lost line of its stream; the first of them is returned to stand in its place."""
        sequence, payload, origin = entry
        assert isinstance(payload, bytes) and origin is not None
        self._bytes -= len(payload) + LINE_OVERHEAD
        line = lines.decode(payload)
        key = (partition, origin)
        known = self._lost.get(key)
        lost = known
        if lost is None:
            self._lost[key] = lost = _Lost(first=_without_frame(line), stream=origin.stream, last_at=line.at)
            self._bytes += LOST_LINE_BYTES
        lost.last_at = line.at
        if line.lost is None:
            lost.count += 1
            self._given_way += 1
        else:
            lost.hole = line.lost.reason[:LOST_REASON_LENGTH]
        return (sequence, lost, origin) if known is None else None


def _sequence(entry: _Entry) -> int:
    return entry[0]


def _without_frame(line: lines.Line) -> lines.Line:
    """The head of the line alone: the frame is a view that would keep the whole line in memory."""
    return lines.Line(at=line.at, src=line.src, inc=line.inc, n=line.n, sym=line.sym)
