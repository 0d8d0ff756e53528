"""The only place for the record of topic ``plugin.asks``: a question of a symbol's fold to plug-ins, with its view."""

from __future__ import annotations

import msgspec

from pipeline.core.commands import AskPlugins
from pipeline.core.units import Milliseconds


class PluginAsk(msgspec.Struct, frozen=True):
    """Key = symbol, partition = its partition. ``id`` names the output and is what an answer names as its ``ask``."""

    id: str
    symbol: str
    at_ms: Milliseconds
    asked: AskPlugins


decode_ask = msgspec.json.Decoder(PluginAsk).decode
