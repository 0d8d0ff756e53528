"""The REST door: hands raw requests to the venue, applies request faults, and writes the venue's answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from connectors.exchange_simulator.faults import FaultRule
from connectors.exchange_simulator.request_faults import Trial, ids_of, suffer
from connectors.exchange_simulator.venue import Reply, Request

if TYPE_CHECKING:
    from connectors.exchange_simulator.server import Simulator

MAX_BODY: Final = 256 * 1024
MATCHED: Final = ("symbol", "type", "side", "positionSide", "reduceOnly", "closePosition")
CLIENT_IDS: Final = ("newClientOrderId", "clientAlgoId", "origClientOrderId")


def request_attributes(request: Request) -> dict[str, str]:
    """What fault rules can match on: method, path, and the parameters that describe an order."""
    params = dict(reversed(parse_qsl(request.query + "&" + request.body)))
    attributes = {"method": request.method, "path": request.path}
    return attributes | parameter_attributes(params)


def parameter_attributes(params: dict[str, str]) -> dict[str, str]:
    """What fault rules can match on among a request's parameters, on either interface."""
    attributes = {name: params.get(name, "") for name in MATCHED}
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


def replacement(rule: FaultRule, status: int, body: Any) -> web.Response:  # Any: JSON, or text for an HTML page
    """The answer a fault puts in place of the true one."""
    headers = {"Retry-After": str(max(1, rule.milliseconds // 1_000))} if status in (418, 429) else {}
    if isinstance(body, str):
        return web.Response(status=status, text=body, content_type="text/html", headers=headers)
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json", headers=headers)


async def faulty_reply(
    simulator: Simulator, request: web.Request, asked: Request, attributes: dict[str, str], trial: Trial
) -> web.StreamResponse:
    """The answer to a request that faults bit."""
    reply: Reply | None = await suffer(
        simulator,
        trial,
        attributes,
        ask=lambda: simulator.ask(asked),
        client_ids=lambda given: ids_of(given.body, attributes["client_id"]),
    )
    if trial.drops:
        return drop(request)
    replaced = trial.replaced(simulator.clock.now_ms())
    if replaced is not None:
        return replacement(trial.last, *replaced)
    assert reply is not None, "what is not executed has another answer or none"
    reply = await simulator.passed_on(asked, reply)
    answer = write_reply(msgspec.structs.replace(reply, body=trial.body(reply.body)))
    if trial.cuts_reply and isinstance(answer.body, bytes):
        answer.body = answer.body[: len(answer.body) // 2]
    return answer
