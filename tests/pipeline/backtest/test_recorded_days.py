"""The only place for tests of recorded days: a dump is folded as it stands and held against its own decisions."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from pipeline.audit.fold_digest import fold_digest
from pipeline.audit.sources import DumpWriter, Entry, Header
from pipeline.backtest.markets import NoMarket
from pipeline.backtest.recorded_days import of_log
from pipeline.benchmarks.life import Life
from pipeline.core.events import Side
from pipeline.settings import Settings, load
from pipeline.wire import records
from pipeline.wire.topics import DECISIONS, INPUTS


def _settings(symbol: str) -> Settings:
    return load({"PERPGUARD_SYMBOLS": symbol, "PERPGUARD_ROLE": "all"})


def _life() -> Life:
    """A position lived through: opened, carried up, closed."""
    life = Life()
    life.admit(Side.BUY)
    for _ in range(4):
        life.move(20)
    life.close()
    for _ in range(20):
        life.tick()
    return life


def _dump(life: Life, path: Path, *, spoil: bool = False) -> None:
    settings = _settings(life.symbol)
    fold = fold_digest(settings.config_digest.encode())
    with path.open("wb") as stream:
        writer = DumpWriter(stream, Header(log_identity=life.fold.log_identity, prefix="t."))
        for number, decision in enumerate(life.decisions):
            told = msgspec.structs.replace(decision, fold=fold)
            if spoil and number == 3:
                told = msgspec.structs.replace(told, rules=[*told.rules, "X99"])
            writer.write(Entry(DECISIONS.name, life.fold.partition, number, told.log_ms, b"", records.encode(told)))
        for offset, record in enumerate(life.records):
            writer.write(Entry(INPUTS.name, life.fold.partition, offset, record.append_ms, b"", record.value))


def test_recorded_day_gives_the_live_decisions(tmp_path: Path) -> None:
    """Same inputs, same decisions: every one of the dump is met again, and the chain is the live one."""
    life = _life()
    _dump(life, tmp_path / "day.pglog")
    [trace] = of_log(tmp_path / "day.pglog", _settings(life.symbol))

    assert (True, "") == (trace.equal, trace.difference)
    assert life.fold.states[life.symbol].chain == trace.chain
    assert 1 == len(trace.trades)
    assert trace.points[-1].equity_e8 == trace.trades[0][1].realised - trace.trades[0][1].fees


def test_changed_decision_is_found(tmp_path: Path) -> None:
    """A decision that is not what the fold comes to is named."""
    life = _life()
    _dump(life, tmp_path / "day.pglog", spoil=True)
    [trace] = of_log(tmp_path / "day.pglog", _settings(life.symbol))

    assert not trace.equal
    assert trace.difference


def test_file_that_is_no_dump_is_refused(tmp_path: Path) -> None:
    """The text says what is wrong."""
    (tmp_path / "x").write_bytes(b"nothing of the kind")
    with pytest.raises(NoMarket, match="no dump"):
        of_log(tmp_path / "x", _settings("BTCUSDT"))
