"""The only place for tests of order-book walls: verdict stories, the domain's numbers, properties, recorded books."""

from __future__ import annotations

import gzip
import json
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.book import Book, apply_diff, apply_snapshot
from pipeline.core.events import DepthDiff, DepthSnapshot, Side, Trade
from pipeline.core.units import Lots, Milliseconds, Ticks, parse_e8
from pipeline.core.wall_state import Band, Ending, WallState, WallVerdict
from pipeline.core.walls import book_of_top, keeps_width, on_trade, sample, wanted_width, watch_price
from tests.data import require

TICK_E8 = 10_000_000  # 0.1 USDT
STEP_E8 = 100_000  # 0.001
START_MS = 1_700_000_400_000
BASE = 502_500  # ticks: the first ask is BASE, the first bid BASE − 1; twice of it is a multiple of the width 150
SMALL = 1_000  # lots of an ordinary level
GAP = 20  # ticks between ordinary levels
ATR_E8 = 100 * 100_000_000  # 0.2 % of the price: 3 bps buckets
WALL = BASE - 2_001  # a bid wall 0.4 % below
WALL_LOTS = 200_000
REACH = BASE // 40
ORDINARY_BIDS = {BASE - 1 - d: SMALL for d in range(0, REACH, GAP)}
ORDINARY_ASKS = {BASE + d: SMALL for d in range(0, REACH, GAP)}


class Market:
    """A book that the story changes, and the walls that watch it once a second."""

    def __init__(self, *, mirrored: bool = False, tick_e8: int = TICK_E8, restart: bool = False) -> None:
        self.walls = WallState(tick_e8=tick_e8, step_e8=STEP_E8)
        self.mirrored = mirrored
        self.restart = restart
        self.now = START_MS
        self.extra: dict[int, int] = {}
        self.resyncs = 0
        self.ended: list[Ending] = []
        self.day_quote_e8 = 0
        self.own_lots = 0

    def book(self) -> Book:
        """The ordinary levels, every ``GAP`` ticks within ±2.5 %, and what the story added."""
        bids, asks = dict(ORDINARY_BIDS), dict(ORDINARY_ASKS)
        for price, lots in self.extra.items():
            side = bids if price < BASE else asks
            side[price] = side.get(price, 0) + lots
        if self.mirrored:  # around BASE − ½, so that best bid and best ask change places
            bids, asks = (
                {2 * BASE - 1 - price: lots for price, lots in asks.items()},
                {2 * BASE - 1 - price: lots for price, lots in bids.items()},
            )
        book = book_of_top(list(bids.items()), list(asks.items()))
        book.resyncs = self.resyncs
        return book

    def second(self, count: int = 1) -> list[Ending]:
        """Let *count* seconds pass, each with a sample."""
        ended: list[Ending] = []
        for _ in range(count):
            self.now += 1_000
            if self.restart:
                self.walls = msgspec.msgpack.decode(msgspec.msgpack.encode(self.walls), type=WallState)
            ended += sample(
                self.walls,
                self.book(),
                now_ms=self.now,
                atr_1h_e8=ATR_E8,
                own_lots=self.own_lots,
                day_quote_e8=self.day_quote_e8,
            )
        self.ended += ended
        return ended

    def trade(self, price: int, lots: int) -> None:
        """Somebody takes *lots* at *price* (in the unmirrored world)."""
        sells = price < BASE
        if self.mirrored:
            price, sells = 2 * BASE - 1 - price, not sells
        on_trade(
            self.walls,
            Trade(
                trade_id=1,
                price=Ticks(price),
                lots=Lots(lots),
                seller_aggressed=sells,
                trade_ms=Milliseconds(self.now),
            ),
        )

    def wall(self, price: int = WALL, lots: int = WALL_LOTS) -> None:
        """Set a wall (0 takes it away)."""
        self.extra[price] = lots

    def confirmed(self) -> Band:
        """Set the wall and wait until it is confirmed."""
        self.second(3)
        self.wall()
        self.second(16)
        [band] = self.walls.bands
        return band

    def verdicts(self) -> list[WallVerdict]:
        """Every verdict so far."""
        return [ending.verdict for ending in self.ended]


def test_quiet_book_has_no_wall() -> None:
    """A book of equal levels has no wall, however long it stands."""
    market = Market()
    market.second(60)

    assert [] == market.walls.bands
    assert {} == market.walls.bids.tracks


def test_wall_is_confirmed_after_fifteen_seconds() -> None:
    """A big level is a candidate at once and a wall 15 s later, not a second before."""
    market = Market()
    market.second(3)
    market.wall()
    market.second(15)
    assert [] == market.walls.bands
    market.second()

    [band] = market.walls.bands
    assert Side.BUY is band.side
    assert band.low <= WALL <= band.high
    assert market.now - 15_000 == band.since_ms


def test_wall_near_the_touch_is_not_confirmed() -> None:
    """Within 3 bps of the touch a big level is no wall; once the price has left it is confirmed."""
    market = Market()
    market.second(3)
    market.wall(BASE - 30)
    market.second(40)

    assert [] == market.walls.bands


def test_wall_that_comes_and_goes_is_not_confirmed() -> None:
    """Seen in fewer than 80 % of the samples it stays a candidate."""
    market = Market()
    market.second(3)
    for i in range(40):
        market.wall(lots=WALL_LOTS if i % 3 else WALL_LOTS * 55 // 100)
        market.second()

    assert [] == market.walls.bands


def test_eaten_wall() -> None:
    """Half of it gone and trades at its price that explain it: EATEN, at once."""
    market = Market()
    band = market.confirmed()
    market.trade(WALL, WALL_LOTS)
    market.wall(lots=0)
    [ending] = market.second()

    assert (WallVerdict.EATEN, band.id, True) == (ending.verdict, ending.id, ending.confirmed)
    assert [] == market.walls.bands


def test_trades_after_the_diff_still_make_it_eaten() -> None:
    """The trades' socket may be slower than the book's: the verdict waits one sample for them."""
    market = Market()
    market.confirmed()
    market.wall(lots=0)
    assert [] == market.second()
    assert [] == market.walls.bands
    market.trade(WALL, WALL_LOTS * 6 // 10 + 1)

    assert [WallVerdict.EATEN] == [e.verdict for e in market.second()]


def test_pulled_wall() -> None:
    """Gone without trades that explain 60 % of the loss: PULLED."""
    market = Market()
    market.confirmed()
    market.trade(WALL, WALL_LOTS // 2)
    market.wall(lots=0)

    assert [WallVerdict.PULLED] == [e.verdict for e in market.second(2)]


def test_half_counts_as_lost_and_less_does_not() -> None:
    """Exactly half of it gone is a loss; a little less is none."""
    for more, verdicts in ((0, [WallVerdict.PULLED]), (1, [])):
        market = Market()
        half = market.confirmed().size // 2 // WALL  # the bucket holds ordinary levels too
        market.wall(lots=WALL_LOTS - half - 1 + more)
        market.second(2)

        assert verdicts == market.verdicts()


def test_slow_loss_has_no_verdict() -> None:
    """A wall that shrinks over many seconds fades: it is none any more, and nobody pulled it."""
    market = Market()
    market.confirmed()
    lots = WALL_LOTS
    while lots > SMALL:
        lots = lots * 9 // 10
        market.wall(lots=lots)
        market.second()

    assert [] == market.verdicts()
    assert [] == market.walls.bands


def test_two_pulls_within_a_minute_are_a_flicker_and_ignored() -> None:
    """Pulled, shown again, pulled again: FLICKER, and for 300 s it is no wall however long it stands."""
    market = Market()
    market.confirmed()
    market.wall(lots=0)
    market.second(5)
    market.wall()
    market.second(20)
    market.wall(lots=0)
    market.second(2)
    assert [WallVerdict.PULLED, WallVerdict.FLICKER] == market.verdicts()
    market.wall()
    market.second(290)
    assert [] == market.walls.bands
    market.second(20)

    assert 1 == len(market.walls.bands)


def test_pulls_weaken() -> None:
    """One pull leaves two thirds of the strength."""
    steady, pulled = Market(), Market()
    steady.confirmed()
    pulled.confirmed()
    pulled.wall(lots=0)
    pulled.second(2)
    pulled.wall()
    steady.second(90)
    pulled.second(90)

    assert 1_000 == steady.walls.bands[0].strength_permille
    assert 666 == pulled.walls.bands[0].strength_permille


def test_refilled_wall_is_an_iceberg() -> None:
    """Eaten and back at 80 % within 5 s: ICEBERG, the same wall, 0.2 stronger; what was told of its end is void."""
    market = Market()
    band = market.confirmed()
    market.trade(WALL, WALL_LOTS)
    market.wall(lots=0)
    market.second(2)
    market.wall(lots=WALL_LOTS * 9 // 10)
    [ending] = market.second()
    market.second()

    assert (WallVerdict.ICEBERG, band.id) == (ending.verdict, ending.id)
    [after] = market.walls.bands
    assert (band.id, band.since_ms, True) == (after.id, after.since_ms, True)
    assert after.strength_permille > band.strength_permille + 150
    assert [WallVerdict.ICEBERG] == [e.verdict for e in market.walls.endings]


def test_refill_after_five_seconds_is_another_wall() -> None:
    """Back too late: it is a new wall with a new name and has to wait."""
    market = Market()
    band = market.confirmed()
    market.trade(WALL, WALL_LOTS)
    market.wall(lots=0)
    market.second(7)
    market.wall()
    market.second(17)

    assert [WallVerdict.EATEN] == market.verdicts()
    assert band.id != market.walls.bands[0].id


def test_moved_wall_is_a_new_one() -> None:
    """A wall that goes elsewhere is pulled there and confirmed 15 s later here."""
    market = Market()
    band = market.confirmed()
    market.wall(lots=0)
    market.wall(WALL - 600)
    market.second(15)
    assert [] == market.walls.bands
    market.second()

    assert [WallVerdict.PULLED] == market.verdicts()
    assert market.walls.bands[0].id != band.id
    assert market.walls.bands[0].high < band.low


def test_neighbours_make_one_band() -> None:
    """Walls in adjacent buckets are one band, named by the bucket farthest from the touch."""
    market = Market()
    market.second(3)
    market.wall(WALL)
    market.wall(WALL - market.walls.width)
    market.second(16)

    [band] = market.walls.bands
    assert 2 * market.walls.width == band.high - band.low + 1
    far = market.walls.bids.tracks[(WALL - market.walls.width) // market.walls.width]
    assert far.id == band.id


def test_resync_clears_ages_and_keeps_names() -> None:
    """After a resync within 10 s the wall has its name but must be confirmed again; nothing is called pulled."""
    market = Market()
    band = market.confirmed()
    market.resyncs += 1
    market.now += 4_000
    market.second(15)
    assert [] == market.walls.bands
    market.second()

    assert [] == market.verdicts()
    assert band.id == market.walls.bands[0].id
    assert band.since_ms < market.walls.bands[0].since_ms


def test_resync_after_ten_seconds_forgets_names() -> None:
    """The names live 10 s."""
    market = Market()
    band = market.confirmed()
    market.resyncs += 1
    market.now += 11_000
    market.second(16)

    assert band.id != market.walls.bands[0].id


def test_size_must_beat_day_volume_and_own_order() -> None:
    """A level below 0.0002 of the day's volume, or below five times our own, is no wall."""
    notional_e8 = (WALL_LOTS + 8 * SMALL) * WALL * TICK_E8 * STEP_E8 // 100_000_000
    for day, own, walls in ((notional_e8 * 5_001, 0, 0), (notional_e8 * 4_900, 0, 1), (0, 50_000, 0), (0, 39_000, 1)):
        market = Market()
        market.day_quote_e8, market.own_lots = day, own
        market.second(3)
        market.wall()
        market.second(16)

        assert walls == len(market.walls.bands), (day, own)


def test_widths_follow_the_range() -> None:
    """3, 5, 10 bps of mid for an ATR(1h) below 1 %, below 3 %, above; 5 when it is not known; never below a tick."""
    price = 50_000 * 100_000_000
    widths = [
        wanted_width(twice_mid=1_000_000, atr_1h_e8=price * share // 1_000, tick_e8=TICK_E8)
        for share in (9, 10, 29, 30)
    ]

    assert [150, 250, 250, 500] == widths
    assert 250 == wanted_width(twice_mid=1_000_000, atr_1h_e8=0, tick_e8=TICK_E8)
    assert 1 == wanted_width(twice_mid=400, atr_1h_e8=0, tick_e8=TICK_E8)


def test_price_that_plays_around_a_bound_keeps_the_grid() -> None:
    """On a coarse grid the wanted width is now one tick, now two: the grid, and with it every wall, stays."""
    walls = WallState(tick_e8=TICK_E8, step_e8=STEP_E8)
    for second in range(40):
        middle = 3_995 if second % 2 else 4_005
        bids = [(middle - 1 - d, SMALL) for d in range(100)]
        asks = [(middle + d, SMALL) for d in range(100)]
        book = book_of_top([*bids, (3_960, WALL_LOTS)], asks)
        sample(walls, book, now_ms=START_MS + 1_000 * second, atr_1h_e8=0, own_lots=0, day_quote_e8=0)
    told = {wanted_width(twice_mid=2 * middle - 1, atr_1h_e8=0, tick_e8=TICK_E8) for middle in (3_995, 4_005)}

    assert {1, 2} == told
    assert 2 == walls.width
    assert [(3_960, 3_961)] == [(band.low, band.high) for band in walls.bands]
    assert keeps_width(2, twice_mid=6_000, atr_1h_e8=0, tick_e8=TICK_E8)
    assert not keeps_width(2, twice_mid=5_999, atr_1h_e8=0, tick_e8=TICK_E8)
    assert not keeps_width(1, twice_mid=10_000, atr_1h_e8=0, tick_e8=TICK_E8)


def test_candidates_leave_no_endings() -> None:
    """What was never confirmed could not be leant on: however much flickers, the end of a confirmed wall is found."""
    market = Market()
    market.confirmed()
    market.wall(lots=0)
    market.second(2)
    for i in range(60):
        market.wall(BASE + 2_000 + 300 * (i % 20), WALL_LOTS if i % 2 else 0)
        market.second()

    assert 1 == len([e for e in market.walls.endings if e.side is Side.BUY])
    assert all(e.confirmed for e in market.walls.endings)


def test_price_beyond_an_eaten_wall_is_timed() -> None:
    """Two ticks beyond starts the clock, coming back stops it."""
    market = Market()
    market.confirmed()
    market.trade(WALL, WALL_LOTS)
    market.wall(lots=0)
    [ending] = market.second()
    told = []
    for ticks in (1, 2, 3, 0):
        watch_price(market.walls, price_e8=(ending.low - ticks) * TICK_E8, margin_ticks=2, now_ms=market.now + ticks)
        told.append(market.walls.endings[0].beyond_ms)

    assert [0, market.now + 2, market.now + 2, 0] == told


def test_coverage_of_twenty_levels() -> None:
    """depth20 of a fine grid covers nearly nothing and shows no wall; of a coarse grid it covers what it shows."""
    walls = WallState(tick_e8=TICK_E8, step_e8=STEP_E8)
    fine = book_of_top([(BASE - 1 - i, SMALL) for i in range(20)], [(BASE + i, SMALL) for i in range(20)])
    sample(walls, fine, now_ms=START_MS, atr_1h_e8=ATR_E8, own_lots=0, day_quote_e8=0)
    assert (14, [], {}) == (walls.bids.coverage_permille, walls.bands, walls.bids.tracks)

    walls = WallState(tick_e8=TICK_E8, step_e8=STEP_E8)
    book = book_of_top([(999 - i, SMALL) for i in range(20)], [(1_000 + i, SMALL) for i in range(20)])
    sample(walls, book, now_ms=START_MS, atr_1h_e8=0, own_lots=0, day_quote_e8=0)

    assert 1 == walls.width
    assert 20 * 1_000 // 20 == walls.bids.coverage_permille


def _told(market: Market) -> tuple[list[Any], list[Any]]:
    """What a market has told, in the unmirrored world."""

    def place(low: int, high: int, side: Side) -> tuple[int, int, Side]:
        return (2 * BASE - 1 - high, 2 * BASE - 1 - low, side.opposite) if market.mirrored else (low, high, side)

    bands = [(place(b.low, b.high, b.side), b.strength_permille, b.since_ms, b.iceberg) for b in market.walls.bands]
    ended = [(place(e.low, e.high, e.side), e.verdict, e.at_ms, e.confirmed) for e in market.ended]
    return sorted(bands), sorted(ended)


def _play(market: Market, moves: list[tuple[int, int, int]]) -> None:
    market.second(2)
    for place, size, eaten in moves:
        price = BASE + (place * 150 + 600 if place >= 0 else place * 150 - 451)
        market.wall(price, size * 40_000)
        if eaten:
            market.trade(price, eaten * 40_000)
        market.second(1 + size + eaten)


MOVES = st.lists(st.tuples(st.integers(-9, 8), st.integers(0, 5), st.integers(0, 4)), min_size=8, max_size=24)


@settings(max_examples=8)
@given(moves=MOVES)
def test_mirrored_market_has_mirrored_walls(moves: list[tuple[int, int, int]]) -> None:
    """Bids for asks and asks for bids: the same walls and verdicts on the other side."""
    one, other = Market(), Market(mirrored=True)
    _play(one, moves)
    _play(other, moves)

    bands, ended = _told(one)
    mirrored_bands, mirrored_ended = _told(other)
    assert ended == mirrored_ended
    assert [b[0] for b in bands] == [b[0] for b in mirrored_bands]


@settings(max_examples=6)
@given(moves=MOVES)
def test_restart_anywhere_changes_nothing(moves: list[tuple[int, int, int]]) -> None:
    """Walls that go through bytes at each sample end in the same bytes."""
    one, other = Market(), Market(restart=True)
    _play(one, moves)
    _play(other, moves)

    assert msgspec.msgpack.encode(one.walls) == msgspec.msgpack.encode(other.walls)


@settings(max_examples=6)
@given(moves=MOVES)
def test_same_money_on_another_scale(moves: list[tuple[int, int, int]]) -> None:
    """Ten times the price at a tenth of the lot value is the same market: same walls, same verdicts."""
    one, other = Market(), Market(tick_e8=TICK_E8 * 10)
    other.walls.step_e8 = STEP_E8 // 10
    _play(one, moves)
    _play(other, moves)

    assert _told(one)[1] == _told(other)[1]


def _recorded(name: str) -> Any:
    with gzip.open(require(f"hftbacktest/{name}.gz"), "rt") as lines:
        for line in lines:
            at, body = line.split(" ", 1)
            yield int(at) // 1_000_000, json.loads(body)


def _levels(rows: list[list[str]]) -> list[tuple[int, int]]:
    return [(parse_e8(p) // TICK_E8, parse_e8(q) // STEP_E8) for p, q in rows]


def test_recorded_book_tells_sane_walls() -> None:
    """Six calm minutes of BTCUSDT: samples once a second, bands on their own side and apart, nobody pulls anything."""
    book, walls = Book(), WallState(tick_e8=TICK_E8, step_e8=STEP_E8)
    ended: list[Ending] = []
    bands = samples = 0
    for at_ms, body in _recorded("usdm_btcusdt_20240808"):
        if "stream" not in body:
            snapshot = DepthSnapshot(body["lastUpdateId"], _levels(body["bids"]), _levels(body["asks"]), at_ms)
            apply_snapshot(book, snapshot)
        elif "@depth" in body["stream"]:
            data = body["data"]
            apply_diff(
                book,
                DepthDiff(data["U"], data["u"], data["pu"], _levels(data["b"]), _levels(data["a"]), at_ms),
            )
        elif "@trade" in body["stream"]:
            data = body["data"]
            on_trade(
                walls,
                Trade(data["t"], parse_e8(data["p"]) // TICK_E8, parse_e8(data["q"]) // STEP_E8, data["m"], at_ms),
            )
        if book.whole and walls.due(at_ms):
            ended += sample(walls, book, now_ms=at_ms, atr_1h_e8=0, own_lots=0, day_quote_e8=0)
            samples += 1
            bands += len(walls.bands)
            for near, far in pairwise([b for b in walls.bands if b.side is Side.BUY]):
                assert far.high < near.low
            for near, far in pairwise([b for b in walls.bands if b.side is Side.SELL]):
                assert far.low > near.high
            for band in walls.bands:
                assert 0 <= band.strength_permille <= 1_000
                assert band.size > 0

    assert 340 <= samples <= 346
    assert bands > 20
    assert [] == [e.verdict for e in ended if e.confirmed]
