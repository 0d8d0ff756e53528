"""The order socket in virtual time: seeds with it keep every promise, its wires are cut in the middle, faults bite."""

from __future__ import annotations

from pipeline.chaos.virtual_campaign import chunk

SEEDS = range(1, 13)


def test_seeds_over_the_socket_keep_every_promise_and_repeat() -> None:
    """Killed, frozen, cut in the middle of an order: nothing is found; the same seed is the same run."""
    seen = chunk(SEEDS, transport="socket")
    bites = [sum(count for name, count in one.bites.items() if name.startswith("order_socket_cut")) for one in seen]

    assert [] == [(one.seed, one.violations) for one in seen if one.violations]
    assert sum(bites) >= len(SEEDS)
    assert sum(one.bites.get("order_socket_cut in the middle", 0) for one in seen) > 0
    assert sum(one.positions for one in seen) > len(SEEDS)
    assert seen[:2] == chunk(SEEDS[:2], transport="socket")
