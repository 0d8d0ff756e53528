"""Tests of what a plug-in is shown and what a symbol remembers of it: both survive bytes."""

from __future__ import annotations

import msgspec

from pipeline.core.events import Side
from pipeline.core.plugin_views import PluginState, PluginView
from pipeline.core.policies import PluginRow
from pipeline.core.state import decode, encode, new_state
from tests.plugin_views import view


def test_a_view_reads_back() -> None:
    """JSON (the topic) and msgpack (the pipe to the plug-in) give the same view."""
    shown = view(side=Side.SELL)

    assert shown == msgspec.json.decode(msgspec.json.encode(shown), type=PluginView)
    assert shown == msgspec.msgpack.decode(msgspec.msgpack.encode(shown), type=PluginView)


def test_the_memory_of_a_plug_in_is_part_of_the_state() -> None:
    """The open question, the switch and the row come back out of the stored state."""
    state = new_state("BTCUSDT")
    row = PluginRow("guard", "exit", "1", parameters=(("bars", 20.0),))
    state.plugins["guard"] = PluginState(row=row, ask="a", due_ms=7, off="boom", value=-3, active=1)

    assert state.plugins == decode(encode(state)).plugins
