"""The venue's examples and recorded frames have the shapes that the structs say, unknown fields and all."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from pipeline.binance import payloads
from tests.data import require
from tests.pipeline.binance import frames

EXAMPLES: list[tuple[Any, dict[str, Any]]] = [
    (payloads.BookTicker, frames.BOOK_TICKER),
    (payloads.DepthUpdate, frames.DEPTH),
    (payloads.AggregateTrade, frames.AGG_TRADE),
    (payloads.RawTrade, frames.TRADE),
    (payloads.MarkPriceUpdate, frames.MARK),
    (payloads.KlineUpdate, frames.KLINE),
    (payloads.Ticker, frames.TICKER),
    (payloads.MiniTicker, frames.MINI_TICKER),
    (payloads.ForceOrder, frames.FORCE_ORDER),
    (payloads.ContractInfo, frames.CONTRACT_INFO),
    (payloads.OrderTradeUpdate, frames.ORDER),
    (payloads.TradeLite, frames.TRADE_LITE),
    (payloads.AccountUpdate, frames.ACCOUNT),
    (payloads.AlgoUpdate, frames.ALGO),
    (payloads.AccountConfigUpdate, frames.CONFIG),
    (payloads.MarginCall, frames.MARGIN_CALL),
    (payloads.ListenKeyExpired, frames.LISTEN_KEY_EXPIRED),
]


@pytest.mark.parametrize(("kind", "example"), EXAMPLES, ids=lambda value: getattr(value, "__name__", ""))
def test_the_sheets_example_reads_in_any_order_of_keys(kind: Any, example: dict[str, Any]) -> None:
    """Key order never matters, and a field added by the venue tomorrow is ignored (venue sheet 0)."""
    forward = msgspec.json.decode(msgspec.json.encode(example), type=kind)
    backward = msgspec.json.decode(
        msgspec.json.encode(dict(reversed([*example.items(), ("zz", {"new": 1})]))), type=kind
    )

    assert forward == backward


@pytest.mark.parametrize(("kind", "example"), EXAMPLES, ids=lambda value: getattr(value, "__name__", ""))
def test_a_frame_of_another_event_is_refused(kind: Any, example: dict[str, Any]) -> None:
    """The struct and the event type belong together."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(example | {"e": "somethingElse"}), type=kind)


def test_recorded_rest_answers_have_the_shapes() -> None:
    """Answers recorded from the venue between 2020 and 2025 read as the structs say."""
    kinds: dict[str, Any] = {
        "/fapi/v1/depth": payloads.Depth,
        "/fapi/v1/premiumIndex": payloads.PremiumIndex,
        "/fapi/v1/openInterest": payloads.OpenInterest,
        "/fapi/v1/klines": list[payloads.KlineRow],
    }
    read = set()
    for row in require("gocryptotrader/fapi_responses.jsonl").read_text().splitlines():
        recorded = json.loads(row)
        path, answer = recorded["path"], recorded["response"]
        if path == "/fapi/v1/exchangeInfo":
            for symbol in answer["symbols"]:
                msgspec.convert(symbol, payloads.SymbolInfo)
            read.add(path)
        elif path in kinds and answer is not None and "code" not in answer:
            msgspec.convert(answer, kinds[path])
            read.add(path)
        elif isinstance(answer, dict) and "code" in answer:
            msgspec.convert(answer, payloads.VenueError)
    assert {*kinds, "/fapi/v1/exchangeInfo"} == read


def test_recorded_frames_of_older_years_have_the_shapes() -> None:
    """Frames of 2021 and 2022 lack the fields added later; what is read of them is there."""
    kinds = {example["e"]: kind for kind, example in EXAMPLES}
    read = set()
    for row in require("unicorn-fy/frames.jsonl").read_text().splitlines():
        frame = json.loads(row)
        for event in frame if isinstance(frame, list) else [frame.get("data", frame)]:
            if "e" in event:
                msgspec.convert(event, kinds[event["e"]])
                read.add(event["e"])
    assert {"bookTicker", "markPriceUpdate", "24hrTicker", "24hrMiniTicker", "kline", "forceOrder"} <= read
    assert {"ORDER_TRADE_UPDATE", "depthUpdate", "ACCOUNT_CONFIG_UPDATE"} <= read


@pytest.mark.parametrize("value", [-1, 2**63, 10**40, 1.5, "1", None, True])
def test_ids_are_integers_that_fit_what_is_stored(value: object) -> None:
    """A number outside of 63 bits would break the stored form of a state much later."""
    with pytest.raises(msgspec.ValidationError, match="u"):
        msgspec.json.decode(msgspec.json.encode(frames.BOOK_TICKER | {"u": value}), type=payloads.BookTicker)
