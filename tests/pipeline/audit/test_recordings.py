"""The only place for the tests of recordings as logs: recorded on sockets, folded, played and traded on again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from connectors.binance_futures.recorder import line_files, verify
from connectors.exchange_simulator.recording import instruments_of, load
from connectors.exchange_simulator.server import Simulator
from pipeline.audit.recordings import RecordingSource, is_recording
from pipeline.audit.sources import SourceError
from pipeline.cli import main
from pipeline.commands.record import record_until_told
from pipeline.wire import lines
from tests.connectors.binance_futures.recordings import folded
from tests.connectors.binance_futures.test_recorder import SECOND, Clock, depth
from tests.connectors.binance_futures.test_recorder import recorded as recorder_of
from tests.simulator import simulator_inside, until

SYMBOLS = ("BTCUSDT", "ETHUSDT")


async def recorded(exchange: Simulator, directory: Path) -> None:
    """Record until every book was read and some diffs came behind it; the market rests at the end."""
    stops: list[Callable[[], None]] = []
    recording = asyncio.create_task(
        record_until_told(
            directory, SYMBOLS, ws_url=exchange.urls()["ws"], rest_url=exchange.urls()["rest"], begun=stops.append
        )
    )
    await until(lambda: exchange.venue.ledger.requests_by_path.get("GET /fapi/v1/depth", 0) >= len(SYMBOLS))
    await asyncio.sleep(1.5)
    stops[0]()
    await recording


async def test_what_is_recorded_is_folded_into_the_books_of_the_venue_and_played_and_traded_on(tmp_path: Path) -> None:
    """`record`, then `replay --archive`, the simulator's reader and `backtest --recording` on the same directory."""
    async with simulator_inside(symbols=list(SYMBOLS), rate=20.0) as exchange:
        await recorded(exchange, tmp_path)
    worth = verify(tmp_path)
    states = folded(tmp_path)
    played, name = load(tmp_path)
    rows = {row.symbol: row for row in instruments_of(tmp_path, played)}

    assert (0, []) == (worth.missing, worth.torn)
    assert 0 == sum(stream.broken for stream in worth.streams)
    for symbol in SYMBOLS:
        state = states[symbol]
        last = max(
            line.payload["u"] for line in played if line.symbol == symbol and line.stream.endswith("@depth@100ms")
        )
        assert not state.book.wants_snapshot and last == state.book.last_update_id
        assert state.instrument is not None
        assert rows[symbol].tick_e8 == state.instrument.tick_e8 and rows[symbol].step_e8 == state.instrument.step_e8
    assert "perpguard" == name
    for command in (
        ["replay", "--archive", str(tmp_path)],
        ["backtest", "--recording", str(tmp_path), "--symbol", "BTCUSDT"],
        ["backtest", "--log", str(tmp_path)],
        ["record", "--verify", "--png", str(tmp_path / "worth.png"), str(tmp_path)],
    ):
        # In a thread: the commands run event loops of their own.
        result = await asyncio.to_thread(CliRunner().invoke, main, command)
        assert 0 == result.exit_code, (command, result.output, result.exception)
    assert (tmp_path / "worth.png").stat().st_size > 1_000


def test_ticks_stand_at_quarters_of_a_second_and_a_week_without_a_recorder_is_one_step(tmp_path: Path) -> None:
    """Resumed later, a recording does not tick through the time in between."""
    recorder, intake = recorder_of(tmp_path, Clock())
    week = 7 * 86_400 * SECOND
    for at, number in ((SECOND, 1), (SECOND + 600_000_000, 2), (week, 3)):
        intake.frame(at, depth(number, number - 1))
    recorder.close()
    found = [lines.decode(raw) for entry in RecordingSource(tmp_path).entries() for raw in lines.split(entry.value)]

    assert [1_250, 1_500, week // 1_000_000] == [line.tick for line in found if line.tick is not None][:3]
    assert [1, 2, 3] == [msgspec.json.decode(line.frame)["data"]["u"] for line in found if bytes(line.frame)]


def test_the_log_of_a_recording_is_the_same_every_time_and_a_directory_without_one_is_named(tmp_path: Path) -> None:
    """Nothing is drawn or read from a clock; what is no recording says so."""
    with pytest.raises(SourceError, match="no recording"):
        RecordingSource(tmp_path)
    assert not is_recording(tmp_path)
    assert [] == line_files(tmp_path)
