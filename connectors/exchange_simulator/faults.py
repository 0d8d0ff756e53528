"""The only place that decides which fault hits a request, frame, event, socket or trigger, and counts what bit.

A plan is a list of rules, as data. Each says what it hits (*match*), what happens (*action*), and when: how often
(*count*), after how many (*skip*), every nth (*every*), by chance (*probability*, seeded), within a span of time after
it was put in force (*from_ms*, *until_ms*), or, for what hits no request, frame or event, at a time (*at_ms*, again
every *period_ms*).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

import msgspec

from connectors.exchange_simulator.errors import VenueError
from connectors.exchange_simulator.json_places import Step, line_of, mistake
from connectors.exchange_simulator.prng import Prng
from connectors.exchange_simulator.rate_limits import ban_error

Payload = dict[str, Any]  # Any: JSON
UNKNOWN_TEXT: Final = "Unknown error, please check your request or try again later."
CHANCES: Final = 1_000_000


class FaultAction(msgspec.Struct, frozen=True):
    """What an action does to a request: is it executed, is the reply replaced, is the connection cut, is it held."""

    executes: bool
    status: int | None = None
    code: int | None = None
    message: str | None = None
    drops: bool = False
    holds: str | None = None  # before | after
    spoils: str | None = None  # what becomes of the true reply: incomplete | cut


REQUEST_ACTIONS: Final = {
    "hold_before": FaultAction(executes=True, holds="before"),
    "hold_after": FaultAction(executes=True, holds="after"),
    "drop_connection_before": FaultAction(executes=False, drops=True),
    "drop_connection_after": FaultAction(executes=True, drops=True),
    "503_unknown_executed": FaultAction(executes=True, status=503, code=-1000, message=UNKNOWN_TEXT),
    "503_unknown_not_executed": FaultAction(executes=False, status=503, code=-1000, message=UNKNOWN_TEXT),
    "503_unavailable": FaultAction(executes=False, status=503, code=-1000, message="Service Unavailable."),
    "503_internal": FaultAction(executes=False, status=503, code=-1001),
    "500_unclear_executed": FaultAction(executes=True, status=500, code=-1000, message="Request occur unknown error."),
    "500_unclear_not_executed": FaultAction(
        executes=False, status=500, code=-1000, message="Request occur unknown error."
    ),
    "throttle": FaultAction(executes=False, status=503, code=-1008),
    "timeout_executed": FaultAction(executes=True, status=408, code=-1007),
    "timeout_not_executed": FaultAction(executes=False, status=408, code=-1007),
    "bus_executed": FaultAction(executes=True, status=400, code=-1006),
    "bus_not_executed": FaultAction(executes=False, status=400, code=-1006),
    "engine_window": FaultAction(executes=False, status=400, code=-5028),
    "429": FaultAction(executes=False, status=429, code=-1003),
    "418": FaultAction(executes=False, status=418, code=-1003),
    "waf": FaultAction(executes=False, status=403),
    "maintenance": FaultAction(executes=False, status=503, code=-1016),
    "status": FaultAction(executes=False),
    "status_after": FaultAction(executes=True),
    "vanish": FaultAction(executes=True),
    "incomplete_list": FaultAction(executes=True, spoils="incomplete"),
    "cut_reply": FaultAction(executes=True, spoils="cut"),
}
EVENT_ACTIONS: Final = ("lose_event", "delay_event", "duplicate_event", "reorder_event")
STREAM_ACTIONS: Final = (
    "mute_stream", "corrupt_frame", "duplicate_frame", "lose_frame", "delay_frame", "late_close", "reorder_frame",
)  # fmt: skip
# Decided when a socket connects.
SOCKET_ACTIONS: Final = ("refuse_socket", "wrong_route", "cut_socket", "lag_socket")
TRIGGER_ACTIONS: Final = ("stick_trigger",)
# At a time of their own, to what is there then.
TIMED_ACTIONS: Final = (
    "disconnect", "silence_sockets", "stall_sockets", "clock_offset", "clock_jump", "expire_listen_key", "shutdown",
)  # fmt: skip
ACTIONS: Final = (
    *REQUEST_ACTIONS, *EVENT_ACTIONS, *STREAM_ACTIONS, *SOCKET_ACTIONS, *TRIGGER_ACTIONS, *TIMED_ACTIONS,
)  # fmt: skip
MATCHABLE: Final = (
    "method", "path", "symbol", "type", "orderType", "side", "client_id", "event", "stream", "status", "route",
)  # fmt: skip
ROUTES: Final = ("public", "market", "private", "ws-fapi")
# What the -1008 throttle never hits (sheet 5.3): cancels, and orders that only reduce.
_THROTTLED_PATHS: Final = ("/fapi/v1/order", "/fapi/v1/order/test", "/fapi/v1/algoOrder", "/fapi/v1/batchOrders")
_THROTTLED_METHODS: Final = ("order.place", "algoOrder.place")
_WAF_PAGE: Final = "<html><head><title>403 Forbidden</title></head><body><h1>403 Forbidden</h1></body></html>"


class FaultRule(msgspec.Struct, forbid_unknown_fields=True):
    """
    One rule: while *count* lasts (−1: for ever), what matches all of *match* gets *action*.

    *skip* pass first, then every *every*-th is hit, and of those a share of *probability*. Times are milliseconds of
    the host's clock since the rule was put in force. *milliseconds* is how long (holds, delays, silences, Retry-After)
    or how far (clock faults); *jitter_ms* adds a random part to it.
    """

    action: str
    match: dict[str, str] = {}
    milliseconds: int = 1_000
    status: int = 503
    code: int | None = None
    body: Any = None  # Any: replacement JSON
    count: int = 1
    skip: int = 0
    every: int = 1
    probability: float = 1.0
    from_ms: int = 0
    until_ms: int | None = None
    at_ms: int = 0
    period_ms: int | None = None
    jitter_ms: int = 0
    name: str = ""
    id: int = 0
    bites: int = 0
    met: int = 0

    def matches(self, attributes: dict[str, str]) -> bool:
        """Whether every attribute of the rule fits the thing's; a `*` stands for any characters."""
        return all(_same(attributes.get("type" if name == "orderType" else name, ""), wanted)
                   for name, wanted in self.match.items())  # fmt: skip


def _same(actual: str, wanted: str) -> bool:
    return fnmatchcase(actual, wanted) if "*" in wanted else actual == wanted


class FaultError(Exception):
    """A fault plan that cannot be used; the text names the rule (in a file its line) and what is allowed."""


class FaultFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole plan: its rules and the seed of their chances."""

    rules: list[FaultRule]
    seed: int | None = None


def parse_plan(raw: bytes) -> FaultFile:
    """Read a plan from the bytes of a JSON file: a list of rules, or `{"seed", "rules"}`; mistakes name their line."""
    try:
        decoded = msgspec.json.decode(raw)
        if isinstance(decoded, list):
            file = FaultFile(msgspec.json.decode(raw, type=list[FaultRule]))
        else:
            file = msgspec.json.decode(raw, type=FaultFile)
    except msgspec.MsgspecError as error:
        raise FaultError(f"faults: {mistake(raw, error)}") from error
    found = _mistake(file.rules)
    if found is not None:
        path, words = found
        where: list[Step] = list(path) if isinstance(decoded, list) else ["rules", *path]
        raise FaultError(f"faults: line {line_of(raw.decode('utf-8', errors='replace'), where)}: {words}")
    return file


def parse_rules(raw: Any) -> list[FaultRule]:  # Any: decoded JSON
    """Read rules from a decoded list, or from `{"rules": [...]}`; FaultError names the rule."""
    if isinstance(raw, dict) and "rules" in raw:
        raw = raw["rules"]
    try:
        rules = msgspec.convert(raw, type=list[FaultRule])
    except msgspec.MsgspecError as error:
        raise FaultError(f"faults: {error}") from error
    found = _mistake(rules)
    if found is not None:
        raise FaultError(found[1])
    return rules


def _mistake(rules: Sequence[FaultRule]) -> tuple[tuple[Step, ...], str] | None:
    """The first impossible value: where it stands below the list of rules, and what is wrong with it."""
    for index, rule in enumerate(rules):
        if rule.action not in ACTIONS:
            return (index, "action"), f"faults[{index}].action: {rule.action!r} is none of {ACTIONS}"
        for name, wanted in rule.match.items():
            if name not in MATCHABLE:
                return (index, "match", name), f"faults[{index}].match: {name!r} is none of {MATCHABLE}"
            if name == "route" and "*" not in wanted and wanted not in ROUTES:
                return (index, "match", name), f"faults[{index}].match.route: {wanted!r} is none of {ROUTES}"
        for name, fits, words in (
            ("count", rule.count == -1 or rule.count > 0, "is neither positive nor -1 (for ever)"),
            ("skip", rule.skip >= 0, "is negative"),
            ("every", rule.every > 0, "is not positive"),
            ("probability", 0 < rule.probability <= 1, "is not in (0, 1]"),
            ("from_ms", rule.from_ms >= 0, "is negative"),
            ("until_ms", rule.until_ms is None or rule.until_ms > rule.from_ms, "is not after from_ms"),
            ("at_ms", rule.at_ms >= 0, "is negative"),
            ("period_ms", rule.period_ms is None or rule.period_ms > 0, "is not positive"),
            ("jitter_ms", rule.jitter_ms >= 0, "is negative"),
            ("milliseconds", rule.milliseconds >= 0 or rule.action.startswith("clock_"), "is negative"),
            ("status", 200 <= rule.status <= 599, "is no HTTP status"),
        ):
            if not fits:
                return (index, name), f"faults[{index}].{name}: {getattr(rule, name)} {words}"
    return None


class FaultPlan:
    """
    The rules in force, in the order given; of those that match the first bites.

    *elapsed* reads a clock in milliseconds that no fault moves; *seed* gives every rule its own chances.
    """

    def __init__(self, *, seed: int = 1, elapsed: Callable[[], int] = lambda: 0) -> None:
        self.seed = seed
        self._elapsed = elapsed
        self._next_id = 1
        self.rules: list[FaultRule] = []
        self.done: list[FaultRule] = []
        self._chances: dict[int, Prng] = {}
        self._begun: dict[int, int] = {}
        self._due: dict[int, int] = {}
        # What a shutdown put in force for its span, with the shutdown's own rule, whose bites they are.
        self._of_shutdown: dict[int, FaultRule] = {}
        # The actions in force, so that a hot road can ask cheaply whether there is anything to ask.
        self.active: frozenset[str] = frozenset()

    def add(self, rules: list[FaultRule]) -> list[int]:
        """Put rules in force; returns their ids."""
        now = self._elapsed()
        for rule in rules:
            rule.id = self._next_id
            self._next_id += 1
            self.rules.append(rule)
            self._chances[rule.id] = Prng(self.seed, rule.id)
            self._begun[rule.id] = now
            if rule.action in TIMED_ACTIONS:
                self._due[rule.id] = now + rule.at_ms
        self._changed()
        return [rule.id for rule in rules]

    def shut(self, owner: FaultRule, milliseconds: int) -> None:
        """For so long every request is answered 503 −1016 and every handshake is refused, before any other rule."""
        window = [FaultRule(action, count=-1, until_ms=milliseconds) for action in ("maintenance", "refuse_socket")]
        self._of_shutdown.update(dict.fromkeys(self.add(window), owner))
        self.rules = [*window, *(rule for rule in self.rules if rule not in window)]

    def clear(self) -> None:
        """Withdraw every rule; what bit stays counted."""
        self.done.extend(self.rules)
        self.rules = []
        self._due.clear()
        self._changed()

    def _changed(self) -> None:
        self.active = frozenset(rule.action for rule in self.rules)

    def find(self, actions: Container[str], attributes: dict[str, str]) -> FaultRule | None:
        """The rule that bites now, counted; None when none does."""
        for rule in self.rules:
            if rule.action not in actions or not rule.matches(attributes):
                continue
            if rule.action == "throttle" and _is_exempt(attributes):
                continue
            if rule.action == "late_close" and attributes.get("closed") != "true":
                continue
            if self._bites(rule):
                self._count(rule)
                return rule
        return None

    def find_all(self, attributes: dict[str, str]) -> list[FaultRule]:
        """The rules that bite one request: of each way to hold it one, then the first that does something else."""
        found: list[FaultRule] = []
        for action in dict.fromkeys(rule.action for rule in self.rules if rule.action in REQUEST_ACTIONS):
            if REQUEST_ACTIONS[action].holds is not None:
                rule = self.find((action,), attributes)
                found += [] if rule is None else [rule]
        others = [action for action, what in REQUEST_ACTIONS.items() if what.holds is None]
        last = self.find(others, attributes) if self.active.intersection(others) else None
        return found if last is None else [*found, last]

    def _bites(self, rule: FaultRule) -> bool:
        """Whether a thing that matches is also hit: span of time, skipped ones, every nth, chance."""
        passed = self._elapsed() - self._begun[rule.id]
        if passed < rule.from_ms or (rule.until_ms is not None and passed >= rule.until_ms):
            return False
        rule.met += 1
        if rule.met <= rule.skip or (rule.met - rule.skip) % rule.every:
            return False
        return rule.probability >= 1 or self._chances[rule.id].below(CHANCES) < int(rule.probability * CHANCES)

    def _count(self, rule: FaultRule) -> None:
        rule.bites += 1
        if rule.id in self._of_shutdown:
            owner = self._of_shutdown[rule.id]
            owner.bites = max(1, owner.bites)
        if rule.count > 0:
            rule.count -= 1
            if rule.count == 0:
                self.rules.remove(rule)
                self.done.append(rule)
                self._changed()

    def due(self) -> list[FaultRule]:
        """The timed rules whose hour has come. `bit` must be told of those that found something to hit."""
        if self._of_shutdown:
            self._reopen()
        if not self._due:
            return []
        now = self._elapsed()
        found = [rule for rule in self.rules if self._due.get(rule.id, now + 1) <= now]
        for rule in found:
            if rule.period_ms is None:
                del self._due[rule.id]
            else:
                self._due[rule.id] += rule.period_ms + self._random(rule)
        return [rule for rule in found if self._bites(rule)]

    def _reopen(self) -> None:
        """Take away what a shutdown put in force when its span is over."""
        now = self._elapsed()
        over = [
            rule
            for rule in self.rules
            if rule.id in self._of_shutdown and now - self._begun[rule.id] >= (rule.until_ms or 0)
        ]
        if over:
            self.rules = [rule for rule in self.rules if rule not in over]
            self.done += over
            self._changed()

    def bit(self, rule: FaultRule) -> None:
        """A timed rule hit something; it ends when its count is used up."""
        self._count(rule)
        if rule.count == 0:
            self._due.pop(rule.id, None)

    def milliseconds(self, rule: FaultRule) -> int:
        """How long (or far) this bite goes: the rule's figure and its jitter."""
        return rule.milliseconds + self._random(rule)

    def _random(self, rule: FaultRule) -> int:
        return self._chances[rule.id].below(rule.jitter_ms + 1) if rule.jitter_ms else 0

    def report(self) -> Payload:
        """Rules in force, rules that ended, bites by action, and what never bit."""
        every = [*self.done, *self.rules]
        by_action: dict[str, int] = {}
        for rule in every:
            by_action[rule.action] = by_action.get(rule.action, 0) + rule.bites
        return {
            "seed": self.seed,
            "active": [msgspec.to_builtins(rule) for rule in self.rules],
            "ended": [msgspec.to_builtins(rule) for rule in self.done],
            "bites": sum(rule.bites for rule in every),
            "by_action": by_action,
            "never_bit": [rule.id for rule in self._idle()],
        }

    def never_bit(self) -> list[str]:
        """A sentence for every rule that hit nothing."""
        return [
            f"fault rule {rule.id}{f' ({rule.name})' if rule.name else ''}: {rule.action} never bit"
            f" ({rule.met} things matched)"
            for rule in self._idle()
        ]

    def _idle(self) -> list[FaultRule]:
        """The plan's rules that hit nothing."""
        every = (*self.done, *self.rules)
        return [rule for rule in every if rule.bites == 0 and rule.id not in self._of_shutdown]


def _is_exempt(attributes: dict[str, str]) -> bool:
    reducing = attributes.get("reduceOnly") == "true" or attributes.get("closePosition") == "true"
    side, held = attributes.get("side"), attributes.get("positionSide")
    closing = (held, side) in (("LONG", "SELL"), ("SHORT", "BUY"))
    if attributes.get("method") == "WS":
        return attributes.get("path") not in _THROTTLED_METHODS or reducing or closing
    return attributes.get("method") != "POST" or attributes.get("path") not in _THROTTLED_PATHS or reducing or closing


def replaced_reply(rule: FaultRule, *, now_ms: int = 0) -> tuple[int, Any] | None:  # Any: JSON body
    """Status and body that stand in for the true answer; None when the true one is sent."""
    action = REQUEST_ACTIONS[rule.action]
    if rule.action in ("status", "status_after"):
        if rule.body is not None:
            return rule.status, rule.body
        code = -1000 if rule.code is None else rule.code
        return rule.status, {"code": code, "msg": _text(code)}
    if rule.action == "waf":
        return 403, _WAF_PAGE
    if rule.action == "418":
        return 418, ban_error(now_ms + rule.milliseconds).body()
    if action.status is None or action.code is None:
        return None
    return action.status, {"code": action.code, "msg": action.message or _text(action.code)}


def incomplete(body: Any) -> Any:  # Any: JSON
    """A list reply without its last half, an account without the last half of its positions; others unchanged."""
    if isinstance(body, list):
        return body[: len(body) // 2]
    if isinstance(body, dict) and isinstance(body.get("positions"), list):
        return body | {"positions": body["positions"][: len(body["positions"]) // 2]}
    return body


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
