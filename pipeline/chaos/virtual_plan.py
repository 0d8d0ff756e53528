"""
The only place that draws from a seed what happens in one run of virtual chaos: rides, faults, kills and their places.

A plan is data: shrinking takes faults away and runs the rest again. Every purpose draws from a stream of its own, so a
fault that is taken away moves no other. A kill or freeze stands at an await point of the code: which one, is ranked by
hash, so that another line of code elsewhere leaves most seeds as they were.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Final

import msgspec

SYMBOLS: Final = ("BTCUSDT", "ETHUSDT")
TRADING_MS: Final = 12_000  # the last position is asked for before
FAULTS_UNTIL_MS: Final = 14_000
FIRST_MS: Final = 900
HUNTS_OF: Final = 256
HUNTED: Final = 0.3  # share of the rare await points that a seed waits for
QUIET_EVERY: Final = 12  # every so manieth seed has no faults


class Place(msgspec.Struct, frozen=True):
    """An await point: the *ordinal*-th of a function, and how often it is passed before the fault springs."""

    file: str
    function: str
    ordinal: int
    passes: int = 0


class Fault(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    One thing that goes wrong, ms since the run began.

    ``kind``: ``rule`` (a fault rule of the exchange: *action*, *match*), ``kill`` and ``freeze`` of *target* (at once,
    or from *at_ms* on at the *place*), ``twin`` (the executor stands still and another takes over before it wakes),
    ``stop`` (SIGTERM of the executor), ``cut`` (connection *target*), ``broker`` (away), ``unanswered`` (records
    without acknowledgement), ``slow`` (readers of topic *target*), ``again`` (intents are delivered once more),
    ``late`` (the connection of an order breaks, the order arrives), ``image`` (the executor keeps an image of its
    journal), ``stick`` (triggers of *target* stay), ``skew`` (the executor's clock), ``jump`` (the price of *target*,
    in bps), ``orphan`` (the executor dies at the place, and decide with it for *amount* ms: what is open has nobody
    but the executor that starts), ``refuse`` (the venue takes no connections), ``hunt`` (a kill of *target* at the
    first of *places* that it comes by: await points that few runs pass).
    """

    kind: str
    at_ms: int
    target: str = ""
    milliseconds: int = 0
    amount: int = 0
    action: str = ""
    code: int = 0
    match: dict[str, str] = {}
    place: Place | None = None
    places: tuple[Place, ...] = ()

    @property
    def name(self) -> str:
        """What is counted."""
        if self.kind == "rule":
            return self.action if not self.code else f"{self.action} {self.code}"
        return f"{self.kind} {self.target}".strip() if self.kind not in ("stick", "jump", "skew") else self.kind


class Ride(msgspec.Struct, frozen=True):
    """One position to be asked for: the shape of its market, and levels in bps from the middle."""

    symbol: str
    long: bool
    shape: str
    notional: int
    legs: tuple[tuple[int, int], ...]  # (ms, bps along the position's side)
    pause_ms: int


class Plan(msgspec.Struct, frozen=True):
    """Everything a run does that is not the pipeline's own."""

    seed: int
    level_usdt: int
    rides: tuple[Ride, ...]
    faults: tuple[Fault, ...]

    def without(self, faults: Sequence[Fault]) -> Plan:
        """The same run with these faults only."""
        return msgspec.structs.replace(self, faults=tuple(faults))


SHAPES: Final[dict[str, tuple[tuple[int, int], ...]]] = {
    "target": ((1_500, 70), (1_500, 60), (1_000, 50)),
    "trail": ((1_500, 110), (2_500, 150), (1_500, 0), (1_500, -150)),
    "stop": ((1_000, 0), (2_000, -110)),
    "chop": ((800, 40), (800, -40), (800, 60), (800, -30), (1_000, 90)),
    "gap": ((1_200, 20), (1, -140), (1_000, 0)),
    "hand": ((700, 15), (700, -10)),
}


def draw(seed: int, sites: Sets) -> Plan:
    """The plan of a seed; *sites* are the await points that a kill may stand at."""
    rides = random.Random(f"{seed}/rides")
    return Plan(
        seed=seed,
        level_usdt=rides.choice((60, 150, 400, 2_000)),
        rides=tuple(_ride(rides, SYMBOLS[n % len(SYMBOLS)]) for n in range(rides.randint(3, 5))),
        faults=tuple(sorted(_faults(seed, sites), key=lambda fault: fault.at_ms)),
    )


def _ride(rng: random.Random, symbol: str) -> Ride:
    shape = rng.choice(sorted(SHAPES))
    speed = rng.uniform(0.7, 1.4)
    return Ride(
        symbol=symbol,
        long=rng.random() < 0.5,
        shape=shape,
        notional=rng.choice((300, 600, 900)),
        legs=tuple((max(1, int(ms * speed)), bps) for ms, bps in SHAPES[shape]),
        pause_ms=rng.randint(100, 900),
    )


_POST_ORDER: Final = {"method": "POST", "path": "/fapi/v1/order"}
_POST_ALGO: Final = {"method": "POST", "path": "/fapi/v1/algoOrder"}
_DELETE_ORDER: Final = {"method": "DELETE", "path": "/fapi/v1/order"}
_DELETE_ALGO: Final = {"method": "DELETE", "path": "/fapi/v1/algoOrder"}
_WRITES: Final = (_POST_ORDER, _POST_ORDER, _POST_ALGO, _POST_ALGO, _POST_ALGO, _DELETE_ALGO, _DELETE_ORDER)
_READS: Final = tuple(
    {"method": "GET", "path": path}
    for path in (
        "/fapi/v3/positionRisk",
        "/fapi/v1/openAlgoOrders",
        "/fapi/v1/openOrders",
        "/fapi/v1/order",
        "/fapi/v1/algoOrder",
        "/fapi/v1/exchangeInfo",
        "/fapi/v1/time",
    )
)
_MAY_HAVE_BEEN: Final = (
    "hold_before",
    "hold_after",
    "drop_connection_before",
    "drop_connection_after",
    "503_unknown_executed",
    "503_unknown_not_executed",
    "timeout_executed",
    "timeout_not_executed",
)
_WAS_NOT: Final = ("503_unavailable", "503_internal", "throttle", "429", "418", "status")
_EVENTS: Final = ("ORDER_TRADE_UPDATE", "ALGO_UPDATE", "ACCOUNT_UPDATE", "TRADE_LITE")
_EVENT_FAULTS: Final = ("lose_event", "delay_event", "duplicate_event")
_TOPICS: Final = ("inputs", "intents", "account", "attempts")


def _faults(seed: int, sites: Sets) -> list[Fault]:
    found: list[Fault] = []
    if seed % QUIET_EVERY == 0:
        return found  # the bounds that hold without faults are judged too
    for number, (share, make) in enumerate(_GENERATORS):
        rng = random.Random(f"{seed}/{number}")
        chance = share
        while rng.random() < chance:
            fault = make(seed, rng, sites)
            found.append(fault)
            if fault.place is not None:
                found += _road_to(fault.place, fault.at_ms, rng)
            chance /= 3
    return found + _hunts(seed, sites)


def _hunts(seed: int, sites: Sets) -> list[Fault]:
    """
    Steers towards await points that few runs pass: every one of them is waited for from the start in its turn, with
    its own troubles, and in each other seed with a third of the others, whichever comes first. The first quarter of
    every block of seeds goes without, so that there are plans with the kills of the lot alone.
    """
    if not sites.rare or seed % HUNTS_OF < HUNTS_OF // 4:
        return []
    rng = random.Random(f"{seed}/hunt")
    first = sites.rare[seed // 2 % len(sites.rare)]
    chosen = [first]
    if seed % 2:
        chosen += [site for site in sites.rare if rng.random() < HUNTED and site != first]
    found: list[Fault] = []
    for target, own in (("execute", sites.execute), ("account", sites.account)):
        places = tuple(Place(*site) for site in chosen if site in own)
        if places:
            found.append(Fault("hunt", 0, target, rng.randint(150, 900), places=places))
    return found + _road_to(Place(*first), _at(rng), rng)


def _road_to(place: Place, at_ms: int, rng: random.Random) -> list[Fault]:
    """What makes it likely that an await point is come by at all: its own troubles, a moment before."""
    at = max(FIRST_MS, at_ms)
    name = f"{place.file}:{place.function}"
    found: list[Fault] = []
    for kind in next((kinds for start, kinds in _ROADS if name.startswith(start)), ()):
        match kind:
            case "restart":
                found.append(Fault("kill", rng.randint(1_500, 9_000), "execute", rng.randint(150, 900)))
            case "broker":
                found.append(Fault("broker", at + rng.randint(0, 2_500), milliseconds=rng.choice((1_200, 3_500))))
            case "unanswered":
                found.append(Fault("unanswered", at + rng.randint(0, 2_500), amount=rng.choice((2, 5, 9))))
            case "image":
                found.append(Fault("image", rng.randint(1_500, 5_000)))
            case "stop":
                found.append(Fault("stop", at + 50, "execute", rng.randint(150, 900)))
            case "refuse":
                found.append(Fault("refuse", 0 if at_ms == 0 else at, milliseconds=1_500))
            case "cut":
                found.append(Fault("cut", at, "execute", 4_000))
            case _:
                action, match, code, count = _TROUBLES[kind]
                found.append(_rule(rng, rng.choice(action), rng.choice(match), 2_500, code=code, count=count, at_ms=at))
    return found


_MARKET: Final = _POST_ORDER | {"type": "MARKET"}
# Kind of trouble → actions, requests, code, how many.
_TROUBLES: Final[dict[str, tuple[tuple[str, ...], tuple[dict[str, str], ...], int, int]]] = {
    "doubt": (_MAY_HAVE_BEEN, (_POST_ALGO, _POST_ALGO, _POST_ORDER), 0, 3),
    "doubtful entry": (_MAY_HAVE_BEEN, (_POST_ORDER,), 0, 2),
    "doubtful close": (_MAY_HAVE_BEEN, (_MARKET,), 0, 3),
    "doubtful cancel": (_MAY_HAVE_BEEN, (_DELETE_ALGO, _DELETE_ALGO, _DELETE_ORDER), 0, 3),
    "executed": (("503_unknown_executed", "drop_connection_after"), (_POST_ALGO,), 0, 3),
    "refused close": (("status",), (_MARKET,), -4131, 6),
    "unknown order": (("status",), (_DELETE_ALGO, _DELETE_ORDER), -2011, 2),
    "not found": (("status",), ({"method": "GET", "path": "/fapi/v1/algoOrder"},), -2013, 1),
    "uncovered": (("503_internal",), (_POST_ALGO,), 0, 16),
    "not executed": (("503_internal", "503_unavailable"), (_POST_ALGO, _DELETE_ALGO, _POST_ORDER), 0, 3),
    "old": (("status",), (_POST_ALGO, _POST_ORDER), -1021, 2),
    "filters": (("status",), (_POST_ORDER,), -1111, 2),
    "unread": (("503_internal", "drop_connection_before"), _READS[:5], 0, 9),
    "unread position": (("503_internal",), _READS[:1], 0, 9),
}
# What is done once, at a start, or begins to sleep then.
_AT_START: Final = (
    "execution/executor.py:Executor.start",
    "execution/executor.py:Executor._first_contact",
    "execution/executor.py:Executor._keep",
    "execution/executor.py:Executor._watch",
    "execution/data.py",
    "execution/lease.py",
    "execution/kafka_journal.py:KafkaJournal.read",
    "execution/kafka_journal.py:KafkaJournal._values",
    "execution/recovery.py:Recovery.run",
    "execution/first_reads.py",
)
# Await points (by the beginning of their name) → what leads there.
_ROADS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("execution/recovery.py:Recovery._end_doubt", ("doubt", "restart")),
    ("execution/recovery.py:Recovery._resume_target", ("doubt", "restart")),
    ("execution/first_reads.py", ("restart", "unread")),
    ("execution/recovery.py", ("restart",)),
    ("execution/entries.py:Entries._until_risk_may_go", ("restart",)),
    ("execution/entries.py", ("doubtful entry",)),
    ("execution/executor.py:Executor.close", ("stop",)),
    ("execution/executor.py:Executor._first_contact", ("refuse", "restart")),
    ("execution/lease.py:Lease.give_up", ("stop",)),
    ("execution/desk.py:Desk.idle", ("stop",)),
    ("execution/kafka_journal.py:KafkaJournal._restored", ("image", "restart")),
    ("execution/kafka_journal.py:KafkaJournal.keep", ("image",)),
    ("execution/kafka_journal.py:KafkaJournal.append", ("broker",)),
    ("execution/kafka_journal.py:KafkaJournal._forward", ("broker", "unanswered")),
    ("execution/kafka_journal.py", ("restart",)),
    ("execution/sender.py:Sender._journal_late", ("broker",)),
    ("execution/sender.py:Sender.tell", ("broker", "unanswered")),
    ("execution/sender.py:Sender._persist", ("broker", "unanswered")),
    ("execution/sender.py:Sender._recover", ("old",)),
    ("execution/sender.py:Sender.place", ("not executed", "old")),
    ("execution/sender.py:Sender.cancel", ("doubtful cancel", "not executed")),
    ("execution/sender.py:Sender.read", ("unread",)),
    ("execution/closing.py:Closer._fallback", ("refused close",)),
    ("execution/closing.py:Closer._cancel", ("refused close", "doubtful cancel")),
    ("execution/closing.py:Closer.sweep", ("unread position",)),
    ("execution/closing.py:Closer._look", ("unread position",)),
    ("execution/closing.py", ("doubtful close", "unread position")),
    ("execution/cancelling.py", ("unknown order", "not found")),
    ("execution/in_doubt.py", ("doubt",)),
    ("execution/evidence.py", ("doubt",)),
    ("execution/data.py:Data._read_doubted", ("filters",)),
    ("execution/data.py:Data.read_instruments", ("filters",)),
    ("execution/rails.py:Rails._adopt", ("executed", "cut")),
    ("execution/rails.py:Rails.read_open", ("executed", "cut")),
    ("execution/rails.py:Rails.doubt_ended", ("executed", "cut")),
    ("execution/rails.py:Rails.watch_cover", ("uncovered",)),
    ("execution/rails.py:Rails._covered_by_read", ("uncovered",)),
    ("execution/rails.py", ("doubt",)),
    ("execution/targets.py", ("doubt",)),
)


_PLACING: Final = ("Rails._send", "Rails._drive")


def _at(rng: random.Random) -> int:
    return rng.randint(FIRST_MS, TRADING_MS)


def _kill_execute(seed: int, rng: random.Random, sites: Sets) -> Fault:
    place = Place(*choose(seed, f"{rng.random()}", sites.execute), passes=rng.choice((0, 0, 1, 2, 5)))
    at_start = f"{place.file}:{place.function}".startswith(_AT_START) and rng.random() < 0.7
    return Fault("kill", 0 if at_start else _at(rng), "execute", rng.randint(150, 1_500), place=place)


def _kill_account(seed: int, rng: random.Random, sites: Sets) -> Fault:
    place = Place(*choose(seed, f"{rng.random()}", sites.account), passes=rng.choice((0, 1, 3, 9)))
    return Fault("kill", _at(rng), "account", rng.randint(150, 1_500), place=place)


def _kill_other(seed: int, rng: random.Random, sites: Sets) -> Fault:
    return Fault("kill", _at(rng), rng.choice(("decide", "decide", "connector")), rng.randint(150, 1_500))


def _freeze(seed: int, rng: random.Random, sites: Sets) -> Fault:
    place = Place(*choose(seed, f"{rng.random()}", sites.execute), passes=rng.choice((0, 1, 2)))
    return Fault("freeze", _at(rng), "execute", rng.choice((120, 700, 1_500, 3_000)), place=place)


def _freeze_other(seed: int, rng: random.Random, sites: Sets) -> Fault:
    return Fault("freeze", _at(rng), rng.choice(("decide", "account", "connector")), rng.randint(200, 3_000))


def _twin(seed: int, rng: random.Random, sites: Sets) -> Fault:
    chosen = choose(seed, f"{rng.random()}", sites.writes if rng.random() < 0.5 else sites.execute)
    place = Place(*chosen, passes=rng.choice((0, 0, 1, 2)))
    length = rng.choice((rng.randint(800, 3_000), rng.randint(6_000, 9_500)))
    return Fault("twin", rng.randint(FIRST_MS, 7_000), "execute", length, amount=rng.randint(50, 700), place=place)


def _stop(seed: int, rng: random.Random, sites: Sets) -> Fault:
    return Fault("stop", _at(rng), "execute", rng.randint(150, 1_000))


def _doubtful(seed: int, rng: random.Random, sites: Sets) -> Fault:
    action = rng.choice(_MAY_HAVE_BEEN)
    milliseconds = rng.choice((300, 900, 2_500, 5_500)) if action.startswith("hold") else 0
    return _rule(rng, action, rng.choice(_WRITES), milliseconds)


def _not_executed(seed: int, rng: random.Random, sites: Sets) -> Fault:
    action = rng.choice(_WAS_NOT)
    match = rng.choice(_WRITES)
    if action == "throttle":
        match = _POST_ORDER
    code = rng.choice((-1021, -1021, -1001)) if action == "status" else 0
    return _rule(rng, action, match, rng.choice((1_000, 2_000)), code=code)


def _bad_read(seed: int, rng: random.Random, sites: Sets) -> Fault:
    action = rng.choice((*_MAY_HAVE_BEEN, *_WAS_NOT[:2]))
    return _rule(rng, action, rng.choice(_READS), rng.choice((300, 2_500)), count=rng.choice((1, 2, 3)))


def _vanish(seed: int, rng: random.Random, sites: Sets) -> Fault:
    return _rule(rng, "vanish", _POST_ALGO, 0)


def _event(seed: int, rng: random.Random, sites: Sets) -> Fault:
    match = {"event": rng.choice(_EVENTS)}
    if rng.random() < 0.7:
        match["stream"] = rng.choice(("connector", "execute"))
    return _rule(rng, rng.choice(_EVENT_FAULTS), match, rng.choice((5, 80, 700, 2_500)), count=rng.choice((1, 2, 5)))


def _rule(
    rng: random.Random,
    action: str,
    match: dict[str, str],
    milliseconds: int,
    *,
    code: int = 0,
    count: int = 0,
    at_ms: int | None = None,
) -> Fault:
    return Fault(
        "rule",
        _at(rng) if at_ms is None else at_ms,
        milliseconds=milliseconds,
        amount=count or rng.choice((1, 1, 1, 2, 3)),
        action=action,
        code=code,
        match=match,
    )


def _cut(seed: int, rng: random.Random, sites: Sets) -> Fault:
    return Fault("cut", _at(rng), rng.choice(("market", "user", "execute")), rng.choice((200, 1_500, 4_000)))


def _broker(seed: int, rng: random.Random, sites: Sets) -> Fault:
    return Fault("broker", _at(rng), milliseconds=rng.choice((100, 400, 1_200, 3_500)))


def _unanswered(seed: int, rng: random.Random, sites: Sets) -> Fault:
    return Fault("unanswered", _at(rng), amount=rng.choice((1, 2, 5)))


def _late(seed: int, rng: random.Random, sites: Sets) -> Fault:
    return Fault("late", _at(rng), milliseconds=rng.choice((150, 500, 850, 970)), amount=rng.choice((1, 1, 2, 3)))


def _image(seed: int, rng: random.Random, sites: Sets) -> Fault:
    return Fault("image", _at(rng))


def _slow(seed: int, rng: random.Random, sites: Sets) -> Fault:
    return Fault("slow", _at(rng), rng.choice(_TOPICS), rng.randint(500, 3_000), amount=rng.choice((20, 150, 900)))


def _again(seed: int, rng: random.Random, sites: Sets) -> Fault:
    return Fault("again", _at(rng), "intents", amount=rng.randint(1, 8))


def _stick(seed: int, rng: random.Random, sites: Sets) -> Fault:
    return Fault("stick", _at(rng), rng.choice(SYMBOLS), amount=rng.choice((1, 1, 2)))


def _skew(seed: int, rng: random.Random, sites: Sets) -> Fault:
    return Fault("skew", 0, "execute", amount=rng.randint(-400, 400))


def _jump(seed: int, rng: random.Random, sites: Sets) -> Fault:
    return Fault("jump", _at(rng), rng.choice(SYMBOLS), amount=rng.choice((-150, -90, -30, 30, 90, 150)))


def _refuse(seed: int, rng: random.Random, sites: Sets) -> Fault:
    return Fault("refuse", _at(rng), milliseconds=rng.choice((50, 300, 1_500)))


def _orphan(seed: int, rng: random.Random, sites: Sets) -> Fault:
    rails = [site for site in sites.execute if site[0] == "execution/rails.py" and site[1] in _PLACING]
    place = Place(*choose(seed, f"{rng.random()}", rails or sites.execute), passes=rng.choice((0, 0, 1)))
    return Fault(
        "orphan", _at(rng) // 2, "execute", rng.randint(150, 900), amount=rng.randint(3_000, 4_500), place=place
    )


class Sets(msgspec.Struct, frozen=True):
    """
    Await points: of the executor, of the account, those of the executor between a check and a write, and those of both
    that few runs pass.
    """

    execute: tuple[tuple[str, str, int], ...]
    account: tuple[tuple[str, str, int], ...]
    writes: tuple[tuple[str, str, int], ...]
    rare: tuple[tuple[str, str, int], ...] = ()


Generator = Callable[[int, random.Random, Sets], Fault]
# How likely a seed has one; each further one is a third as likely as the one before.
_GENERATORS: Final[tuple[tuple[float, Generator], ...]] = (
    (0.95, _kill_execute),
    (0.35, _kill_account),
    (0.20, _kill_other),
    (0.15, _freeze),
    (0.08, _freeze_other),
    (0.20, _twin),
    (0.06, _stop),
    (0.70, _doubtful),
    (0.50, _not_executed),
    (0.25, _bad_read),
    (0.05, _vanish),
    (0.60, _event),
    (0.20, _cut),
    (0.15, _broker),
    (0.06, _unanswered),
    (0.06, _image),
    (0.20, _late),
    (0.15, _slow),
    (0.10, _again),
    (0.10, _stick),
    (0.10, _skew),
    (0.15, _jump),
    (0.08, _refuse),
    (0.10, _orphan),
)


def choose(seed: int, salt: str, sites: Sequence[tuple[str, str, int]]) -> tuple[str, str, int]:
    """One site by rank of hash: the same for the same seed, however many others there are."""

    def rank(site: tuple[str, str, int]) -> bytes:
        return blake2b(f"{seed}/{salt}/{site[0]}/{site[1]}/{site[2]}".encode(), digest_size=8).digest()

    return min(sites, key=rank)
