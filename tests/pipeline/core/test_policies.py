"""The only place for tests of the policy: its defaults are the domain's figures."""

from __future__ import annotations

import msgspec

from pipeline.core.policies import Policy


def test_the_defaults_are_the_figures_of_the_domain() -> None:
    """Domain 6.2 to 6.4: the clips, the far rail, the ratchet, the times."""
    policy = Policy()

    assert (1_200, 1_800, 3_000) == (
        policy.stop_atr_min_permille,
        policy.stop_atr_permille,
        policy.stop_atr_max_permille,
    )
    assert (1_500, 2_500, 4_500) == (
        policy.target_atr_min_permille,
        policy.target_atr_permille,
        policy.target_atr_max_permille,
    )
    assert (1_250, 35, 600) == (policy.far_rail_permille, policy.stop_min_bps, policy.stop_max_bps)
    assert (2_000, 1_000, 3_000) == (
        policy.unprotected_close_ms,
        policy.rail_through_ms,
        policy.rail_stuck_ms,
    )
    assert (96, 288) == (policy.time_limit_bars, policy.time_limit_absolute_bars)


def test_a_policy_travels_unchanged() -> None:
    """It reaches the fold as JSON in a line."""
    policy = Policy(digest="abc", disabled_exits=("X15",))

    assert policy == msgspec.json.decode(msgspec.json.encode(policy), type=Policy)
