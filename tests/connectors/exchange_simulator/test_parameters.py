"""Parameters are read strictly; what is missing or malformed gets its code."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from connectors.exchange_simulator.errors import VenueError
from connectors.exchange_simulator.parameters import boolean, choice, mandatory, optional_int


def test_what_is_there_is_read() -> None:
    """Text, numbers, booleans in any case, and the default of a choice."""
    params = {"symbol": "BTCUSDT", "limit": "50", "reduceOnly": "TRUE"}

    assert ("BTCUSDT", 50, None) == (
        mandatory(params, "symbol"),
        optional_int(params, "limit"),
        optional_int(params, "fromId"),
    )
    assert (True, False) == (boolean(params, "reduceOnly"), boolean(params, "closePosition"))
    assert "GTC" == choice(params, "timeInForce", ("GTC", "IOC"), -1115, "GTC")


@pytest.mark.parametrize(
    ("read", "code"),
    [
        (lambda: mandatory({}, "symbol"), -1102),
        (lambda: mandatory({"symbol": ""}, "symbol"), -1102),
        (lambda: optional_int({"limit": "-5"}, "limit"), -1102),
        (lambda: optional_int({"limit": "9" * 19}, "limit"), -1102),
        (lambda: optional_int({"limit": "²"}, "limit"), -1102),
        (lambda: boolean({"reduceOnly": "1"}, "reduceOnly"), -1102),
        (lambda: choice({"timeInForce": "NOW"}, "timeInForce", ("GTC",), -1115, "GTC"), -1115),
    ],
)
def test_what_is_missing_or_malformed_is_refused(read: Callable[[], object], code: int) -> None:
    """−1102 for missing, empty, signed, too long or foreign numbers; a choice has its own code."""
    with pytest.raises(VenueError) as refusal:
        read()
    assert code == refusal.value.code
