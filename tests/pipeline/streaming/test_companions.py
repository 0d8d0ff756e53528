"""Companions stop before their leader leaves its group, the last one first."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from pipeline.streaming.app import WorkerApp
from pipeline.streaming.companions import accompany


def companion(name: str, stopped: list[str]) -> Any:
    """An app that only notes its stop."""

    async def stop() -> None:
        stopped.append(name)

    return SimpleNamespace(role=name, stop=stop)


async def test_companions_stop_first_and_in_reverse() -> None:
    """The executor goes before account, and both before decide writes its clean manifests."""
    leader = WorkerApp("test.decide", prefix="test.", role="decide")
    stopped: list[str] = []

    async def close() -> None:
        stopped.append("decide")

    leader.before_stop.append(close)
    accompany(leader, [companion("account", stopped), companion("execute", stopped)])
    for step in leader.before_stop:
        await step()

    assert ["execute", "account", "decide"] == stopped
    assert 1 == len(leader._extra_services)
