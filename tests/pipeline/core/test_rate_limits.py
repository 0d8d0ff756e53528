"""The governor: a window never overspends, exits come first, nothing goes early after a stop."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.rate_limits import (
    DAY_MS,
    LATELY_MS,
    Admit,
    Budget,
    Chosen,
    Cost,
    Lane,
    WaitUntil,
    Window,
    admit,
    adopt_limits,
    choose,
    observe,
    release,
    stop_all,
    stop_orders,
)

NOW = 1_790_771_372_000
SMALL = Budget(weight_per_minute=200, orders_per_10_seconds=10, orders_per_minute=20)

costs = st.builds(
    Cost, lane=st.sampled_from(Lane), weight=st.sampled_from([0, 1, 5, 40]), orders=st.sampled_from([0, 0, 1])
)


@given(st.lists(st.tuples(st.integers(0, 4_000), costs), max_size=200))
def test_no_minute_and_no_ten_seconds_ever_hold_more_than_the_venue_allows(
    road: list[tuple[int, Cost]],
) -> None:
    """Whatever is asked and when, every rolling minute and ten seconds stay within the venue's limits."""
    window, now = Window(SMALL), NOW
    admitted: list[tuple[int, Cost]] = []
    for pause, cost in road:
        now += pause
        if isinstance(admit(window, cost, now), Admit):
            admitted.append((now, cost))
            release(window, cost)

    for at, _ in admitted:
        minute = [cost for moment, cost in admitted if at - 60_000 < moment <= at]
        ten = [cost for moment, cost in admitted if at - 10_000 < moment <= at]
        assert sum(cost.weight for cost in minute) <= SMALL.weight_per_minute
        assert sum(cost.orders for cost in minute) <= SMALL.orders_per_minute
        assert sum(cost.orders for cost in ten) <= SMALL.orders_per_10_seconds
        background = [cost for cost in minute if cost.lane.background]
        assert sum(cost.weight for cost in background) <= SMALL.weight_per_minute // 4
        assert len(background) <= SMALL.background_per_minute


@given(st.lists(st.tuples(st.integers(0, 4_000), costs), max_size=100), costs)
def test_the_time_to_ask_again_is_not_too_early_and_is_in_the_future(road: list[tuple[int, Cost]], last: Cost) -> None:
    """A refused request is told a later time, and one that asks then (alone) is admitted after finitely many asks."""
    window, now = Window(SMALL), NOW
    for pause, cost in road:
        now += pause
        if isinstance(admit(window, cost, now), Admit):
            release(window, cost)
    for _ in range(200):
        verdict = admit(window, last, now)
        if isinstance(verdict, Admit):
            return
        assert verdict.at > now
        now = verdict.at
    raise AssertionError("never admitted")


@given(st.lists(costs, max_size=60), st.integers(1, 300_000), st.lists(st.integers(0, 50_000), max_size=30))
def test_nothing_goes_before_a_stop_ends(before: list[Cost], lasts: int, pauses: list[int]) -> None:
    """After a 429 no request of any lane is admitted until its window has passed, however often it asks."""
    window, now = Window(SMALL), NOW
    for cost in before:
        if isinstance(admit(window, cost, now), Admit):
            release(window, cost)
    stop_all(window, now + lasts)
    stop_all(window, now + 1)  # a shorter stop does not shorten it

    for pause in pauses:
        now += pause
        for lane in Lane:
            verdict = admit(window, Cost(lane, weight=0), now)
            if now < NOW + lasts:
                assert WaitUntil(at=NOW + lasts, reason="stopped") == verdict
            elif isinstance(verdict, Admit):
                release(window, Cost(lane, weight=0))


@settings(max_examples=300)
@given(st.lists(costs, min_size=1, max_size=12), st.lists(st.tuples(st.integers(0, 900), costs), max_size=60))
def test_the_most_urgent_request_that_may_go_is_chosen(waiting: list[Cost], road: list[tuple[int, Cost]]) -> None:
    """Nothing is chosen while something more urgent could have gone without harm to one more urgent still."""
    window, now = Window(SMALL), NOW
    for pause, cost in road:
        now += pause
        if isinstance(admit(window, cost, now), Admit):
            release(window, cost)
    waiting.sort(key=lambda cost: cost.lane)
    chosen = choose(window, waiting, now)

    assert chosen is not None
    if isinstance(chosen, Chosen):
        # What was passed over may not go by itself, or would take what a more urgent one waits for.
        wanted: set[str] = set()
        for cost in waiting[: chosen.index]:
            if (cost.weight and "weight" in wanted) or (cost.orders and "orders" in wanted):
                continue
            verdict = admit(window, cost, now)
            assert isinstance(verdict, WaitUntil)
            wanted.add(verdict.reason)
    else:
        assert chosen.at > now


def test_minus_1015_stops_placing_orders_only() -> None:
    """−1015 holds back placements; cancels and reads go on."""
    window = Window(SMALL)
    stop_orders(window, NOW + 10_000)

    assert WaitUntil(at=NOW + 10_000, reason="orders_stopped") == admit(window, Cost(Lane.PROTECT, 0, 1), NOW)
    assert Admit() == admit(window, Cost(Lane.CANCEL, 1), NOW)
    assert Admit() == admit(window, Cost(Lane.PROTECT, 0, 1), NOW + 10_000)


def test_a_cancel_passes_a_stop_order_that_waits_for_the_order_count() -> None:
    """Who waits for one resource holds back only those who would take the same."""
    window = Window(SMALL)
    stop_orders(window, NOW + 10_000)

    chosen = choose(window, [Cost(Lane.PROTECT, 0, 1), Cost(Lane.CANCEL, 1), Cost(Lane.DATA, 1)], NOW)

    assert Chosen(1) == chosen


def test_a_heavy_exit_is_not_starved_by_light_data() -> None:
    """While an exit waits for weight, a lighter request behind it does not take the weight away."""
    window = Window(Budget(weight_per_minute=100))
    observe(window, NOW, weight=97)

    verdict = choose(window, [Cost(Lane.QUERY, 5), Cost(Lane.DATA, 1)], NOW)

    assert isinstance(verdict, WaitUntil)
    assert "weight" == verdict.reason


def test_exits_are_never_refused_by_our_own_budgets() -> None:
    """With the day's budget gone, five in flight and the spacing running, every exit lane still goes at once (P4)."""
    window = Window(Budget(background_per_day=1, background_concurrent=1))
    assert Admit() == admit(window, Cost(Lane.DATA), NOW)

    assert WaitUntil(at=(NOW // DAY_MS + 1) * DAY_MS, reason="own_budget") == admit(window, Cost(Lane.ENTRY), NOW)
    assert window.alarmed
    for lane in (Lane.PROTECT, Lane.CANCEL, Lane.CLOSE, Lane.QUERY):
        assert Admit() == admit(window, Cost(lane, 1, 1), NOW)


def test_more_than_ten_requests_a_minute_for_ten_minutes_are_a_crowd_until_they_are_old() -> None:
    """Whatever their lane; it binds nobody, and a clock that steps back ends nothing."""
    window = Window(Budget())
    for number in range(100):
        assert not window.crowded(NOW)
        assert Admit() == admit(window, Cost(Lane.QUERY), NOW + number)

    assert window.crowded(NOW + LATELY_MS - 1)
    assert not window.crowded(NOW + LATELY_MS)
    assert not window.crowded(NOW)


def test_thirty_percent_are_kept_for_exits() -> None:
    """Entries stop at 70 % of the order count, exits go on to the whole of it."""
    window = Window(msgspec_budget(orders_per_10_seconds=10))
    now, entries = NOW, 0
    for _ in range(10):
        if isinstance(admit(window, Cost(Lane.ENTRY, 0, 1), now), Admit):
            entries += 1
            release(window, Cost(Lane.ENTRY))
        now += 500
    exits = sum(isinstance(admit(window, Cost(Lane.CLOSE, 0, 1), now), Admit) for _ in range(10))

    assert (7, 3) == (entries, exits)


def msgspec_budget(*, orders_per_10_seconds: int) -> Budget:
    """A budget whose only tight limit is the order count."""
    return Budget(orders_per_10_seconds=orders_per_10_seconds)


def test_headers_only_raise_the_count() -> None:
    """A header that counts more than we did is believed; one that counts less is not."""
    window = Window(SMALL)
    admit(window, Cost(Lane.QUERY, 40), NOW)
    observe(window, NOW, weight=10)
    assert 40 == window.weight.used
    observe(window, NOW, weight=198)

    assert isinstance(admit(window, Cost(Lane.QUERY, 5), NOW), WaitUntil)


def test_the_days_budget_starts_anew_at_midnight() -> None:
    """10,000 a day counts per day of UTC."""
    window = Window(Budget(background_per_day=1))
    admit(window, Cost(Lane.DATA), NOW)
    release(window, Cost(Lane.DATA))

    assert Admit() == admit(window, Cost(Lane.DATA), (NOW // DAY_MS + 1) * DAY_MS)


def test_a_clock_that_steps_back_gives_nothing_back() -> None:
    """Time that runs backwards cannot be used to spend twice."""
    window = Window(SMALL)
    admit(window, Cost(Lane.QUERY, 200), NOW)

    assert isinstance(admit(window, Cost(Lane.QUERY, 1), NOW - 120_000), WaitUntil)


def test_the_venues_own_limits_replace_the_defaults() -> None:
    """exchangeInfo's limits are the ones that count."""
    window = Window(Budget())
    adopt_limits(window, weight_per_minute=6_000, orders_per_10_seconds=50, orders_per_minute=100)

    assert (6_000, 50, 100, 60) == (
        window.budget.weight_per_minute,
        window.budget.orders_per_10_seconds,
        window.budget.orders_per_minute,
        window.budget.background_per_minute,
    )
