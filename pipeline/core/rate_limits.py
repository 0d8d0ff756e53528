"""
The only place that says when a request may go to the venue: the governor's arithmetic, without clock or socket.

Rules, and where they come from:

* Weight per minute belongs to the address, order counts (10 s, 1 min) to the account (venue sheet 5.1). The venue does
  not say whether its windows roll, so ours do, a second longer for the road; a header that counts more wins.
* Lanes in order protect > cancel > close > query > entry > data. 30 % of every venue limit is for the first four.
* The design document's own budget (60 a minute, half a second apart, 5 at once, 25 % of the weight, 10,000 a day) binds
  entry and data only: an exit is never refused by a limit of ours (promise P4, domain 6.7).
* What may wait, waits while the requests of the last ten minutes, of all lanes, leave no room for it (``crowded``).
* 429 and −1003 stop every lane for their window, −1015 stops placing orders, 418 stops everything until the ban ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import IntEnum
from typing import Final

import msgspec

from pipeline.core.units import Milliseconds

ROAD_MS: Final = 1_000  # a request may be counted this much later than we sent it
MINUTE_MS: Final = 60_000
TEN_SECONDS_MS: Final = 10_000
DAY_MS: Final = 86_400_000
LATELY_MS: Final = 600_000  # the interval of the polls that may wait


class Lane(IntEnum):
    """What a request is for; a smaller number goes first."""

    PROTECT = 0
    CANCEL = 1
    CLOSE = 2
    QUERY = 3
    ENTRY = 4
    DATA = 5

    @property
    def background(self) -> bool:
        """True for the lanes that the own budget binds and that may not use the reserve."""
        return self >= Lane.ENTRY


class Cost(msgspec.Struct, frozen=True, gc=False):
    """What one request uses: *weight* of the address, *orders* of the account (venue sheet 4)."""

    lane: Lane
    weight: int = 1
    orders: int = 0


class Budget(msgspec.Struct, frozen=True):
    """
    The venue's limits (exchangeInfo) and our own; shares in permille.

    ``background_*`` bind the lanes entry and data. ``alarm_permille`` of the day's budget raises a word for people.
    ``steady_per_minute`` binds nobody: above it polls that can wait are stretched, so that all stay at 11 a minute
    (architecture section 8) with room for a burst.
    """

    weight_per_minute: int = 2_400
    orders_per_10_seconds: int = 300
    orders_per_minute: int = 1_200
    reserve_permille: int = 300
    background_weight_permille: int = 250
    background_per_minute: int = 60
    background_spacing_ms: int = 500
    background_concurrent: int = 5
    background_per_day: int = 10_000
    alarm_permille: int = 800
    steady_per_minute: int = 10


class Rolling:
    """A sum over the last *span_ms*; ``add`` must be called with times that do not run back."""

    __slots__ = ("entries", "span_ms", "used")

    def __init__(self, span_ms: int) -> None:
        self.span_ms = span_ms
        self.used = 0
        self.entries: deque[tuple[int, int]] = deque()

    def advance(self, now: int) -> None:
        """Forget what is older than the span."""
        entries = self.entries
        while entries and entries[0][0] + self.span_ms <= now:
            self.used -= entries.popleft()[1]

    def add(self, now: int, amount: int) -> None:
        """Count *amount* at *now*."""
        if amount:
            self.entries.append((now, amount))
            self.used += amount

    def earliest(self, now: int, amount: int, limit: int) -> int:
        """The first time at which *amount* more would stay within *limit* if nothing else were added."""
        excess = self.used + amount - limit
        if excess <= 0:
            return now
        for at, freed in self.entries:
            excess -= freed
            if excess <= 0:
                return at + self.span_ms
        return now + self.span_ms  # more than the whole limit: asked again, refused again


class Window:
    """Everything that ``admit`` reads and changes: what was used, what is stopped. One per process and address."""

    __slots__ = (
        "background",
        "background_weight",
        "budget",
        "day",
        "day_used",
        "in_flight",
        "lately",
        "next_background_ms",
        "now_ms",
        "orders_1m",
        "orders_10s",
        "orders_stopped_until",
        "stopped_until",
        "weight",
    )

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.now_ms = 0
        self.weight = Rolling(MINUTE_MS + ROAD_MS)
        self.orders_10s = Rolling(TEN_SECONDS_MS + ROAD_MS)
        self.orders_1m = Rolling(MINUTE_MS + ROAD_MS)
        self.lately = Rolling(LATELY_MS)  # requests
        self.background = Rolling(MINUTE_MS)
        self.background_weight = Rolling(MINUTE_MS + ROAD_MS)
        self.next_background_ms = 0
        self.in_flight = 0
        self.day = 0
        self.day_used = 0
        self.stopped_until = 0
        self.orders_stopped_until = 0

    @property
    def alarmed(self) -> bool:
        """True from 80 % of the day's own budget on."""
        return self.day_used * 1_000 >= self.budget.background_per_day * self.budget.alarm_permille

    def crowded(self, now: int) -> bool:
        """True at *now* (ms) while more was asked lately than the steady state allows: what may wait, waits."""
        self.lately.advance(max(now, self.now_ms))
        return self.lately.used * MINUTE_MS >= self.budget.steady_per_minute * LATELY_MS


class Admit(msgspec.Struct, frozen=True, gc=False):
    """The request was counted and goes now."""


class WaitUntil(msgspec.Struct, frozen=True, gc=False):
    """Ask again at *at*; *reason* names the limit: stopped, orders_stopped, weight, orders, own_budget."""

    at: Milliseconds
    reason: str


class Chosen(msgspec.Struct, frozen=True, gc=False):
    """The request at *index* was counted and goes now."""

    index: int


def _advance(window: Window, now: int) -> int:
    now = max(now, window.now_ms)  # a clock that steps back never gives budget back
    window.now_ms = now
    for rolling in (
        window.weight,
        window.lately,
        window.orders_10s,
        window.orders_1m,
        window.background,
        window.background_weight,
    ):
        rolling.advance(now)
    if now // DAY_MS != window.day:
        window.day, window.day_used = now // DAY_MS, 0
    return now


def _venue_wait(window: Window, cost: Cost, now: int) -> tuple[int, str]:
    """When the venue's own limits, less the reserve for background lanes, allow the request."""
    budget = window.budget
    share = 1_000 - budget.reserve_permille if cost.lane.background else 1_000
    at, reason = now, ""
    if cost.weight:
        free = window.weight.earliest(now, cost.weight, budget.weight_per_minute * share // 1_000)
        if free > at:
            at, reason = free, "weight"
    if cost.orders:
        free = max(
            window.orders_10s.earliest(now, cost.orders, budget.orders_per_10_seconds * share // 1_000),
            window.orders_1m.earliest(now, cost.orders, budget.orders_per_minute * share // 1_000),
        )
        if free > at:
            at, reason = free, "orders"
    return at, reason


def _own_wait(window: Window, cost: Cost, now: int) -> int:
    """When the design document's own budget allows a background request."""
    budget = window.budget
    at = max(now, window.next_background_ms)
    at = max(at, window.background.earliest(now, 1, budget.background_per_minute))
    share = budget.weight_per_minute * budget.background_weight_permille // 1_000
    at = max(at, window.background_weight.earliest(now, cost.weight, share))
    if window.in_flight >= budget.background_concurrent:
        at = max(at, now + budget.background_spacing_ms)  # sooner if ``release`` is called: the caller asks again then
    if window.day_used >= budget.background_per_day:
        at = max(at, (window.day + 1) * DAY_MS)
    return at


def admit(window: Window, cost: Cost, now: int) -> Admit | WaitUntil:
    """
    Count the request in *window* and let it go, or say when to ask again; changes *window* only when it admits.

    Nothing is admitted before a stop ends, whatever its lane. After an admitted background request has been answered
    the caller must call ``release``.
    """
    now = _advance(window, now)
    if now < window.stopped_until:
        return WaitUntil(Milliseconds(window.stopped_until), "stopped")
    if cost.orders and now < window.orders_stopped_until:
        return WaitUntil(Milliseconds(window.orders_stopped_until), "orders_stopped")
    at, reason = _venue_wait(window, cost, now)
    if cost.lane.background:
        own = _own_wait(window, cost, now)
        if own > at:
            at, reason = own, "own_budget"
    if at > now:
        return WaitUntil(Milliseconds(at), reason)
    window.weight.add(now, cost.weight)
    window.lately.add(now, 1)
    window.orders_10s.add(now, cost.orders)
    window.orders_1m.add(now, cost.orders)
    if cost.lane.background:
        window.background.add(now, 1)
        window.background_weight.add(now, cost.weight)
        window.next_background_ms = now + window.budget.background_spacing_ms
        window.in_flight += 1
        window.day_used += 1
    return Admit()


def resume_day(window: Window, now: int, day: int, used: int) -> None:
    """Go on with the daily budget of a predecessor: *used* of it on *day* (days since 1970); another day is over."""
    now = _advance(window, now)
    if now // DAY_MS == day:
        window.day_used = max(window.day_used, used)


def release(window: Window, cost: Cost) -> None:
    """An admitted request was answered or given up."""
    if cost.lane.background:
        assert window.in_flight > 0
        window.in_flight -= 1


def choose(window: Window, waiting: Sequence[Cost], now: int) -> Chosen | WaitUntil | None:
    """
    Admit the most urgent of *waiting* (given in lane order) that may go now.

    A request that waits for weight or for order count holds back those behind it that would take the same; the others
    may pass. Returns the earliest time to ask again when none may go, None when nothing waits.
    """
    soonest: WaitUntil | None = None
    weight_wanted = orders_wanted = False
    for index, cost in enumerate(waiting):
        if (weight_wanted and cost.weight) or (orders_wanted and cost.orders):
            continue
        verdict = admit(window, cost, now)
        if isinstance(verdict, Admit):
            return Chosen(index)
        weight_wanted = weight_wanted or verdict.reason == "weight"
        orders_wanted = orders_wanted or verdict.reason == "orders"
        if soonest is None or verdict.at < soonest.at:
            soonest = verdict
    return soonest


def observe(
    window: Window, now: int, *, weight: int | None = None, orders_10s: int | None = None, orders_1m: int | None = None
) -> None:
    """Raise our counts to what the headers say (X-MBX-USED-WEIGHT-1M, X-MBX-ORDER-COUNT-*); never lower them."""
    now = _advance(window, now)
    for rolling, said in ((window.weight, weight), (window.orders_10s, orders_10s), (window.orders_1m, orders_1m)):
        if said is not None and said > rolling.used:
            rolling.add(now, said - rolling.used)


def stop_all(window: Window, until: int) -> None:
    """No request of any lane before *until* (429, −1003, 418); a shorter stop never shortens a longer one."""
    window.stopped_until = max(window.stopped_until, until)


def stop_orders(window: Window, until: int) -> None:
    """No placing of orders before *until* (−1015); cancels and reads go on."""
    window.orders_stopped_until = max(window.orders_stopped_until, until)


def adopt_limits(window: Window, *, weight_per_minute: int, orders_per_10_seconds: int, orders_per_minute: int) -> None:
    """Take the venue's own word for its limits (exchangeInfo.rateLimits); accounts differ (venue sheet 5.1)."""
    assert min(weight_per_minute, orders_per_10_seconds, orders_per_minute) > 0
    window.budget = msgspec.structs.replace(
        window.budget,
        weight_per_minute=weight_per_minute,
        orders_per_10_seconds=orders_per_10_seconds,
        orders_per_minute=orders_per_minute,
    )
