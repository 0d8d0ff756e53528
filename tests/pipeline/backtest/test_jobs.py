"""The only place for tests of a backtest's jobs: what a process is given, and that two do what one does."""

from __future__ import annotations

import pytest

from pipeline.backtest.jobs import Job, carry_out_all, market_of
from pipeline.backtest.markets import NoMarket
from tests.data import require


def _jobs() -> list[Job]:
    folder = str(require("cryptofeed/binance_futures_20210722"))
    return [Job(symbol=symbol, kind="recording", path=folder) for symbol in ("SUSHIUSDT", "CTKUSDT")]


def test_processes_come_to_what_one_does() -> None:
    """Two symbols in two processes: the same figures, in the order of the jobs, with progress told."""
    told: dict[str, float] = {}
    one = carry_out_all(_jobs(), processes=1, on_progress=lambda symbol, share: None)
    two = carry_out_all(_jobs(), processes=2, on_progress=told.__setitem__)

    assert ["SUSHIUSDT", "CTKUSDT"] == [row["symbol"] for row in two]
    assert one == two


def test_symbol_that_is_not_there_is_refused() -> None:
    """The text names file and symbol."""
    job = Job(symbol="XRPUSDT", kind="recording", path=_jobs()[0].path)

    with pytest.raises(NoMarket, match="no XRPUSDT"):
        market_of(job)


def test_failure_of_a_job_is_the_failure_of_all() -> None:
    """A job that cannot be played ends the run with its words."""
    jobs = [_jobs()[0], Job(symbol="XRPUSDT", kind="recording", path=_jobs()[0].path)]

    with pytest.raises(NoMarket, match="no XRPUSDT"):
        carry_out_all(jobs, processes=1, on_progress=lambda symbol, share: None)
