"""The only place for the tests of routes and of the symbols that frames concern."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.binance_futures.routing import (
    ROUTES,
    USER_EVENTS,
    Refused,
    Route,
    UnknownStream,
    UserEvent,
    all_market_symbols,
    reply_of,
    route_of,
    stream_of,
    user_event,
)


@pytest.mark.parametrize(
    ("stream", "route"),
    [
        ("btcusdt@bookTicker", Route.PUBLIC),
        ("!bookTicker", Route.PUBLIC),
        ("btcusdt@depth20@100ms", Route.PUBLIC),
        ("btcusdt@depth@100ms", Route.PUBLIC),
        ("btcusdt@depth", Route.PUBLIC),
        ("btcusdt@rpiDepth@500ms", Route.PUBLIC),
        ("btcusdt@aggTrade", Route.MARKET),
        ("btcusdt@markPrice@1s", Route.MARKET),
        ("!markPrice@arr@1s", Route.MARKET),
        ("btcusdt@kline_5m", Route.MARKET),
        ("btcusdt_perpetual@continuousKline_1m", Route.MARKET),
        ("!miniTicker@arr", Route.MARKET),
        ("btcusdt@ticker", Route.MARKET),
        ("btcusdt@forceOrder", Route.MARKET),
        ("!forceOrder@arr", Route.MARKET),
        ("!contractInfo", Route.MARKET),
        ("btcusd@assetIndex", Route.MARKET),
        ("tradingSession", Route.MARKET),
        ("币安人生usdt@aggTrade", Route.MARKET),
    ],
)
def test_each_stream_has_the_route_of_the_venues_table(stream: str, route: Route) -> None:
    """Venue sheet 1.2: the route follows from the name alone."""
    assert route == route_of(stream)


@pytest.mark.parametrize(
    "stream", ["btcusdt@openInterest", "btcusdt@trade", "BTCUSDT@aggTrade", "btcusdt@kline_5s", ""]
)
def test_a_name_outside_the_table_is_an_error_that_names_it(stream: str) -> None:
    """Such a name would be accepted by the venue and stay silent for ever (venue sheet 1.3)."""
    with pytest.raises(UnknownStream, match=re.escape(repr(stream))):
        route_of(stream)


def test_rows_do_not_contradict_each_other() -> None:
    """No row of the table stands twice."""
    assert len({pattern for pattern, _ in ROUTES}) == len(ROUTES)


def test_stream_name_is_read_from_the_venues_form_and_from_any_other_json() -> None:
    """The quick road and the decoder agree; what is no combined frame has no stream."""
    assert b"btcusdt@aggTrade" == stream_of(b'{"stream":"btcusdt@aggTrade","data":{}}')
    assert b"btcusdt@aggTrade" == stream_of(b'{ "data": {}, "stream": "btcusdt@aggTrade" }')
    assert b"btcusdt@aggTrade" == stream_of(b'{"stream":"btcusdt\\u0040aggTrade","data":{}}')
    assert stream_of(b'{"e":"aggTrade"}') is None
    assert stream_of(b"[]") is None
    assert stream_of(b'{"stream":7,"data":{}}') is None


@given(st.binary(max_size=60))
def test_no_bytes_break_the_readers(frame: bytes) -> None:
    """Whatever arrives gives a value, never an exception."""
    stream_of(frame)
    stream_of(b'{"stream":"' + frame)
    reply_of(frame)
    assert isinstance(user_event(frame), Refused | UserEvent)
    assert isinstance(all_market_symbols("!contractInfo", frame), Refused | tuple)


def test_control_replies_are_told_from_frames() -> None:
    """Venue sheet 1.4: a reply has a result or an error."""
    accepted = reply_of(b'{"result":null,"id":3}')
    refused = reply_of(b'{"error":{"code":3,"msg":"Invalid JSON"},"id":4}')

    assert accepted is not None and accepted.id == 3 and accepted.refusal == ""
    assert refused is not None and refused.id == 4 and "Invalid JSON" in refused.refusal
    assert reply_of(b'{"stream":"a@aggTrade","data":{}}') is None


def test_symbols_of_all_market_frames() -> None:
    """forceOrder comes as a single object (venue sheet 2.9); an array would be understood too."""
    assert ("BTCUSDT",) == all_market_symbols("!forceOrder@arr", b'{"stream":"x","data":{"o":{"s":"BTCUSDT"}}}')
    assert ("A", "B") == all_market_symbols(
        "!forceOrder@arr", b'{"data":[{"o":{"s":"A"}},{"o":{"s":"B"}},{"o":{"s":"A"}}]}'
    )
    assert ("IOTAUSDT",) == all_market_symbols("!contractInfo", b'{"data":{"e":"contractInfo","s":"IOTAUSDT"}}')
    assert isinstance(all_market_symbols("!contractInfo", b'{"data":{"s":7}}'), Refused)


@pytest.mark.parametrize(
    ("frame", "name", "symbols"),
    [
        (b'{"e":"ORDER_TRADE_UPDATE","o":{"s":"BTCUSDT","S":"BUY"}}', "ORDER_TRADE_UPDATE", ("BTCUSDT",)),
        (b'{"e":"TRADE_LITE","s":"ETHUSDC","p":"1"}', "TRADE_LITE", ("ETHUSDC",)),
        (b'{"e":"ACCOUNT_UPDATE","a":{"B":[],"P":[{"s":"A"},{"s":"B"}]}}', "ACCOUNT_UPDATE", ("A", "B")),
        (b'{"e":"ACCOUNT_UPDATE","a":{"m":"FUNDING_FEE","S":"A","B":[]}}', "ACCOUNT_UPDATE", ("A",)),
        (b'{"e":"ALGO_UPDATE","o":{"s":"DOGEUSDT"}}', "ALGO_UPDATE", ("DOGEUSDT",)),
        (b'{"e":"MARGIN_CALL","cw":"3","p":[{"s":"ETHUSDT"}]}', "MARGIN_CALL", ("ETHUSDT",)),
        (b'{"e":"ACCOUNT_CONFIG_UPDATE","ac":{"s":"BTCUSDT","l":25}}', "ACCOUNT_CONFIG_UPDATE", ("BTCUSDT",)),
        (b'{"e":"ACCOUNT_CONFIG_UPDATE","ai":{"j":true}}', "ACCOUNT_CONFIG_UPDATE", ()),
        (b'{"e":"listenKeyExpired","E":"17","listenKey":"k"}', "listenKeyExpired", ()),
    ],
)
def test_user_events_name_their_symbols(frame: bytes, name: str, symbols: tuple[str, ...]) -> None:
    """Venue sheet section 3: where each event keeps its symbols."""
    assert UserEvent(name, symbols) == user_event(frame)


def test_user_events_that_are_not_understood_are_refused_with_a_reason() -> None:
    """Unknown events, fields of another type and plain garbage go to quarantine."""
    for frame in (b'{"e":"NEW_THING"}', b'{"e":"ORDER_TRADE_UPDATE","o":{"s":7}}', b"[]", b"nonsense"):
        assert isinstance(user_event(frame), Refused)
    assert "ORDER_TRADE_UPDATE" in USER_EVENTS
