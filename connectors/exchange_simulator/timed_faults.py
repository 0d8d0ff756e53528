"""The only place that carries out faults that come at a time, and those a socket meets when it connects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from connectors.exchange_simulator.faults import ROUTES, FaultPlan, FaultRule
from connectors.exchange_simulator.hub import Client

if TYPE_CHECKING:
    from connectors.exchange_simulator.server import Simulator

Payload = dict[str, Any]  # Any: JSON
# Carries a rule out over so many milliseconds; returns what was hit, None when there was nothing.
Carrier = Callable[["Simulator", FaultRule, int], Payload | None]


def carry_out_due(simulator: Simulator) -> None:
    """Carry out every timed rule whose hour has come; what hit nothing did not bite."""
    for rule in simulator.faults.due():
        hit = _CARRIERS[rule.action](simulator, rule, simulator.faults.milliseconds(rule))
        if hit is not None:
            simulator.faults.bit(rule)
            simulator.note_bite(rule.action, {"rule": rule.id} | hit)


def _clients(simulator: Simulator, rule: FaultRule) -> list[Client]:
    return [client for client in simulator.hub.clients if rule.matches({"route": client.route})]


def _disconnect(simulator: Simulator, rule: FaultRule, milliseconds: int) -> Payload | None:
    cut = sum(simulator.disconnect(route) for route in ROUTES if rule.matches({"route": route}))
    return {"sockets": cut} if cut else None


def _silence(simulator: Simulator, rule: FaultRule, milliseconds: int) -> Payload | None:
    found = _clients(simulator, rule)
    loop = asyncio.get_running_loop()
    for client in found:
        client.silence(milliseconds, loop)
    return {"sockets": len(found), "milliseconds": milliseconds} if found else None


def _stall(simulator: Simulator, rule: FaultRule, milliseconds: int) -> Payload | None:
    found = _clients(simulator, rule)
    loop = asyncio.get_running_loop()
    for client in found:
        client.stall(milliseconds, loop)
    return {"sockets": len(found), "milliseconds": milliseconds} if found else None


def _set_clock(simulator: Simulator, rule: FaultRule, milliseconds: int) -> Payload | None:
    simulator.clock.offset_ms = milliseconds
    return {"offset_ms": milliseconds}


def _jump_clock(simulator: Simulator, rule: FaultRule, milliseconds: int) -> Payload | None:
    simulator.clock.offset_ms += milliseconds
    return {"offset_ms": simulator.clock.offset_ms}


def _expire_listen_key(simulator: Simulator, rule: FaultRule, milliseconds: int) -> Payload | None:
    if simulator.venue.listen_key is None:
        return None
    simulator.venue.expire_listen_key(simulator.clock.now_ms())
    simulator.deliver()
    return {}


def _shut_down(simulator: Simulator, rule: FaultRule, milliseconds: int) -> Payload | None:
    """Maintenance as one fault: every socket is cut, and nobody gets in or an answer until it is over."""
    cut = simulator.disconnect(None)
    simulator.faults.shut(rule, milliseconds)
    # With no socket there the first request or handshake in the window is what it bites.
    return {"sockets": cut, "milliseconds": milliseconds} if cut else None


_CARRIERS: Final[dict[str, Carrier]] = {
    "disconnect": _disconnect,
    "silence_sockets": _silence,
    "stall_sockets": _stall,
    "clock_offset": _set_clock,
    "clock_jump": _jump_clock,
    "expire_listen_key": _expire_listen_key,
    "shutdown": _shut_down,
}


def is_refused(faults: FaultPlan, route: str, on_bite: Callable[[str, Payload], None]) -> bool:
    """Whether a handshake on *route* is refused."""
    return _milliseconds(faults, "refuse_socket", route, on_bite) is not None


def greet(
    faults: FaultPlan, client: Client, loop: asyncio.AbstractEventLoop, on_bite: Callable[[str, Payload], None]
) -> None:
    """Lay on a new socket what the plan has for it: wrong route, lag."""
    if _milliseconds(faults, "wrong_route", client.route, on_bite) is not None:
        client.misrouted = True
    lag = _milliseconds(faults, "lag_socket", client.route, on_bite)
    if lag is not None:
        client.lag(lag)
    cut_later(faults, client.route, client.transport, loop, on_bite)


def cut_later(
    faults: FaultPlan,
    route: str,
    transport: asyncio.BaseTransport,
    loop: asyncio.AbstractEventLoop,
    on_bite: Callable[[str, Payload], None],
) -> None:
    """Let a new socket live only so long, when the plan says so."""
    life = _milliseconds(faults, "cut_socket", route, on_bite)
    if life is not None:
        assert isinstance(transport, asyncio.WriteTransport)
        loop.call_later(life / 1_000, transport.abort)


def _milliseconds(faults: FaultPlan, action: str, route: str, on_bite: Callable[[str, Payload], None]) -> int | None:
    """How long a rule of this action says, when one bites."""
    if action not in faults.active:
        return None
    rule = faults.find((action,), {"route": route})
    if rule is None:
        return None
    on_bite(action, {"rule": rule.id, "route": route})
    return faults.milliseconds(rule)
