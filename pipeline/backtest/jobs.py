"""The only place that spreads a backtest over processes: one job a symbol, each a world of its own."""

from __future__ import annotations

import multiprocessing
import os
import queue
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from pipeline.backtest.figures import figures
from pipeline.backtest.markets import NoMarket, of_klines, of_recording
from pipeline.backtest.run import EntryRule, Market, play
from pipeline.settings import load

Json: TypeAlias = Any  # figures of one symbol
Progress = Callable[[str, float], None]  # (symbol, share done)

LOOK_SECONDS: Final = 0.2
PLUGIN_DIRECTORY: Final = "PERPGUARD_PLUGIN_DIRECTORY"  # of a person's environment, that alone concerns a backtest


class Job(msgspec.Struct, frozen=True):
    """What one process plays. *kind* "klines" or "recording"; paths as text, so that a job can travel."""

    symbol: str
    kind: str
    path: str
    funding: str = ""
    days: float = 0.0
    config: str = ""
    entries: EntryRule = EntryRule()
    seed: int = 1


def market_of(job: Job) -> Market:
    """Read the job's market; raises NoMarket."""
    if job.kind == "klines":
        funding = Path(job.funding) if job.funding else None
        return of_klines(job.symbol, Path(job.path), funding=funding, days=job.days)
    for market in of_recording(Path(job.path)):
        if market.symbol == job.symbol:
            return market
    raise NoMarket(f"{job.path}: no {job.symbol} in it")


def carry_out(job: Job, on_progress: Progress) -> Json:
    """Play one job here; raises NoMarket."""
    market = market_of(job)
    environment = {"PERPGUARD_SYMBOLS": job.symbol, "PERPGUARD_ROLE": "all"}
    if PLUGIN_DIRECTORY in os.environ:
        environment[PLUGIN_DIRECTORY] = os.environ[PLUGIN_DIRECTORY]
    settings = load(environment, Path(job.config) if job.config else None)
    trace = play(
        market,
        settings,
        entries=job.entries,
        seed=job.seed,
        on_progress=lambda share: on_progress(job.symbol, share),
    )
    return figures(trace)


_told: Any = None  # the queue of a child process


def _begin(told: Any) -> None:  # Any: a multiprocessing queue
    global _told  # noqa: PLW0603 - how a pool hands a queue to its children
    _told = told


def _carry_out_in_child(job: Job) -> Json:
    return carry_out(job, lambda symbol, share: _told.put((symbol, share)))


def carry_out_all(jobs: Sequence[Job], *, processes: int, on_progress: Progress) -> list[Json]:
    """Play every job, at most *processes* at once; figures in the order of the jobs. Raises NoMarket."""
    if processes == 1 or len(jobs) == 1:
        return [carry_out(job, on_progress) for job in jobs]
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_begin, initargs=(told,)) as pool:
        futures: list[Future[Json]] = [pool.submit(_carry_out_in_child, job) for job in jobs]
        waiting = set(futures)
        while waiting:
            done, waiting = wait(waiting, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED)
            _pass_on(told, on_progress)
            for future in done:
                error = future.exception()
                if error is not None:
                    pool.shutdown(cancel_futures=True)
                    raise error
        return [future.result() for future in futures]


def _pass_on(told: Any, on_progress: Progress) -> None:  # Any: a multiprocessing queue
    while True:
        try:
            symbol, share = told.get_nowait()
        except queue.Empty:
            return
        on_progress(symbol, share)
