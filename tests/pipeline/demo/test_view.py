"""Tests of what a person sees: steps as lines, and tables on a terminal."""

from __future__ import annotations

import io

from rich.console import Console

from pipeline.demo.view import View
from tests.pipeline.demo.test_promises import episode
from tests.pipeline.reporting.test_account_view import reported


def test_without_a_terminal_every_step_is_a_line() -> None:
    """Steps are printed with the time since the start; there is no control sequence in them."""
    out = io.StringIO()
    with View(Console(file=out, width=100)) as view:
        view.step("first [not markup]")
        view.refresh()

    assert not view.live
    assert "s  first [not markup]" in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_on_a_terminal_positions_and_budget_are_drawn() -> None:
    """The live view shows positions, the exchange's stops, naked time, latency and the rate budget."""
    out = io.StringIO()
    with View(Console(file=out, width=140, force_terminal=True)) as view:
        view.positions.take(1, reported("p", 5))
        view.summary = {
            "episodes": [episode("BTCUSDT", 30, closed_ms=None), episode("ETHUSDT", 20)],
            "minutes": [{"minute_ms": 0, "requests": 30, "weight": 90}],
            "now": 60_000,
            "requests": {},
        }
        view.latency = {"frame_to_intent_p50_ms": 3.5}
        view.step("a step")

    text = out.getvalue()
    for word in ("BTCUSDT", "tightest 2", "30 ms", "ETHUSDT", "flat", "3.5 ms", "30.0 requests/min", "a step"):
        assert word in text, word
