"""
The only place for the connector's metrics and readiness over HTTP: read from its counters, at no cost per frame.

``GET /metrics``; ``GET /ready``: 200 while every real-time stream of every held symbol is proven live and the user
stream stands, else 503; ``GET /status``: connections as JSON. Gauges per connection group and per kind of stream, none
per symbol: a scrape stays small with 500 symbols.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from connectors.binance_futures.client import Connector, Described

ANSWER_SECONDS: Final = 2.0
Answer = tuple[HTTPStatus, str, bytes]


class ConnectorMetrics(Collector):
    """Register it with a ``CollectorRegistry``."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector

    def collect(self) -> Iterator[Metric]:
        """Every metric as it is now."""
        connector, publisher = self._connector, self._connector.publisher
        intakes = connector.intakes
        yield _counter("frames", "Frames received.", connector.frames + sum(i.frames for i in intakes))
        yield _counter("quarantined", "Frames refused.", connector.refused + sum(i.refused for i in intakes))
        holes = connector.holes + sum(i.holes for i in intakes)
        yield _counter("holes", "Lost lines written: a stream of a symbol may have missed something.", holes)
        yield _counter("not_kept", "Quarantine records and alerts that found their queue full.", publisher.not_kept)
        yield _counter("connections_opened", "Connections begun.", connector.opened)
        yield _counter("records", "Records acknowledged by Kafka.", publisher.acknowledged_records)
        yield _counter("record_bytes", "Bytes acknowledged by Kafka.", publisher.acknowledged_bytes)
        yield _counter("produce_retries", "Records produced again after an error.", publisher.retries)
        yield _counter("given_way", "Frames that gave way to the memory bound.", publisher.batcher.given_way)
        yield _gauge("queued_bytes", "Bytes waiting for Kafka.", publisher.waiting_bytes)
        age = 0.0 if not publisher.waiting_bytes else time.monotonic() - publisher.last_acknowledged
        yield _gauge("unacknowledged_seconds", "Age of the last acknowledgement while something waits.", age)
        yield _gauge("ready", "1 when every real-time stream of what is held flows.", float(connector.ready))
        yield _gauge("proven", "1 when every real-time stream is proven.", float(connector.proven))
        yield _gauge("symbols", "Symbols wanted.", float(len(connector.subscriptions.symbols)))
        yield _gauge("held", "Symbols held.", float(len(connector.subscriptions.held)))
        live = GaugeMetricFamily("perpguard_connector_live", "1 while the group is live.", labels=["group"])
        silent = GaugeMetricFamily("perpguard_connector_silent", "Streams that owe a frame.", labels=["group"])
        for rollover in connector.rollovers:
            live.add_metric([rollover.group.name], float(rollover.live))
            silent.add_metric([rollover.group.name], float(connector.silent(rollover)))
        yield live
        yield silent
        offset = GaugeMetricFamily(
            "perpguard_connector_clock_offset_ms",
            "Event less receive time, a minute.",
            labels=["kind", "which"],
        )
        for kind, summary in connector.offsets.summary().items():
            for which in ("min_ms", "median_ms", "max_ms"):
                offset.add_metric([kind, which.removesuffix("_ms")], summary[which])
        yield offset


class Status(msgspec.Struct, frozen=True):
    """What ``GET /status`` answers."""

    ready: bool
    proven: bool
    symbols: int
    held: list[str]
    missing: list[str]
    connections: list[Described]
    opened: int
    frames: int
    quarantined: int
    holes: int
    queued_bytes: int
    given_way: int
    produce_retries: int
    offsets_ms: dict[str, dict[str, float]]


def status(connector: Connector) -> Status:
    """The connector as it is now."""
    publisher, intakes = connector.publisher, connector.intakes
    held = list(connector.subscriptions.held)
    return Status(
        ready=connector.ready,
        proven=connector.proven,
        symbols=len(connector.subscriptions.symbols),
        held=held,
        missing=connector.missing(held),
        connections=connector.describe(),
        opened=connector.opened,
        frames=connector.frames + sum(intake.frames for intake in intakes),
        quarantined=connector.refused + sum(intake.refused for intake in intakes),
        holes=connector.holes + sum(i.holes for i in intakes),
        queued_bytes=publisher.waiting_bytes,
        given_way=publisher.batcher.given_way,
        produce_retries=publisher.retries,
        offsets_ms=connector.offsets.summary(),
    )


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(f"perpguard_connector_{name}", text, value=value)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"perpguard_connector_{name}", text, value=value)


def serve(connector: Connector, port: int, host: str = "0.0.0.0") -> int:
    """
    Serve metrics, readiness and status from a thread until the process ends; returns the port (0 takes a free one).

    Call it in the connector's loop: that is where it is looked at. A loop that does not come to it is an answer, too.
    """
    registry = CollectorRegistry()
    registry.register(ConnectorMetrics(connector))
    loop = asyncio.get_running_loop()

    def ready() -> Answer:
        if connector.ready:
            return HTTPStatus.OK, "text/plain", b"ready\n"
        return HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", b"not every stream of what is held is proven\n"

    pages: dict[str, Callable[[], Answer]] = {
        "/ready": ready,
        "/status": lambda: (HTTPStatus.OK, "application/json", msgspec.json.encode(status(connector))),
        "/metrics": lambda: (HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(registry)),
    }

    async def look(page: Callable[[], Answer]) -> Answer:
        return page()

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:  # Any: WSGI's own
        code, kind, body = HTTPStatus.NOT_FOUND, "text/plain", b"/metrics, /ready, /status\n"
        page = pages.get(environ["PATH_INFO"])
        if page is not None:
            asked = asyncio.run_coroutine_threadsafe(look(page), loop)
            try:
                code, kind, body = asked.result(ANSWER_SECONDS)
            except TimeoutError:
                asked.cancel()
                code, body = HTTPStatus.SERVICE_UNAVAILABLE, b"the connector stands still\n"
        start(f"{code.value} {code.phrase}", [("Content-Type", kind)])
        return [body]

    server = make_server(host, port, answer, WSGIServer, _Silent)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server.server_port


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # Any: as the base class
        """Scrapes are not worth a log line."""
