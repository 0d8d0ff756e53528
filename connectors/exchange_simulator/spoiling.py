"""The only place that spoils public frames and user events on their way to the sockets: lost, late, twice, swapped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from connectors.exchange_simulator.faults import EVENT_ACTIONS, STREAM_ACTIONS, FaultPlan

Payload = dict[str, Any]  # Any: the venue's JSON
_LOST: Final = ("mute_stream", "lose_frame")
_LATE: Final = ("delay_frame", "late_close")
# Milliseconds until it is sent, and what.
Sending = tuple[int, Any]


class Spoiler:
    """Applies every rule that bites a frame or an event: faults compose, each is told to *on_bite*."""

    def __init__(self, faults: FaultPlan, on_bite: Callable[[str, Payload], None]) -> None:
        self._faults = faults
        self._on_bite = on_bite
        # stream → the frame that waits for the next one to pass it; the empty name holds a user event.
        self._waiting: dict[str, Any] = {}

    def spoils_frames(self) -> bool:
        """Whether any rule could hit a public frame."""
        return not self._faults.active.isdisjoint(STREAM_ACTIONS) or bool(self._waiting)

    def frames(self, stream: str, payload: Payload, data: bytes, *, route: str) -> list[Sending]:
        """What is sent in place of one encoded public frame."""
        attributes = _frame_attributes(stream, payload, route)
        bitten = self._bitten(STREAM_ACTIONS, attributes)
        if any(action in bitten for action in _LOST):
            return []
        if "corrupt_frame" in bitten:
            data = data[: len(data) // 2]
        return self._order(stream, data, bitten, late=_LATE, twice="duplicate_frame", swap="reorder_frame")

    def events(self, event: Payload) -> list[Sending]:
        """What is sent in place of one user event."""
        bitten = self._bitten(EVENT_ACTIONS, event_attributes(event))
        if "lose_event" in bitten:
            return []
        return self._order("", event, bitten, late=("delay_event",), twice="duplicate_event", swap="reorder_event")

    def _bitten(self, actions: tuple[str, ...], attributes: dict[str, str]) -> dict[str, int]:
        """The actions that bite, each with its milliseconds."""
        found: dict[str, int] = {}
        for action in actions:
            if action not in self._faults.active:
                continue
            rule = self._faults.find((action,), attributes)
            if rule is not None:
                found[action] = self._faults.milliseconds(rule)
                self._on_bite(action, {"rule": rule.id} | {name: value for name, value in attributes.items() if value})
        return found

    def _order(
        self, lane: str, what: Any, bitten: dict[str, int], *, late: tuple[str, ...], twice: str, swap: str
    ) -> list[Sending]:
        delay = sum(bitten.get(action, 0) for action in late)
        sendings: list[Sending] = [(delay, what)] * (2 if twice in bitten else 1)
        if lane in self._waiting:
            # It has waited for its successor, which goes first.
            return [*sendings, *self._waiting.pop(lane)]
        if swap in bitten:
            self._waiting[lane] = sendings
            return []
        return sendings


def _frame_attributes(stream: str, payload: Any, route: str) -> dict[str, str]:  # Any: an object, or an array of them
    fields = payload if isinstance(payload, dict) else {}
    order, candle = fields.get("o"), fields.get("k")
    symbol = fields.get("s") or (order.get("s", "") if isinstance(order, dict) else "")
    closed = candle.get("x") is True if isinstance(candle, dict) else False
    return {
        "stream": stream,
        "route": route,
        "event": str(fields.get("e", "")),
        "symbol": str(symbol),
        "closed": "true" if closed else "",
    }


def event_attributes(event: Payload) -> dict[str, str]:
    """What fault rules can match on in a user event."""
    order = event.get("o", {})
    names = order if isinstance(order, dict) else {}
    return {
        "event": event["e"],
        "symbol": str(names.get("s", event.get("s", ""))),
        "type": str(names.get("o", "")),
        "side": str(names.get("S", event.get("S", ""))),
        "client_id": str(names.get("c", names.get("caid", event.get("c", "")))),
        "status": str(names.get("X", "")),
    }
