"""The execute role as it runs: a worker process between a real Kafka and a simulated exchange."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from connectors.exchange_simulator.signing import DEFAULT_KEY, DEFAULT_SECRET
from pipeline.agents.execute import budget_of, limits_of, order_socket_of
from pipeline.binance.rest import RestClient
from pipeline.configuration import ConfigurationError
from pipeline.core.commands import OpenBracket, RequestData
from pipeline.core.events import Side, Verdict
from pipeline.core.units import Lots, Milliseconds, Ticks
from pipeline.embedded_kafka import EmbeddedKafka
from pipeline.execution.ports import SystemClock
from pipeline.settings import load
from pipeline.streaming.topics_admin import ensure_topics
from pipeline.wire import lines
from pipeline.wire.records import DataIntentRecord, IntentRecord, encode
from pipeline.wire.topics import INPUTS, partition_of
from tests.simulator import SignedClient, simulator_inside

ROOT = Path(__file__).resolve().parents[3]
DEADLINE_S = 30.0
SYMBOL = "BTCUSDT"


def test_the_designs_budget_binds_and_the_limits_are_the_settings() -> None:
    """Budget and limits come from the configuration alone."""
    settings = load({})
    budget, limits = budget_of(settings), limits_of(settings)

    assert (60, 250, 10_000) == (
        budget.background_per_minute,
        budget.background_weight_permille,
        budget.background_per_day,
    )
    assert settings.limits.max_positions == limits.max_positions
    assert settings.symbols == limits.symbols


def test_a_private_key_that_is_none_is_named_at_start() -> None:
    """Orders by REST need none; a socket's must be Ed25519 in PEM."""
    clock = SystemClock()
    rest = RestClient("http://127.0.0.1:1", api_key="", api_secret="", now_ms=clock.now_ms)
    environment = {
        "PERPGUARD_ORDER_SOCKET_URL": "ws://127.0.0.1:1",
        "PERPGUARD_ORDER_SOCKET_KEY": "k",
        "PERPGUARD_ORDER_SOCKET_PRIVATE_KEY": "rubbish",
    }

    assert order_socket_of(load({}), rest, clock) is None
    with pytest.raises(ConfigurationError, match="PERPGUARD_ORDER_SOCKET_PRIVATE_KEY"):
        order_socket_of(load(environment), rest, clock)


@asynccontextmanager
async def worker(environment: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker of the execute role; killed at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "faust", "-A", "pipeline", "worker", "-l", "warn", cwd=ROOT, env=os.environ | environment
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()


class Inputs:
    """Reads the symbol's lines."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self.lines: list[lines.Line] = []

    async def until(self, found: Callable[[lines.Line], bool]) -> lines.Line:
        """The first line that *found* accepts, those read before included."""
        deadline = time.monotonic() + DEADLINE_S
        seen = 0
        while time.monotonic() < deadline:
            for line in self.lines[seen:]:
                if found(line):
                    return line
            seen = len(self.lines)
            batches = await self._consumer.getmany(timeout_ms=200)
            for batch in batches.values():
                for message in batch:
                    self.lines += [lines.decode(line) for line in lines.split(message.value)]
        raise AssertionError(f"not in time: {[(line.outcome, line.answer) for line in self.lines]}")


async def test_an_intent_becomes_an_order_and_its_outcome_a_line(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """
    From ``intents`` to the exchange and back into ``inputs``; a killed worker that comes back repeats nothing, and the
    position keeps its rails.
    """
    prefix = f"execute{secrets.token_hex(4)}."
    identity = await ensure_topics(kafka.bootstrap, prefix)
    async with simulator_inside() as simulator, SignedClient(simulator.urls()["rest"]) as venue:
        environment = {
            "PERPGUARD_BROKERS": kafka.bootstrap,
            "PERPGUARD_PREFIX": prefix,
            "PERPGUARD_ROLE": "execute",
            "PERPGUARD_REST_URL": simulator.urls()["rest"],
            "PERPGUARD_WS_URL": simulator.urls()["ws"],
            "PERPGUARD_API_KEY": DEFAULT_KEY,
            "PERPGUARD_API_SECRET": DEFAULT_SECRET,
            "PERPGUARD_SYMBOLS": SYMBOL,
            "PERPGUARD_DATA_DIRECTORY": str(tmp_path),
        }
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all")
        consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
        await producer.start()
        await consumer.start()
        consumer.assign([TopicPartition(INPUTS.named(prefix), partition_of(SYMBOL))])
        inputs = Inputs(consumer)
        try:
            async with worker(environment):
                info = await inputs.until(lambda line: line.answer is not None and line.answer.kind == "exchange_info")
                assert "execute/main" == info.src
                wish = DataIntentRecord(id="wish", symbol=SYMBOL, at_ms=now_ms(), request=RequestData("audit"))
                await producer.send_and_wait(f"{prefix}intents.data", encode(wish), key=SYMBOL.encode())
                audit = await inputs.until(lambda line: line.answer is not None and line.answer.kind == "audit")
                assert audit.answer is not None
                assert ["positionRisk", "openOrders", "openAlgoOrders"] == list(
                    msgspec.json.decode(audit.answer.body, type=dict[str, Any])
                )
                record = await open_intent(venue, identity, 1)  # now, as it would be stale before anybody reads
                await producer.send_and_wait(f"{prefix}intents", encode(record), key=SYMBOL.encode())
                for leg in "eab":
                    await inputs.until(
                        lambda line, leg=leg: (  # type: ignore[misc]
                            line.outcome is not None
                            and line.outcome.client_id == f"{record.id}-{leg}1"
                            and line.outcome.verdict is Verdict.ACCEPTED
                        )
                    )
            # The worker is dead (SIGKILL). Its intent comes again, as after a crash before the acknowledgement.
            await producer.send_and_wait(f"{prefix}intents", encode(record), key=SYMBOL.encode())
            garbage = b'{"id":"no intent"}'
            await producer.send_and_wait(f"{prefix}intents", garbage, key=SYMBOL.encode())
            async with worker(environment):
                await inputs.until(lambda line: line.inc == "2" and line.answer is not None)
                quarantined = await first(kafka, f"{prefix}quarantine")
                assert b"eyJpZCI6Im5vIGludGVudCJ9" in quarantined  # the very bytes, base64
                _, algos = await venue.call("GET", "/fapi/v1/openAlgoOrders", symbol=SYMBOL)
                summary = await venue.admin("GET", "summary")
        finally:
            await producer.stop()
            await consumer.stop()

    assert 2 == len(algos)
    assert {"accepted": 1, "algo_accepted": 2} == summary["orders"]
    assert {} == summary["duplicates"]


async def first(kafka: EmbeddedKafka, topic: str) -> bytes:
    """The first record of a topic."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        message = await asyncio.wait_for(consumer.getone(), DEADLINE_S)
        value: bytes = message.value
        return value
    finally:
        await consumer.stop()


def now_ms() -> Milliseconds:
    """Wall clock."""
    return Milliseconds(time.time_ns() // 1_000_000)


async def open_intent(venue: SignedClient, identity: str, number: int) -> IntentRecord:
    """A bracket around the exchange's own price, as young as can be."""
    _, depth = await venue.get("/fapi/v1/depth", symbol=SYMBOL, limit=5)
    ask = round(float(depth["asks"][0][0]) * 10)
    bracket = OpenBracket(
        side=Side.BUY,
        lots=Lots(10),
        limit=Ticks(ask + 100),
        far_trigger=Ticks(ask * 95 // 100),
        working_trigger=Ticks(ask * 96 // 100),
        expires_ms=Milliseconds(0),
    )
    return IntentRecord(
        id=f"{identity}.0{number}.0.tagg0", symbol=SYMBOL, cause="0/1/0", at_ms=now_ms(), fold="f", intent=bracket
    )


@pytest.mark.parametrize(("per_minute", "spacing_ms"), [(60, 500), (120, 500), (240, 250), (2_400, 25)])
def test_half_a_second_between_requests_gives_way_to_a_budget_above_120(per_minute: int, spacing_ms: int) -> None:
    """Otherwise the greater budget could never be used."""
    settings = load({})
    rate_limit = msgspec.structs.replace(settings.rate_limit, rest_api_per_minute=per_minute)

    budget = budget_of(msgspec.structs.replace(settings, rate_limit=rate_limit))

    assert (per_minute, spacing_ms) == (budget.background_per_minute, budget.background_spacing_ms)
