"""The only place for the tests of the listen key: fetched, kept alive, never logged."""

from __future__ import annotations

import httpx
import pytest

from connectors.binance_futures.user_stream import KEEP_ALIVE_MS, RETRY_MS, KeepAlive, ListenKeyError, ListenKeys

KEY = "k" * 64


def keys(status: int, body: str | bytes, seen: list[httpx.Request] | None = None) -> ListenKeys:
    def answer(request: httpx.Request) -> httpx.Response:
        if seen is not None:
            seen.append(request)
        return httpx.Response(status, content=body)

    return ListenKeys(rest_url="http://venue", api_key="the-key", transport=httpx.MockTransport(answer))


async def test_a_key_is_fetched_with_the_key_header_and_nothing_else() -> None:
    """No signature, no timestamp (venue sheet 3.1)."""
    seen: list[httpx.Request] = []
    subject = keys(200, f'{{"listenKey":"{KEY}"}}', seen)

    assert KEY == await subject.fetch()
    assert ("POST", "/fapi/v1/listenKey", "the-key", b"") == (
        seen[0].method,
        seen[0].url.raw_path.decode(),
        seen[0].headers["X-MBX-APIKEY"],
        seen[0].url.query,
    )
    assert await subject.keep_alive()
    assert "PUT" == seen[1].method
    assert "ws://venue/private/ws/<listen key>" == subject.without_key(f"ws://venue/private/ws/{KEY}")


async def test_an_unknown_key_must_be_replaced() -> None:
    """-1125: only a new key and a new connection help."""
    assert not await keys(400, '{"code":-1125,"msg":"This listenKey does not exist."}').keep_alive()


@pytest.mark.parametrize(
    ("status", "body", "retriable"),
    [
        (401, '{"code":-2015,"msg":"Invalid API-key"}', False),
        (503, "<html>Service Unavailable</html>", True),
        (200, "{}", True),
        (200, "[]", True),
        (200, b'{"listenKey":"\xff"}', True),
        (200, '{"x":' + "[" * 5_000, True),
        (429, '{"code":-1003,"msg":"Too many requests"}', True),
    ],
)
async def test_no_key_is_an_error_that_says_why(status: int, body: str | bytes, retriable: bool) -> None:
    """A wrong API key cannot get better by waiting; everything else can."""
    with pytest.raises(ListenKeyError) as caught:
        await keys(status, body).fetch()

    assert retriable is caught.value.retriable
    assert "the-key" not in str(caught.value)


def test_keep_alive_is_due_every_half_hour_and_a_minute_after_a_failure() -> None:
    """The key lives an hour: half an hour is left for retries."""
    subject = KeepAlive()
    assert not subject.due(10 * KEEP_ALIVE_MS)
    subject.obtained(0)

    assert not subject.due(KEEP_ALIVE_MS - 1)
    assert subject.due(KEEP_ALIVE_MS)
    assert not subject.due(KEEP_ALIVE_MS)
    subject.failed(KEEP_ALIVE_MS)
    assert not subject.due(KEEP_ALIVE_MS + RETRY_MS - 1)
    assert subject.due(KEEP_ALIVE_MS + RETRY_MS)
