"""Which orders only make a position smaller follows from mode, side and reduceOnly."""

from __future__ import annotations

import pytest

from connectors.exchange_simulator.order_specs import closes


@pytest.mark.parametrize(
    ("side", "buy", "reduce_only", "expected"),
    [
        ("BOTH", True, False, False),
        ("BOTH", True, True, True),
        ("LONG", True, False, False),
        ("LONG", False, False, True),
        ("SHORT", True, False, True),
        ("SHORT", False, False, False),
    ],
)
def test_closing_directions(side: str, buy: bool, reduce_only: bool, expected: bool) -> None:
    """LONG + SELL and SHORT + BUY close, as reduceOnly does in one-way mode (sheet 6.4)."""
    assert expected == closes(side, buy=buy, reduce_only=reduce_only)
