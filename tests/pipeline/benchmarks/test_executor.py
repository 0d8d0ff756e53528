"""The executor's benchmark: what it starts is accepted, and what it reads of the exchange is on the grid."""

from __future__ import annotations

from pathlib import Path

from pipeline.benchmarks.executor import Load, _configuration, _simulator_arguments, instruments, road_of
from pipeline.benchmarks.report import BENCHMARKS, SUMMARIES
from pipeline.core.events import Leg, RequestEnded, Verdict
from pipeline.core.units import Milliseconds
from pipeline.settings import load
from pipeline.wire.records import AttemptEnded
from tests.simulator import simulator_inside


def test_its_configuration_is_one_the_pipeline_accepts(tmp_path: Path) -> None:
    """Limits and symbols of the run pass the strict settings."""
    symbols = ["BTCUSDT", "ETHUSDT"]
    settings = load({"PERPGUARD_SYMBOLS": ",".join(symbols)}, _configuration(tmp_path, symbols))

    assert (tuple(symbols), 2, 600) == (
        settings.limits.symbols,
        settings.limits.max_positions,
        settings.limits.entries_per_minute,
    )


def test_the_exchange_is_started_with_limits_that_do_not_hold_the_load() -> None:
    """The venue's 20 orders a second would measure the venue, not the executor."""
    arguments = _simulator_arguments(Load(positions=3))

    assert "600000" == arguments[arguments.index("--order-limit") + 1]


async def test_it_reads_the_instruments_of_the_exchange() -> None:
    """Ticks and lots of the moves are those of exchangeInfo."""
    async with simulator_inside(symbols=["ETHUSDT", "BTCUSDT"]) as simulator:
        found = await instruments(simulator.urls()["rest"])

    assert ["BTCUSDT", "ETHUSDT"] == [instrument.symbol for instrument in found]
    assert all(instrument.tick_e8 > 0 and instrument.trading for instrument in found)


def test_the_parts_of_a_road_make_the_whole() -> None:
    """Each stamp ends one part and begins the next."""
    outcome = RequestEnded(intent="i", position="p", leg=Leg.WORKING, client_id="c", verdict=Verdict.ACCEPTED)
    ended = AttemptEnded(
        epoch=1,
        symbol="BTCUSDT",
        outcome=outcome,
        at_ms=Milliseconds(1),
        intent_read_ns=2_000_000,
        journalled_ns=3_500_000,
        written_ns=4_000_000,
    )
    road = road_of(1_000_000, ended)

    assert (1.0, 1.5, 0.5, 3.0) == (road.read, road.journalled, road.written, road.total)


def test_it_is_in_the_registry() -> None:
    """`perpguard bench executor` finds it."""
    assert "executor" in BENCHMARKS
    assert "executor" in SUMMARIES
