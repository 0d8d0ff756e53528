"""
The only place for what every benchmark shares: schema of the result, registry, repetitions, control of the machine.

A benchmark is a function ``(Options) -> Measured`` with a row in ``BENCHMARKS``; ``run`` puts a loopback ping-pong
before and after it, adds the conditions, and gives the machine-readable result of architecture section 7::

    {"name", "figures": {FIGURE: {"value", "unit", "must", "aim", "runs"}}, "control": {…}, "conditions": {…}}

``value`` is the median over ``runs``. Nothing here judges: ``must`` and ``aim`` stand beside the value for who reads.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec

PING_ROUNDS: Final = 2_000
PING_BYTES: Final = 200


class Figure(msgspec.Struct, frozen=True):
    """One figure: median, unit, what it must be and what we aim at, and the runs it is the median of."""

    value: float
    unit: str
    must: float | None
    aim: float | None
    runs: list[float]


class Options(msgspec.Struct, frozen=True):
    """What the command line says to every benchmark. ``quick`` is for tests: small, says nothing about speed."""

    repetitions: int = 5
    quick: bool = False


class Measured(msgspec.Struct, frozen=True):
    """What a benchmark returns: its figures and what they were measured on."""

    figures: dict[str, Figure]
    conditions: dict[str, str | int | float | bool]


class Result(msgspec.Struct, frozen=True):
    """The machine-readable result."""

    name: str
    figures: dict[str, Figure]
    control: dict[str, float]
    conditions: dict[str, str | int | float | bool]


Benchmark = Callable[[Options], Measured]

# Name → "module:function". Loaded when called, so that a broken benchmark fails alone.
BENCHMARKS: Final = MappingProxyType(
    {
        "boundary": "pipeline.benchmarks.boundary:boundary_benchmark",
        "connector": "pipeline.benchmarks.connector:connector",
        "connector_500": "pipeline.benchmarks.connector:connector_500",
        "core": "pipeline.benchmarks.core:core",
        "latency": "pipeline.benchmarks.latency:latency",
        "rest": "pipeline.backtest.steady:rest",
        "rest_processes": "pipeline.benchmarks.rest:rest",
        "decide": "pipeline.benchmarks.decide:decide",
        "executor": "pipeline.benchmarks.executor:executor",
        "governor": "pipeline.benchmarks.governor:governor",
        "kill": "pipeline.benchmarks.kill:kill",
        "replay": "pipeline.benchmarks.replay:replay",
        "scan": "pipeline.benchmarks.scan:scan_benchmark",
        "simulator": "pipeline.benchmarks.simulator:simulator",
    }
)
SUMMARIES: Final = MappingProxyType(
    {
        "rest": "REST requests a minute, five positions, 200 symbols, half an hour of virtual time, by the exchange",
        "rest_processes": "the same with five symbols in real time: the whole pipeline, counted by the exchange",
        "latency": "market frame received to order on the wire; the whole pipeline, real Kafka, simulated exchange",
        "boundary": "200 bars close at once while five positions are guarded; the whole pipeline, 64 closes, 8 minutes",
        "connector": "frames from sockets into acknowledged Kafka, latency added, memory with 200 symbols; real Kafka",
        "connector_500": "the same with 500 symbols",
        "core": "decode and step of one frame of each kind, one exit evaluation; in process",
        "executor": "intent acknowledged in Kafka to order on the wire; execute worker, real Kafka, simulated exchange",
        "governor": "one decision of the governor, an exit in a flood of 1,000 background requests; in process",
        "kill": "kill switch: five positions flat, Kafka dead, executor frozen; simulated exchange",
        "decide": "frames folded by a worker on one core, through real Kafka and Faust",
        "replay": "lines folded again from raw records on one core; in process, no Kafka",
        "scan": "200 bars close at once: until every symbol is ranked, and REST requests meanwhile; the whole pipeline",
        "simulator": "the simulated exchange: frames, orders, acknowledgement over loopback, memory, virtual time",
    }
)


def figure(runs: Sequence[float], unit: str, *, must: float | None = None, aim: float | None = None) -> Figure:
    """The median of *runs* beside what it must be."""
    return Figure(
        value=round(statistics.median(runs), 4), unit=unit, must=must, aim=aim, runs=[round(r, 4) for r in runs]
    )


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which *share* of the values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def microseconds_each(work: Callable[[], int], repetitions: int) -> list[float]:
    """Run *work* (it returns how many things it did) and give µs per thing, one value a repetition."""
    runs = []
    for _ in range(repetitions):
        started = time.perf_counter_ns()
        count = work()
        runs.append((time.perf_counter_ns() - started) / 1_000 / count)
    return runs


def run(name: str, options: Options) -> Result:
    """Run one benchmark of the registry between two controls."""
    module, attribute = BENCHMARKS[name].split(":")
    benchmark: Benchmark = getattr(importlib.import_module(module), attribute)
    rounds = PING_ROUNDS // 20 if options.quick else PING_ROUNDS
    before = asyncio.run(ping_pong(rounds))
    measured = benchmark(options)
    after = asyncio.run(ping_pong(rounds))
    control = {f"loopback_{key}_us_before": value for key, value in before.items()}
    control |= {f"loopback_{key}_us_after": value for key, value in after.items()}
    return Result(name=name, figures=measured.figures, control=control, conditions=machine() | measured.conditions)


async def ping_pong(rounds: int = PING_ROUNDS) -> dict[str, float]:
    """
    The control: how long 200 bytes take to a socket on loopback and back, p50 and p99 in µs.

    It knows nothing of our code: when it moves between two runs, the machine moved, not the pipeline.
    """

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while body := await reader.read(PING_BYTES):
            writer.write(body)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        body = b"x" * PING_BYTES
        times = []
        for _ in range(rounds):
            started = time.perf_counter_ns()
            writer.write(body)
            await reader.readexactly(PING_BYTES)
            times.append((time.perf_counter_ns() - started) / 1_000)
        writer.close()
        await writer.wait_closed()
    return {"p50": round(quantile(times, 0.5), 1), "p99": round(quantile(times, 0.99), 1)}


def machine() -> dict[str, str | int | float | bool]:
    """The conditions of the machine that every result carries."""
    return {
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0,
        "load_1m": round(os.getloadavg()[0], 2),
        "msgspec": msgspec.__version__,
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def peak_memory_mb(pid: int | str = "self") -> float:
    """The most memory a process has held (VmHWM), 0 where the system does not tell."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024, 1)
    except OSError:
        pass
    return 0.0
