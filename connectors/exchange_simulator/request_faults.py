"""The only place that carries a request of either door through the faults that bite it: holds, loss, other answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from connectors.exchange_simulator.faults import REQUEST_ACTIONS, FaultRule, incomplete, replaced_reply

if TYPE_CHECKING:
    from connectors.exchange_simulator.server import Simulator

Payload = dict[str, Any]  # Any: JSON


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

    async def hold(self, milliseconds: int, *, phase: str, attributes: dict[str, str], now_ms: int) -> None:
        """Hold the calling request."""
        self._count += 1
        hold = Hold(self._count, phase=phase, attributes=attributes, since_ms=now_ms)
        self.running[hold.number] = hold
        async with self.changed:
            self.changed.notify_all()
        try:
            await hold.wait(milliseconds)
        finally:
            del self.running[hold.number]

    def release(self, number: int | None) -> int:
        """Release one hold or all; returns how many."""
        chosen = [hold for hold in self.running.values() if number is None or hold.number == number]
        for hold in chosen:
            hold.released.set()
        return len(chosen)


class Trial:
    """What the rules that bit one request make of it together."""

    def __init__(self, rules: list[FaultRule]) -> None:
        self.rules = rules
        actions = [REQUEST_ACTIONS[rule.action] for rule in rules]
        self.executes = all(action.executes for action in actions)
        self.drops = any(action.drops for action in actions)
        self.vanishes = any(rule.action == "vanish" for rule in rules)
        self._spoils = next((action.spoils for action in actions if action.spoils is not None), None)
        # The last rule is the only one that can be something else than a hold.
        self.last = rules[-1]

    @property
    def cuts_reply(self) -> bool:
        """Whether the answer's text ends in the middle."""
        return self._spoils == "cut"

    def holds(self, phase: str) -> list[FaultRule]:
        """The rules that hold the request before or after its effect."""
        return [rule for rule in self.rules if REQUEST_ACTIONS[rule.action].holds == phase]

    def replaced(self, now_ms: int) -> tuple[int, Any] | None:  # Any: JSON, or text for an HTML page
        """Status and body in place of the true answer, if any."""
        return replaced_reply(self.last, now_ms=now_ms)

    def body(self, true_body: Any) -> Any:  # Any: JSON
        """The true answer's body, or what a fault leaves of it."""
        return incomplete(true_body) if self._spoils == "incomplete" else true_body


async def suffer(
    simulator: Simulator,
    trial: Trial,
    attributes: dict[str, str],
    *,
    ask: Callable[[], Any],  # Any: the door's own reply
    client_ids: Callable[[Any], list[str]],
) -> Any:
    """Hold, execute or not, hold again, let orders vanish; returns the door's reply, None when not executed."""
    clock = simulator.clock
    for rule in trial.rules:
        simulator.note_bite(rule.action, {"rule": rule.id} | attributes)
    await _hold(simulator, trial, "before", attributes)
    reply = ask() if trial.executes else None
    if reply is None:
        replaced = trial.replaced(clock.now_ms())
        status = 0 if trial.drops or replaced is None else replaced[0]
        simulator.venue.ledger.record("request_not_executed", {"status": status} | attributes, now_ms=clock.now_ms())
    elif trial.vanishes:
        simulator.venue.vanish(client_ids(reply), now_ms=clock.now_ms())
    await _hold(simulator, trial, "after", attributes)
    return reply


async def _hold(simulator: Simulator, trial: Trial, phase: str, attributes: dict[str, str]) -> None:
    for rule in trial.holds(phase):
        wait: Awaitable[None] = simulator.holds.hold(
            simulator.faults.milliseconds(rule), phase=phase, attributes=attributes, now_ms=simulator.clock.now_ms()
        )
        await wait


def ids_of(body: Any, asked: str) -> list[str]:  # Any: JSON
    """Client ids an answer names: the one asked for, else those the venue gave, of one order or of a batch."""
    if asked:
        return [asked]
    rows = body if isinstance(body, list) else [body]
    found = [row.get("clientOrderId", row.get("clientAlgoId")) for row in rows if isinstance(row, dict)]
    return [name for name in found if isinstance(name, str)]
