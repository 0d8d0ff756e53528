"""Filters are read once and only when a price or slice must be made."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.binance.errors import Classified, Reaction
from pipeline.emergency.grid import Grids
from pipeline.emergency.venue import Call, PlainVenue, Reply

BODY = (
    b'{"symbols":[{"symbol":"BTCUSDT","filters":[{"filterType":"PRICE_FILTER","tickSize":"0.10"},'
    b'{"filterType":"LOT_SIZE","stepSize":"0.001","maxQty":"1000"},'
    b'{"filterType":"MARKET_LOT_SIZE","stepSize":"0.001","maxQty":"120"}]}]}'
)


class Fixed(PlainVenue):
    """Answers every call with the same words."""

    def __init__(self, reply: Reply) -> None:
        super().__init__("http://127.0.0.1:9", key="", secret="")
        self._reply = reply

    def call(self, call: Call, **_: Any) -> Reply:
        self.calls += 1
        return self._reply


def test_prices_and_slices_are_on_the_grid() -> None:
    """Ticks are cut downwards and moved by whole ticks, slices are 0.9 of the market maximum."""
    venue = Fixed(Reply(Classified(Reaction.ACCEPTED), BODY))
    grids = Grids(venue)

    assert "100.1" == grids.price_text("BTCUSDT", 10_019_999_999, away=0)
    assert "100.2" == grids.price_text("BTCUSDT", 10_019_999_999, away=1)
    assert 108 * 10**8 == grids.largest_market_e8("BTCUSDT")
    assert 1_500_000 == grids.lots_down_e8("BTCUSDT", 1_599_999) // 100_000 * 100_000
    assert 1 == venue.calls


@pytest.mark.parametrize("reply", [Reply(Classified(Reaction.IN_DOUBT)), Reply(Classified(Reaction.ACCEPTED), b"{}")])
def test_filters_that_cannot_be_read_give_no_price(reply: Reply) -> None:
    """Nothing is guessed."""
    grids = Grids(Fixed(reply))

    assert ("", 0) == (grids.price_text("BTCUSDT", 10**8, away=0), grids.largest_market_e8("BTCUSDT"))
