"""The only place for tests of the outputs: they travel, and each has a tag of its own."""

from __future__ import annotations

from typing import get_args

import msgspec

from pipeline.core.commands import ClosePosition, Decision, MoveStop, Note, Output
from pipeline.core.events import Leg, Side
from pipeline.core.units import Lots, Milliseconds, Ticks


def test_every_kind_has_a_tag_of_its_own() -> None:
    """Tags tell the outputs apart on the wire."""
    tags = [kind.__struct_config__.tag for kind in get_args(Output)]

    assert len(tags) == len(set(tags))


def test_a_decision_travels_unchanged() -> None:
    """JSON and back gives the same record, outputs of mixed kinds included."""
    decision = Decision(
        symbol="BTCUSDT",
        partition=3,
        offset=17,
        line=2,
        log_ms=Milliseconds(5),
        fold="f",
        rules=["X6"],
        causes=["3/17/2"],
        ids=["a", "b", "c"],
        outputs=[
            MoveStop(position="p", leg=Leg.WORKING, side=Side.BUY, trigger=Ticks(5), lots=Lots(3)),
            ClosePosition(position="p", side=Side.BUY, lots=Lots(3), reason="X1"),
            Note(code="fill", text="…"),
        ],
        chain="00",
    )

    assert decision == msgspec.json.decode(msgspec.json.encode(decision), type=Decision)
