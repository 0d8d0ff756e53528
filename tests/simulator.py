"""The only place where tests start a simulated exchange, as a process or inside the test, and talk to it signed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx

from connectors.exchange_simulator.instruments import default_instrument, default_symbols
from connectors.exchange_simulator.scenarios import BUILT_IN, Scenario
from connectors.exchange_simulator.server import Clock, Simulator
from connectors.exchange_simulator.signing import DEFAULT_KEY, DEFAULT_SECRET, sign
from connectors.exchange_simulator.synthetic import SyntheticMarket
from connectors.exchange_simulator.venue import VenueSettings

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 20.0


class SimulatorProcess:
    """A simulator in its own process: `rest` and `ws` are its URLs."""

    def __init__(self, process: subprocess.Popen[str], urls: dict[str, str]) -> None:
        self.process = process
        self.rest, self.ws = urls["rest"], urls["ws"]

    def admin(self, method: str, name: str, body: Any = None, **query: Any) -> Any:
        """One admin call; raises with the simulator's own words when it refuses."""
        answer = httpx.request(method, f"{self.rest}/admin/{name}", json=body, params=query, timeout=30)
        if answer.status_code != 200:
            raise AssertionError(f"{method} /admin/{name}: {answer.status_code} {answer.text}")
        return answer.json()


@contextlib.contextmanager
def simulator_process(*options: str) -> Iterator[SimulatorProcess]:
    """Start `perpguard simulator --json` with *options*, wait until it is ready, and end it afterwards."""
    command = [sys.executable, "-m", "pipeline.cli", "simulator", "--json", *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"the simulator ended with {process.wait(5)} before it was ready"
        yield SimulatorProcess(process, json.loads(line))
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
        if process.stdout is not None:
            process.stdout.close()


@contextlib.asynccontextmanager
async def simulator_inside(
    *,
    symbols: int | list[str] = 3,
    rate: float = 20.0,
    scenario: Scenario | str = "calm",
    settings: VenueSettings | None = None,
    offset_ms: int = 0,
    begin: str = "now",
) -> AsyncIterator[Simulator]:
    """A synthetic simulator inside the test's own loop, on a free port."""
    names = default_symbols(symbols) if isinstance(symbols, int) else symbols
    rows = [default_instrument(name) for name in names]
    chosen = BUILT_IN[scenario] if isinstance(scenario, str) else scenario
    used = VenueSettings() if settings is None else settings
    running = Simulator(
        rows,
        used,
        make_source=lambda start_ms: SyntheticMarket(
            rows, seed=used.seed, scenario=chosen, rate=rate, start_ms=start_ms
        ),
        clock=Clock(offset_ms),
        begin=begin,
    )
    await running.start()
    try:
        yield running
    finally:
        await running.stop()


def signed_query(params: dict[str, Any], *, secret: str = DEFAULT_SECRET, now_ms: int | None = None) -> str:
    """Parameters as a query string with timestamp and signature, the signature last."""
    stamped = {name: _text(value) for name, value in params.items()}
    stamped.setdefault("timestamp", str(int(time.time() * 1_000) if now_ms is None else now_ms))
    query = urlencode(stamped)
    return f"{query}&signature={sign(secret, query)}"


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


async def until(condition: Callable[[], bool | Awaitable[bool]], *, seconds: float = 10.0) -> None:
    """Wait until a condition holds; fail after *seconds*."""
    async with asyncio.timeout(seconds):
        while True:
            held = condition()
            if held if isinstance(held, bool) else await held:
                return
            await asyncio.sleep(0.005)


class SignedClient:
    """A tiny asynchronous client: `await client.call("POST", "/fapi/v1/order", symbol=…)` → (status, JSON)."""

    def __init__(self, rest: str, *, key: str = DEFAULT_KEY, secret: str = DEFAULT_SECRET) -> None:
        self._http = httpx.AsyncClient(base_url=rest, headers={"X-MBX-APIKEY": key}, timeout=30)
        self._secret = secret
        self.headers: httpx.Headers = httpx.Headers()

    async def __aenter__(self) -> SignedClient:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._http.aclose()

    async def call(self, method: str, path: str, **params: Any) -> tuple[int, Any]:
        """A signed request."""
        answer = await self._http.request(method, f"{path}?{signed_query(params, secret=self._secret)}")
        return self._taken(answer)

    async def get(self, path: str, **params: Any) -> tuple[int, Any]:
        """A public request."""
        return self._taken(await self._http.get(path, params=params))

    async def keyed(self, method: str, path: str) -> tuple[int, Any]:
        """A request with the key header only (listen keys)."""
        return self._taken(await self._http.request(method, path))

    async def admin(self, method: str, name: str, body: Any = None, **query: Any) -> Any:
        """An admin call."""
        answer = await self._http.request(method, f"/admin/{name}", json=body, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def _taken(self, answer: httpx.Response) -> tuple[int, Any]:
        self.headers = answer.headers
        if "json" not in answer.headers.get("content-type", ""):
            return answer.status_code, answer.text
        return answer.status_code, answer.json()
