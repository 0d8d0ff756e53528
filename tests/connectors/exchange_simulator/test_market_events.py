"""Market events are values: equal content is equal, and nobody can change one on its way."""

from __future__ import annotations

import pytest

from connectors.exchange_simulator.market_events import BookChange, MarketTrade


def test_events_are_frozen_values() -> None:
    """Two changes with the same levels are equal; assigning to one fails."""
    event = MarketTrade("BTCUSDT", 1, 2, True)

    assert BookChange("A", [(1, 2)], []) == BookChange("A", [(1, 2)], [])
    with pytest.raises(AttributeError):
        event.ticks = 5  # type: ignore[misc]
