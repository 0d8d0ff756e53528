"""The only place that brings a market source and a venue together in one order of time; still without a clock."""

from __future__ import annotations

from typing import Any

from connectors.exchange_simulator.synthetic import Source
from connectors.exchange_simulator.venue import Reply, Request, Venue

Payload = dict[str, Any]  # Any: the venue's JSON


class Exchange:
    """
    Drives a venue: everything due up to a given exchange time happens in order, then requests are answered.

    Wall time and virtual time use the same calls, so a test may run hours in seconds.
    """

    def __init__(self, venue: Venue, source: Source) -> None:
        self.venue = venue
        self.source = source
        self.now_ms = venue.start_ms
        self.market_events = 0
        for event in source.initial(self.now_ms):
            venue.apply(event, self.now_ms)

    def next_due(self) -> int:
        """When `advance` has something to do next."""
        due = self.source.next_due()
        step = self.venue.next_due()
        return step if due is None else min(due, step)

    def advance(self, now_ms: int, *, limit: int = 1_000_000) -> bool:
        """Let everything happen that is due by *now_ms*, at most *limit* source steps; True when more is due."""
        venue, source = self.venue, self.source
        next_due, take, apply = source.next_due, source.take, venue.apply
        # Only a tick moves the venue's own next instant.
        step = venue.next_due()
        for _ in range(limit):
            due = next_due()
            if due is not None and due <= step and due <= now_ms:
                now = self.now_ms
                if due > now:
                    self.now_ms = now = due
                events = take(now)
                for event in events:
                    apply(event, now)
                self.market_events += len(events)
            elif step <= now_ms:
                self.now_ms = max(self.now_ms, step)
                venue.tick(self.now_ms)
                step = venue.next_due()
            else:
                self.now_ms = max(self.now_ms, now_ms)
                return False
        return True

    def request(self, request: Request, now_ms: int) -> Reply:
        """Answer one request at *now_ms* (never earlier than what already happened)."""
        self.now_ms = max(self.now_ms, now_ms)
        return self.venue.request(request, self.now_ms)

    def drain(self) -> tuple[list[tuple[str, Payload]], list[Payload]]:
        """Take the public frames and user events gathered since the last call."""
        venue = self.venue
        frames, venue.frames = venue.frames, []
        events = venue.user_events[:]
        venue.user_events.clear()
        return frames, events
