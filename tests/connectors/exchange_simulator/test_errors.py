"""Refusals carry the venue's code, text and HTTP status."""

from __future__ import annotations

import pytest

from connectors.exchange_simulator.errors import VenueError


@pytest.mark.parametrize(
    ("code", "status"), [(-1121, 400), (-2015, 401), (-1003, 429), (-1015, 429), (-1008, 503), (-1007, 408)]
)
def test_statuses_follow_the_class_of_the_error(code: int, status: int) -> None:
    """Business refusals answer 400, keys 401, limits 429, overload 503, timeouts 408 (sheet 5.4)."""
    assert status == VenueError(code, limit=1, interval="1 MINUTE").status


def test_the_body_is_code_and_text() -> None:
    """The body has exactly `code` and `msg`."""
    assert {"code": -1121, "msg": "Invalid symbol."} == VenueError(-1121).body()
    assert "'price' was not sent" in VenueError(-1102, name="price").body()["msg"]
