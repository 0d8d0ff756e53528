"""The only place for the order of a chaos run: set the stage, trade, disturb, bring all flat, stop, judge, tell."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
from rich.console import Console

from pipeline.chaos import evidence as evidences
from pipeline.chaos import judges
from pipeline.chaos.disturb import Disturbed, Disturber, EndedByItself
from pipeline.chaos.evidence import Evidence
from pipeline.chaos.judges import Naked, Violation
from pipeline.chaos.market import SYMBOLS, Market
from pipeline.chaos.plan import schedule
from pipeline.chaos.pulse import Pulse
from pipeline.chaos.recovery import Recovered, frame_instants, live_instants, recoveries
from pipeline.demo.figures import percentile
from pipeline.demo.stage import Options, Stage, ready, set_stage
from pipeline.demo.view import View
from pipeline.wire import records

Json: TypeAlias = Any  # the result's JSON

CONFIGURATION: Final = json.dumps({"limits": {"entries_per_minute": 60}})
SCENARIO: Final = "calm"
RATE: Final = 5.0
FIRST_POSITIONS: Final = 2
FIRST_SECONDS: Final = 30.0
SWEEP_SECONDS: Final = 3.0


class Chaos(msgspec.Struct, frozen=True):
    """What was asked for; *seconds*: go on until it has lasted so long; *rate*: market events a second and symbol."""

    seed: int = 1
    kills: int = 30
    joins: int = 10
    freezes: int = 10
    seconds: float = 0.0
    rate: float = RATE
    keep: bool = False

    @property
    def command(self) -> str:
        """What repeats this run."""
        text = f"perpguard chaos --processes --kills {self.kills} --joins {self.joins} --freezes {self.freezes}"
        return f"{text} --seed {self.seed}" + (
            (f" --seconds {self.seconds:g}" if self.seconds else "")
            + (f" --rate {self.rate:g}" if self.rate != RATE else "")
        )


class Outcome(msgspec.Struct):
    """What a run came to, and where its log lies when it was kept."""

    violations: list[Violation]
    result: dict[str, Json]
    directory: Path
    kept: bool


async def run(chaos: Chaos, console: Console) -> Outcome:
    """
    Run to the end.

    Raises PartFailed, ExchangeGone, EmbeddedKafkaError, Unreachable when it could not be run; everything that was
    started has ended by then. The directory with log, states and output stays when something was broken.
    """
    began = time.monotonic()
    options = Options(seed=chaos.seed, scenario=SCENARIO, rate=chaos.rate, configuration=CONFIGURATION)
    with View(console) as view:
        async with set_stage(options, SYMBOLS, view) as stage:
            await ready(stage)
            disturber = await _disturbed(stage, chaos, began)
            view.step("stopping connector and workers")
            await asyncio.to_thread(stage.stop_pipeline)
            view.step("folding the log again, and judging")
            evidence = await evidences.gather(stage)
            outcome = _judged(stage, chaos, evidence, disturber, began)
            if not outcome.violations and not chaos.keep:
                stage.let_go()
            outcome.kept = stage.kept
    return outcome


async def _disturbed(stage: Stage, chaos: Chaos, began: float) -> Disturber:
    market = Market(stage, seed=chaos.seed, ticks=await stage.exchange.tick_sizes())
    pulse = Pulse(stage.settings)
    disturber = Disturber(stage, pulse, market)
    watching = [asyncio.create_task(pulse.run()), asyncio.create_task(disturber.watch())]
    try:
        market.start()
        await _until_trading(market)
        await disturber.carry_out(
            schedule(seed=chaos.seed, kills=chaos.kills, joins=chaos.joins, freezes=chaos.freezes)
        )
        while time.monotonic() - began < chaos.seconds:
            market.check()
            await asyncio.sleep(1.0)
        stage.view.step(f"{market.tail.opened} positions were opened; closing what is open")
        if not await market.stop():
            stage.view.step(f"not flat: {', '.join(market.tail.open)}")
        await asyncio.sleep(SWEEP_SECONDS)
    finally:
        for task in watching:
            task.cancel()
        ended = await asyncio.gather(*watching, return_exceptions=True)
    for problem in ended:
        if isinstance(problem, Exception):
            raise problem
    return disturber


async def _until_trading(market: Market) -> None:
    deadline = time.monotonic() + FIRST_SECONDS
    while market.tail.opened < FIRST_POSITIONS and time.monotonic() < deadline:
        market.check()
        await asyncio.sleep(0.2)


def _judged(stage: Stage, chaos: Chaos, evidence: Evidence, disturber: Disturber, began: float) -> Outcome:
    episodes = evidence.summary["episodes"]
    recovered = recoveries(
        disturber.done,
        live=live_instants(evidence.inputs, evidence.decisions, evidence.anchors),
        frames=frame_instants(evidence.inputs, SYMBOLS),
        requests=evidence.ledger["request"],
        episodes=episodes,
    )
    stretches = judges.naked_stretches(episodes, recovered)
    violations = judges.judge(evidence, recovered=recovered, stretches=stretches, hung=stage.hung)
    result = result_of(
        chaos,
        evidence,
        violations,
        recovered=recovered,
        stretches=stretches,
        disturbances=disturber.done,
        ended=disturber.ended,
        loads=disturber.loads,
        seconds=time.monotonic() - began,
    )
    return Outcome(violations, result, stage.directory, True)


def result_of(
    chaos: Chaos,
    evidence: Evidence,
    violations: Sequence[Violation],
    *,
    recovered: Sequence[Recovered],
    stretches: Sequence[Naked],
    disturbances: Sequence[Disturbed],
    ended: Sequence[EndedByItself],
    loads: Sequence[float],
    seconds: float,
) -> dict[str, Json]:
    """The result in the schema of architecture section 7, and the figures of this mode beside it."""
    episodes = evidence.summary["episodes"]
    longest = [episode["naked"]["any"]["longest_ms"] for episode in episodes]
    ids = [records.decode_intent(record.value).id for record in evidence.intents]
    return {
        "mode": "processes",
        "seeds": 1,
        "violations": len(violations),
        "violating_seeds": [chaos.seed] if violations else [],
        "faults_bitten": judges.bitten(disturbances),
        "naked_ms": {"p99": percentile(longest, 0.99) if longest else 0, "max": max(longest, default=0)},
        "seconds": round(seconds, 1),
        "seed": chaos.seed,
        "broken": [msgspec.to_builtins(violation) for violation in violations],
        "repeat": chaos.command,
        "naked_by": {
            around: max((one.length_ms for one in stretches if one.around == around), default=0)
            for around in (judges.UP, judges.KILLED, judges.FROZEN)
        },
        "live_again_ms": {kind: _spread(values) for kind, values in _by_kind(recovered).items()},
        "cover_proven_ms": _spread([one.cover_ms for one in recovered if one.cover_ms is not None]),
        "positions": len(episodes),
        "stop_moves": sum(max(0, len(episode["tightest"]) - 1) for episode in episodes),
        "intents": {"distinct": len(set(ids)), "repeated": len(ids) - len(set(ids))},
        "lines": evidence.folded.lines,
        "decisions": (evidence.replay or {}).get("decisions", 0),
        "conditions": {"cores": os.cpu_count(), "load_average": _spread(loads)},
        "ended_by_themselves": [msgspec.to_builtins(one) for one in ended],
    }


def _by_kind(recovered: Sequence[Recovered]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for one in recovered:
        for name in ("all", f"{one.disturbed.kind} {one.disturbed.victim}"):
            found.setdefault(name, []).append(one.dark_ms)
    return dict(sorted(found.items()))


def _spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {"count": 0}
    return {"count": len(values), "p50": percentile(values, 0.5), "max": max(values)}
