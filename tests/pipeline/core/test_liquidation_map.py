"""The only place for tests of the liquidation map: the domain's vectors, mass kept, order per bar, bands, clusters."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.core.events import Bar, Side
from pipeline.core.instruments import Instrument
from pipeline.core.liquidation_map import (
    MAP_HALF_LIFE_MS,
    REALISED_HALF_LIFE_MS,
    TIERS,
    Bracket,
    LiquidationMap,
    Tier,
    bucket_of,
    clusters,
    edge_e8,
    fold_bar,
    long_price,
    on_liquidation,
    short_price,
    tiers_of,
)
from pipeline.core.units import E8, ONE_E8, Lots, Milliseconds, Ticks
from tests.sessions.script import BAR_MS, INSTRUMENT, START_MS

PRICE = 50_000


def bar(number: int, *, low: int = PRICE, high: int = PRICE, close: int = PRICE, bought: int = 50) -> Bar:
    """A closed bar whose VWAP is its close; *bought* percent of it were taker buys."""
    lots = 10_000  # 10 coins
    quote = close * 10 * ONE_E8
    return Bar(
        open_ms=Milliseconds(START_MS + number * BAR_MS),
        open=Ticks(close),
        high=Ticks(high),
        low=Ticks(low),
        close=Ticks(close),
        lots=Lots(lots),
        quote_volume=E8(quote),
        taker_lots=Lots(lots * bought // 100),
        taker_quote=E8(quote * bought // 100),
        trades=1,
        closed=True,
    )


def fold(
    known: LiquidationMap, one: Bar, lots: int, *, tiers: tuple[Tier, ...] = TIERS, on: Instrument = INSTRUMENT
) -> None:
    """Fold a bar with the open interest polled within it."""
    fold_bar(known, one, on, open_interest_lots=lots, open_interest_ms=one.open_ms + 200_000, tiers=tiers)


def mass(masses: dict[int, float], known: LiquidationMap) -> float:
    """All of one side, USDT."""
    return sum(masses.values()) * known.scale


def test_vectors_of_the_domain() -> None:
    """8.4: 10× with 2.5 % → 0.92308 and 1.07317 of the price; 100× with 0.5 % → 0.99497 and 1.00498."""
    ten, hundred = Tier(10, 0, 0, 0.025), Tier(100, 0, 0, 0.005)

    assert (0.92308, 1.07317) == (round(long_price(1.0, ten), 5), round(short_price(1.0, ten), 5))
    assert (0.99497, 1.00498) == (round(long_price(1.0, hundred), 5), round(short_price(1.0, hundred), 5))


def test_new_contracts_open_a_long_and_a_short() -> None:
    """Both masses of a bar are n, however the takers were divided; the aggressive side carries the higher leverage."""
    for bought in (0, 30, 50, 100):
        known = LiquidationMap()
        fold(known, bar(0), 1_000_000)
        fold(known, bar(1, bought=bought), 1_100_000)
        n = 100 * PRICE

        assert pytest.approx(n) == mass(known.longs, known)
        assert pytest.approx(n) == mass(known.shorts, known)
    near = bucket_of(long_price(PRICE, TIERS[-1]))
    assert pytest.approx(n * 0.08) == known.longs[near] * known.scale
    assert pytest.approx(n * 0.02) == known.shorts[bucket_of(short_price(PRICE, TIERS[-1]))] * known.scale


def test_tier_on_the_wrong_side_is_left_out() -> None:
    """100× with a maintenance rate of 1 % would be liquidated at the entry: its share goes to the others."""
    known = LiquidationMap()
    tiers = (Tier(10, 0.5, 0.5, 0.025), Tier(100, 0.5, 0.5, 0.010))
    fold(known, bar(0), 1_000_000, tiers=tiers)
    fold(known, bar(1), 1_100_000, tiers=tiers)

    assert [bucket_of(long_price(PRICE, tiers[0]))] == list(known.longs)
    assert pytest.approx(100 * PRICE) == mass(known.longs, known)


def test_brackets_give_tiers_and_rates() -> None:
    """Tiers above the symbol's maximum are dropped; a tier has the rate of the largest bracket that allows it."""
    brackets = [Bracket(50, 1, 4_000), Bracket(25, 2, 10_000), Bracket(10, 3, 25_000), Bracket(5, 4, 50_000)]
    tiers = tiers_of(brackets, maximum=50)

    assert [(5, 0.05), (10, 0.025), (25, 0.01), (50, 0.004)] == [(t.leverage, t.maintenance) for t in tiers]


def test_half_is_left_after_a_day() -> None:
    """24 h half-life, also over bars that are missing; nothing is added across a hole."""
    known = LiquidationMap()
    fold(known, bar(0), 1_000_000)
    fold(known, bar(1), 1_100_000)
    before = mass(known.longs, known)
    fold(known, bar(1 + MAP_HALF_LIFE_MS // BAR_MS), 2_000_000)

    assert pytest.approx(before / 2) == mass(known.longs, known)


def test_closed_contracts_shrink_everything() -> None:
    """dOI < 0 takes |dOI|/OI of every bucket, by the one factor."""
    known = LiquidationMap()
    fold(known, bar(0), 1_000_000)
    fold(known, bar(1), 1_100_000)
    stored, before = dict(known.longs), mass(known.longs, known)
    fold(known, bar(2), 825_000)

    assert stored == known.longs
    assert pytest.approx(before * 0.75, rel=1e-2) == mass(known.longs, known)


def test_price_empties_what_it_passes() -> None:
    """The buckets of a bar's range hold nothing afterwards, but what the same bar adds stays."""
    known = LiquidationMap()
    fold(known, bar(0), 1_000_000)
    fold(known, bar(1), 1_100_000)
    near = long_price(PRICE, TIERS[-1])
    fold(known, bar(2, low=int(near) - 1), 1_100_000)
    assert bucket_of(near) not in known.longs
    fold(known, bar(3, low=int(near) - 1), 1_200_000)

    assert bucket_of(near) in known.longs


def test_same_poll_is_counted_once() -> None:
    """Open interest that was not polled again grows nothing, and an older or repeated bar is ignored."""
    known = LiquidationMap()
    fold_bar(known, bar(0), INSTRUMENT, open_interest_lots=1_000_000, open_interest_ms=5)
    fold_bar(known, bar(1), INSTRUMENT, open_interest_lots=1_100_000, open_interest_ms=5)
    assert {} == known.longs
    fold(known, bar(2), 1_200_000)
    image = msgspec.msgpack.encode(known)
    fold(known, bar(2), 1_300_000)

    assert image == msgspec.msgpack.encode(known)


def _heavy() -> LiquidationMap:
    known = LiquidationMap()
    fold(known, bar(0), 1_000_000)
    for number in range(1, 60):
        price = PRICE + number * 70 % 2_000
        fold(known, bar(number, low=price, high=price, close=price), 1_000_000 + number)
    fold(known, bar(60), 1_600_000)
    return known


def test_heavy_buckets_make_bands() -> None:
    """A bucket beyond mean + 2σ and 1.5 % of open interest, 0.3 to 5 % away, is a band on its own side of the price."""
    known = _heavy()

    assert known.bands
    for band in known.bands:
        middle = (band.low_e8 + band.high_e8) / 2 / ONE_E8
        away = (PRICE - middle) / PRICE * band.side.sign
        assert 0.003 <= away <= 0.05
        assert band.mass_e8 >= 0.015 * 1_600 * PRICE * ONE_E8
        assert band.low_e8 == edge_e8(band.id)


def test_other_lot_size_changes_nothing() -> None:
    """A finer lot gives the same map: what is kept is a quantity and money."""
    fine = msgspec.structs.replace(INSTRUMENT, step_e8=INSTRUMENT.step_e8 // 10)
    one, other = LiquidationMap(), LiquidationMap()
    for known, on, times in ((one, INSTRUMENT, 1), (other, fine, 10)):
        for number, lots in enumerate((1_000_000, 1_100_000, 1_050_000, 1_300_000)):
            b = bar(number)
            b = msgspec.structs.replace(b, lots=b.lots * times, taker_lots=b.taker_lots * times)
            fold(known, b, lots * times, on=on)

    assert msgspec.msgpack.encode(one) == msgspec.msgpack.encode(other)


def test_restart_at_any_bar_changes_nothing() -> None:
    """The map goes through bytes at each bar and ends in the same bytes."""
    known, restarted = LiquidationMap(), LiquidationMap()
    for number in range(300):
        price = PRICE + number * 7919 % 900 - 450
        one = bar(number, low=price - 40, high=price + 40, close=price, bought=number * 31 % 101)
        lots = 1_000_000 + number * 104_729 % 50_000
        fold(known, one, lots)
        restarted = msgspec.msgpack.decode(msgspec.msgpack.encode(restarted), type=LiquidationMap)
        fold(restarted, one, lots)

    assert msgspec.msgpack.encode(known) == msgspec.msgpack.encode(restarted)


def test_realised_cluster_needs_a_hundred_thousand() -> None:
    """Notional of forced orders by bucket: a cluster from 100,000 USDT on, longs for orders that sell."""
    known = LiquidationMap()
    on_liquidation(known, side=Side.SELL, price_e8=PRICE * ONE_E8, notional_e8=99_999 * ONE_E8, now_ms=START_MS)
    assert [] == clusters(known, now_ms=START_MS)
    on_liquidation(known, side=Side.SELL, price_e8=PRICE * ONE_E8, notional_e8=2 * ONE_E8, now_ms=START_MS)

    [cluster] = clusters(known, now_ms=START_MS)
    assert Side.BUY is cluster.side
    assert cluster.low_e8 <= PRICE * ONE_E8 < cluster.high_e8


def test_realised_cluster_fades_in_half_an_hour() -> None:
    """Half-life 30 min, whether an event comes meanwhile or not."""
    known = LiquidationMap()
    on_liquidation(known, side=Side.BUY, price_e8=PRICE * ONE_E8, notional_e8=400_000 * ONE_E8, now_ms=START_MS)
    later = START_MS + REALISED_HALF_LIFE_MS
    [cluster] = clusters(known, now_ms=later)
    on_liquidation(known, side=Side.SELL, price_e8=PRICE * ONE_E8, notional_e8=ONE_E8, now_ms=later)
    [again] = clusters(known, now_ms=later)

    assert Side.SELL is cluster.side
    assert pytest.approx(200_000, abs=1e-3) == cluster.notional_e8 / ONE_E8
    assert cluster == again
    assert [] == clusters(known, now_ms=later + 2 * REALISED_HALF_LIFE_MS)


def test_many_small_clusters_raise_the_bar() -> None:
    """A cluster must also hold five times the mean of the non-empty buckets."""
    known = LiquidationMap()
    for i in range(4):
        on_liquidation(
            known, side=Side.SELL, price_e8=(PRICE + 200 * i) * ONE_E8, notional_e8=150_000 * ONE_E8, now_ms=START_MS
        )

    assert [] == clusters(known, now_ms=START_MS)
