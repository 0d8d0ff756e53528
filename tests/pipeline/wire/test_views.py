"""Rows of the view tables read back as they were written."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.core.units import E8, Milliseconds
from pipeline.wire.views import BookView, FactorView, PriceView

NOW = Milliseconds(1_700_000_000_000)


@pytest.mark.parametrize(
    "row",
    [
        PriceView("BTCUSDT", E8(1), E8(2), E8(3), E8(4), NOW, NOW, NOW),
        BookView("BTCUSDT", "synced", 7, 10_000_000, 100_000, [(600_000, 5)], [(600_001, 6)], NOW),
        FactorView("BTCUSDT", E8(1), E8(2), E8(3), 40, True, ["no mark price"], NOW),
    ],
)
def test_row_reads_back(row: PriceView | BookView | FactorView) -> None:
    """JSON and back gives an equal row, levels as pairs."""
    assert row == msgspec.json.decode(msgspec.json.encode(row), type=type(row))
