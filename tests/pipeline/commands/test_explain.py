"""Tests of ``perpguard explain``."""

from __future__ import annotations

import asyncio
import json

import msgspec
from aiokafka import AIOKafkaProducer
from click.testing import CliRunner

from pipeline.commands.explain import explain
from pipeline.core.commands import Decision
from pipeline.embedded_kafka import EmbeddedKafka
from pipeline.streaming.topics_admin import ensure_topics
from pipeline.wire import lines, records
from pipeline.wire.topics import ACCOUNT, DECISIONS, FACTORS, INPUTS, partition_of
from tests.account_desk import environment
from tests.pipeline.reporting.test_factor_story import published
from tests.pipeline.reporting.test_ranking_view import said
from tests.pipeline.reporting.test_story import BRACKET, decision

PREFIX = "explain."


def test_the_story_is_read_from_the_log(kafka: EmbeddedKafka) -> None:
    """A position, its place and its symbol lead to the decision, and to the line of the log that it rests on."""
    opened = asyncio.run(_write(kafka.bootstrap))
    runner = CliRunner(env=environment(kafka.bootstrap, PREFIX))

    shown = runner.invoke(explain, [opened.ids[0]])
    by_symbol = json.loads(runner.invoke(explain, ["BTCUSDT", "--json"]).output)
    by_place = json.loads(runner.invoke(explain, [opened.causes[0], "--json"]).output)
    unknown = runner.invoke(explain, ["L.9.9.nope"])

    assert 0 == shown.exit_code
    assert "time passed" in shown.output
    assert "enter BUY" in shown.output
    assert by_symbol["steps"] == by_place["steps"]
    assert ("3/7/1", None) == (by_symbol["factors"]["cause"], by_place["factors"])
    by_words = runner.invoke(explain, ["BTCUSDT"]).output
    assert "not ready: no book yet" in by_words
    assert "gate basis refuses: found 200 bps, allowed ≤ 100 bps" in by_words
    assert (["basis"], None) == (by_symbol["entry"]["refused"], by_place["entry"])
    assert (4, True) == (unknown.exit_code, "knows no decision" in unknown.output)


async def _write(brokers: str) -> Decision:
    """One line of ``inputs`` and the decision that it led to."""
    await ensure_topics(brokers, PREFIX)
    partition = partition_of("BTCUSDT")
    line = lines.encode(lines.Line(at=1, src="decide/0", inc="i", n=1, sym="*", tick=1))
    producer = AIOKafkaProducer(bootstrap_servers=brokers, acks="all")
    await producer.start()
    try:
        place = await producer.send_and_wait(INPUTS.named(PREFIX), line, partition=partition)
        cause = f"{partition}/{place.offset}/0"
        told = decision(place.offset, BRACKET)
        told = msgspec.structs.replace(told, causes=[cause], partition=partition)
        await producer.send_and_wait(DECISIONS.named(PREFIX), records.encode(told), partition=partition)
        for symbol, at in (("BTCUSDT", "3/6/1"), ("BTCUSDT", "3/7/1"), ("OTHERUSDT", "3/8/1")):
            factors = msgspec.structs.replace(published(), symbol=symbol, cause=at)
            await producer.send_and_wait(
                FACTORS.named(PREFIX), records.encode(factors), key=symbol.encode(), partition=partition
            )
        await producer.send_and_wait(ACCOUNT.named(PREFIX), said("BTCUSDT"))
    finally:
        await producer.stop()
    return told
