"""Tests of holding a state's book against a recording's expectation."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from pipeline.core.instruments import Instrument
from pipeline.core.state import SymbolState, new_state
from pipeline.core.units import ONE_E8
from pipeline.demo.final_book import differences, expectation_beside

BTC = Instrument("BTCUSDT", "TRADING", 10_000_000, 100_000, 1, 10**9, 1, 10**6, 10**5, 5 * ONE_E8)


def state(bids: dict[int, int], asks: dict[int, int]) -> SymbolState:
    """A state with that book."""
    made = new_state("BTCUSDT")
    made.instrument = BTC
    made.book.bids.update(bids)
    made.book.asks.update(asks)
    made.book.last_update_id = 77
    return made


def expected() -> dict[str, Any]:
    """The expectation for one level a side, as the recording's folder writes it."""
    text = "b,61659.70,1.486\na,61659.80,0.002\n"
    return {
        "bid_levels": 1,
        "ask_levels": 1,
        "last_applied_u": 77,
        "top20_bids": [["61659.70", "1.486"]],
        "top20_asks": [["61659.80", "0.002"]],
        "sha256_full_book": sha256(text.encode()).hexdigest(),
    }


def test_equal_books_have_no_differences() -> None:
    """Texts are written with the recording's decimals, sides in their order."""
    assert [] == differences(state({616_597: 1_486}, {616_598: 2}), expected())


def test_every_difference_is_named() -> None:
    """A level too many, a wrong quantity and a wrong id are told with both values."""
    found = differences(state({616_597: 1_487, 616_500: 1}, {616_598: 2}), expected())

    assert [
        "bid_levels: found 2, expected 1",
        "top20_bids[0]: found ('61659.70', '1.487'), expected ('61659.70', '1.486')",
    ] == found
    assert ["the state has no instrument"] == differences(new_state("BTCUSDT"), expected())


def test_a_level_below_the_top_is_seen_by_the_hash() -> None:
    """What the top levels do not show, the hash of the full book does."""
    wanted = expected() | {"bid_levels": 2}

    assert "sha256" in differences(state({616_597: 1_486, 616_500: 1}, {616_598: 2}), wanted)[0]


def test_the_expectation_stands_beside_the_recording(tmp_path: Path) -> None:
    """It is found beside a file and in a folder; none is no fault."""
    recording = tmp_path / "recording.gz"
    assert expectation_beside(recording, "BTCUSDT") is None
    (tmp_path / "expected_final_book.json").write_text(json.dumps({"books": {"BTCUSDT": expected()}}))

    assert expected() == expectation_beside(recording, "BTCUSDT") == expectation_beside(tmp_path, "BTCUSDT")
    assert expectation_beside(recording, "ETHUSDT") is None
