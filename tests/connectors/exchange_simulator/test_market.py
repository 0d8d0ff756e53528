"""Public frames have the sheet's fields, cadence and id chains (section 2)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.connectors.exchange_simulator.shapes import differences, documented
from tests.connectors.exchange_simulator.venues import MIDDLE, START, Bench
from tests.data import require

SAMPLES: dict[str, str] = {
    "btcusdt@ticker": """{"e":"24hrTicker","E":1,"s":"B","ps":"B","st":1,"p":"5","P":"0","w":"8","c":"8","Q":"0",
      "o":"8","h":"8","l":"8","v":"1","q":"1","O":1,"C":1,"F":8,"L":8,"n":2}""",
    "btcusdt@miniTicker": """{"e":"24hrMiniTicker","E":1,"s":"B","ps":"B","st":1,"c":"8","o":"8","h":"8","l":"8",
      "v":"1","q":"1"}""",
    "btcusdt@bookTicker": """{"e":"bookTicker","u":9,"E":1,"T":1,"s":"B","ps":"B","st":1,"b":"8","B":"4","a":"8",
      "A":"1"}""",
    "btcusdt@markPrice@1s": """{"e":"markPriceUpdate","E":1,"s":"B","st":1,"p":"8","ap":"8","i":"8","P":"8","r":"0",
      "T":1}""",
    "btcusdt@aggTrade": """{"e":"aggTrade","E":1,"a":3,"s":"B","p":"8","q":"0","nq":"0","f":8,"l":8,"T":1,"m":false,
      "st":1}""",
    "btcusdt@kline_5m": """{"e":"kline","E":1,"s":"B","k":{"t":1,"T":1,"s":"B","i":"5m","f":8,"L":8,"o":"8","c":"8",
      "h":"8","l":"8","v":"5","n":6,"x":false,"q":"4","V":"2","Q":"2","B":"0"}}""",
    "btcusdt@depth20@100ms": """{"e":"depthUpdate","E":1,"T":1,"s":"B","ps":"B","st":1,"U":9,"u":9,"pu":9,
      "b":[["8","4"]],"a":[["8","1"]]}""",
    "btcusdt@depth@100ms": """{"e":"depthUpdate","E":1,"T":1,"s":"B","ps":"B","st":1,"U":9,"u":9,"pu":9,
      "b":[["8","4"]],"a":[["8","1"]]}""",
}


def lively() -> tuple[Bench, dict[str, list[dict[str, Any]]]]:
    """Six seconds of a market that moves and trades every 50 ms, and all its frames by stream."""
    bench = Bench()
    bench.venue.frames.clear()
    for step in range(120):
        bench.now += 50
        bench.book(MIDDLE + step % 7)
        bench.trade(MIDDLE, 1 + step % 3, buyer_is_maker=step % 2 == 0)
        bench.venue.tick(bench.now)
    frames: dict[str, list[dict[str, Any]]] = {}
    for stream, payload in bench.venue.frames:
        frames.setdefault(stream, []).append(payload)
    return bench, frames


@pytest.mark.parametrize("stream", list(SAMPLES))
def test_frames_have_the_sheets_names_and_types(stream: str) -> None:
    """Each stream's frame has exactly the fields and JSON types of its sample in the sheet."""
    _, frames = lively()

    assert [] == differences(json.loads(SAMPLES[stream]), frames[stream][-1])


# File of the documentation-style samples → our stream and the fields that came later, by their lines of the sheet.
DOCUMENTED: dict[str, tuple[str, list[str]]] = {
    "AggTrades": ("btcusdt@aggTrade", [".nq is extra", ".st is extra"]),  # 2.5: nq since 2025-12-31, st since 2026-06
    "Book": ("btcusdt@depth@100ms", [".ps is extra", ".st is extra"]),  # 2: CM-UM integration, 2026-06-30
    "PartialBook": ("btcusdt@depth20@100ms", [".ps is extra", ".st is extra"]),
    "BookTicker": ("btcusdt@bookTicker", [".ps is extra", ".st is extra"]),
    "Klines": ("btcusdt@kline_5m", []),
    "ContKlines": ("btcusdt_perpetual@continuousKline_5m", []),
    "MarkPrice": ("btcusdt@markPrice@1s", [".ap is extra", ".st is extra"]),  # 2.4: ap since 2026-03-16
    "MiniTicker": ("btcusdt@miniTicker", [".ps is extra", ".st is extra"]),
    "Ticker": ("btcusdt@ticker", [".ps is extra", ".st is extra"]),
}


@pytest.mark.parametrize("name", list(DOCUMENTED))
def test_frames_differ_from_the_documented_samples_only_by_what_came_later(name: str) -> None:
    """Names and types equal the documentation-style samples, but for the fields the sheet dates later."""
    stream, later = DOCUMENTED[name]
    sample = documented(require(f"binance-net-docstyle/Subscriptions/{name}.txt"))

    assert later == sorted(differences(sample, lively()[1][stream][-1]))


def test_cadences() -> None:
    """Diffs every 100/250/500 ms, marks every 1/3 s, tickers every 2 s, candles every 250 ms."""
    _, frames = lively()

    assert (60, 24, 12) == tuple(len(frames[f"btcusdt@depth{speed}"]) for speed in ("10@100ms", "10", "10@500ms"))
    assert (6, 2, 3, 24) == tuple(
        len(frames[f"btcusdt@{name}"]) for name in ("markPrice@1s", "markPrice", "ticker", "kline_5m")
    )


@pytest.mark.parametrize("stream", ["btcusdt@depth@100ms", "btcusdt@depth", "btcusdt@depth@500ms"])
def test_diffs_chain_and_rebuild_the_book(stream: str) -> None:
    """pu is the previous u, U ≤ u, ids are not consecutive, and the diffs rebuild the venue's book."""
    bench, frames = lively()
    previous = None
    sides: dict[str, dict[str, str]] = {"b": {}, "a": {}}
    for diff in frames[stream]:
        assert previous in (None, diff["pu"])
        assert diff["pu"] < diff["U"] <= diff["u"]
        previous = diff["u"]
        for side, levels in sides.items():
            for price, quantity in diff[side]:
                levels.pop(price, None)
                if float(quantity):
                    levels[price] = quantity
    snapshot = bench.call("GET", "/fapi/v1/depth", symbol="BTCUSDT", limit=1000).body

    assert any(diff["u"] - diff["U"] > 0 for diff in frames[stream])
    assert dict(snapshot["bids"]).items() >= sides["b"].items()
    assert sorted(sides["a"].items()) == sorted(map(tuple, snapshot["asks"]))


def test_a_snapshot_is_bridged_by_the_next_diff() -> None:
    """U ≤ lastUpdateId ≤ u holds for the first diff after a snapshot, even in a still market (sheet 2.8 step 4)."""
    bench, _ = lively()
    bench.now += 1_000
    bench.venue.tick(bench.now)
    last = bench.call("GET", "/fapi/v1/depth", symbol="BTCUSDT", limit=1000).body["lastUpdateId"]
    bench.venue.frames.clear()
    bench.book(MIDDLE + 30)
    bench.now += 100
    bench.venue.tick(bench.now)
    diff = next(payload for stream, payload in bench.venue.frames if stream == "btcusdt@depth@100ms")

    assert diff["U"] <= last <= diff["u"]


def test_trades_of_one_price_and_side_are_merged_within_100_ms() -> None:
    """Three trades in 50 ms are one aggTrade with first and last id; another price begins a new one."""
    bench = Bench()
    bench.venue.frames.clear()
    for ticks in (MIDDLE, MIDDLE, MIDDLE, MIDDLE + 1):
        bench.trade(ticks, 2, buyer_is_maker=False)
    bench.wait(200)
    found = [payload for stream, payload in bench.venue.frames if stream == "btcusdt@aggTrade"]

    assert ["0.006", "0.002"] == [one["q"] for one in found]
    assert [2, 0] == [one["l"] - one["f"] for one in found]
    assert 1 == found[1]["a"] - found[0]["a"]


def test_a_candle_ends_with_exactly_one_final_frame() -> None:
    """Each minute ends with one `x: true`, the fifth minute ends the five-minute candle too."""
    bench = Bench()
    end = START // 300_000 * 300_000 + 300_000
    bench.now = end - 100
    bench.venue.tick(bench.now)
    bench.venue.frames.clear()
    bench.wait(200)
    final = [
        payload["k"]["i"] for _, payload in bench.venue.frames
        if isinstance(payload, dict) and payload["e"] == "kline" and payload["k"]["x"]
    ]  # fmt: skip

    assert "1m" in final and "5m" in final
    assert len(final) == len(dict.fromkeys(final))


def test_nothing_is_built_that_nobody_reads() -> None:
    """Without readers no frame is made."""
    bench = Bench()
    bench.venue.wanted = lambda stream: False
    for market in bench.venue.markets.values():
        market.wanted = bench.venue.wanted
    bench.venue.frames.clear()
    for _ in range(20):
        bench.book(MIDDLE + 3)
        bench.wait(500)

    assert [] == bench.venue.frames


# Fields that came after these frames were recorded (sheet 2, 2.4, 2.5, 8): the whole allow-list.
CAME_LATER = {"ps is extra", "st is extra", "ap is extra", "nq is extra"}
# Fields of ORDER_TRADE_UPDATE since 2021 (3.3), and the other form of ACCOUNT_CONFIG_UPDATE (3.7).
ORDER_LATER = [f".o.{name} is extra" for name in ("N", "V", "er", "gtd", "n", "pm")]
CONFIG_FORM = [".ac is extra", ".ai is missing"]


@pytest.mark.parametrize(("source", "count"), [("unicorn-fy", 6), ("crypto-msg-parser", 7)])
def test_recorded_frames_of_the_venue_have_our_names_and_types(source: str, count: int) -> None:
    """Every market frame of the two captures, field by field, against what is sent here for the same event."""
    ours: dict[tuple[str, bool], Any] = {}
    for payloads in lively()[1].values():
        for payload in payloads:
            ours[payload[0]["e"] if isinstance(payload, list) else payload["e"], isinstance(payload, list)] = payload
    compared = 0
    for line in require(f"{source}/frames.jsonl").read_text().splitlines():
        frame = json.loads(line)
        frame = frame["data"] if isinstance(frame, dict) and "stream" in frame else frame
        event = (frame[0] if isinstance(frame, list) else frame).get("e")
        if (event, isinstance(frame, list)) in ours:
            found = differences(frame, ours[event, isinstance(frame, list)])
            assert {one.removeprefix("[]").removeprefix(".") for one in found} <= CAME_LATER, event
            compared += 1

    assert count == compared


def test_a_recorded_order_event_has_our_names_and_types() -> None:
    """The NEW of a resting order; what came after 2021 is dated by the sheet (3.3)."""
    bench = Bench()
    bench.limit("BUY", "0.010", "83000.00")
    ours = next(event for event in bench.venue.user_events if event["e"] == "ORDER_TRADE_UPDATE")
    for line in require("unicorn-fy/frames.jsonl").read_text().splitlines():
        recorded = json.loads(line)
        if isinstance(recorded, dict) and recorded.get("e") == "ORDER_TRADE_UPDATE":
            assert ORDER_LATER == sorted(differences(recorded, ours))


def test_every_kind_of_recorded_frame_is_compared_or_explained() -> None:
    """unicorn-fy's capture holds one more user event: multi-assets mode, which is not simulated (sheet 3.7, `ai`)."""
    bench = Bench()
    bench.call("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage="10")
    ours = next(event for event in bench.venue.user_events if event["e"] == "ACCOUNT_CONFIG_UPDATE")
    compared = {"24hrMiniTicker", "bookTicker", "markPriceUpdate", "24hrTicker", "kline", "depthUpdate", "forceOrder",
                "ORDER_TRADE_UPDATE"}  # fmt: skip
    kinds = set()
    for line in require("unicorn-fy/frames.jsonl").read_text().splitlines():
        frame = json.loads(line)
        frame = frame["data"] if isinstance(frame, dict) and "stream" in frame else frame
        kind = (frame[0] if isinstance(frame, list) else frame).get("e")
        kinds.add(kind)
        if kind == "ACCOUNT_CONFIG_UPDATE":
            assert CONFIG_FORM == sorted(differences(frame, ours))
        if kind is None:
            assert {"result", "id"} == set(frame), "the answer to SUBSCRIBE"

    assert compared | {"ACCOUNT_CONFIG_UPDATE", None} == kinds
