"""The only place for tests of the watch over walls: when it runs, what it tells the rules, what it keeps."""

from __future__ import annotations

from pipeline.core import wall_watch
from pipeline.core.commands import Note
from pipeline.core.events import (
    Bar,
    DepthDiff,
    DepthSnapshot,
    InstrumentChanged,
    OpenInterest,
    Side,
    Trade,
)
from pipeline.core.state import encode
from pipeline.core.units import E8, ONE_E8, Lots, Milliseconds, Ticks
from pipeline.core.wall_rules import ZoneKind
from pipeline.core.wall_state import WallVerdict
from tests.sessions.script import BAR_MS, INSTRUMENT, START_MS, Session
from tests.sessions.venue import Venue

PRICE = 50_000
WALL = 49_700
WALL_LOTS = 100_000


class Watched:
    """A held long whose book the story changes; the tick is 1 USDT."""

    def __init__(self, *, restart_every: int = 0) -> None:
        self.session = Session(restart_every=restart_every)
        self.session.ready(price=PRICE)
        self.venue = Venue(self.session)
        self.venue.run(self.session.admit(lots=100, stop=49_000, target=52_000, last_target=53_000))
        self.update = 1_000
        self.book()

    def book(self) -> None:
        """A whole book of ordinary levels."""
        self.session.say(
            DepthSnapshot(
                last_update_id=self.update,
                bids=[(PRICE - 1 - d, 100) for d in range(0, 1_200, 3)],
                asks=[(PRICE + 1 + d, 100) for d in range(0, 1_200, 3)],
                event_ms=Milliseconds(self.session.now),
            )
        )

    def level(self, price: int, lots: int) -> None:
        """A diff of one bid (or ask) level."""
        row = [(price, lots)]
        self.session.say(
            DepthDiff(
                first_update_id=self.update,
                final_update_id=self.update + 1,
                previous_final_update_id=self.update,
                bids=row if price < PRICE else [],
                asks=row if price > PRICE else [],
                event_ms=Milliseconds(self.session.now),
            )
        )
        self.update += 1

    def sold(self, lots: int) -> None:
        """Somebody sells into the wall."""
        self.session.say(Trade(1, Ticks(WALL), Lots(lots), True, Milliseconds(self.session.now)))

    def seconds(self, count: int, *, mark: int = PRICE) -> None:
        """Time passes, with a mark a second."""
        for _ in range(count):
            self.venue.run(self.session.wait(1_000))
            self.venue.mark(mark)

    def wall_id(self) -> int:
        """Wait for the wall; its id."""
        self.level(WALL, WALL_LOTS)
        self.seconds(17)
        [zone] = wall_watch.zones_of(self.session.state)
        return zone.id


def test_symbol_without_position_has_no_walls() -> None:
    """Neither held nor shortlisted: nothing is watched; once the position is gone, nothing is kept."""
    session = Session()
    session.ready(price=PRICE)
    session.wait(2_000)
    assert None is session.state.walls
    watched = Watched()
    watched.seconds(2)
    assert None is not watched.session.state.walls
    watched.session.state.position = None
    watched.session.wait(2_000)

    assert None is watched.session.state.walls


def test_wall_becomes_a_zone_with_its_prices() -> None:
    """A confirmed wall is told in E8, on its side, and as no model."""
    watched = Watched()
    watched.wall_id()
    [zone] = wall_watch.zones_of(watched.session.state)

    assert (ZoneKind.BID_WALL, False) == (zone.kind, zone.modelled)
    assert zone.low_e8 <= WALL * ONE_E8 <= zone.high_e8


def test_pulled_wall_is_lost_at_once() -> None:
    """X12 hears of a pulled wall as soon as it is one, and the decision says so."""
    watched = Watched()
    wall = watched.wall_id()
    assert None is wall_watch.wall_lost(watched.session.state, wall)
    watched.level(WALL, 0)
    watched.seconds(2)
    lost = wall_watch.wall_lost(watched.session.state, wall)

    assert lost is not None
    assert WallVerdict.PULLED is lost.verdict
    assert ["wall_pulled"] == [n.code for n in watched.session.all(Note) if n.code.startswith("wall_")]


def test_eaten_wall_is_lost_when_the_mark_stands_beyond() -> None:
    """X12 hears of an eaten wall once the mark stood two ticks beyond it for a second."""
    watched = Watched()
    wall = watched.wall_id()
    [zone] = wall_watch.zones_of(watched.session.state)
    watched.level(WALL, 0)
    watched.sold(WALL_LOTS)
    watched.seconds(2)
    assert None is wall_watch.wall_lost(watched.session.state, wall)
    watched.seconds(1, mark=zone.low_e8 // ONE_E8 - 2)
    assert None is wall_watch.wall_lost(watched.session.state, wall)
    watched.seconds(1, mark=zone.low_e8 // ONE_E8 - 2)
    lost = wall_watch.wall_lost(watched.session.state, wall)

    assert lost is not None
    assert WallVerdict.EATEN is lost.verdict


def test_refilled_wall_is_not_lost() -> None:
    """An ICEBERG takes back what EATEN said."""
    watched = Watched()
    wall = watched.wall_id()
    watched.level(WALL, 0)
    watched.sold(WALL_LOTS)
    watched.seconds(2)
    watched.level(WALL, WALL_LOTS)
    watched.seconds(3, mark=WALL - 40)

    assert None is wall_watch.wall_lost(watched.session.state, wall)
    assert ["wall_eaten", "wall_iceberg"] == [n.code for n in watched.session.all(Note) if n.code.startswith("wall_")]


def test_blind_book_tells_nothing() -> None:
    """While the book is not whole no wall is told, and its end is no verdict."""
    watched = Watched()
    wall = watched.wall_id()
    watched.update += 10
    watched.level(WALL, 0)
    assert not watched.session.state.book.whole
    assert [] == wall_watch.zones_of(watched.session.state)
    watched.seconds(3)

    assert None is wall_watch.wall_lost(watched.session.state, wall)


def test_other_grid_begins_anew() -> None:
    """Another tick: the walls of the old grid are gone."""
    watched = Watched()
    watched.wall_id()
    half = INSTRUMENT.__class__(
        **{f: getattr(INSTRUMENT, f) for f in INSTRUMENT.__struct_fields__} | {"tick_e8": 5 * 10**7}
    )
    watched.session.say(InstrumentChanged(instrument=half))

    assert None is watched.session.state.walls
    assert [] == wall_watch.zones_of(watched.session.state)


def test_restart_at_any_line_changes_nothing() -> None:
    """A story with walls whose state goes through bytes at each line ends in the same bytes."""
    ends = []
    for every in (0, 1):
        watched = Watched(restart_every=every)
        watched.wall_id()
        watched.level(WALL, 0)
        watched.sold(WALL_LOTS)
        watched.seconds(4)
        ends.append(encode(watched.session.state))

    assert ends[0] == ends[1]


def _bar(number: int) -> Bar:
    return Bar(
        open_ms=Milliseconds(START_MS + number * BAR_MS),
        open=Ticks(PRICE),
        high=Ticks(PRICE + 10),
        low=Ticks(PRICE - 10),
        close=Ticks(PRICE),
        lots=Lots(10_000),
        quote_volume=E8(PRICE * 10 * ONE_E8),
        taker_lots=Lots(5_000),
        taker_quote=E8(PRICE * 5 * ONE_E8),
        trades=1,
        closed=True,
    )


def test_open_interest_of_bars_feeds_the_map() -> None:
    """Two closed bars with polls between: the map grows, and says in its zones that it is a model."""
    session = Session()
    session.ready(price=PRICE)
    for number, lots in enumerate((1_000_000, 1_400_000)):
        session.now = START_MS + (number + 1) * BAR_MS
        session.say(OpenInterest(lots=Lots(lots), event_ms=Milliseconds(session.now)))
        session.say(_bar(number))

    known = session.state.liquidations
    assert known is not None
    assert known.longs
    assert known.shorts
    zones = wall_watch.zones_of(session.state)
    assert all(zone.modelled for zone in zones)


def test_forced_orders_make_clusters() -> None:
    """What the sampled stream tells is kept by price."""
    session = Session()
    session.ready(price=PRICE)
    wall_watch.liquidated(session.state, side=Side.SELL, price_e8=PRICE * ONE_E8, notional_e8=200_000 * ONE_E8)

    assert 1 == len(wall_watch.realised_clusters(session.state))
