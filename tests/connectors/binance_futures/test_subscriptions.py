"""The only place for the tests of what is subscribed and how it is spread over sockets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.binance_futures.routing import Route, UnknownStream, route_of
from connectors.binance_futures.subscriptions import (
    CONFIGURED,
    KINDS,
    PER_SYMBOL,
    check_configured,
    kind_of,
    plan,
    streams_of,
    symbol_of,
)
from pipeline.configuration import STREAMS


def test_a_symbol_needs_two_public_and_three_market_streams() -> None:
    """Venue sheet 1.2 splits them over two routes; two all-market streams come once."""
    groups = plan(["BTCUSDT", "ETHUSDT"])

    assert ["public-0", "market-0"] == [group.name for group in groups]
    assert (
        "btcusdt@bookTicker",
        "btcusdt@depth@100ms",
        "ethusdt@bookTicker",
        "ethusdt@depth@100ms",
    ) == groups[0].streams
    assert ("!forceOrder@arr", "!contractInfo", "btcusdt@aggTrade") == groups[1].streams[:3]


@given(st.integers(0, 130), st.integers(1, 60))
def test_every_stream_is_on_exactly_one_socket_of_its_route(count: int, per_socket: int) -> None:
    """No stream is lost or doubled, no socket is over its limit, names differ."""
    symbols = [f"S{number}USDT" for number in range(count)]
    groups = plan([*symbols, *symbols[:3]], per_socket=per_socket)
    spread = [stream for group in groups for stream in group.streams]

    assert len(spread) == len(set(spread)) == 5 * count + 2
    assert all(len(group.streams) <= per_socket for group in groups)
    assert all(route_of(stream) == group.route for group in groups for stream in group.streams)
    assert len({group.name for group in groups}) == len(groups)
    assert {Route.PUBLIC, Route.MARKET} >= {group.route for group in groups}


def test_two_hundred_symbols_take_six_sockets() -> None:
    """The normal load of the connector."""
    assert 6 == len(plan([f"S{number}USDT" for number in range(200)]))


def test_configured_names_are_the_ones_of_the_configuration_file() -> None:
    """What the settings accept the connector understands, and nothing else."""
    assert set(STREAMS) == set(CONFIGURED)
    assert all(served == "" or served in KINDS for served, _ in CONFIGURED.values())


def test_open_interest_is_accepted_with_a_warning_and_an_unknown_name_is_named() -> None:
    """The venue has no open-interest stream (venue sheet 2.11)."""
    assert () == check_configured(["ticker", "depth20@100ms", "kline_5m", "forceOrder"])
    assert 1 == len(check_configured(["openInterest"]))
    with pytest.raises(UnknownStream, match="'tikcer'"):
        check_configured(["tikcer"])


def test_kind_and_symbol_follow_from_the_name() -> None:
    """Every stream we ask for has a kind with its expectations."""
    assert PER_SYMBOL == tuple(kind_of(stream).name for stream in streams_of("BTCUSDT"))
    assert {"BTCUSDT"} == {symbol_of(stream) for stream in streams_of("BTCUSDT")}
    assert ("", "!contractInfo") == (symbol_of("!contractInfo"), kind_of("!contractInfo").name)
    assert 0 == kind_of("!forceOrder@arr").silence_ms
