"""
The only place that says which of the records at hand is folded next: those of open positions before all others.

Faust hands records over in the order in which they were fetched. Within a partition that order is the log's and stands;
between partitions nothing is lost by another one, and a record that may move a stop should not wait for seven that
cannot. Without pressing records it is first come, first served.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Backlog(Generic[Item]):
    """Records that were handed over and are not yet folded, a queue per partition."""

    def __init__(self) -> None:
        self._queues: dict[int, deque[tuple[int, bool, Item]]] = {}
        self._pressing: dict[int, int] = {}  # partition → how many of its records press
        self._size = 0
        self._sequence = 0

    def __len__(self) -> int:
        return self._size

    def add(self, partition: int, item: Item, *, pressing: bool) -> None:
        """Queue *item* behind the others of its partition; *pressing* brings the whole queue before it forward."""
        self._sequence += 1
        self._size += 1
        self._queues.setdefault(partition, deque()).append((self._sequence, pressing, item))
        if pressing:
            self._pressing[partition] = self._pressing.get(partition, 0) + 1

    def take(self) -> Item:
        """The next one: of a partition in which something presses if there is one, the oldest of these."""
        partition = min(self._pressing or self._queues, key=lambda number: self._queues[number][0][0])
        queue = self._queues[partition]
        _, pressing, item = queue.popleft()
        self._size -= 1
        if pressing and self._pressing[partition] == 1:
            del self._pressing[partition]
        elif pressing:
            self._pressing[partition] -= 1
        if not queue:
            del self._queues[partition]
        return item

    def clear(self) -> None:
        """Forget everything: the assignment is over."""
        self._queues.clear()
        self._pressing.clear()
        self._size = 0
