"""Tests of the webhook: authentic, fresh, once, readable; and what becomes of it."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.events import Side
from pipeline.streaming.server import ViewServer
from pipeline.streaming.webhook import (
    LONGEST_VALID_MS,
    MOST_BYTES,
    MOST_NONCES,
    WINDOW_MS,
    Door,
    NotTaken,
    Webhook,
    machine_ms,
    signature,
)
from pipeline.wire import records

SECRET = "a-secret-that-is-long-enough-for-this"
NOW = 1_700_000_000_000
BODY = b'{"symbol":"BTCUSDT","side":"long","source":"model","notional":"500","stop":"59000"}'


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


def knock(door: Door, *, nonce: str = "nonce-01", body: bytes = BODY, **changes: Any) -> records.SignalCommand:
    """A request that is signed as it should be, but for the changes."""
    timestamp = str(changes.pop("timestamp", NOW))
    signed = signature(SECRET, timestamp=timestamp, nonce=nonce, body=body)
    return door.open(**({"timestamp": timestamp, "nonce": nonce, "given": signed, "body": body} | changes))


def status(door: Door, **changes: Any) -> int:
    """The status of a refusal."""
    with pytest.raises(NotTaken) as refusal:
        knock(door, **changes)
    return refusal.value.status


def test_an_authentic_request_becomes_a_command() -> None:
    """Its id is the nonce, so that the account answers it once for ever; it is void after its time."""
    command = knock(Door(SECRET, now_ms=Clock()))

    assert ("hook-nonce-01", "BTCUSDT", Side.BUY, "model") == (
        command.command, command.symbol, command.side, command.source,
    )  # fmt: skip
    assert ("500", "59000", NOW + 10_000) == (command.notional, command.stop, command.until_ms)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"given": ""}, 401),
        ({"given": "00" * 32}, 401),
        ({"given": "ü" * 64}, 401),
        ({"timestamp": NOW - WINDOW_MS - 1}, 401),
        ({"timestamp": NOW + WINDOW_MS + 1}, 401),
        ({"timestamp": "17e11"}, 400),
        ({"nonce": "short"}, 400),
        ({"nonce": "no spaces allowed"}, 400),
        ({"body": b"not json"}, 400),
        ({"body": b'{"symbol":"BTCUSDT"}'}, 400),
        ({"body": b'{"symbol":"BTCUSDT","side":"sideways"}'}, 400),
        ({"body": b'{"symbol":"btc","side":"long"}'}, 400),
        ({"body": b'{"symbol":"BTCUSDT","side":"long","leverage":125}'}, 400),
        ({"body": b'{"symbol":"BTCUSDT","side":"long","valid_ms":0}'}, 400),
        ({"body": b'{"symbol":"BTCUSDT","side":"long","valid_ms":%d}' % (LONGEST_VALID_MS + 1)}, 400),
        ({"body": b" " * (MOST_BYTES + 1)}, 413),
    ],
)
def test_what_is_wrong_is_refused(changes: dict[str, Any], expected: int) -> None:
    """No secret, too old or from the future, no nonce, no readable body: each with its status."""
    assert expected == status(Door(SECRET, now_ms=Clock()), **changes)


def test_a_request_is_taken_once() -> None:
    """The same request again within its window is a repeat; after the window its timestamp is too old."""
    clock = Clock()
    door = Door(SECRET, now_ms=clock)
    knock(door)
    assert 409 == status(door)
    clock.now += WINDOW_MS + 1
    assert 401 == status(door)


def test_a_nonce_is_not_burnt_by_who_does_not_know_the_secret() -> None:
    """Somebody who guesses nonces cannot keep the owner out."""
    door = Door(SECRET, now_ms=Clock())
    assert 401 == status(door, given="00")
    assert knock(door)


def test_the_memory_of_nonces_is_bounded() -> None:
    """A flood of authentic requests is refused when the memory is full, and forgotten with the window."""
    clock = Clock()
    door = Door(SECRET, now_ms=clock)
    door._nonces = {f"n{number}": NOW + 1 for number in range(MOST_NONCES)}
    assert 429 == status(door)
    clock.now += 2
    assert knock(door)


@given(st.binary(max_size=200), st.text(max_size=60), st.text(max_size=60), st.text(max_size=80))
def test_no_bytes_get_in(body: bytes, timestamp: str, nonce: str, given_: str) -> None:
    """Whatever stands in body and headers, nothing but a refusal comes of it without the secret."""
    with pytest.raises(NotTaken):
        Door(SECRET, now_ms=Clock()).open(timestamp=timestamp, nonce=nonce, given=given_, body=body)


async def test_over_http() -> None:
    """202 when the command is in the log, the refusal's status and reason otherwise; views go on beside it."""
    written: list[records.SignalCommand] = []

    async def write(command: records.SignalCommand) -> None:
        written.append(command)

    webhook = Webhook(Door(SECRET, now_ms=machine_ms), write)
    server = ViewServer(port=0, ready=lambda: True, positions=dict, routes=[webhook.route()])
    await server.start()
    timestamp = str(machine_ms())
    headers = {
        "X-Perpguard-Timestamp": timestamp,
        "X-Perpguard-Nonce": "nonce-01",
        "X-Perpguard-Signature": signature(SECRET, timestamp=timestamp, nonce="nonce-01", body=BODY),
    }
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as client:
            answers = []
            for sent in (headers, headers, {}):
                async with client.post("/signal", data=BODY, headers=sent) as answer:
                    answers.append((answer.status, json.loads(await answer.text())))
    finally:
        await server.stop()

    assert [202, 409, 401] == [code for code, _ in answers]
    assert {"taken": True, "command": "hook-nonce-01"} == answers[0][1]
    assert {"taken": False, "reason": "not authentic"} == answers[2][1]
    assert ["hook-nonce-01"] == [command.command for command in written]
