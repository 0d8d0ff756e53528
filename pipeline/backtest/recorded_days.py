"""
The only place that folds recorded days: a dump of a log (``perpguard replay --dump``) or a recording, decided upon once
more.

Nothing is simulated: what the venue answered stands in the log. The same fold meets the same bytes, so its decisions
are those that were made live; the dump's own decisions are held against them, and each symbol's chain is told.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.audit.fold_digest import fold_digest
from pipeline.audit.recordings import RecordingSource, is_recording
from pipeline.audit.replay import Replay
from pipeline.audit.sources import DumpSource, SourceError
from pipeline.backtest.markets import NoMarket
from pipeline.backtest.run import Point, Trace, note_decision, note_result
from pipeline.core.commands import Decision
from pipeline.settings import Settings


def of_log(path: Path, settings: Settings) -> list[Trace]:
    """One trace per symbol that decided anything; raises NoMarket for a file that is no whole dump."""
    traces: dict[str, Trace] = {}
    first_ms: dict[str, int] = {}

    def decided(decision: Decision) -> None:
        if decision.symbol not in traces:
            first_ms[decision.symbol] = decision.log_ms
            traces[decision.symbol] = Trace(
                symbol=decision.symbol,
                market=f"log {path.name}",
                shift_ms=0,
                length_ms=0,
                tick_e8=1,
                step_e8=1,
                assumed=("equity: closed trades alone, from nothing; funding is not told by decisions",),
            )
        trace = traces[decision.symbol]
        trace.length_ms = decision.log_ms - first_ms[decision.symbol]
        note_decision(trace, decision)

    try:
        source = RecordingSource(path) if is_recording(path) else DumpSource(path)
        replay = Replay(
            log_identity=source.log_identity,
            fold=fold_digest(settings.config_digest.encode()),
            universe=source.symbols if isinstance(source, RecordingSource) else frozenset(settings.symbols),
            on_decision=decided,
        )
        for entry in source.entries():
            replay.feed(entry)
    except (SourceError, OSError) as error:
        raise NoMarket(str(error)) from error
    result = replay.finish()
    for symbol, trace in traces.items():
        instrument = replay.instrument(symbol)
        if instrument is not None:
            trace.tick_e8, trace.step_e8 = instrument.tick_e8, instrument.step_e8
        trace.points = _equity(trace, first_ms[symbol])
        note_result(trace, result)
    return [traces[symbol] for symbol in sorted(traces)]


def _equity(trace: Trace, first_ms: int) -> list[Point]:
    """Closed trades, one after the other."""
    if not trace.trades:
        return []
    equity = 0
    points = [Point(first_ms, trace.trades[0][1].entry_price // trace.tick_e8, equity, equity, 0)]
    for _, trade in trace.trades:
        equity += trade.realised - trade.fees
        points.append(Point(trade.closed_ms, trade.exit_price // trace.tick_e8, equity, equity, 0))
    return points
