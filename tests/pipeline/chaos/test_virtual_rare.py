"""Await points that few runs pass are steered to; a list of names that nobody reads would wait for nothing."""

from __future__ import annotations

from pipeline.chaos.virtual_rare import RARE
from pipeline.chaos.virtual_sites import label, sites, unreachable


def test_rare_await_points_are_in_the_code_and_can_be_reached() -> None:
    """A list of names that the code has left behind would wait for nothing."""
    chosen = sites()
    known = {f"{site[0]}:{site[1]}" for site in (*chosen.execute, *chosen.account)}

    assert [] == sorted(set(RARE) - known)
    assert [] == [label(site) for site in chosen.rare if unreachable(site)]
