"""Tests of ``perpguard topics`` on the real Kafka."""

from __future__ import annotations

import asyncio
import json
import socket

from aiokafka.admin import AIOKafkaAdminClient
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.embedded_kafka import EmbeddedKafka
from pipeline.wire.topics import TOPICS

PREFIX = "command-topics."


def test_it_makes_every_topic_once_and_keeps_the_identity(kafka: EmbeddedKafka) -> None:
    """The first run makes all topics of the table and the changelogs; the second changes nothing."""
    environment = {"PERPGUARD_BROKERS": kafka.bootstrap, "PERPGUARD_PREFIX": PREFIX}

    first = CliRunner().invoke(main, ["topics", "--json"], env=environment)
    second = CliRunner().invoke(main, ["topics", "--json"], env=environment)

    assert (0, 0) == (first.exit_code, second.exit_code)
    made = json.loads(first.stdout)
    assert made == json.loads(second.stdout)
    assert {topic.named(PREFIX) for topic in TOPICS} < set(made["topics"])
    assert set(made["topics"]) <= set(asyncio.run(_topics(kafka.bootstrap)))


def test_an_absent_cluster_ends_in_one_line() -> None:
    """No broker at the address is exit code 3, with the address in one line."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"

    done = CliRunner().invoke(main, ["topics"], env={"PERPGUARD_BROKERS": address, "PERPGUARD_PREFIX": PREFIX})

    assert 3 == done.exit_code
    assert address in done.stderr
    assert 1 == len(done.stderr.splitlines())


async def _topics(bootstrap: str) -> list[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        names: list[str] = await admin.list_topics()
        return names
    finally:
        await admin.close()
