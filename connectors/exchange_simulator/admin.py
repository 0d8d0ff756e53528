"""The admin door: what tests and demos may ask and change; not part of the venue, never charged or signed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from connectors.exchange_simulator.faults import FaultError, parse_rules
from connectors.exchange_simulator.fixed_point import format_e8, parse_e8
from connectors.exchange_simulator.instruments import CONTRACT_STATUSES
from connectors.exchange_simulator.scenarios import AT_END, ScenarioError, parse_segments
from connectors.exchange_simulator.signing import PublicKeyError
from connectors.exchange_simulator.status_page import page
from connectors.exchange_simulator.synthetic import SyntheticMarket

if TYPE_CHECKING:
    from connectors.exchange_simulator.server import Simulator

Payload = dict[str, Any]  # Any: JSON
Handler = Callable[["Simulator", web.Request], Awaitable[Any]]  # Any: JSON


class AdminError(Exception):
    """A request of the admin door that makes no sense; the text says what would."""


async def _body(request: web.Request) -> Payload:
    raw = await request.read()
    try:
        decoded = msgspec.json.decode(raw) if raw else {}
    except msgspec.DecodeError as error:
        raise AdminError(f"body is no JSON: {error}") from error
    if isinstance(decoded, list):
        return {"rules": decoded}
    if not isinstance(decoded, dict):
        raise AdminError("body must be a JSON object")
    return decoded


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, str(default))
    if not text.lstrip("-").isdigit():
        raise AdminError(f"{name} must be a whole number, not {text!r}")
    return int(text)


async def status(simulator: Simulator, request: web.Request) -> Any:
    """GET /admin/status: clock, source, sockets, frames."""
    hub = simulator.hub
    return {
        "now": simulator.clock.now_ms(),
        "offset_ms": simulator.clock.offset_ms,
        "started": simulator.started.is_set(),
        "symbols": list(simulator.venue.markets),
        "source": simulator.exchange.source.status(),
        "market_events": simulator.exchange.market_events,
        "frames_sent": hub.frames_sent,
        "listen_key_active": simulator.venue.listen_key is not None,
        "sockets": _sockets(simulator),
    }


def _sockets(simulator: Simulator) -> list[Payload]:
    return [
        {"route": client.route, "streams": len(client.streams), "frames": client.frames, "bytes": client.bytes}
        for client in simulator.hub.clients
    ]


async def start(simulator: Simulator, request: web.Request) -> Any:
    """POST /admin/start: let the market begin (with --wait-for-start)."""
    simulator.started.set()
    return {"started": True}


async def ledger(simulator: Simulator, request: web.Request) -> Any:
    """GET /admin/ledger?after=N&limit=M&kind=K: lines with n > N, oldest first."""
    after, limit = _number(request, "after", -1), _number(request, "limit", 10_000)
    kind = request.query.get("kind")
    lines = simulator.venue.ledger.lines
    first = max(0, after + 1 - simulator.venue.ledger.first_kept)
    chosen = [line for line in lines[first:] if kind is None or line["kind"] == kind][:limit]
    return {"lines": chosen, "last": lines[-1]["n"] if lines else -1}


async def summary(simulator: Simulator, request: web.Request) -> Any:
    """GET /admin/summary: naked time, stop history, duplicates, requests per minute, faults and what never bit."""
    found = simulator.venue.ledger.summary(simulator.clock.now_ms())
    return found | {"faults_never_bit": simulator.faults.never_bit()}


async def add_faults(simulator: Simulator, request: web.Request) -> Any:
    """POST /admin/faults: a list of rules, or {"rules": […], "seed": N, "replace": true}."""
    body = await _body(request)
    rules = parse_rules(body.get("rules", []))
    seed = body.get("seed", simulator.faults.seed)
    if not isinstance(seed, int):
        raise AdminError("seed must be a whole number")
    if body.get("replace"):
        simulator.faults.clear()
    simulator.faults.seed = seed
    return {"ids": simulator.faults.add(rules)}


async def faults(simulator: Simulator, request: web.Request) -> Any:
    """GET /admin/faults: rules and how often each bit."""
    return simulator.faults.report()


async def clear_faults(simulator: Simulator, request: web.Request) -> Any:
    """DELETE /admin/faults: withdraw all rules."""
    simulator.faults.clear()
    return {"active": []}


async def holds(simulator: Simulator, request: web.Request) -> Any:
    """GET /admin/holds?wait_ms=T: the requests being held; waits until there is one."""
    held = simulator.holds
    wait_ms = _number(request, "wait_ms", 0)
    if not held.running and wait_ms > 0:
        try:
            async with asyncio.timeout(wait_ms / 1_000), held.changed:
                await held.changed.wait_for(lambda: bool(held.running))
        except TimeoutError:
            return {"holds": []}
    return {
        "holds": [
            {"id": hold.number, "phase": hold.phase, "since": hold.since_ms} | hold.attributes
            for hold in held.running.values()
        ]
    }


async def release(simulator: Simulator, request: web.Request) -> Any:
    """POST /admin/release {"id": N}: let one held request (all without an id) go on."""
    number = (await _body(request)).get("id")
    if number is not None and not isinstance(number, int):
        raise AdminError("id must be a whole number")
    return {"released": simulator.holds.release(number)}


async def disconnect(simulator: Simulator, request: web.Request) -> Any:
    """POST /admin/disconnect {"route": "public" | "market" | "private" | "ws-fapi"}: cut its sockets (all without)."""
    route = (await _body(request)).get("route")
    if route not in (None, "public", "market", "private", "ws-fapi"):
        raise AdminError(f"route {route!r} is none of public, market, private, ws-fapi")
    cut = simulator.disconnect(route)
    simulator.note_bite("disconnect", {"route": route, "sockets": cut})
    return {"disconnected": cut}


async def path(simulator: Simulator, request: web.Request) -> Any:
    """
    POST /admin/path {"symbol", "path" | "segments", "direction": 1 | -1, "at_end"}: start a price path now.

    Without path and segments the scenario's own path of the symbol is taken; direction −1 mirrors it.
    """
    source = simulator.exchange.source
    if not isinstance(source, SyntheticMarket):
        raise AdminError("only the synthetic market has paths; this is a recording")
    body = await _body(request)
    symbol = body.get("symbol")
    if symbol not in simulator.venue.markets:
        raise AdminError(f"symbol {symbol!r} is not simulated; there are {list(simulator.venue.markets)}")
    at_end = body.get("at_end", "hold")
    if at_end not in AT_END:
        raise AdminError(f"at_end {at_end!r} is none of {AT_END}")
    try:
        segments = (
            parse_segments(body["segments"])
            if "segments" in body
            else source.scenario.path_of(symbol, body.get("path"))
        )
    except KeyError as error:
        raise AdminError(error.args[0]) from error
    if body.get("direction", 1) == -1:
        segments = [segment.mirrored() for segment in segments]
    source.set_path(symbol, segments, at_end=at_end, now_ms=simulator.clock.now_ms())
    return {"symbol": symbol, "segments": msgspec.to_builtins(segments), "at_end": at_end}


async def marks(simulator: Simulator, request: web.Request) -> Any:
    """
    POST /admin/marks {"spread": true, "phases": {"BTCUSDT": 940}}: mark prices evenly over the second, or all at once.

    *phases* names symbols whose mark price comes at a millisecond of the second of its own choice.
    """
    body = await _body(request)
    spread, phases = body.get("spread"), body.get("phases", {})
    if not isinstance(spread, bool):
        raise AdminError("spread must be true or false")
    if not isinstance(phases, dict) or not all(
        symbol in simulator.venue.markets and isinstance(phase, int) and 0 <= phase < 1_000
        for symbol, phase in phases.items()
    ):
        raise AdminError("phases must name simulated symbols and milliseconds of the second, 0 to 999")
    simulator.venue.cadences.spread_marks = spread
    simulator.venue.cadences.mark_phases = phases
    return {"spread": spread, "phases": phases}


async def bars(simulator: Simulator, request: web.Request) -> Any:
    """
    POST /admin/bars {"phase_ms": 900}: end the running 5m candle of every symbol when the second is so far.

    The candles' clock runs before the exchange's from then on: a benchmark needs many closes, not many hours.
    """
    phase = (await _body(request)).get("phase_ms", 0)
    if not isinstance(phase, int) or not 0 <= phase < 1_000:
        raise AdminError("phase_ms must be a millisecond of the second, 0 to 999")
    now_ms = simulator.clock.now_ms()
    at_ms = now_ms + (phase - now_ms) % 1_000
    simulator.venue.cadences.end_bars(at_ms)
    return {"at_ms": at_ms}


async def clock(simulator: Simulator, request: web.Request) -> Any:
    """POST /admin/clock {"offset_ms": N}: put the exchange's clock off the host's."""
    offset = (await _body(request)).get("offset_ms")
    if not isinstance(offset, int):
        raise AdminError("offset_ms must be a whole number of milliseconds")
    simulator.clock.offset_ms = offset
    return {"now": simulator.clock.now_ms() + simulator.clock.skew_ms(), "offset_ms": offset}


async def frame(simulator: Simulator, request: web.Request) -> Any:
    """POST /admin/frame {"stream", "payload"}: send a public frame as given (forceOrder, contractInfo, bad ones)."""
    body = await _body(request)
    stream, payload = body.get("stream"), body.get("payload")
    if not isinstance(stream, str) or payload is None:
        raise AdminError("stream (text) and payload (JSON) are needed")
    readers = simulator.hub.wanted(stream)
    simulator.hub.publish([(stream, payload)])
    return {"sent": readers}


async def listen_key(simulator: Simulator, request: web.Request) -> Any:
    """POST /admin/expire-listen-key: end the user stream's key with its event."""
    simulator.venue.expire_listen_key(simulator.clock.now_ms())
    simulator.deliver()
    return {"expired": True}


async def stuck(simulator: Simulator, request: web.Request) -> Any:
    """POST /admin/stuck-triggers {"symbol", "count"}: the next *count* triggers stay in TRIGGERING."""
    body = await _body(request)
    symbol, count = body.get("symbol"), body.get("count", 1)
    if symbol not in simulator.venue.markets or not isinstance(count, int):
        raise AdminError("symbol must be simulated and count a whole number")
    simulator.venue.conditional.stuck_triggers[symbol] = count
    return {"symbol": symbol, "count": count}


async def change_symbol(simulator: Simulator, request: web.Request) -> Any:
    """
    POST /admin/symbol {"symbol", "status", "delivery_ms", "tick_size"}: halt, delist, reopen, or give a new tickSize.

    !contractInfo tells of status and delivery; of a tick only exchangeInfo.
    """
    body = await _body(request)
    symbol, status_word, delivery = body.get("symbol"), body.get("status"), body.get("delivery_ms")
    if symbol not in simulator.venue.markets:
        raise AdminError(f"symbol {symbol!r} is not simulated; there are {list(simulator.venue.markets)}")
    if status_word is not None and status_word not in CONTRACT_STATUSES:
        raise AdminError(f"status {status_word!r} is none of {CONTRACT_STATUSES}")
    if delivery is not None and not isinstance(delivery, int):
        raise AdminError("delivery_ms must be a whole number of milliseconds")
    now_ms = simulator.clock.now_ms()
    if "tick_size" in body:
        _change_tick(simulator, symbol, body["tick_size"], now_ms)
    if status_word is not None or delivery is not None or "tick_size" not in body:
        simulator.venue.change_contract(symbol, status=status_word, delivery_ms=delivery, now_ms=now_ms)
    simulator.deliver()
    row = simulator.venue.markets[symbol].row
    tick = format_e8(row.grid_e8, row.price_decimals)
    return {"symbol": symbol, "status": row.status, "delivery_ms": row.delivery_ms, "tick_size": tick}


def _change_tick(simulator: Simulator, symbol: str, text: Any, now_ms: int) -> None:
    source = simulator.exchange.source
    if not isinstance(source, SyntheticMarket):
        raise AdminError("only the synthetic market has a tick of its own to change")
    tick_e8 = parse_e8(text) if isinstance(text, str) else None
    try:
        events = source.retick(symbol, tick_e8 or 0, now_ms=now_ms)
    except ValueError as error:
        raise AdminError(f"tick_size: {error}; a scenario may name a finer one from the start") from error
    for event in events:
        simulator.venue.apply(event, now_ms)


async def register_key(simulator: Simulator, request: web.Request) -> Any:
    """POST /admin/key {"api_key", "public_key"}: accept a further key, RSA or Ed25519, by its public half in PEM."""
    body = await _body(request)
    name, pem = body.get("api_key"), body.get("public_key")
    if not isinstance(name, str) or not name or not isinstance(pem, str):
        raise AdminError("api_key and public_key (PEM) are needed")
    simulator.venue.keys.register(name, pem)
    return {"registered": name}


async def funding(simulator: Simulator, request: web.Request) -> Any:
    """POST /admin/funding {"symbol", "rate_e8", "settle"}: set the next rate (e8 of the notional); settle it now."""
    body = await _body(request)
    symbol, rate = body.get("symbol"), body.get("rate_e8")
    if symbol not in simulator.venue.markets or not isinstance(rate, int):
        raise AdminError("symbol must be simulated and rate_e8 a whole number (10000 is 0.01 %)")
    market = simulator.venue.markets[symbol]
    market.funding.forced_e8 = rate
    if body.get("settle"):
        simulator.venue.settle_funding(market, simulator.clock.now_ms())
        simulator.deliver()
    return {"symbol": symbol, "rate_e8": rate, "next_ms": market.funding.next_ms}


async def deleverage(simulator: Simulator, request: web.Request) -> Any:
    """POST /admin/deleverage {"symbol", "side"}: close our whole position for a stranger's bankruptcy (ADL)."""
    body = await _body(request)
    symbol, side = body.get("symbol"), body.get("side", "BOTH")
    if symbol not in simulator.venue.markets or side not in simulator.venue.account.sides:
        raise AdminError(f"symbol must be simulated and side one of {simulator.venue.account.sides}")
    position = simulator.venue.account.position(simulator.venue.markets[symbol].row, side)
    lots = abs(position.lots)
    if lots:
        simulator.venue.liquidation.deleverage(position, lots=lots, now_ms=simulator.clock.now_ms())
        simulator.deliver()
    return {"symbol": symbol, "lots": lots}


HANDLERS: dict[tuple[str, str], Handler] = {
    ("GET", "status"): status,
    ("POST", "start"): start,
    ("GET", "ledger"): ledger,
    ("GET", "summary"): summary,
    ("POST", "faults"): add_faults,
    ("GET", "faults"): faults,
    ("DELETE", "faults"): clear_faults,
    ("GET", "holds"): holds,
    ("POST", "release"): release,
    ("POST", "disconnect"): disconnect,
    ("POST", "path"): path,
    ("POST", "clock"): clock,
    ("POST", "marks"): marks,
    ("POST", "bars"): bars,
    ("POST", "frame"): frame,
    ("POST", "expire-listen-key"): listen_key,
    ("POST", "stuck-triggers"): stuck,
    ("POST", "symbol"): change_symbol,
    ("POST", "key"): register_key,
    ("POST", "funding"): funding,
    ("POST", "deleverage"): deleverage,
}


def add_routes(application: web.Application, simulator: Simulator) -> None:
    """Put the admin paths into the application."""

    async def answer(request: web.Request) -> web.Response:
        handler = HANDLERS.get((request.method, request.match_info["name"]))
        if handler is None:
            known = sorted(f"{method} /admin/{name}" for method, name in HANDLERS)
            return _json({"error": f"no such admin call; there are {known}"}, 404)
        try:
            return _json(await handler(simulator, request), 200)
        except (AdminError, FaultError, PublicKeyError, ScenarioError) as error:
            return _json({"error": str(error)}, 400)

    async def show(request: web.Request) -> web.Response:
        text = page(
            simulator.venue,
            simulator.faults,
            _sockets(simulator),
            simulator.exchange.source.status(),
            now_ms=simulator.clock.now_ms(),
        )
        return web.Response(text=text, content_type="text/html")

    application.router.add_get("/admin", show)
    application.router.add_route("*", "/admin/{name}", answer)


def _json(body: Any, code: int) -> web.Response:
    return web.Response(status=code, body=msgspec.json.encode(body), content_type="application/json")
