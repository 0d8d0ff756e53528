"""The REST door: hands raw requests to the venue, applies request faults, and writes the venue's answers."""

from __future__ import annotations

import asyncio
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from connectors.exchange_simulator.faults import REQUEST_ACTIONS, FaultPlan, FaultRule, replaced_reply
from connectors.exchange_simulator.venue import Reply, Request

MAX_BODY: Final = 256 * 1024
CLIENT_IDS: Final = ("newClientOrderId", "clientAlgoId", "origClientOrderId")


class Hold:
    """A request that waits because a fault says so; `release` lets it go on early."""

    def __init__(self, number: int, *, phase: str, attributes: dict[str, str], since_ms: int) -> None:
        self.number, self.phase, self.attributes, self.since_ms = number, phase, attributes, since_ms
        self.released = asyncio.Event()

    async def wait(self, milliseconds: int) -> None:
        """Wait for the release or the time, whichever comes first."""
        try:
            async with asyncio.timeout(milliseconds / 1_000):
                await self.released.wait()
        except TimeoutError:
            return


class Holds:
    """The requests being held now."""

    def __init__(self) -> None:
        self.running: dict[int, Hold] = {}
        self.changed = asyncio.Condition()
        self._count = 0

    async def hold(self, rule: FaultRule, *, phase: str, attributes: dict[str, str], now_ms: int) -> None:
        """Hold the calling request."""
        self._count += 1
        hold = Hold(self._count, phase=phase, attributes=attributes, since_ms=now_ms)
        self.running[hold.number] = hold
        async with self.changed:
            self.changed.notify_all()
        try:
            await hold.wait(rule.milliseconds)
        finally:
            del self.running[hold.number]

    def release(self, number: int | None) -> int:
        """Release one hold or all; returns how many."""
        chosen = [hold for hold in self.running.values() if number is None or hold.number == number]
        for hold in chosen:
            hold.released.set()
        return len(chosen)


def request_attributes(request: Request) -> dict[str, str]:
    """What fault rules can match on: method, path, and the parameters that describe an order."""
    params = dict(reversed(parse_qsl(request.query + "&" + request.body)))
    attributes = {"method": request.method, "path": request.path}
    for name in ("symbol", "type", "side", "reduceOnly", "closePosition"):
        attributes[name] = params.get(name, "")
    attributes["client_id"] = next((params[name] for name in CLIENT_IDS if name in params), "")
    return attributes


async def read_request(request: web.Request) -> Request:
    """The request as bytes and text the signature covers; a body that is no text counts as damaged."""
    body = await request.read() if request.can_read_body else b""
    peer = request.remote or "unknown"
    return Request(
        method=request.method,
        path=request.path,
        query=request.rel_url.raw_query_string,
        body=body.decode("utf-8", errors="replace"),
        api_key=request.headers.get("X-MBX-APIKEY"),
        address=peer,
    )


def write_reply(reply: Reply) -> web.Response:
    """JSON with the venue's headers; unknown paths get the plain 404 page."""
    if reply.status == 404 and reply.body is None:
        return web.Response(
            status=404, text="<html><body><h2>404 Not found</h2></body></html>", content_type="text/html"
        )
    return web.Response(
        status=reply.status,
        body=msgspec.json.encode(reply.body),
        content_type="application/json",
        headers=reply.headers,
    )


def drop(request: web.Request) -> web.StreamResponse:
    """Cut the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=503)


def fault_reply(rule: FaultRule) -> web.Response | None:
    """The answer a fault puts in place of the true one."""
    replaced = replaced_reply(rule)
    if replaced is None:
        return None
    status, body = replaced
    headers = {"Retry-After": str(max(1, rule.milliseconds // 1_000))} if status in (418, 429) else {}
    raw: Any = body  # Any: a rule may give any JSON, or text for a proxy's HTML page
    if isinstance(raw, str):
        return web.Response(status=status, text=raw, content_type="text/html", headers=headers)
    return web.Response(status=status, body=msgspec.json.encode(raw), content_type="application/json", headers=headers)


def find_fault(plan: FaultPlan, attributes: dict[str, str]) -> FaultRule | None:
    """The request fault that bites now."""
    return plan.find(REQUEST_ACTIONS, attributes) if plan.rules else None
