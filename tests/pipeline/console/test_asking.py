"""Tests of asking the account and waiting for its answer, on a real Kafka with the account's own fold behind it."""

from __future__ import annotations

import asyncio

from pipeline.console.asking import ask
from pipeline.console.log_access import open_log, send
from pipeline.core.commands import ReportPosition
from pipeline.core.events import Side
from pipeline.core.units import E8, ONE_E8, Lots, Ticks
from pipeline.embedded_kafka import EmbeddedKafka
from pipeline.settings import Settings, load
from pipeline.streaming.topics_admin import ensure_topics
from pipeline.wire import records
from pipeline.wire.topics import ACCOUNT, ALERTS
from tests.account_desk import account_desk, environment

OPEN = records.OpenCommand(command="c1", symbol="BTCUSDT", side=Side.BUY, notional="500")


async def test_a_command_is_answered_by_its_id(kafka: EmbeddedKafka) -> None:
    """Admitted and refused commands come back with the account's own words."""
    identity = await ensure_topics(kafka.bootstrap, "asking.")
    async with account_desk(kafka.bootstrap, "asking.", identity) as settings:
        admitted = await ask(settings, OPEN)
        refused = await ask(settings, records.OpenCommand("c2", "NOPEUSDT", Side.BUY, notional="500"))

    assert admitted["accepted"] is True
    assert admitted["reason"].startswith("admitted as ")
    assert refused["accepted"] is False
    assert "unknown symbol 'NOPEUSDT'" in refused["reason"]


async def test_waiting_ends_with_decides_word(kafka: EmbeddedKafka) -> None:
    """With ``wait`` a declined admission is a refusal, and a reported quantity is an open position."""
    identity = await ensure_topics(kafka.bootstrap, "waiting.")
    async with account_desk(kafka.bootstrap, "waiting.", identity) as settings:
        declined, _ = await asyncio.gather(
            ask(settings, OPEN, wait=True), _decide(settings, "no mark price yet", used=False)
        )
        opened, _ = await asyncio.gather(
            ask(settings, records.OpenCommand("c2", "BTCUSDT", Side.BUY, notional="500"), wait=True),
            _decide(settings, "", used=True),
        )

    assert (declined["accepted"], declined["reason"]) == (False, "declined by decide: no mark price yet")
    assert (opened["accepted"], opened["position"]) == (True, "p1")
    assert opened["reason"] == "entered at 60000"


async def test_nobody_answers(kafka: EmbeddedKafka) -> None:
    """Without a worker the command ends without a verdict and says what to look at."""
    await ensure_topics(kafka.bootstrap, "silent.")
    payload = await ask(load(environment(kafka.bootstrap, "silent.")), OPEN, seconds=0.5)

    assert payload["accepted"] is None
    assert "is the account worker running?" in payload["reason"]


async def _decide(settings: Settings, reason: str, *, used: bool) -> None:
    """Answer the newest admission that the account wrote, as decide would."""
    seen = 0
    async with open_log(settings) as log:
        async for _, record in log.follow([ACCOUNT], since_ms=0):
            message = records.decode_account(record.value)
            seen += isinstance(message, records.OpenCommand)
            wanted = 2 if used else 1
            if isinstance(message, records.OpenCommand) and seen == wanted:
                break
    admission = await _admission(settings, number=wanted)
    place = "0/9/9" if used else "0/1/1"
    answer = records.AdmissionAnswered("BTCUSDT", place, admission, used, "p1" if used else "", reason)
    await send(settings, ACCOUNT, records.encode(answer))
    if used:
        report = ReportPosition("p1", "OPEN", Lots(1), E8(60_000 * ONE_E8), Ticks(590_000), E8(0))
        await send(settings, ACCOUNT, records.encode(records.PositionReported("BTCUSDT", place, report)))


async def _admission(settings: Settings, *, number: int) -> str:
    """The id of the *number*-th admission, from the account's answers."""
    found: list[str] = []
    async with open_log(settings) as log:
        async for _, record in log.follow([ALERTS], since_ms=0):
            text = records.decode_alert(record.value).text
            if "admitted as " in text:
                found.append(text.partition("admitted as ")[2].partition(":")[0])
            if len(found) == number:
                return found[-1]
    raise AssertionError("no admission")
