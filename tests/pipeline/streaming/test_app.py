"""Every app is made with the settings of architecture section 3, point 6."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from pipeline.settings import Settings, load
from pipeline.streaming.app import WorkerApp, make_app, source
from pipeline.wire.topics import INPUTS


def settings(directory: Path) -> Settings:
    """Settings of instance 7 with two brokers."""
    return load(
        {
            "PERPGUARD_BROKERS": "one:9092,two:9093",
            "PERPGUARD_PREFIX": "test.",
            "PERPGUARD_INSTANCE": "7",
            "PERPGUARD_DATA_DIRECTORY": str(directory),
        }
    )


@pytest.mark.parametrize("role", ["decide", "account", "execute"])
def test_settings_without_which_a_rebalance_or_a_restart_goes_wrong(role: str, tmp_path: Path) -> None:
    """One id per role, a static member per instance, a session of seconds, nothing that waits for acknowledgements."""
    conf = make_app(settings(tmp_path), role).conf
    found = {
        "id": conf.id,
        "member": conf.consumer_group_instance_id,
        "waits for messages at a rebalance": conf.stream_wait_empty,
        "offset reset": conf.consumer_auto_offset_reset,
        "leader disabled": conf.topic_disable_leader,
        "declares topics": conf.topic_allow_declare,
        "session": conf.broker_session_timeout,
        "rebalance": conf.broker_rebalance_timeout,
        "heartbeat": conf.broker_heartbeat_interval,
        "acks": conf.producer_acks,
        "autodiscover": conf.autodiscover,
        "standbys": conf.table_standby_replicas,
        "guarantee": conf.processing_guarantee.value,
    }

    assert {
        "id": f"test.{role}",
        "member": f"{role}-7",
        "waits for messages at a rebalance": False,
        "offset reset": "earliest",
        "leader disabled": True,
        "declares topics": False,
        "session": 6.0,
        "rebalance": 12.0,
        "heartbeat": 1.0,
        "acks": -1,
        "autodiscover": False,
        "standbys": 0,
        "guarantee": "at_least_once",
    } == found


def test_web_stays_off_whatever_the_command_line_says(tmp_path: Path) -> None:
    """``faust worker`` turns the web server on by default; ours must not listen."""
    app = make_app(settings(tmp_path), "decide")
    app.conf.web_enabled = True

    assert not app.boot_strategy._should_enable_web()


def test_source_is_bytes_of_the_prefixed_topic(tmp_path: Path) -> None:
    """An agent gets the record as it is on the wire."""
    topic = source(make_app(settings(tmp_path), "decide"), INPUTS)

    assert (["test.inputs"], "raw", "raw") == (
        list(topic.topics),
        topic.schema.key_serializer,
        topic.schema.value_serializer,
    )


async def test_last_steps_run_in_order_before_the_consumer_goes() -> None:
    """``before_stop`` runs first: a clean manifest is written by a member of the group."""
    app = WorkerApp("test.decide", prefix="test.", role="decide")
    seen: list[str] = []

    async def step(name: str) -> None:
        seen.append(name)

    app.before_stop += [lambda: step("one"), lambda: step("two")]
    await app.on_stop()

    assert ["one", "two"] == seen


async def test_a_record_that_was_asked_for_again_is_delivered(tmp_path: Path) -> None:
    """A seek amid a batch in flight: Faust's own loop hands every record from there on to a guarded topic's agent."""
    app = make_app(settings(tmp_path), "decide")
    app.unfiltered.add("test.inputs")
    consumer = app.consumer
    place = TP("test.inputs", 0)
    batches = [[10, 11], [5, 6, 7, 8, 9, 10, 11], [12]]
    delivered: list[int] = []

    async def getmany(**_: float) -> AsyncIterator[tuple[TP, Any]]:
        for offset in batches.pop(0):
            yield place, SimpleNamespace(topic=place.topic, offset=offset, key=None, value=b"")

    async def callback(message: Any) -> None:
        delivered.append(message.offset)
        if message.offset == 11 and len(delivered) == 2:
            consumer._read_offset[place] = 5  # what a seek does, while the batch that holds 11 is still handed out

    consumer.getmany, consumer.callback = getmany, callback
    fetcher = SimpleNamespace(_stopped=SimpleNamespace(is_set=lambda: not batches))
    await consumer._drain_messages(fetcher)

    assert [10, 11, 5, 6, 7, 8, 9, 10, 11, 12] == delivered
