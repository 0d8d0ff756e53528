"""
The only place for the acts of the synthetic demo: open, kill between fill and rails, kill inside a stop move, all flat.

An act hits its window because the exchange holds the very request: nothing here sleeps for luck.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any, Final, TypeAlias

from pipeline.console.asking import ask
from pipeline.core.events import Leg, Side
from pipeline.core.identity import intent_of, leg_of
from pipeline.demo.exchange import open_episodes
from pipeline.demo.fleet import PartFailed
from pipeline.demo.promises import resting_orders
from pipeline.demo.scenario import (
    BETWEEN_FILL_AND_RAILS,
    INSIDE_A_STOP_MOVE,
    KILL_BEFORE_RAILS,
    Plan,
    levels,
    segments,
)
from pipeline.demo.stage import Stage
from pipeline.wire import records

Json: TypeAlias = Any  # the ledger's JSON

OPEN_SECONDS: Final = 30.0
ASK_SECONDS: Final = 8.0
HELD_SECONDS: Final = 30.0
RECOVERY_SECONDS: Final = 20.0
RECOVERY_SECONDS_MS: Final = int(RECOVERY_SECONDS * 1_000)
FLAT_SECONDS: Final = 60.0
SWEEP_SECONDS: Final = 8.0
LOOK_SECONDS: Final = 0.25  # between two looks at the ledger, whose own times are what counts
NOT_HIT: Final = -1
BEFORE_RAILS: Final = "between a fill and its rails"
IN_A_MOVE: Final = "inside a stop move"


class Played(Exception):
    """An act could not be played; the text says which and why."""


async def open_position(stage: Stage, plan: Plan, tick: float) -> str:
    """
    Open by command, as a person would; asked again while the data of the symbol are not whole yet.

    Returns the position's id; raises Played when it was not open within ``OPEN_SECONDS``.
    """
    deadline = time.monotonic() + OPEN_SECONDS
    reason = ""
    while time.monotonic() < deadline:
        stage.fleet.check()
        middle = await stage.exchange.mid_price(plan.symbol)
        command = records.OpenCommand(
            command=f"demo-{secrets.token_hex(8)}",
            symbol=plan.symbol,
            side=Side.BUY if plan.side == "long" else Side.SELL,
            notional=plan.notional,
            **levels(plan, middle=middle, tick=tick),
        )
        answer = await ask(stage.settings, command, wait=True, seconds=max(ASK_SECONDS, deadline - time.monotonic()))
        if answer["accepted"] and answer.get("position"):
            stage.view.step(f"{plan.symbol} {plan.side} is open: {answer['reason']} ({answer['position']})")
            return str(answer["position"])
        if answer["reason"] != reason:
            reason = answer["reason"]
            stage.view.step(f"{plan.symbol}: {reason}; asking again")
        await asyncio.sleep(0.3)
    raise Played(f"{plan.symbol} was not opened within {OPEN_SECONDS:.0f} s: {reason}")


async def kill_between_fill_and_rails(stage: Stage, plan: Plan, tick: float) -> tuple[str, int]:
    """
    Open *plan* and kill the executor when the entry is filled and no rail rests; returns (position, recovery ms).

    Recovery is measured by the exchange: from the fill, which the kill follows at once, to the first instant at which
    live stops cover the quantity.
    """
    await stage.exchange.hold(BETWEEN_FILL_AND_RAILS)
    opening = asyncio.create_task(open_position(stage, plan, tick))
    try:
        held = await _held(stage, opening, method="POST", leg=Leg.ENTRY)
        stage.fleet.parts["execute"].kill()
        stage.view.step(f"SIGKILL to the executor: {plan.symbol} is filled, no stop rests ({held['path']} is held)")
        stage.fleet.parts["execute"].start()
        await stage.exchange.forget_faults()
        after_ms: list[int] = []

        async def covered() -> bool:
            for episode in (await stage.exchange.summary())["episodes"]:
                found = episode["naked"]["any"]["first_covered_after_ms"]
                if episode["symbol"] == plan.symbol and found is not None:
                    after_ms.append(found)
            return bool(after_ms)

        back = await stage.until(f"cover for {plan.symbol}", covered, seconds=RECOVERY_SECONDS, every=LOOK_SECONDS)
        recovered = after_ms[-1] if back else RECOVERY_SECONDS_MS
        stage.view.step(f"the executor is back: {plan.symbol} is covered {recovered} ms after the fill")
        return await opening, recovered
    finally:
        opening.cancel()


async def kill_inside_a_stop_move(stage: Stage) -> int:
    """Kill the executor when the new stop rests and the old one is not yet cancelled; returns the recovery in ms."""
    held = await _held(stage, None, method="DELETE", leg=Leg.WORKING)
    client = held["client_id"]
    stage.fleet.parts["execute"].kill()
    stage.view.step(f"SIGKILL to the executor inside a stop move: two stops rest, {client} is the old one")
    stage.fleet.parts["execute"].start()
    await stage.exchange.forget_faults()
    ended_ms: list[int] = []

    async def finished() -> bool:
        ended = ("CANCELED", "EXPIRED", "FINISHED", "TRIGGERED", "REJECTED")
        lines = await stage.exchange.ledger("algo")
        ended_ms.extend(line["at"] for line in lines if line["client_id"] == client and line["state"] in ended)
        return bool(ended_ms)

    back = await stage.until("the end of the stop move", finished, seconds=RECOVERY_SECONDS, every=LOOK_SECONDS)
    recovered = ended_ms[0] - held["since"] if back else RECOVERY_SECONDS_MS
    stage.view.step(f"the executor is back: the move is finished {recovered} ms after the kill")
    return recovered


async def _held(stage: Stage, opening: asyncio.Task[str] | None, *, method: str, leg: Leg) -> Json:
    """
    The first held request of *method* that is about *leg*; others that were held meanwhile go on.

    Raises Played when none comes.
    """
    deadline = time.monotonic() + HELD_SECONDS
    while time.monotonic() < deadline:
        stage.fleet.check()
        if opening is not None and opening.done():
            opening.result()
            raise Played("the position opened, but its requests were not held")
        for held in await stage.exchange.wait_held(wait_ms=500):
            if held["method"] != method:
                continue  # held for the earlier kill: nobody waits for its answer any more
            if await _is_about(stage, held["client_id"], leg):
                return held
            await stage.exchange.release(held["id"])
            await stage.exchange.hold(INSIDE_A_STOP_MOVE)
        await asyncio.sleep(0.02)
    raise Played(f"no request came that could be held within {HELD_SECONDS:.0f} s")


async def _is_about(stage: Stage, client: str, leg: Leg) -> bool:
    """Whether the request is about *leg*, and for a cancel about an order that rests (not about a doubtful one)."""
    if intent_of(client) is None or leg_of(client) is not leg:
        return False
    states = [line["state"] for line in await stage.exchange.ledger("algo") if line["client_id"] == client]
    return leg is Leg.ENTRY or states[-1:] == ["NEW"]


async def bad_input(stage: Stage) -> Json:
    """A command for a symbol that nobody knows, and a frame whose price is no number; returns the command's answer."""
    command = records.OpenCommand(
        command=f"demo-{secrets.token_hex(8)}", symbol="NOPEUSDT", side=Side.BUY, notional="100"
    )
    payload = {
        "e": "bookTicker",
        "u": 1,
        "s": "BTCUSDT",
        "b": "no number",
        "B": "1",
        "a": "2",
        "A": "1",
        "T": 1,
        "E": 1,
    }
    await stage.exchange.send_frame("btcusdt@bookTicker", payload)
    answer = await ask(stage.settings, command, seconds=ASK_SECONDS)
    stage.view.step(f"bad input: a command for NOPEUSDT is refused ({answer['reason']}), a broken frame was sent")
    return answer


async def until_flat(stage: Stage, count: int) -> None:
    """Wait until *count* positions have come and gone and nothing of ours rests; what is left is for the judges."""

    async def flat() -> bool:
        summary = await stage.exchange.summary()
        return len(summary["episodes"]) >= count and not open_episodes(summary)

    if await stage.until("all positions flat", flat, seconds=FLAT_SECONDS / min(1.0, stage.options.speed)):
        stage.view.step("every position is flat")

    async def swept() -> bool:
        ledger = {kind: await stage.exchange.ledger(kind) for kind in ("order", "algo", "fill")}
        return not resting_orders(ledger)

    await stage.until("the sweep", swept, seconds=SWEEP_SECONDS)


async def play(stage: Stage) -> tuple[Json, dict[str, int]]:
    """
    Play the whole synthetic demo; returns (the answer to the bad command, recovery ms by kill).

    Raises Played, PartFailed when it cannot go on.
    """
    options, ticks = stage.options, await _ticks(stage)
    last = [plan for plan in options.plans if options.kills and plan.symbol == KILL_BEFORE_RAILS]
    first = [plan for plan in options.plans if plan not in last]
    await asyncio.gather(*(open_position(stage, plan, ticks[plan.symbol]) for plan in first))
    recovered: dict[str, int] = {}
    for plan in last:
        _, recovered[BEFORE_RAILS] = await kill_between_fill_and_rails(stage, plan, ticks[plan.symbol])
    if options.kills:
        await stage.exchange.hold(INSIDE_A_STOP_MOVE)
    for plan in options.plans:
        await stage.exchange.run_path(plan.symbol, segments(plan, speed=options.speed))
    stage.view.step("the market moves: " + ", ".join(f"{plan.symbol} to its {plan.outcome}" for plan in options.plans))
    if options.kills:
        answer, recovered[IN_A_MOVE] = await asyncio.gather(bad_input(stage), _move(stage))
    else:
        answer = await bad_input(stage)
    await until_flat(stage, len(options.plans))
    return answer, recovered


async def _move(stage: Stage) -> int:
    try:
        return await kill_inside_a_stop_move(stage)
    except Played as reason:
        stage.view.step(str(reason))  # judged as a kill that did not happen
        return NOT_HIT


async def _ticks(stage: Stage) -> dict[str, float]:
    found = await stage.exchange.tick_sizes()
    missing = [plan.symbol for plan in stage.options.plans if plan.symbol not in found]
    if missing:
        raise PartFailed(f"the exchange does not trade {', '.join(missing)}")
    return found
