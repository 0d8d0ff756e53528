"""The only place for the test of the connector's metrics."""

from __future__ import annotations

import asyncio

import httpx
import msgspec
from prometheus_client import CollectorRegistry, generate_latest

from connectors.binance_futures.client import Connector
from connectors.binance_futures.metrics import ConnectorMetrics, Status, serve
from connectors.binance_futures.publisher import Publisher
from connectors.binance_futures.subscriptions import Subscriptions


async def test_a_scrape_shows_counters_and_one_gauge_per_group() -> None:
    """Names are stable, nothing is per symbol, and a connector that has not started can be scraped."""
    subscriptions = Subscriptions([f"S{number}USDT" for number in range(200)])
    connector = Connector(
        ws_url="ws://127.0.0.1:1",
        subscriptions=subscriptions,
        publisher=Publisher(arguments={}, prefix="p.", incarnation="i"),
        incarnation="i",
        draw=lambda: 0.5,
    )
    connector.offsets.sample("aggTrade", b'{"E":1790771372036}', 1_790_771_372_030_000_000)
    registry = CollectorRegistry()
    registry.register(ConnectorMetrics(connector))
    text = generate_latest(registry).decode()

    assert "perpguard_connector_frames_total 0.0" in text
    assert "perpguard_connector_ready 0.0" in text
    assert all(f'perpguard_connector_live{{group="{group.name}"}} 0.0' in text for group in subscriptions.groups)
    assert 'perpguard_connector_clock_offset_ms{kind="aggTrade",which="max"} 6.0' in text
    assert len(text.splitlines()) < 80


def served() -> tuple[Connector, int]:
    """A connector of one symbol that reaches no venue, and the port of its pages."""
    connector = Connector(
        ws_url="ws://127.0.0.1:1",
        subscriptions=Subscriptions(["S1USDT"]),
        publisher=Publisher(arguments={}, prefix="p.", incarnation="i"),
        incarnation="i",
        draw=lambda: 0.5,
    )
    return connector, serve(connector, 0, "127.0.0.1")


async def test_readiness_is_every_stream_proven_and_not_the_process_up() -> None:
    """GET /ready answers 503 before the first frames; /metrics answers on the same port."""
    _, port = served()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        ready, metrics = await client.get("/ready"), await client.get("/metrics")
        told = msgspec.json.decode((await client.get("/status")).content, type=Status)

    assert (False, 1, []) == (told.ready, told.symbols, told.connections)
    assert (503, "not every stream of what is held is proven\n") == (ready.status_code, ready.text)
    assert 200 == metrics.status_code
    assert "perpguard_connector_ready 0.0" in metrics.text


async def test_a_loop_that_stands_still_is_not_ready() -> None:
    """The pages are looked at where the connector lives: a thread of their own would say what was true before."""
    _, port = served()

    def ask(page: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{port}{page}", trust_env=False, timeout=30)

    # Blocking, and on purpose: nothing of the loop runs meanwhile.
    answers = [ask(page) for page in ("/ready", "/nothing")]
    later = await asyncio.to_thread(ask, "/status")

    assert [(503, "the connector stands still\n"), (404, "/metrics, /ready, /status\n")] == [
        (answer.status_code, answer.text) for answer in answers
    ]
    assert 200 == later.status_code
