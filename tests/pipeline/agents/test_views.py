"""Rows for people follow the state: due at their times, gone when the position is."""

from __future__ import annotations

import msgspec

from pipeline.agents.views import HELD_MS, LEVELS, REST_MS, ViewClock, market_rows
from pipeline.benchmarks.inputs import synthetic
from pipeline.binance.fold import PartitionFold
from pipeline.core.state import SymbolState, new_state
from pipeline.wire.records import PositionView
from pipeline.wire.views import BookView, FactorView, PriceView


def folded() -> SymbolState:
    """BTCUSDT after 500 made-up frames."""
    source = synthetic(500)
    fold = PartitionFold(partition=source.partition, log_identity="LOG0001", fold="f", universe={"BTCUSDT"})
    for offset, record in enumerate(source.records(8)):
        fold.apply_record(offset=offset, append_ms=record.append_ms, value=record.value)
    return fold.states["BTCUSDT"]


def test_market_rows_are_the_state_in_the_venues_units() -> None:
    """Prices in E8 from ticks, the best levels of the book, why entries are closed."""
    state = folded()
    rows = {view.table: view.value for view in market_rows(state)}
    price = msgspec.json.decode(rows["prices"] or b"", type=PriceView)
    book = msgspec.json.decode(rows["books"] or b"", type=BookView)
    factors = msgspec.json.decode(rows["factors"] or b"", type=FactorView)

    assert state.quote is not None and state.instrument is not None
    assert state.instrument.price_e8(state.quote.bid) == price.bid
    assert (state.book.last_update_id, *state.book.top(LEVELS)) == (book.last_update_id, book.bids, book.asks)
    assert price.ask - price.bid == factors.spread
    assert factors.entry_blocks
    assert set("TMSVCOBQLIF") == set(factors.factors)
    assert all(row.ready or row.detail["missing"] for row in factors.factors.values())


def test_symbol_without_instrument_has_no_rows() -> None:
    """Nothing is known in the venue's units yet: no row rather than a made-up one."""
    assert [] == list(market_rows(new_state("BTCUSDT")))


def test_market_rows_are_written_in_turn() -> None:
    """A symbol nobody holds is written once in 30 s."""
    clock, states = ViewClock(), {"BTCUSDT": folded()}
    written = [
        now_ms
        for now_ms in range(0, 3 * REST_MS, HELD_MS // 2)
        if any(view.table == "prices" for view in clock.rows(states, [], now_ms=now_ms))
    ]

    assert [0, REST_MS, 2 * REST_MS] == written


def test_position_row_of_an_earlier_life_is_removed_once() -> None:
    """A row may stand in the table from before a crash; it is removed at the first look, and then left alone."""
    clock, states = ViewClock(), {"BTCUSDT": folded()}
    looks = [
        [view.value for view in clock.rows(states, ["BTCUSDT"], now_ms=now_ms) if view.table == "positions"]
        for now_ms in (0, 1)
    ]

    assert [[None], []] == looks


def test_position_row_has_every_field_people_read() -> None:
    """The struct is the contract of table ``positions``."""
    assert {"symbol", "position", "stop", "mark", "open_pnl", "protected"} <= {
        field.name for field in msgspec.structs.fields(PositionView)
    }
