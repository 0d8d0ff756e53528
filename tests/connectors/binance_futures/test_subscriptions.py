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
    Subscriptions,
    Tier,
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


def test_beyond_two_hundred_symbols_books_wait_for_a_shortlist() -> None:
    """500 symbols: a book needs a snapshot of weight 20, so the last 300 have none until somebody asks."""
    groups = plan([f"S{number}USDT" for number in range(500)])
    streams = [stream for group in groups for stream in group.streams]

    assert 2 + 5 * 200 + 4 * 300 == len(streams)
    assert 12 == len(groups)


def test_the_highest_wish_counts_and_the_end_of_one_leaves_the_others() -> None:
    """Reference-counted by owner: closing a position never unsubscribes what the scanner or another position needs."""
    subject = Subscriptions(["BTCUSDT"])
    assert subject.want("position", "XRPUSDT", Tier.HELD)
    assert not subject.want("scanner", "XRPUSDT", Tier.UNIVERSE)
    added = {stream for change in subject.settle() for stream in change.add}
    assert set(streams_of("XRPUSDT", Tier.HELD)) == added
    assert ("XRPUSDT",) == subject.held

    assert subject.want("position", "XRPUSDT", None)
    assert ["xrpusdt@depth@100ms"] == [stream for change in subject.settle() for stream in change.remove]
    assert subject.want("scanner", "XRPUSDT", None)
    assert 4 == sum(len(change.remove) for change in subject.settle())
    assert ("BTCUSDT",) == subject.symbols
    assert [] == subject.settle()
    with pytest.raises(UnknownStream):
        subject.want("scanner", "BAD/NAME", Tier.HELD)


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 25), st.sampled_from([None, *Tier])), min_size=1, max_size=80
    )
)
def test_whatever_is_wished_the_sockets_carry_exactly_the_union(wishes: list[tuple[str, int, Tier | None]]) -> None:
    """No wish disturbs a stream that stays wanted; no socket is over its limit; changes tell every difference."""
    subject = Subscriptions(["S0USDT"], per_socket=7)
    carried = {stream: group.name for group in subject.groups for stream in group.streams}
    wanted: dict[tuple[str, str], Tier] = {("configuration", "S0USDT"): Tier.SHORTLISTED}
    for owner, number, tier in wishes:
        symbol = f"S{number}USDT"
        subject.want(owner, symbol, tier)
        if tier is None:
            wanted.pop((owner, symbol), None)
        else:
            wanted[owner, symbol] = tier
        for change in subject.settle():
            for stream in change.remove:
                assert change.group.name == carried.pop(stream)
            for stream in change.add:
                assert stream not in carried
                carried[stream] = change.group.name
        assert carried == {stream: group.name for group in subject.groups for stream in group.streams}
        assert all(0 < len(group.streams) <= 7 for group in subject.groups)
    expected = {stream for (_, symbol), tier in wanted.items() for stream in streams_of(symbol, tier)}

    assert expected == {stream for stream in carried if stream[0] != "!"}


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
