"""The only place for tests of hastened time: one clock for several processes, which waits for their work."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.hastened import MOST_NS, NANOSECONDS, Pacer, SharedClock, hastened

BEGIN_NS = 1_790_771_372 * NANOSECONDS
MILLISECOND = 1_000_000


@pytest.fixture
def clock(tmp_path: Path) -> SharedClock:
    return SharedClock.make(tmp_path / "clock", now_ns=BEGIN_NS)


def test_time_is_the_same_for_whoever_opens_the_file(clock: SharedClock, tmp_path: Path) -> None:
    """Now and pace are shared at once."""
    other = SharedClock(tmp_path / "clock")
    clock.set_pace(2.5)
    clock.move(7)

    assert (BEGIN_NS + 7, 2.5) == (other.now_ns(), other.pace)


def test_a_step_is_pace_times_what_the_machine_took(clock: SharedClock) -> None:
    """Twenty times as fast: a millisecond is twenty; a machine that stood still for a minute is no leap."""
    clock.set_pace(20)
    pacer = Pacer(clock)

    assert pacer.step(MILLISECOND)
    assert BEGIN_NS + 20 * MILLISECOND == clock.now_ns()
    assert pacer.step(60 * NANOSECONDS)
    assert BEGIN_NS + 20 * MILLISECOND + MOST_NS == clock.now_ns()


def test_time_waits_for_a_process_at_work(clock: SharedClock) -> None:
    """Without a turn since the last step time stands; a turn, a wait or the end of the process lets it go on."""
    pacer = Pacer(clock)
    clock.take(3)

    assert pacer.step(MILLISECOND)  # it was seen for the first time
    assert not pacer.step(MILLISECOND)
    assert [3] == pacer.waiting_for
    clock.turn(3)
    assert pacer.step(MILLISECOND)
    assert pacer.step(MILLISECOND)  # it waits: odd
    clock.turn(3)
    assert pacer.step(MILLISECOND)  # it has had a turn
    assert not pacer.step(MILLISECOND)
    clock.free(3)
    assert pacer.step(MILLISECOND)


SLEEPER = """
import asyncio, json, time
async def main():
    loop = asyncio.get_running_loop()
    begin, machine = time.time(), time.perf_counter()
    at, boot = loop.time(), time.clock_gettime(time.CLOCK_BOOTTIME)
    await asyncio.sleep(30)
    time.sleep(30)
    print(json.dumps({
        "passed": time.time() - begin, "loop": loop.time() - at, "boot": time.clock_gettime(time.CLOCK_BOOTTIME) - boot,
        "begin": begin, "machine": time.perf_counter() - machine,
    }))
import uvloop
uvloop.run(main())
"""


def test_a_process_lives_in_shared_time(clock: SharedClock, tmp_path: Path) -> None:
    """A minute of sleeping, in the event loop and outside of it, is over in a second or so; every clock agrees."""
    clock.set_pace(100)
    pacer = Pacer(clock)
    pacer.start()
    try:
        command = hastened([sys.executable, "-c", SLEEPER], tmp_path / "clock", 0)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    finally:
        pacer.stop()
    told = json.loads(done.stdout)

    for name in ("passed", "loop", "boot"):
        assert 60 <= told[name] < 120
    assert told["machine"] < told["passed"]
    assert 0 <= told["begin"] - BEGIN_NS / NANOSECONDS < 600
    assert 0 == clock.turns()[0]


def test_records_get_the_time_of_who_sends_them(clock: SharedClock, tmp_path: Path) -> None:
    """Kafka's client would stamp a record with the machine's time: the batch of a hastened process has the shared."""
    code = (
        "from aiokafka.producer.message_accumulator import BatchBuilder\n"
        "from aiokafka.record.default_records import DefaultRecordBatch\n"
        "builder = BatchBuilder(1 << 14, 0)\n"
        "builder.append(timestamp=None, key=None, value=b'x')\n"
        "print(next(iter(DefaultRecordBatch(bytes(builder._build())))).timestamp)\n"
    )
    command = hastened([sys.executable, "-c", code], tmp_path / "clock", None)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)

    assert BEGIN_NS // MILLISECOND == int(done.stdout)
