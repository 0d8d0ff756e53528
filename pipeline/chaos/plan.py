"""The only place that draws from a seed what is done to which process, when, and in which order."""

from __future__ import annotations

import random
from typing import Final

import msgspec

# Decide and the executor hold what can be lost; they come first when there are fewer kills than processes.
VICTIMS: Final = ("decide", "execute", "connector", "account")
KILL: Final = "kill"
JOIN: Final = "join"
FREEZE: Final = "freeze"
SECOND: Final = "decide-second"
SHORTEST_FREEZE_SECONDS: Final = 7.0  # the session of a group member is 6 s
LONGEST_FREEZE_SECONDS: Final = 9.5
AIMED_SHARE: Final = 0.7
LATEST_AIM_SECONDS: Final = 0.3  # command → rails takes about a tenth of a second on a quiet machine


class Step(msgspec.Struct, frozen=True):
    """
    One disturbance: ``pause_seconds`` of rest before it; ``seconds`` that a joined worker stays or a frozen one sleeps.

    ``clean`` is how a joined worker leaves: by SIGTERM, or by SIGKILL. A frozen decide worker may be ``accompanied`` by
    a second one, which takes its partitions over: the sleeper wakes amid another's work. An aimed kill waits for the
    next command to open and hits ``aim_seconds`` later, somewhere between it, its entry, the fill and the rails.
    """

    kind: str
    victim: str
    pause_seconds: float
    seconds: float = 0.0
    clean: bool = True
    accompanied: bool = False
    aim_seconds: float | None = None


def schedule(*, seed: int, kills: int, joins: int, freezes: int) -> list[Step]:
    """The disturbances in their order; every process is hit as often as every other, give or take one."""
    rng = random.Random(seed)
    steps = [Step(KILL, victim, _pause(rng), aim_seconds=_aim(rng)) for victim in _dealt(rng, kills)]
    steps += [
        Step(JOIN, SECOND, _pause(rng), seconds=rng.uniform(1.0, 4.0), clean=number % 2 == 0) for number in range(joins)
    ]
    steps += [
        Step(
            FREEZE,
            victim,
            _pause(rng),
            seconds=rng.uniform(SHORTEST_FREEZE_SECONDS, LONGEST_FREEZE_SECONDS),
            accompanied=victim == "decide" and rng.random() < 0.5,
        )
        for victim in _dealt(rng, freezes)
    ]
    rng.shuffle(steps)
    return steps


def _pause(rng: random.Random) -> float:
    return rng.uniform(0.5, 3.5)


def _aim(rng: random.Random) -> float | None:
    return rng.uniform(0.0, LATEST_AIM_SECONDS) if rng.random() < AIMED_SHARE else None


def _dealt(rng: random.Random, count: int) -> list[str]:
    dealt = [VICTIMS[number % len(VICTIMS)] for number in range(count)]
    rng.shuffle(dealt)
    return dealt
