"""Tests of what the demo plays: paths and levels fit each other, and hold rules are valid at the exchange."""

from __future__ import annotations

import pytest

from connectors.exchange_simulator.faults import parse_rules
from connectors.exchange_simulator.scenarios import parse_segments
from pipeline.demo.scenario import BETWEEN_FILL_AND_RAILS, INSIDE_A_STOP_MOVE, PLANS, Leg, Plan, levels, segments

LONG = Plan("BTCUSDT", "long", "1000", -80, 100, 150, (Leg(4, 10),), "target")


def travelled(plan: Plan) -> list[int]:
    """Where the path stands after each leg, in hundredths of a percent from its start."""
    return [round(sum(leg.drift_bps for leg in plan.path[: count + 1])) for count in range(len(plan.path))]


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.symbol)
def test_each_path_leads_where_its_outcome_needs(plan: Plan) -> None:
    """A target is passed, a hard stop without profit before, a trailing stop after a rise beyond 4 R."""
    places = travelled(plan)
    match plan.outcome:
        case "target":
            assert places[-1] > plan.last_target_bps
        case "hard_stop":
            assert places[-1] < plan.stop_bps
            assert max(places) <= 0
        case "trailing_stop":
            assert -4 * plan.stop_bps < max(places) < plan.target_bps
            assert places[-1] < max(places) / 2
        case _:
            raise AssertionError(plan.outcome)


def test_three_positions_end_in_three_ways() -> None:
    """The demo shows target, trailing stop and hard stop on three symbols."""
    assert {"target", "trailing_stop", "hard_stop"} == {plan.outcome for plan in PLANS}
    assert 3 == len({plan.symbol for plan in PLANS})


def test_levels_stand_on_the_grid_on_their_sides() -> None:
    """A long's stop lies below its targets, a short's above, all on the tick."""
    short = Plan("BTCUSDT", "short", "1000", -80, 100, 150, (Leg(4, 10),), "target")

    assert {"stop": "59520.0", "target": "60600.0", "last_target": "60900.0"} == levels(LONG, middle=60_000, tick=0.1)
    assert {"stop": "60480.0", "target": "59400.0", "last_target": "59100.0"} == levels(short, middle=60_000, tick=0.1)


def test_the_exchange_takes_paths_and_rules() -> None:
    """Every path and every hold rule is valid at the simulated exchange; speed shortens the legs."""
    for plan in PLANS:
        parsed = parse_segments(segments(plan, speed=2.0))
        assert sum(leg.seconds for leg in plan.path) / 2 == sum(segment.seconds for segment in parsed)
    assert 3 == len(parse_rules([*BETWEEN_FILL_AND_RAILS, *INSIDE_A_STOP_MOVE]))
