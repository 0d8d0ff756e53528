"""The demo, played whole on real processes: a small version with every judge at work."""

from __future__ import annotations

import io

from rich.console import Console

from pipeline.demo.run import run
from pipeline.demo.scenario import Leg, Plan
from pipeline.demo.stage import Options

# Rises through its target at once; the kills are left to `make demo`, whose promises have bounds of wall time.
PLAN = Plan("BTCUSDT", "long", "1000", -80, 100, 150, (Leg(5, 170), Leg(2, 40)), "target")


async def test_a_small_demo_keeps_every_promise() -> None:
    """On real processes a position is opened, guarded and ended by target, and all of it is verified."""
    out = io.StringIO()
    outcome = await run(Options(plans=(PLAN,), kills=False), Console(file=out, width=150))

    assert [] == [(promise.what, promise.broken) for promise in outcome.promises if not promise.held], out.getvalue()
    assert ["target"] == [position["outcome"] for position in outcome.result["positions"]]
    assert set(outcome.result) == {"ok", "positions", "replay", "latency_ms", "rest", "memory_mb", "seconds"}
    assert outcome.result["positions"][0]["causes"]
    assert not outcome.directory.exists()
