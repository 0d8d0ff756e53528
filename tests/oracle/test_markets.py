"""The oracle's markets are the same for a seed, such as a venue could have, and reach what the domain speaks of."""

from __future__ import annotations

import numpy as np
import pytest

from tests.oracle import factors
from tests.oracle.everything import composite_of, every_factor
from tests.oracle.machinery import BAR_MS, Array, Bars, ew, shifted
from tests.oracle.markets import DAY_BARS, RECORDED, book, market, quotes, recorded, recorded_funding


def reads_back(bars: Bars, price_decimals: int, lot_decimals: int) -> bool:
    """Whether every figure written as decimals reads back as the same number."""
    columns = [(field, price_decimals) for field in (bars.open, bars.high, bars.low, bars.close)]
    columns += [(bars.volume, lot_decimals), (bars.taker_volume, lot_decimals), (bars.quote, 2), (bars.taker_quote, 2)]
    return all(float(f"{value:.{places}f}") == value for column, places in columns for value in column.tolist())


def possible(bars: Bars) -> bool:
    """Whether bars follow on each other, hold their open and close, and no taker bought more than was traded."""
    return bool(
        (np.diff(bars.open_ms) == BAR_MS).all()
        and (bars.low <= np.minimum(bars.open, bars.close)).all()
        and (bars.high >= np.maximum(bars.open, bars.close)).all()
        and (bars.taker_volume <= bars.volume).all()
        and (bars.taker_quote <= bars.quote).all()
        and (bars.low > 0).all()
    )


@pytest.mark.parametrize("seed", range(12))
def test_a_seed_is_a_market(seed: int) -> None:
    """The same seed gives the same market, of bars a venue could have sent, on the symbol's grid."""
    made, again = market(seed, days=2), market(seed, days=2)

    assert len(made.bars) == 2 * DAY_BARS
    assert list(made.bars.close) == list(again.bars.close)
    assert np.array_equal(made.contracts, again.contracts, equal_nan=True)
    assert list(made.events.time_ms) == list(again.events.time_ms)
    assert possible(made.bars)
    assert reads_back(made.bars, made.grid.price_decimals, made.grid.lot_decimals)
    assert (np.diff(made.events.time_ms) >= 0).all()
    assert (np.diff(made.mark_ms) > 0).all()


def test_twelve_seeds_reach_what_the_domain_speaks_of() -> None:
    """Together they hold every flag, regime and floor, so that a wrong one would show."""
    found = [every_factor(market(seed, days=5)) for seed in range(12)]

    def seen(letter: str, detail: str) -> set[float]:
        return set(np.concatenate([one[letter].detail[detail] for one in found]).tolist())

    assert {0.0, 1.0, 2.0, 3.0, 4.0} == seen("O", "regime")
    assert {0.0, 1.0, 2.0} == seen("O", "crowded")
    assert {0.0, 1.0} == seen("C", "absorption") == seen("B", "carry_extreme") == seen("V", "breakout")
    assert {-1.0, 0.0, 1.0} == seen("Q", "cascade") == seen("T", "label")
    assert {-1.0, 0.0, 1.0} == {value for value in seen("S", "seq") if value == value} - {-0.5, 0.5}  # noqa: PLR0124
    assert {0.5, 1.0} <= set(np.concatenate([one["T"].quality for one in found]).tolist())
    assert any(factors.fund_multiplier(one["F"].value, one["F"].ready, 1)[1].any() for one in found)
    assert max(np.nanmax(np.abs(composite_of(one).e)) for one in found) > 60


def test_the_quiet_ones_are_below_the_floors() -> None:
    """In a quiet market the floors of V, C and O decide; in a usual one the deviations do."""
    usual, quiet = market(0, days=3), market(1, days=3)

    def deviations(bars: Bars, contracts: Array) -> list[bool]:
        series = [
            np.log(bars.quote + 1),
            factors.volume_delta(bars).detail["d"],
            contracts / shifted(contracts, 12) - 1,
        ]
        return [
            float(np.sqrt(ew(values, 288).variance[-1])) < floor
            for values, floor in zip(series, (0.15, 0.01, 0.002), strict=True)
        ]

    assert [False, False, False] == deviations(usual.bars, usual.contracts)
    assert [True, True, True] == deviations(quiet.bars, quiet.contracts)


def test_books_and_quotes_are_possible() -> None:
    """No book and no quote is crossed, levels go outwards, sizes are positive, and a seed gives the same again."""
    for seed in range(50):
        bids, asks = book(seed)
        assert bids[0, 0] < asks[0, 0]
        assert (np.diff(bids[:, 0]) < 0).all()
        assert (np.diff(asks[:, 0]) > 0).all()
        assert (bids[:, 1] > 0).all()
        assert (asks[:, 1] > 0).all()
    made, again = quotes(3, seconds=60), quotes(3, seconds=60)
    assert (made.bid < made.ask).all()
    assert (np.diff(made.time_ms) >= 0).all()
    assert list(made.ask) == list(again.ask)


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ADAUSDT"])
def test_recorded_days_are_whole(symbol: str) -> None:
    """The recorded days come as ten times 288 possible bars on the symbol's grid, with funding every eight hours."""
    bars = recorded(symbol)
    funding = recorded_funding(symbol)

    assert 10 * DAY_BARS == len(bars)
    assert possible(bars)
    assert reads_back(bars, *RECORDED[symbol])
    assert bars.open_ms[0] % 86_400_000 == 0
    assert (np.abs(np.diff(funding.time_ms) - 8 * 3_600_000) < 1_000).all()
