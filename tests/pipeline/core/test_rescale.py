"""The only place for tests of a changed grid: values stay, nothing loosens, there and back changes nothing."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.events import InstrumentChanged, Leg, Side
from pipeline.core.positions import Position
from pipeline.core.rescale import Grid
from pipeline.core.state import encode
from pipeline.core.units import ONE_E8
from tests.sessions.script import INSTRUMENT, Session
from tests.sessions.test_stops import opened_short
from tests.sessions.test_targets import opened

FINE = msgspec.structs.replace(INSTRUMENT, tick_e8=ONE_E8 // 10, step_e8=10_000, max_price_ticks=10**8)


def prices(position: Position) -> list[int]:
    """Every stored price of a position."""
    return [
        position.stop,
        position.far,
        position.initial_stop,
        position.limit,
        position.target,
        position.last_target,
        *(wish.trigger for wish in position.wishes.values()),
        *(order.trigger for order in position.orders.values()),
    ]


def quantities(position: Position) -> list[int]:
    """Every stored quantity of a position."""
    return [
        position.planned_lots,
        position.entered,
        *(wish.lots for wish in position.wishes.values() if wish.lots > 0),
        *(order.lots for order in position.orders.values()),
        *(order.filled for order in position.orders.values()),
    ]


def test_a_finer_grid_keeps_every_value() -> None:
    """A tenth of the tick and of the step: ten times the integers, in one step, for prices and quantities alike."""
    session, _ = opened()
    before_prices, before_lots = prices(session.position), quantities(session.position)
    entry, risk = session.position.entry_e8, session.position.risk_e8

    session.say(InstrumentChanged(instrument=FINE))

    assert [10 * price for price in before_prices] == prices(session.position)
    assert [10 * lots for lots in before_lots] == quantities(session.position)
    assert (entry, risk) == (session.position.entry_e8, session.position.risk_e8)
    assert "instrument_rescaled" in session.codes()


def test_there_and_back_changes_nothing_of_the_position() -> None:
    """A finer grid and the old one again give the old integers."""
    session, _ = opened()
    before = msgspec.msgpack.encode(session.position)

    session.say(InstrumentChanged(instrument=FINE))
    session.say(InstrumentChanged(instrument=INSTRUMENT))

    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(session.position), type=Position)
    kept.reported, kept.reported_ms = ("", 0, 0), 0
    told = msgspec.msgpack.decode(before, type=Position)
    told.reported, told.reported_ms = ("", 0, 0), 0
    assert msgspec.msgpack.encode(told) == msgspec.msgpack.encode(kept)


def test_the_story_goes_on_after_the_change() -> None:
    """No rail is stated again, no stop is moved, the position stays protected."""
    session, _ = opened()
    session.wait(1_000)
    before = len(session.outputs)

    session.say(InstrumentChanged(instrument=FINE))
    led = session.wait(2_000)

    assert [] == [output for output in session.outputs[before:] if type(output).__name__ == "MoveStop"]
    assert session.position.unprotected_ms < 0
    assert led


@given(st.integers(1, 10**6), st.integers(1, 999), st.integers(1, 999))
def test_a_stop_off_the_new_grid_is_rounded_away_from_the_price(ticks: int, old: int, new: int) -> None:
    """Rescaling never tightens a stop into the market, and moves it by less than one new tick."""
    grid = Grid(msgspec.structs.replace(INSTRUMENT, tick_e8=old), msgspec.structs.replace(INSTRUMENT, tick_e8=new))
    value = ticks * old

    assert 0 <= value - grid.away(ticks, Side.BUY) * new < new
    assert 0 <= grid.away(ticks, Side.SELL) * new - value < new


@given(st.integers(-(10**6), 10**6), st.integers(1, 999), st.integers(1, 999))
def test_quantities_never_grow(lots: int, old: int, new: int) -> None:
    """Towards zero on both sides."""
    grid = Grid(msgspec.structs.replace(INSTRUMENT, step_e8=old), msgspec.structs.replace(INSTRUMENT, step_e8=new))

    assert abs(grid.lots(lots)) * new <= abs(lots) * old
    assert grid.lots(lots) == -grid.lots(-lots)


def test_market_data_follows_and_the_book_is_asked_for_again() -> None:
    """Quote, bars and averages keep their values in E8."""
    session = Session()
    session.ready()
    before = session.state.bars.one_hour.e8(INSTRUMENT.tick_e8)

    session.say(InstrumentChanged(instrument=FINE))

    assert session.state.quote is not None
    assert (499_990, 500_010) == (session.state.quote.bid, session.state.quote.ask)
    assert before == session.state.bars.one_hour.e8(FINE.tick_e8)
    assert session.state.bars.ready


def test_a_short_follows_as_well() -> None:
    """The far rail of a short stays above."""
    session, _ = opened_short()
    far = session.position.far

    session.say(InstrumentChanged(instrument=FINE))

    assert 10 * far == session.position.far
    assert Leg.FAR.value in session.position.wishes
    assert encode(session.state)
