"""
The only place that plays recordings through real sockets into the fold, by command, and for the small version in tests.

    python -m tests.connectors.binance_futures.recordings                both recordings, as fast as possible
    python -m tests.connectors.binance_futures.recordings --speed 1      as recorded: 345 s and 31 s

Simulator (its own process) → sockets → the connector of ``perpguard record`` with its snapshots by REST → files → the
fold, whose books are held against ``expected_final_book.json`` to the last level.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import uvloop

from connectors.binance_futures.recorder import verify
from pipeline.audit.recordings import RecordingSource
from pipeline.binance.fold import PartitionFold
from pipeline.commands.record import record_until_told
from pipeline.core.state import SymbolState
from pipeline.demo.final_book import differences, expectation_beside
from pipeline.wire.topics import partition_of
from tests.data import directory as data_directory
from tests.simulator import SimulatorProcess, simulator_process

# Recording → its symbols. Each begins when every stream is subscribed.
RECORDINGS = {
    "hftbacktest/usdm_btcusdt_20240808.gz": ("BTCUSDT",),
    "cryptofeed/binance_futures_20210722": ("SUSHIUSDT", "AKROUSDT", "KEEPUSDT", "CTKUSDT"),
}
SUBSCRIBED_SECONDS = 3.0
REST_SECONDS = 2.0


def folded(directory: Path) -> dict[str, SymbolState]:
    """The states after the whole recording."""
    source = RecordingSource(directory)
    folds: dict[int, PartitionFold] = {}
    for entry in source.entries():
        fold = folds.get(entry.partition)
        if fold is None:
            fold = folds[entry.partition] = PartitionFold(
                partition=entry.partition, log_identity=source.log_identity, fold="test", universe=source.symbols
            )
        fold.apply_record(offset=entry.offset, append_ms=entry.append_ms, value=entry.value)
    return {symbol: folds[partition_of(symbol)].states[symbol] for symbol in sorted(source.symbols)}


async def played(exchange: SimulatorProcess, symbols: tuple[str, ...], directory: Path) -> int:
    """Record from before the market begins until it has ended; returns how many frames came."""
    stops: list[Callable[[], None]] = []
    recording = asyncio.create_task(
        record_until_told(
            directory, symbols, ws_url=exchange.ws, rest_url=exchange.rest, books_per_minute=60, begun=stops.append
        )
    )
    await asyncio.sleep(SUBSCRIBED_SECONDS)
    await asyncio.to_thread(exchange.admin, "POST", "start")
    while not (await asyncio.to_thread(exchange.admin, "GET", "status"))["source"]["finished"]:
        assert not recording.done(), "the recording ended before the market"
        await asyncio.sleep(0.2)
    await asyncio.sleep(REST_SECONDS)
    stops[0]()
    return await recording


def check(
    path: Path, symbols: tuple[str, ...], *, speed: str, directory: Path
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Play one recording; what differs from its expected books, by symbol, and how many levels each ended with."""
    options = ("--recording", str(path), "--speed", speed, "--begin", "admin", "--port", "0")
    with simulator_process(*options) as exchange:
        uvloop.run(played(exchange, symbols, directory))
    states = folded(directory)
    found: dict[str, list[str]] = {}
    levels: dict[str, str] = {}
    for symbol in symbols:
        expected = expectation_beside(path, symbol)
        assert expected is not None, f"nothing beside {path} says how the book of {symbol} must end"
        state = states.get(symbol)
        found[symbol] = ["no line of it was recorded"] if state is None else differences(state, expected)
        if state is not None:
            levels[symbol] = f"{len(state.book.bids)} + {len(state.book.asks)} levels"
    return found, levels


def main() -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speed", default="max")
    speed, bad = parser.parse_args().speed, 0
    for name, symbols in RECORDINGS.items():
        path = data_directory() / name
        with tempfile.TemporaryDirectory() as directory:
            began = time.monotonic()
            found, levels = check(path, symbols, speed=speed, directory=Path(directory))
            seconds = time.monotonic() - began
            worth = verify(Path(directory))
        frames = sum(stream.frames for stream in worth.streams)
        unmarked = sum(stream.broken for stream in worth.streams)
        wrong = {symbol: what for symbol, what in found.items() if what}
        bad += bool(wrong or unmarked or worth.missing)
        print(
            f"{name} at {speed}: {frames} frames in {worth.lines} lines, {unmarked} unmarked gaps, {worth.missing} "
            f"numbers missing, {seconds:.0f} s; books of {levels}: {wrong or 'as expected'}",
            flush=True,
        )
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
