"""Tests of the record of topic ``plugin.asks``: it reads back."""

from __future__ import annotations

from pipeline.core.commands import AskPlugins
from pipeline.core.units import Milliseconds
from pipeline.wire.plugin_asks import PluginAsk, decode_ask
from pipeline.wire.records import encode
from tests.plugin_views import view


def test_a_question_reads_back() -> None:
    """With its view, id and deadline."""
    asked = AskPlugins(names=["guard"], due_ms=Milliseconds(9), view=view())
    record = PluginAsk(id="abc.1", symbol="BTCUSDT", at_ms=Milliseconds(5), asked=asked)

    assert record == decode_ask(encode(record))
