"""An executor under the switch file: it drops to read-only, comes back reducing only, and tells account."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.events import TradingMode
from pipeline.execution.executor import Executor
from pipeline.execution.ports import OutboxUnavailable
from pipeline.execution.switch import Switch
from pipeline.wire.records import ModeCommand
from tests.pipeline.execution.fakes import BTC, FAR, World, bracket, intent, moved, opened, run_virtual


async def switched(world: World, directory: Path) -> tuple[Executor, Switch]:
    """A started executor that holds the switch file of *directory*."""
    executor = world.executor()
    switch = Switch(directory, f"executor-{id(executor)}")
    executor.lease.switch = switch
    await executor.start()
    await asyncio.sleep(0.2)
    return executor, switch


def commands(world: World) -> list[tuple[str, str]]:
    return [(r.command, r.mode) for r in world.outbox.records if isinstance(r, ModeCommand)]


def test_a_kill_makes_it_read_only_and_afterwards_it_reduces_only(tmp_path: Path) -> None:
    """Seized: not even a stop moves. Released: stops move, entries are refused with the way back in the reason."""

    async def play() -> None:
        world = World()
        executor, _ = await switched(world, tmp_path)
        record = await opened(world, executor)
        kill = Switch(tmp_path, "kill-1")
        kill.seize(TradingMode.HALTED, "drill")
        executor.submit(moved(2, record.id, 995_000))
        await asyncio.sleep(1)
        assert [FAR, ("b", 990_000, 10)] == world.venue.rails(BTC)

        kill.release()
        await asyncio.sleep(0.5)
        executor.submit(moved(3, record.id, 996_000))
        late = intent(4, bracket(), symbol="ETHUSDT")
        executor.submit(late)
        await asyncio.sleep(1)

        assert [FAR, ("b", 996_000, 10)] == world.venue.rails(BTC)
        assert ["e:refused"] == world.outbox.verdicts(late.id)
        reasons = [o.message for _, o in world.outbox.outcomes if o.intent == late.id]
        assert ["switch: halted (drill); perpguard resume lifts it"] == reasons

    run_virtual(play())


def test_account_is_told_at_each_change_and_each_start_until_it_is_resumed(tmp_path: Path) -> None:
    """A restart stays halted and says so again; after resume nothing is said and entries go."""

    async def play() -> None:
        world = World()
        first, _ = await switched(world, tmp_path)
        assert [] == commands(world)
        kill = Switch(tmp_path, "kill-1")
        kill.seize(TradingMode.HALTED, "drill")
        kill.release()
        await asyncio.sleep(0.5)
        assert "halted" == commands(world)[-1][1]
        world.kill(first)
        before = len(commands(world))
        second, _ = await switched(world, tmp_path)
        assert before < len(commands(world))
        assert len(set(commands(world))) == len(commands(world))

        Switch(tmp_path, "resume").resume("mended")
        await asyncio.sleep(10)
        told = len(commands(world))
        entry = intent(5, bracket())
        second.submit(entry)
        await asyncio.sleep(2)
        assert told == len(commands(world))
        assert "e:accepted" in world.outbox.verdicts(entry.id)

    run_virtual(play())


def test_kafka_away_account_hears_it_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the outbox is away the word is kept; one arrives as soon as it is back."""

    async def play() -> None:
        world = World()
        away = True
        tell = world.outbox.account

        async def account(record: Any) -> None:
            if away:
                raise OutboxUnavailable("away")
            await tell(record)

        monkeypatch.setattr(world.outbox, "account", account)
        await switched(world, tmp_path)
        kill = Switch(tmp_path, "kill-1")
        kill.seize(TradingMode.REDUCE_ONLY, "drill")
        kill.release()
        await asyncio.sleep(3)
        assert [] == commands(world)
        away = False
        await asyncio.sleep(3)
        assert ["reduce_only"] == [mode for _, mode in commands(world)]

    run_virtual(play())
