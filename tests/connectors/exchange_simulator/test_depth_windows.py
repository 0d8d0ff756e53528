"""Depth streams have the sheet's names, and a window keeps the first id of its changes."""

from __future__ import annotations

from connectors.exchange_simulator.depth_windows import DepthWindow, depth_names


def test_the_names_of_a_speed() -> None:
    """Only 250 ms has no suffix (sheet 1.2)."""
    assert ("x@depth", [(5, "x@depth5"), (10, "x@depth10"), (20, "x@depth20")]) == depth_names("x", 250)
    assert "x@depth@100ms" == depth_names("x", 100)[0]
    assert (20, "x@depth20@500ms") == depth_names("x", 500)[1][-1]


def test_a_window_begins_with_its_first_id() -> None:
    """Later ids do not move it."""
    window = DepthWindow(5)
    window.open(7)
    window.open(9)
    assert (5, 7) == (window.previous_id, window.first_id)
