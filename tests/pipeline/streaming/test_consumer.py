"""Faust's consumer on the worker's own loop: no second thread, no tasks for a record that nothing holds up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
from faust.types import TP

from pipeline.settings import load
from pipeline.streaming.app import WorkerApp, make_app

PLACE = TP("test.changelog", 0)


def app_in(directory: Path, *, brokers: str = "127.0.0.1:1") -> WorkerApp:
    """A decide app that has a consumer and no broker."""
    return make_app(
        load(
            {
                "PERPGUARD_BROKERS": brokers,
                "PERPGUARD_PREFIX": "test.",
                "PERPGUARD_INSTANCE": "7",
                "PERPGUARD_DATA_DIRECTORY": str(directory),
            }
        ),
        "decide",
    )


def message(offset: int) -> Any:  # Any: stands for Faust's message
    """A record of ``PLACE``."""
    return SimpleNamespace(topic=PLACE.topic, offset=offset, key=None, value=b"")


def running(app: WorkerApp) -> Any:  # Any: Faust's consumer
    """The app's consumer as it is when records flow."""
    app.flow_control.resume()
    app.consumer.resume_flow()
    return app.consumer


async def test_the_client_lives_on_the_loop_of_the_worker(tmp_path: Path) -> None:
    """What Faust sends to a thread is done here, and its error comes back to whoever asked."""
    thread = app_in(tmp_path).consumer._thread

    async def fails() -> None:
        raise ValueError(threading.current_thread().name)

    assert asyncio.get_running_loop() is thread.thread_loop
    assert 3 == await thread.call_thread(lambda: 3)
    with pytest.raises(ValueError, match="MainThread"):
        await thread.call_thread(fails)
    with pytest.raises(AssertionError, match="unseen"):
        await thread.cast_thread(fails)


async def test_a_missing_broker_is_told_by_the_start_and_leaves_no_thread(tmp_path: Path) -> None:
    """The error is that of the client itself; a stop after it ends, too."""
    before = threading.active_count()
    thread = app_in(tmp_path).consumer._thread
    with pytest.raises(KafkaConnectionError):
        await asyncio.wait_for(thread.start(), 20)
    assert before == threading.active_count()
    await asyncio.wait_for(thread.stop(), 20)


async def test_a_record_that_nothing_holds_up_gets_no_task(tmp_path: Path) -> None:
    """Faust makes four for each."""
    consumer = running(app_in(tmp_path))
    tasks: list[int] = []

    async def callback(_: Any) -> None:
        tasks.append(len(asyncio.all_tasks()))

    consumer.callback = callback
    before = len(asyncio.all_tasks())
    await consumer._pass_on(PLACE, message(5))
    assert ([before], 5) == (tasks, consumer._read_offset[PLACE])


async def test_who_asked_for_it_sees_a_record_before_its_agent(tmp_path: Path) -> None:
    """Records of the topic that it named, once each; none while something holds them up."""
    app = app_in(tmp_path)
    consumer = running(app)
    seen: list[Any] = []
    app.early[PLACE.topic] = lambda record: seen.append(("early", record.offset))

    async def callback(record: Any) -> None:
        seen.append(("agent", record.offset))

    consumer.callback = callback
    await consumer._pass_on(PLACE, message(5))
    await consumer._pass_on(PLACE, message(4))
    app.early.clear()
    await consumer._pass_on(PLACE, message(6))
    assert [("early", 5), ("agent", 5), ("agent", 6)] == seen


@pytest.mark.parametrize("held_by", ["flow", "buffer", "producer"])
async def test_a_record_that_has_to_wait_does_not_hold_up_a_rebalance(held_by: str, tmp_path: Path) -> None:
    """While the flow is stopped, a channel is full or Faust's producer is behind: the end of the flow ends the wait."""
    app = app_in(tmp_path)
    consumer = running(app)

    async def callback(_: Any) -> None:
        await asyncio.Event().wait()

    consumer.callback = callback
    match held_by:
        case "flow":
            app.flow_control.suspend()
        case "buffer":
            full = SimpleNamespace(queue=SimpleNamespace(full=lambda: True))
            app.topics._tp_index[PLACE] = [full]
        case "producer":
            for number in range(app.producer.buffer.max_messages + 1):
                app.producer.buffer.pending.put_nowait(number)
    waiting = asyncio.ensure_future(consumer._pass_on(PLACE, message(5)))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not waiting.done()
    consumer.stop_flow()
    await asyncio.wait_for(waiting, 10)


async def test_repeats_of_a_filtered_topic_are_dropped_and_holes_are_told(tmp_path: Path) -> None:
    """Changelogs keep Faust's own meaning: nothing below what was read, and a hole counts as acknowledged."""
    consumer = running(app_in(tmp_path))
    consumer.app.topics._acking_topics.add(PLACE.topic)
    batches = [[5, 6], [4, 6, 7], [12]]
    delivered: list[int] = []

    async def getmany(**_: float) -> AsyncIterator[tuple[TP, Any]]:
        for offset in batches.pop(0):
            yield PLACE, message(offset)

    async def callback(record: Any) -> None:
        delivered.append(record.offset)

    consumer.getmany, consumer.callback = getmany, callback
    await consumer._drain_messages(SimpleNamespace(_stopped=SimpleNamespace(is_set=lambda: not batches)))

    assert [5, 6, 6, 7, 12] == delivered
    assert [(8, 13)] == [(hole.begin, hole.end) for hole in consumer._gap[PLACE]]


async def test_a_changelog_is_not_called_stuck(tmp_path: Path) -> None:
    """Its rows are ours and are not read again; the watch over streams stays."""
    app = app_in(tmp_path)
    app.tables._changelogs[PLACE.topic] = None
    watched: list[TP] = []
    app.consumer._thread.verify_event_path = lambda _, place: watched.append(place)
    stream = TP("test.inputs", 0)
    for place in (PLACE, stream):
        app.consumer.verify_event_path(0.0, place)
    assert [stream] == watched
