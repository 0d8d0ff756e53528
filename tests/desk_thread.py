"""The only place where tests keep an account desk running beside a synchronous command line."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.streaming.topics_admin import ensure_topics
from tests.account_desk import account_desk


@contextmanager
def desk_thread(brokers: str, prefix: str) -> Iterator[None]:
    """Make the topics of *prefix* and answer commands in a thread of its own while the body runs."""
    ready, ended = threading.Event(), threading.Event()
    faults: list[BaseException] = []

    async def work() -> None:
        identity = await ensure_topics(brokers, prefix)
        async with account_desk(brokers, prefix, identity):
            ready.set()
            await asyncio.to_thread(ended.wait)

    def run() -> None:
        try:
            asyncio.run(work())
        except BaseException as fault:  # noqa: BLE001 - raised again in the test's own thread
            faults.append(fault)
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(60)
    try:
        if faults:
            raise faults[0]
        yield
    finally:
        ended.set()
        thread.join()
