"""
The only place that draws from a seed what happens in one run of virtual chaos: rides, faults, kills and their places.

A plan is data: shrinking takes faults away and runs the rest again. Every purpose draws from a stream of its own, so a
fault that is taken away moves no other. A kill or freeze stands at an await point of the code: which one, is ranked by
hash, so that another line of code elsewhere leaves most seeds as they were.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

import msgspec

SYMBOLS: Final = ("BTCUSDT", "ETHUSDT")
TRADING_MS: Final = 12_000  # the last position is asked for before
FAULTS_UNTIL_MS: Final = 14_000
FIRST_MS: Final = 900


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
    ``stop`` (SIGTERM of the executor), ``cut`` (connection *target*), ``broker`` (away), ``slow`` (readers of topic
    *target*), ``again`` (intents are delivered once more), ``stick`` (triggers of *target* stay), ``skew`` (the
    executor's clock), ``jump`` (the price of *target*, in bps), ``refuse`` (the venue takes no connections).
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
}


def draw(seed: int, sites: Sequence[tuple[str, str, int]]) -> Plan:
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


def _faults(seed: int, sites: Sequence[tuple[str, str, int]]) -> list[Fault]:
    return []


def choose(seed: int, salt: str, sites: Sequence[tuple[str, str, int]]) -> tuple[str, str, int]:
    """One site by rank of hash: the same for the same seed, however many others there are."""

    def rank(site: tuple[str, str, int]) -> bytes:
        return blake2b(f"{seed}/{salt}/{site[0]}/{site[1]}/{site[2]}".encode(), digest_size=8).digest()

    return min(sites, key=rank)
