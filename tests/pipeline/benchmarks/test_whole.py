"""Tests of what a benchmark asks of the whole pipeline; that it runs is shown by the benchmarks and the demo."""

from __future__ import annotations

import pytest

from pipeline.benchmarks.whole import open_command
from pipeline.core.events import Side


def test_a_position_is_asked_for_on_the_grid_with_its_stop_a_percent_away() -> None:
    """Prices are multiples of the tick, the stop lies 1 % below the middle, the targets far above it."""
    command = open_command("BTCUSDT", middle=100.0, tick=0.1)

    assert (command.symbol, command.side) == ("BTCUSDT", Side.BUY)
    assert [float(command.stop), float(command.target), float(command.last_target)] == pytest.approx(
        [99.0, 150.0, 160.0]
    )
