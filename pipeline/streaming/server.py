"""
The only place that serves a worker to people and probes: ``/metrics``, ``/ready`` and ``/positions`` over HTTP.

Faust's own web server stays off. Everything is read-only and comes from memory, but what is handed in as *routes* (the
webhook of signals, which authenticates each request); port 0 in the settings means none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from pipeline import telemetry

HOST: Final = "0.0.0.0"  # probes of a cluster come from outside the pod
Rows = Callable[[], dict[str, bytes]]


class ViewServer:
    """Serves on *port* until ``stop``; *ready* says whether every role folds, *positions* gives rows by symbol."""

    def __init__(
        self, *, port: int, ready: Callable[[], bool], positions: Rows, routes: Sequence[web.RouteDef] = ()
    ) -> None:
        self._port = port
        self._ready = ready
        self._positions = positions
        self._routes = routes
        self._runner: web.AppRunner | None = None
        self.port = port

    async def start(self) -> None:
        """Listen; raises OSError when the port is taken."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/metrics", self._serve_metrics),
                web.get("/ready", self._serve_ready),
                web.get("/positions", self._serve_positions),
                *self._routes,
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, self._port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        telemetry.log.info(telemetry.VIEWS_SERVED, port=self.port)

    async def stop(self) -> None:
        """Stop listening."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _serve_metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _serve_ready(self, _: web.Request) -> web.Response:
        ready = self._ready()
        return web.json_response({"ready": ready}, status=200 if ready else 503)

    async def _serve_positions(self, _: web.Request) -> web.Response:
        rows = {symbol: json.loads(row) for symbol, row in sorted(self._positions().items())}
        return web.json_response(rows)
