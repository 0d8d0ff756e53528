"""The only place for the tests of what a recording asks by REST: its pace, its order, what a refusal leads to."""

from __future__ import annotations

import asyncio

import httpx
from hypothesis import given
from hypothesis import strategies as st

from connectors.binance_futures.snapshots import BURST, PER_MINUTE, Pace, Snapshots

INFO = b'{"symbols":[{"symbol":"BTCUSDT"}]}'


class Kept:
    """A keeper that writes down what it was given."""

    def __init__(self, *wanted: str) -> None:
        self.wanted = dict.fromkeys(wanted)
        self.given: list[tuple[str, bytes]] = []

    def filters(self, at_ns: int, url: str, body: bytes) -> None:
        self.given.append(("filters", body))

    def book(self, at_ns: int, symbol: str, body: bytes) -> None:
        self.given.append((symbol, body))


@given(st.lists(st.floats(0, 100), max_size=60))
def test_no_minute_has_more_than_the_burst_and_its_share(pauses: list[float]) -> None:
    """In any 60 s at most the burst and six books, so never more than a tenth of the venue's weight."""
    pace, now, sent = Pace(), 1_000.0, []
    for pause in pauses:
        now += pause
        now += pace.wait(now)
        sent.append(now)

    assert all(sum(at <= other < at + 60 for other in sent) <= BURST + PER_MINUTE for at in sent)


async def test_filters_come_first_and_a_book_that_was_refused_is_asked_for_again() -> None:
    """The venue's word for "too much" is waited out; what is not read stays wanted."""
    answers = iter(
        [
            httpx.Response(200, content=INFO),
            httpx.Response(429, headers={"Retry-After": "0"}),
            httpx.Response(200, content=b'{"lastUpdateId": 7,\n "bids":[],"asks":[]}'),
        ]
    )
    keeper = Kept("BTCUSDT")
    subject = Snapshots(
        rest_url="http://venue", keeper=keeper, transport=httpx.MockTransport(lambda request: next(answers))
    )
    running = asyncio.create_task(subject.run())
    async with asyncio.timeout(10):
        while len(keeper.given) < 2:  # noqa: ASYNC110  # a plain keeper has no event
            await asyncio.sleep(0.01)
    running.cancel()

    assert [("filters", INFO), ("BTCUSDT", b'{"lastUpdateId":7,"bids":[],"asks":[]}')] == keeper.given
    assert {} == keeper.wanted
