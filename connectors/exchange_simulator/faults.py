"""The only place that decides which fault hits a request, a user event or a stream; rules are data, bites counted."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from connectors.exchange_simulator.errors import VenueError

Payload = dict[str, Any]  # Any: JSON
UNKNOWN_TEXT: Final = "Unknown error, please check your request or try again later."


class FaultAction(msgspec.Struct, frozen=True):
    """What an action does to a request: is it executed, is the reply replaced, is the connection cut, is it held."""

    executes: bool
    status: int | None = None
    code: int | None = None
    message: str | None = None
    drops: bool = False
    holds: str | None = None  # before | after


REQUEST_ACTIONS: Final = {
    "hold_before": FaultAction(executes=True, holds="before"),
    "hold_after": FaultAction(executes=True, holds="after"),
    "drop_connection_before": FaultAction(executes=False, drops=True),
    "drop_connection_after": FaultAction(executes=True, drops=True),
    "503_unknown_executed": FaultAction(executes=True, status=503, code=-1000, message=UNKNOWN_TEXT),
    "503_unknown_not_executed": FaultAction(executes=False, status=503, code=-1000, message=UNKNOWN_TEXT),
    "503_unavailable": FaultAction(executes=False, status=503, code=-1000, message="Service Unavailable."),
    "503_internal": FaultAction(executes=False, status=503, code=-1001),
    "throttle": FaultAction(executes=False, status=503, code=-1008),
    "timeout_executed": FaultAction(executes=True, status=408, code=-1007),
    "timeout_not_executed": FaultAction(executes=False, status=408, code=-1007),
    "429": FaultAction(executes=False, status=429, code=-1003),
    "418": FaultAction(executes=False, status=418, code=-1003),
    "status": FaultAction(executes=False),
    "status_after": FaultAction(executes=True),
    "vanish": FaultAction(executes=True),
}
EVENT_ACTIONS: Final = ("lose_event", "delay_event", "duplicate_event")
STREAM_ACTIONS: Final = ("mute_stream", "corrupt_frame", "duplicate_frame", "lose_frame")
MATCHABLE: Final = ("method", "path", "symbol", "type", "orderType", "side", "client_id", "event", "stream", "status")
# What the -1008 throttle never hits (sheet 5.3): cancels, and orders that only reduce.
_THROTTLED_PATHS: Final = ("/fapi/v1/order", "/fapi/v1/algoOrder", "/fapi/v1/batchOrders")


class FaultRule(msgspec.Struct, forbid_unknown_fields=True):
    """One rule: while *count* lasts (−1: for ever), what matches all of *match* gets *action*; *skip* pass first."""

    action: str
    match: dict[str, str] = {}
    milliseconds: int = 1_000
    status: int = 503
    code: int | None = None
    body: Any = None  # Any: replacement JSON
    count: int = 1
    skip: int = 0
    id: int = 0
    bites: int = 0

    def matches(self, attributes: dict[str, str]) -> bool:
        """Whether every attribute of the rule equals the thing's; a trailing `*` matches any ending."""
        return all(_same(attributes.get("type" if name == "orderType" else name, ""), wanted)
                   for name, wanted in self.match.items())  # fmt: skip


def _same(actual: str, wanted: str) -> bool:
    return actual.startswith(wanted[:-1]) if wanted.endswith("*") else actual == wanted


class FaultError(Exception):
    """A fault rule that cannot be used; the text names the rule and what is allowed."""


def parse_rules(raw: Any) -> list[FaultRule]:  # Any: decoded JSON
    """Read rules from a list, or from `{"rules": [...]}`."""
    if isinstance(raw, dict) and "rules" in raw:
        raw = raw["rules"]
    try:
        rules = msgspec.convert(raw, type=list[FaultRule])
    except msgspec.MsgspecError as error:
        raise FaultError(f"faults: {error}") from error
    allowed = (*REQUEST_ACTIONS, *EVENT_ACTIONS, *STREAM_ACTIONS)
    for index, rule in enumerate(rules):
        if rule.action not in allowed:
            raise FaultError(f"faults[{index}].action: {rule.action!r} is none of {allowed}")
        for name in rule.match:
            if name not in MATCHABLE:
                raise FaultError(f"faults[{index}].match: {name!r} is none of {MATCHABLE}")
    return rules


class FaultPlan:
    """The rules in force, in the order given; the first that matches bites."""

    def __init__(self) -> None:
        self._next_id = 1
        self.rules: list[FaultRule] = []
        self.done: list[FaultRule] = []

    def add(self, rules: list[FaultRule]) -> list[int]:
        """Put rules in force; returns their ids."""
        for rule in rules:
            rule.id = self._next_id
            self._next_id += 1
            self.rules.append(rule)
        return [rule.id for rule in rules]

    def clear(self) -> None:
        """Withdraw every rule; what bit stays counted."""
        self.done.extend(self.rules)
        self.rules = []

    def find(self, actions: Any, attributes: dict[str, str]) -> FaultRule | None:  # Any: container of names
        """The rule that bites now, counted; None when none does."""
        for rule in self.rules:
            if rule.action not in actions or not rule.matches(attributes):
                continue
            if rule.action == "throttle" and _is_exempt(attributes):
                continue
            if rule.skip > 0:
                rule.skip -= 1
                continue
            rule.bites += 1
            if rule.count > 0:
                rule.count -= 1
                if rule.count == 0:
                    self.rules.remove(rule)
                    self.done.append(rule)
            return rule
        return None

    def report(self) -> Payload:
        """Rules in force, rules that ended, and what never bit."""
        every = [*self.done, *self.rules]
        return {
            "active": [msgspec.to_builtins(rule) for rule in self.rules],
            "ended": [msgspec.to_builtins(rule) for rule in self.done],
            "bites": sum(rule.bites for rule in every),
            "never_bit": [rule.id for rule in every if rule.bites == 0],
        }


def _is_exempt(attributes: dict[str, str]) -> bool:
    reducing = attributes.get("reduceOnly") == "true" or attributes.get("closePosition") == "true"
    return attributes.get("method") != "POST" or attributes.get("path") not in _THROTTLED_PATHS or reducing


def replaced_reply(rule: FaultRule) -> tuple[int, Any] | None:  # Any: JSON body
    """Status and body that stand in for the true answer; None when the true one is sent."""
    action = REQUEST_ACTIONS[rule.action]
    if rule.action in ("status", "status_after"):
        if rule.body is not None:
            return rule.status, rule.body
        code = -1000 if rule.code is None else rule.code
        return rule.status, {"code": code, "msg": _text(code)}
    if action.status is None or action.code is None:
        return None
    return action.status, {"code": action.code, "msg": action.message or _text(action.code)}


def _text(code: int) -> str:
    details = {
        "limit": "2400",
        "interval": "MINUTE",
        "name": "parameter",
        "price": "0",
        "notional": "5",
        "leverage": "1",
    }
    try:
        return VenueError(code, status=None, message=None, **details).message
    except KeyError:
        return UNKNOWN_TEXT
