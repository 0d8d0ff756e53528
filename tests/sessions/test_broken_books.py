"""The only place for the test of fifty books broken at once: real roles, exchange and virtual time, held ones first."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pipeline.backtest.steady import Steady
from pipeline.virtual.clock import VirtualLoop, run, silence

SYMBOLS = 50
HELD_SECONDS = 3.0
ALL_SECONDS = 60.0
CUT_SECONDS = 0.5
LOOK_SECONDS = 0.5
WEIGHT_PER_MINUTE = 2_400


async def broken_at_once(loop: VirtualLoop, disk: Path) -> tuple[list[str], dict[str, float], int]:
    """Cut the market socket under fifty whole books; when each was whole again, and the weight spent meanwhile."""
    world = Steady(SYMBOLS, 0, 0, lambda text: None)
    world.begin(loop, disk)
    await world.warm(loop, past=False)
    await world.open(1)
    await asyncio.sleep(30)
    held = world.held()
    before = len(world.requests)
    broken = loop.time()
    world.connector.cut("market")
    await asyncio.sleep(CUT_SECONDS)
    world.connector.restore()
    whole: dict[str, float] = {}
    while len(whole) < SYMBOLS and loop.time() - broken < 2 * ALL_SECONDS:
        await asyncio.sleep(LOOK_SECONDS)
        whole |= {name: loop.time() - broken for name in world.names if name not in whole and world.whole(name)}
    depth = [line["weight"] for line in world.requests[before:] if line["path"] == "/fapi/v1/depth"]
    asked = {line["symbol"] for line in world.requests[before:] if line["path"] == "/fapi/v1/depth"}
    await world.end()
    assert asked == set(world.names), "the cut breaks every book, and each is read again"
    return held, whole, sum(depth)


def test_fifty_books_broken_at_once_are_whole_within_a_minute_and_a_held_one_within_three_seconds(
    tmp_path: Path,
) -> None:
    """Clarifications 2: held ≤ 3 s after the break, all ≤ 60 s; the snapshots weigh a quarter of the venue's minute."""
    with silence():
        held, whole, depth = run(lambda loop: broken_at_once(loop, tmp_path))

    assert 1 == len(held)
    assert SYMBOLS == len(whole), f"{SYMBOLS - len(whole)} books stayed broken"
    assert max(whole[name] for name in held) <= HELD_SECONDS
    assert max(whole.values()) <= ALL_SECONDS
    assert depth <= WEIGHT_PER_MINUTE // 4
