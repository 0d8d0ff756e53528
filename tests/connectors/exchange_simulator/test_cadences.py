"""Each cadence comes at its own multiple of time, once, in a fixed order; a pause is not replayed step by step."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from connectors.exchange_simulator.cadences import following_step
from connectors.exchange_simulator.candles import FIVE
from connectors.exchange_simulator.instruments import default_instrument
from connectors.exchange_simulator.venue import VenueSettings
from tests.connectors.exchange_simulator.venues import BTC, ETH, MIDDLE, START, Bench


@given(st.integers(0, 10**13))
def test_the_following_step_is_the_nearest_multiple_of_100_or_250_ms(now_ms: int) -> None:
    """No cadence is skipped and none comes twice."""
    due = following_step(now_ms)
    assert now_ms < due <= now_ms + 100
    assert 0 in (due % 100, due % 250)
    assert not [at for at in range(now_ms + 1, due) if at % 100 == 0 or at % 250 == 0]


def test_each_stream_comes_as_often_as_the_sheet_says() -> None:
    """Sheet 2: mark 1 s and 3 s, tickers 2 s, !bookTicker 5 s, diffs 100 and 250 and 500 ms."""
    bench = Bench()
    bench.wait(5_000 - START % 5_000)
    bench.venue.frames.clear()
    for step in range(300):
        bench.book(838_600 + step % 2)
        bench.wait(50)
    seen: dict[str, int] = {}
    for stream, _ in bench.venue.frames:
        seen[stream] = seen.get(stream, 0) + 1
    expected = {
        "btcusdt@markPrice@1s": {15}, "btcusdt@markPrice": {5}, "!markPrice@arr@1s": {15}, "!markPrice@arr": {5},
        # Fifteen seconds hold seven or eight even ones.
        "btcusdt@ticker": {7, 8}, "btcusdt@miniTicker": {7, 8}, "!bookTicker": {3},
        "btcusdt@depth@100ms": {150}, "btcusdt@depth": {60}, "btcusdt@depth@500ms": {30},
    }  # fmt: skip
    assert {} == {stream: seen[stream] for stream, allowed in expected.items() if seen[stream] not in allowed}


def test_a_long_pause_is_one_step() -> None:
    """An hour's silence ends in one frame of each cadence, not in thousands."""
    bench = Bench()
    bench.wait(1_000)
    bench.venue.frames.clear()
    bench.wait(3_600_000)
    assert 1 == sum(stream == "btcusdt@markPrice@1s" for stream, _ in bench.venue.frames)


def test_at_most_one_force_order_a_second_the_largest() -> None:
    """Sheet 2.9."""
    bench = Bench()
    bench.wait(1_000 - START % 1_000)
    bench.venue.frames.clear()
    for lots in (3, 9, 5):
        bench.venue.cadences.note_liquidation("BTCUSDT", lots, {"lots": lots})
    bench.wait(1_000)
    assert [{"lots": 9}] == [payload for stream, payload in bench.venue.frames if stream == "btcusdt@forceOrder"]
    bench.venue.frames.clear()
    bench.wait(1_000)
    assert [] == [payload for stream, payload in bench.venue.frames if stream == "!forceOrder@arr"]


def mark_times(bench: Bench, span_ms: int) -> dict[str, list[int]]:
    """When each mark price came within *span_ms* behind a whole second, in steps of 10 ms."""
    bench.wait(2_000 - START % 1_000)
    bench.venue.frames.clear()
    came: dict[str, list[int]] = {}
    for at in range(10, span_ms + 10, 10):
        bench.wait(10)
        for stream, _ in bench.venue.frames:
            if stream.endswith("@markPrice@1s"):
                came.setdefault(stream, []).append(at)
        bench.venue.frames.clear()
    return came


def test_spread_marks_come_once_a_second_each_at_its_own_instant() -> None:
    """With ``spread_marks`` neighbours of the list are apart, and nobody's mark price comes twice or not at all."""
    bench = Bench(VenueSettings(spread_marks=True, mark_noise_ppm=0), rows=(BTC, ETH, default_instrument("SOLUSDT")))
    for symbol in ("ETHUSDT", "SOLUSDT"):
        bench.book(MIDDLE, symbol=symbol)
    came = mark_times(bench, 3_000)
    assert [3, 3, 3] == [len(times) for times in came.values()]
    assert [1_000] * 6 == [later - sooner for times in came.values() for sooner, later in itertools.pairwise(times)]
    assert 3 == len({times[0] for times in came.values()})


def test_a_mark_price_comes_at_the_phase_that_was_asked_for() -> None:
    """A phase of its own stands in place of the symbol's share of the second."""
    bench = Bench(VenueSettings(spread_marks=True, mark_noise_ppm=0), rows=(BTC, ETH))
    bench.book(MIDDLE, symbol="ETHUSDT")
    bench.venue.cadences.mark_phases = {"BTCUSDT": 940, "ETHUSDT": 950}
    came = mark_times(bench, 2_000)
    assert {"btcusdt@markPrice@1s": [940, 1_940], "ethusdt@markPrice@1s": [950, 1_950]} == came


def test_bars_end_when_they_are_asked_to_one_after_the_other() -> None:
    """Each request ends one 5m candle of every symbol; the next opens where it closed, REST says the same, E is now."""
    bench = Bench(VenueSettings(mark_noise_ppm=0), (BTC, ETH))
    bench.trade(MIDDLE, 3, buyer_is_maker=False)
    bench.venue.frames.clear()
    closed: dict[str, list[tuple[int, int]]] = {}
    for _ in range(3):
        bench.venue.cadences.end_bars(bench.now + 1_000)
        bench.wait(1_000)
        bench.wait(3_000)
        for stream, payload in bench.venue.frames:
            if stream.endswith("@kline_5m") and payload["k"]["x"]:
                closed.setdefault(payload["s"], []).append((payload["k"]["t"], payload["E"] - bench.now))
        bench.venue.frames.clear()
    first = closed["BTCUSDT"][0][0]
    assert [(first + number * FIVE, -3_000) for number in range(3)] == closed["BTCUSDT"]
    assert closed["BTCUSDT"] == closed["ETHUSDT"]
    rows = bench.call("GET", "/fapi/v1/klines", symbol="BTCUSDT", interval="5m", limit="4").body
    assert [first + number * FIVE for number in range(4)] == [row[0] for row in rows]


def test_all_market_streams_may_carry_both_venues() -> None:
    """Sheet 2: with COIN-M entries asked for, each array has them beside ours, st 2; single-symbol streams have not."""
    bench = Bench(VenueSettings(mark_noise_ppm=0, coin_margined=1), (BTC, ETH))
    for symbol in ("BTCUSDT", "ETHUSDT"):
        bench.book(838_600, symbol=symbol)
    bench.trade(838_601, 3, buyer_is_maker=False)
    bench.wait(5_000)
    bench.venue.cadences.note_liquidation("BTCUSDT", 3, force_order())
    bench.wait(1_000)
    seen: dict[str, set[tuple[str, int]]] = {}
    for stream, payload in bench.venue.frames:
        for row in payload if isinstance(payload, list) else [payload]:
            if "st" in row and stream.startswith("!"):
                seen.setdefault(stream, set()).add((row.get("s") or row["o"]["s"], row["st"]))
            elif "st" in row:
                assert 1 == row["st"]
    both = {("BTCUSDT", 1), ("BTCUSD_PERP", 2)}
    assert both | {("ETHUSDT", 1)} == seen["!markPrice@arr"] == seen["!bookTicker"]
    assert both <= seen["!miniTicker@arr"]
    assert both == seen["!forceOrder@arr"]


def force_order() -> dict[str, object]:
    """A liquidation's event."""
    return {"e": "forceOrder", "E": START, "ps": "BTCUSDT", "st": 1, "o": {"s": "BTCUSDT", "S": "SELL"}}
