"""Tests of what a symbol remembers about its signals: it survives bytes."""

from __future__ import annotations

from pipeline.core.signal_state import SignalState, StrongBar
from pipeline.core.state import decode, encode, new_state


def test_the_memory_of_signals_is_part_of_the_state() -> None:
    """Strong bars, the maintained side and the settlements come back out of the stored state."""
    state = new_state("BTCUSDT")
    state.signal = SignalState(bar_ms=7, strong=[StrongBar(7, -1)], active=-1, last_funding_ms=3, next_funding_ms=9)

    assert state.signal == decode(encode(state)).signal
