"""
The only place where a benchmark runs the whole pipeline: Kafka, exchange, connector, one worker per role, positions.

Everything is real and on this machine: a Kafka with the benchmark's JVM and the simulated exchange on a synthetic
market. Positions are opened by commands, as a person would.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from pipeline.console.log_access import open_log, send
from pipeline.core.events import Side
from pipeline.demo.exchange import Exchange, open_episodes
from pipeline.demo.fleet import Fleet, PartFailed, free_port, json_line, perpguard
from pipeline.demo.stage import environment_of, worker_command
from pipeline.embedded_kafka import EmbeddedKafka
from pipeline.settings import Settings, load
from pipeline.streaming.topics_admin import ensure_topics
from pipeline.wire import records
from pipeline.wire.topics import ACCOUNT

ASIDE: Final = ("nice", "-n", "10")
ROLES: Final = ("decide", "account", "execute")
WARM_SECONDS: Final = 60.0
OPEN_SECONDS: Final = 360.0
HISTORY_PATHS: Final = ("/fapi/v1/depth", "/fapi/v1/klines")  # what a start asks for, symbol after symbol
HISTORY_SECONDS: Final = 360.0
SETTLED_SECONDS: Final = 10.0
ASKED_AT_ONCE: Final = 8  # the design budget lets two entries a second go
ASK_AGAIN_SECONDS: Final = 5.0

Progress = Callable[[str], None]


class Market(msgspec.Struct, frozen=True):
    """The exchange of a run; a *weight_limit* above the venue's 2,400 shortens the warm-up of many symbols."""

    symbols: int = 200
    rate: float = 1.0
    mark_interval_ms: int = 1_000
    weight_limit: int = 2_400
    spread_marks: bool = False


class Whole(msgspec.Struct):
    """The running pipeline."""

    directory: Path
    fleet: Fleet
    exchange: Exchange
    settings: Settings
    symbols: list[str]
    progress: Progress

    def memory_mb(self) -> dict[str, float]:
        """Peak memory (VmHWM) of each process so far."""
        self.fleet.note_memory()
        return {name: part.memory_mb for name, part in self.fleet.parts.items()}


@asynccontextmanager
async def whole_pipeline(
    market: Market, *, configuration: Callable[[list[str]], dict[str, Any]], progress: Progress
) -> AsyncIterator[Whole]:
    """
    Start everything and end everything; *configuration* makes the configuration file for the exchange's symbols.

    Raises PartFailed, EmbeddedKafkaError.
    """
    directory = Path(tempfile.mkdtemp(prefix="perpguard-bench-"))
    fleet = Fleet(directory, {})
    kafka = EmbeddedKafka(directory=directory / "kafka", profile="bench", progress=progress)
    exchange: Exchange | None = None
    try:
        await asyncio.to_thread(kafka.start)
        # A real exchange works on machines of its own: here it gives way to the pipeline.
        simulator = fleet.start("simulator", [*ASIDE, *perpguard(*_simulator_arguments(market))])
        urls = await json_line(simulator, "rest")
        exchange = Exchange(urls["rest"])
        symbols = sorted(await exchange.tick_sizes())
        config = directory / "config.json"
        config.write_text(json.dumps(configuration(symbols)))
        fleet.environment |= environment_of(directory, tuple(symbols), kafka.bootstrap, urls)
        fleet.environment["PERPGUARD_CONFIG"] = str(config)
        await ensure_topics(kafka.bootstrap, fleet.environment["PERPGUARD_PREFIX"])
        settings = load(fleet.environment, config)
        progress(f"{len(symbols)} symbols, {market.rate:g} steps a second each; output in {directory}")
        for role in ROLES:
            fleet.start(role, worker_command(), PERPGUARD_ROLE=role, PERPGUARD_METRICS_PORT=str(free_port()))
        fleet.start("connector", perpguard("connector", "--json"))
        await _known_instruments(fleet, settings)
        yield Whole(directory, fleet, exchange, settings, symbols, progress)
    finally:
        fleet.stop()
        await asyncio.to_thread(kafka.stop)
        if exchange is not None:
            await exchange.close()


def _simulator_arguments(market: Market) -> list[str]:
    return [
        "simulator", "--json", "--port", "0", "--symbols", str(market.symbols), "--scenario", "demo",
        "--rate", f"{market.rate:g}", "--wallet", "1000000", "--mark-interval-ms", str(market.mark_interval_ms),
        "--weight-limit", str(market.weight_limit), *(["--spread-marks"] if market.spread_marks else []),
    ]  # fmt: skip


async def _known_instruments(fleet: Fleet, settings: Settings) -> None:
    deadline = time.monotonic() + WARM_SECONDS
    while time.monotonic() < deadline:
        fleet.check()
        async with open_log(settings) as log:
            if any(b'"type":"instruments"' in record.value for record in await log.read(ACCOUNT)):
                return
        await asyncio.sleep(0.5)
    raise PartFailed(f"the executor read no exchangeInfo: {fleet.parts['execute'].last_words()}")


async def wait_until_warm(whole: Whole) -> None:
    """
    Wait until nobody has asked for a book or a history for ``SETTLED_SECONDS``: a benchmark starts warm.

    Raises PartFailed when it goes on for too long.
    """
    asked, since = -1, time.monotonic()
    deadline = since + HISTORY_SECONDS
    while time.monotonic() < deadline:
        whole.fleet.check()
        requests = (await whole.exchange.summary())["requests"]
        now = sum(count for path, count in requests.items() if any(part in path for part in HISTORY_PATHS))
        if now != asked:
            asked, since = now, time.monotonic()
            whole.progress(f"{asked} books and histories were read")
        elif time.monotonic() - since > SETTLED_SECONDS:
            return
        await asyncio.sleep(2.0)
    raise PartFailed(f"books and histories were still asked for after {HISTORY_SECONDS:.0f} s")


async def open_positions(whole: Whole, count: int, *, stop: float = 0.99, first: Sequence[str] = ()) -> list[str]:
    """
    Ask for long positions, symbol after symbol, until the exchange has *count*; returns their symbols.

    Symbols of *first* are asked for before all others, in their order.

    *stop* is the share of the price at which the first stop lies: the nearer, the smaller a move worth a request.

    A symbol whose grid is too coarse for the asked levels is declined and another takes its place. Raises PartFailed.
    """
    ticks = await whole.exchange.tick_sizes()
    deadline = time.monotonic() + OPEN_SECONDS
    order = [*first, *(symbol for symbol in whole.symbols if symbol not in first)]
    turn = 0
    while time.monotonic() < deadline:
        whole.fleet.check()
        opened = sorted({episode["symbol"] for episode in open_episodes(await whole.exchange.summary())})
        whole.progress(f"{len(opened)} of {count} positions are open")
        if len(opened) >= count:
            return opened[:count]
        closed = [symbol for symbol in order if symbol not in opened]
        middles = await whole.exchange.mid_prices()
        for _ in range(min(ASKED_AT_ONCE, count - len(opened))):
            symbol = closed[turn % len(closed)]
            turn += 1
            command = open_command(symbol, middle=middles[symbol], tick=ticks[symbol], stop=stop)
            await send(whole.settings, ACCOUNT, records.encode(command))
        await asyncio.sleep(ASK_AGAIN_SECONDS)
    raise PartFailed(f"only {len(opened)} of {count} positions were opened within {OPEN_SECONDS:.0f} s")


def open_command(symbol: str, *, middle: float, tick: float, stop: float = 0.99) -> records.OpenCommand:
    """Long, the stop at that share of the middle price, targets out of reach."""

    def price(share: float) -> str:
        return f"{round(middle * share / tick) * tick:.8f}"

    return records.OpenCommand(
        command=f"bench-{secrets.token_hex(8)}",
        symbol=symbol,
        side=Side.BUY,
        notional="500",
        stop=price(stop),
        target=price(1.5),
        last_target=price(1.6),
    )
