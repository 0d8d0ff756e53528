"""
The only place that tells account about an open position: at changes and once a second, never about an unheld symbol.
"""

from __future__ import annotations

from typing import Final

from pipeline.core.commands import ReportPosition
from pipeline.core.events import TradingMode
from pipeline.core.feeds import mark_fresh
from pipeline.core.positions import Position, entry_price_e8, open_pnl_e8, protected
from pipeline.core.state import SymbolState
from pipeline.core.turn import Turn
from pipeline.core.units import E8, Lots, Ticks

REPORT_EVERY_MS: Final = 1_000  # domain 6.3: the open PnL goes to account once a second


def state_text(state: SymbolState, position: Position) -> str:
    """Stage and overlays (domain 6.1), for example ``OPEN UNPROTECTED``."""
    words = [position.stage.value]
    if position.lots > 0 and not protected(position):
        words.append("UNPROTECTED")
    if position.lots > 0 and (position.blind_ms or position.prove_ms or not mark_fresh(state)):
        words.append("DEGRADED")
    if state.mode is TradingMode.HALTED or state.halted:
        words.append("HALTED")
    return " ".join(words)


def report(turn: Turn) -> None:
    """Report the position when something about it changed, else once a second."""
    state, position = turn.state, turn.position
    text = state_text(state, position)
    now_told = (text, position.lots, position.stop)
    if now_told == position.reported and turn.now - position.reported_ms < REPORT_EVERY_MS:
        return
    position.reported = now_told
    position.reported_ms = turn.now
    mark = state.mark.mark if state.mark is not None else 0
    turn.emit(
        ReportPosition(
            position=position.id,
            state=text,
            lots=Lots(position.lots * position.side.sign),
            entry_price=E8(position.entry_e8 or entry_price_e8(position)),
            stop=Ticks(position.stop),
            open_pnl=E8(open_pnl_e8(position, turn.instrument, mark)),
            far=Ticks(position.far),
        )
    )
