"""
The only place where requests wait for the governor: one heap per lane, woken when the governor said to ask again.

A request that may go at once goes without a task switch. The governor itself is pure (``core.rate_limits``).
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Mapping

from pipeline.core import rate_limits
from pipeline.core.rate_limits import Chosen, Cost, Lane, WaitUntil, Window
from pipeline.execution.ports import Clock

_Waiting = tuple[int, int, Cost, "asyncio.Future[None]"]


class Lanes:
    """Admission to the venue; *window* is the governor's state."""

    def __init__(self, window: Window, clock: Clock) -> None:
        self.window = window
        self._clock = clock
        self._heaps: dict[Lane, list[_Waiting]] = {lane: [] for lane in Lane}
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> dict[Lane, int]:
        """How many requests wait in each lane."""
        return {lane: len(heap) for lane, heap in self._heaps.items()}

    async def admission(self, cost: Cost, *, urgency: int = 0) -> None:
        """
        Return when the request may go; it is counted by then, and ``release`` must be called after its answer.

        Within a lane the smaller *urgency* goes first, then who came first.
        """
        clear = not any(heap for lane, heap in self._heaps.items() if lane <= cost.lane)
        if clear and isinstance(rate_limits.admit(self.window, cost, self._clock.now_ms()), rate_limits.Admit):
            return
        self._number += 1
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._heaps[cost.lane], (urgency, self._number, cost, future))
        self._dispatch()
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.release(cost)  # admitted and given up in the same moment
            raise

    async def weight(self, amount: int) -> None:
        """Return when *amount* of request weight may be used for something that is no request (a handshake)."""
        cost = Cost(Lane.QUERY, amount)
        await self.admission(cost)
        self.release(cost)

    def release(self, cost: Cost) -> None:
        """The request was answered or given up."""
        rate_limits.release(self.window, cost)
        if cost.lane.background:
            self._dispatch()

    def observe(self, headers: Mapping[str, str]) -> None:
        """Take the counts of an answer's headers (venue sheet 5.1)."""
        rate_limits.observe(
            self.window,
            self._clock.now_ms(),
            weight=_count(headers.get("x-mbx-used-weight-1m")),
            orders_10s=_count(headers.get("x-mbx-order-count-10s")),
            orders_1m=_count(headers.get("x-mbx-order-count-1m")),
        )

    def stop_all(self, until_ms: int) -> None:
        """429, −1003, 418."""
        rate_limits.stop_all(self.window, until_ms)
        self._dispatch()

    def stop_orders(self, until_ms: int) -> None:
        """−1015."""
        rate_limits.stop_orders(self.window, until_ms)
        self._dispatch()

    def _dispatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while True:
            heads = []
            for heap in self._heaps.values():
                while heap and heap[0][3].done():  # its asker was cancelled
                    heapq.heappop(heap)
                if heap:
                    heads.append(heap)
            verdict = rate_limits.choose(self.window, [heap[0][2] for heap in heads], self._clock.now_ms())
            if isinstance(verdict, Chosen):
                heapq.heappop(heads[verdict.index])[3].set_result(None)
                continue
            if isinstance(verdict, WaitUntil):
                seconds = max(1, verdict.at - self._clock.now_ms()) / 1_000
                self._timer = asyncio.get_running_loop().call_later(seconds, self._dispatch)
            return


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None
