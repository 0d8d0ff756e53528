"""Requests are authorised, charged and answered as the venue does; the same inputs give the same outputs."""

from __future__ import annotations

import msgspec
import pytest

from connectors.exchange_simulator.endpoints import NOT_SIMULATED, ROUTES
from connectors.exchange_simulator.rate_limits import Limits
from connectors.exchange_simulator.signing import DEFAULT_KEY
from connectors.exchange_simulator.venue import Request, VenueSettings
from tests.connectors.exchange_simulator.sessions import fuzz, play
from tests.connectors.exchange_simulator.venues import Bench


@pytest.mark.parametrize(
    ("key", "status", "code"), [(None, 401, -2014), ("", 401, -2014), ("someone-else", 401, -2015)]
)
def test_keys(key: str | None, status: int, code: int) -> None:
    """No key −2014, a wrong one −2015, both 401, before anything else is looked at."""
    bench = Bench()
    for path in ("/fapi/v3/balance", "/fapi/v1/openOrders"):
        reply = bench.venue.request(Request("GET", path, "", "", key), bench.now)
        assert (status, code) == (reply.status, reply.body["code"])


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", -1102),
        ("timestamp={now}", -1102),
        ("timestamp={now}&signature=00", -1022),
        ("timestamp={early}&signature=00", -1021),
        ("timestamp={now}&recvWindow=x&signature=00", -1102),
        ("timestamp=²&signature=00", -1102),
    ],
)
def test_signed_requests(query: str, code: int) -> None:
    """Missing time or signature −1102, old time −1021, wrong signature −1022."""
    bench = Bench()
    text = query.format(now=bench.now, early=bench.now - 5_001)
    reply = bench.venue.request(Request("GET", "/fapi/v3/balance", text, "", DEFAULT_KEY), bench.now)

    assert (400, code) == (reply.status, reply.body["code"])


def test_headers_tell_the_used_weight_and_order_counts() -> None:
    """Weight on every reply, order counts on accepted orders only (sheet 5.1)."""
    bench = Bench()
    assert "20" == bench.call("GET", "/fapi/v1/depth", symbol="BTCUSDT", limit=1000).headers["X-MBX-USED-WEIGHT-1M"]
    accepted = bench.market("BUY", "0.010").headers
    assert ("20", "1", "1") == (
        accepted["X-MBX-USED-WEIGHT-1M"],
        accepted["X-MBX-ORDER-COUNT-10S"],
        accepted["X-MBX-ORDER-COUNT-1M"],
    )
    assert "X-MBX-ORDER-COUNT-10S" not in bench.market("BUY", "0.0001").headers


def test_429_then_418_with_retry_after() -> None:
    """Over the weight 429 with Retry-After; going on is 418 with the end of the ban, for every path."""
    bench = Bench(VenueSettings(limits=Limits(weight_per_minute=20, patience=1), mark_noise_ppm=0))
    bench.call("GET", "/fapi/v1/depth", symbol="BTCUSDT", limit=1000)
    first, second = (bench.call("GET", "/fapi/v1/ping") for _ in range(2))

    assert (429, -1003, 418) == (first.status, first.body["code"], second.status)
    assert 0 < int(first.headers["Retry-After"]) <= 60
    assert "120" == second.headers["Retry-After"]
    assert f"banned until {bench.now + 120_000}" in second.body["msg"]


def test_unknown_paths_are_a_plain_404() -> None:
    """Removed and invented paths have no JSON body and cost nothing."""
    bench = Bench()
    for method, path in (("GET", "/fapi/v1/positionRisk"), ("GET", "/fapi/v1/allForceOrders"), ("PATCH", "/")):
        reply = bench.venue.request(Request(method, path), bench.now)
        assert (404, None, {}) == (reply.status, reply.body, reply.headers)


def test_a_parameter_given_twice_counts_as_in_the_query() -> None:
    """On duplicates the query string wins over the body (sheet 4)."""
    bench = Bench()
    reply = bench.venue.request(Request("GET", "/fapi/v1/openInterest", "symbol=BTCUSDT", "symbol=NONE"), bench.now)

    assert "BTCUSDT" == reply.body["symbol"]


def test_the_same_session_gives_the_same_bytes() -> None:
    """Two venues with the same seed, times and requests answer and stream exactly the same."""

    def session() -> bytes:
        bench = Bench(VenueSettings(seed=5))
        bodies = []
        for step in range(30):
            bench.book(838_600 + step)
            bench.trade(838_600, 3, buyer_is_maker=False)
            bodies.append(bench.market("BUY" if step % 3 else "SELL", "0.010").body)
            bench.wait(700)
        listen = bench.venue.request(Request("POST", "/fapi/v1/listenKey", "", "", DEFAULT_KEY), bench.now).body
        return msgspec.json.encode([bodies, bench.venue.frames, bench.venue.user_events, listen])

    assert session() == session()


def test_every_route_of_the_table_says_its_security_and_weight() -> None:
    """Trading and account paths are signed, listen keys need the key only, market data nothing."""
    for (method, path), endpoint in ROUTES.items():
        if f"{method} {path}" in NOT_SIMULATED:
            continue
        private = method != "GET" or any(word in path for word in ("rder", "account", "balance", "position"))
        if "listenKey" in path:
            assert "KEY" == endpoint.security
        elif private and "exchangeInfo" not in path:
            assert "SIGNED" == endpoint.security, path


def test_listen_keys_live_as_the_sheet_says() -> None:
    """POST gives the same key while one is active; after an hour it ends with its event; PUT then is −1125 (3.1)."""
    bench = Bench()

    def ask(method: str) -> dict[str, object]:
        body: dict[str, object] = bench.venue.request(
            Request(method, "/fapi/v1/listenKey", "", "", DEFAULT_KEY), bench.now
        ).body
        return body

    first = ask("POST")["listenKey"]
    assert (first, 64) == (ask("POST")["listenKey"], len(str(first)))
    bench.wait(3_599_000)
    assert first == ask("PUT")["listenKey"]
    bench.wait(3_601_000)
    assert {"e": "listenKeyExpired", "E": bench.now, "listenKey": first} == bench.venue.user_events[-1]
    assert -1125 == ask("PUT")["code"]
    assert first != ask("POST")["listenKey"]
    assert {} == ask("DELETE")


def test_seeded_sessions_of_everything_keep_every_promise() -> None:
    """
    Orders of all kinds in both modes, batches, modifications, funding, liquidations: money conserved to the last unit,
    closing orders never open, the user events replay into what REST shows. (10,000 by command: sessions.py.)
    """
    assert 120 == play(0, 120)


def test_malformed_requests_and_frames_get_answers() -> None:
    """REST, WebSocket API and control messages, schema-aware and damaged: nothing raises. (100,000 by command.)"""
    assert 4_000 == fuzz(0, 4_000)
