"""The only place where the demo's stage is set and cleared: a directory, Kafka, the exchange, connector and workers."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import httpx
import msgspec

from pipeline.console.log_access import open_log
from pipeline.demo.exchange import Exchange
from pipeline.demo.fleet import Fleet, PartFailed, free_port, json_line, perpguard, python
from pipeline.demo.scenario import PLANS, Plan
from pipeline.demo.view import View
from pipeline.embedded_kafka import EmbeddedKafka
from pipeline.settings import SIMULATOR_KEY, SIMULATOR_SECRET, Settings, load
from pipeline.streaming.topics_admin import ensure_topics
from pipeline.wire.topics import ACCOUNT

Json: TypeAlias = Any  # JSON of the parts

PREFIX: Final = "demo."
ROLES: Final = ("decide", "account", "execute")


class Options(msgspec.Struct, frozen=True):
    """
    What the person asked for; ``speed`` is of the price paths, or of the recording. Tests play fewer *plans*.

    ``scenario`` and ``rate`` (steps a second) are of the synthetic market, ``configuration`` is the text of the
    configuration file of every process (empty: none).
    """

    speed: float = 1.0
    recording: Path | None = None
    keep: bool = False
    seed: int = 1
    plans: tuple[Plan, ...] = PLANS
    kills: bool = True
    scenario: str = "demo"
    rate: float = 10.0
    configuration: str = ""


class Surroundings(msgspec.Struct, frozen=True):
    """
    Where a stage stands, when not in a world of its own: a broker that runs already and outlives it, the prefix of its
    topics, and what makes the command that starts a part (by its name) out of the usual one.
    """

    kafka: EmbeddedKafka | None = None
    prefix: str = PREFIX
    launch: Callable[[str, list[str]], list[str]] = lambda name, command: command


class Stage(msgspec.Struct):
    """Everything that runs, and how to reach it."""

    options: Options
    directory: Path
    kafka: EmbeddedKafka
    fleet: Fleet
    exchange: Exchange
    settings: Settings
    log_identity: str
    view: View
    hung: list[str] = []
    kept: bool = True

    async def until(self, what: str, met: Callable[[], Awaitable[bool]], *, seconds: float, every: float = 0.2) -> bool:
        """Wait until *met* says so; False after *seconds*. Raises PartFailed when a process ends meanwhile."""
        deadline = time.monotonic() + seconds
        while not await met():
            self.fleet.check()
            await asyncio.to_thread(self.kafka.check)
            if time.monotonic() > deadline:
                self.view.step(f"{what}: not within {seconds:.0f} s")
                return False
            await asyncio.sleep(every)
        return True

    def let_go(self) -> None:
        """The directory may be removed in the end."""
        self.kept = False

    def stop_pipeline(self) -> None:
        """Stop connector and workers cleanly; who hangs is killed and remembered."""
        self.fleet.note_memory()
        self.hung += self.fleet.stop("connector")
        self.hung += self.fleet.stop(*ROLES)


def environment_of(
    directory: Path, symbols: tuple[str, ...], brokers: str, urls: dict[str, str], *, prefix: str = PREFIX
) -> dict[str, str]:
    """The environment of every part: nothing of the person's own configuration gets in."""
    return {
        "PERPGUARD_BROKERS": brokers,
        "PERPGUARD_PREFIX": prefix,
        "PERPGUARD_DATA_DIRECTORY": str(directory / "data"),
        "PERPGUARD_REST_URL": urls["rest"],
        "PERPGUARD_WS_URL": urls["ws"],
        "PERPGUARD_API_KEY": SIMULATOR_KEY,
        "PERPGUARD_API_SECRET": SIMULATOR_SECRET,
        "PERPGUARD_SYMBOLS": ",".join(symbols),
        "PERPGUARD_REAL_MONEY": "no",
        "PERPGUARD_CONFIG": "",
        "PERPGUARD_INSTANCE": "demo",
        "PYTHONUNBUFFERED": "1",
    }


def simulator_arguments(options: Options, symbols: tuple[str, ...], ledger: Path) -> list[str]:
    """How the exchange is started: the synthetic market, or the recording, which waits for the workers."""
    common = ["simulator", "--json", "--port", "0", "--seed", str(options.seed), "--ledger", str(ledger)]
    if options.recording is not None:
        source = ["--recording", str(options.recording), "--speed", f"{options.speed:g}", "--begin", "admin"]
        return [*common, *source]
    market = ["--scenario", options.scenario, "--rate", f"{options.rate:g}"]
    return [*common, "--symbols", ",".join(symbols), *market]


@asynccontextmanager
async def set_stage(
    options: Options,
    symbols: tuple[str, ...],
    view: View,
    around: Surroundings = Surroundings(),  # noqa: B008 - frozen
) -> AsyncIterator[Stage]:
    """
    Start everything, and end everything however the body ends.

    The directory stays, unless the body says that it may go (``Stage.let_go``). Raises PartFailed, EmbeddedKafkaError.
    """
    directory = Path(tempfile.mkdtemp(prefix="perpguard-demo-"))
    fleet = Fleet(directory, {})
    kafka = around.kafka or EmbeddedKafka(directory=directory / "kafka", progress=view.step)
    launch = around.launch
    exchange: Exchange | None = None
    stage: Stage | None = None
    try:
        view.step(f"directory {directory}")
        simulated = perpguard(*simulator_arguments(options, symbols, directory / "ledger.jsonl"))
        simulator = fleet.start("simulator", launch("simulator", simulated))
        urls, _ = await asyncio.gather(json_line(simulator, "rest"), asyncio.to_thread(kafka.start))
        exchange = Exchange(urls["rest"])
        if options.recording is not None:
            symbols = tuple((await exchange.status())["symbols"])  # whatever it holds
        fleet.environment |= environment_of(directory, symbols, kafka.bootstrap, urls, prefix=around.prefix)
        if options.configuration:
            (directory / "configuration.json").write_text(options.configuration)
            fleet.environment["PERPGUARD_CONFIG"] = str(directory / "configuration.json")
        log_identity = await ensure_topics(kafka.bootstrap, around.prefix)
        view.step(f"exchange on {urls['rest']}, topics made, log identity {log_identity}")
        for role in ROLES:
            command = launch(role, worker_command())
            fleet.start(role, command, PERPGUARD_ROLE=role, PERPGUARD_METRICS_PORT=str(free_port()))
        command = launch("connector", perpguard("connector", "--json"))
        fleet.start("connector", command, PERPGUARD_METRICS_PORT=str(free_port()))
        settings = load(fleet.environment)
        stage = Stage(options, directory, kafka, fleet, exchange, settings, log_identity, view)
        yield stage
    finally:
        fleet.stop()
        if around.kafka is None:
            await asyncio.to_thread(kafka.stop)
        if exchange is not None:
            await exchange.close()
        if stage is not None and not stage.kept:
            shutil.rmtree(directory, ignore_errors=True)
        else:
            view.step(f"log, states and output of every process stay in {directory}")


def worker_command() -> list[str]:
    """A worker, started as any Faust project's."""
    return python("-m", "faust", "-A", "pipeline", "worker", "--loglevel", "warn")


async def ready(stage: Stage) -> None:
    """Wait until every stream has had its first frame, every worker folds and account knows the instruments."""
    connector = stage.fleet.parts["connector"]
    if stage.options.recording is None:
        await json_line(connector, "ready")
        stage.view.step("the connector has the first frame of every stream")
    elif not await stage.until("sockets of all three routes", partial(_connected, stage), seconds=30):
        raise PartFailed(f"the connector did not open its sockets: {connector.last_words()}")
    async with httpx.AsyncClient() as client:
        for role in ROLES:
            if not await stage.until(f"{role} ready", partial(is_ready, stage, client, role), seconds=30):
                raise PartFailed(f"{role} is not ready: {stage.fleet.parts[role].last_words()}")

    async def instruments() -> bool:
        async with open_log(stage.settings) as log:
            found = await log.read(ACCOUNT)
        return any(b'"type":"instruments"' in record.value for record in found)

    if not await stage.until("the executor's read of exchangeInfo", instruments, seconds=30):
        raise PartFailed(f"the executor read no exchangeInfo: {stage.fleet.parts['execute'].last_words()}")
    stage.view.step("every worker folds, the instruments are known")


async def _connected(stage: Stage) -> bool:
    """A recording that has not begun sends no frame: then only the sockets can be seen."""
    routes = {socket["route"] for socket in (await stage.exchange.status())["sockets"]}
    return {"public", "market", "private"} <= routes


async def is_ready(stage: Stage, client: httpx.AsyncClient, role: str) -> bool:
    """What the process itself says: it folds every partition that is its own, takes intents, has its streams."""
    port = stage.fleet.parts[role].environment["PERPGUARD_METRICS_PORT"]
    try:
        return (await client.get(f"http://127.0.0.1:{port}/ready")).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False  # it does not listen yet
