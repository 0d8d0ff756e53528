"""The governor's benchmark: it measures decisions that are admitted, and exits amid a flood that stays where it is."""

from __future__ import annotations

from pipeline.benchmarks.governor import EXITS, decision_us, flooded_ms, governor
from pipeline.benchmarks.report import BENCHMARKS, Options


async def test_every_exit_gets_through_a_flood() -> None:
    """A thousand background requests hold none of them up."""
    assert EXITS == len(await flooded_ms(1_000, EXITS))


def test_a_busy_minute_is_decided() -> None:
    """One figure a decision."""
    assert 300 == len(decision_us(300))


def test_it_is_in_the_registry_and_has_its_bounds() -> None:
    """`perpguard bench governor` shows what must hold."""
    measured = governor(Options(quick=True))

    assert "governor" in BENCHMARKS
    assert (5.0, 1.0) == (measured.figures["decision_p50_us"].must, measured.figures["exit_waits_p99_ms"].must)
