"""Requests: what goes down which path, and what is always said explicitly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.binance import requests
from pipeline.binance.requests import AlgoOrder, RegularOrder, RegularType, TimeInForce, canonical
from pipeline.core.events import Side
from pipeline.core.instruments import Instrument

BTC = Instrument(
    symbol="BTCUSDT",
    status="TRADING",
    tick_e8=10_000_000,
    step_e8=100_000,
    min_price_ticks=5_568,
    max_price_ticks=45_297_640,
    min_lots=1,
    max_lots=1_000_000,
    max_market_lots=120_000,
    min_notional_e8=50 * 10**8,
)


def test_an_entry_is_limit_ioc_with_everything_said() -> None:
    """An entry never rests, never exceeds its price and leaves nothing to the venue's defaults."""
    order = requests.entry(BTC, client_id="log.0A.1.tag00-e1", side=Side.BUY, lots=10, limit=838_602)

    assert (
        "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=IOC&price=83860.2&quantity=0.01"
        "&newClientOrderId=log.0A.1.tag00-e1&newOrderRespType=RESULT&selfTradePreventionMode=EXPIRE_MAKER"
    ) == canonical(order.parameters())
    assert ("POST", "/fapi/v1/order", 0, 1) == (order.method, order.path, order.weight, order.orders)


def test_a_market_close_is_reduce_only_and_has_no_time_in_force() -> None:
    """A MARKET order carries neither price nor time in force, and a close can never flip."""
    parameters = dict(requests.market_close(BTC, client_id="c", position_side=Side.BUY, lots=7).parameters())

    assert "timeInForce" not in parameters
    assert "price" not in parameters
    assert ("MARKET", "SELL", "true", "0.007") == (
        parameters["type"],
        parameters["side"],
        parameters["reduceOnly"],
        parameters["quantity"],
    )


def test_the_far_rail_closes_the_position_and_says_no_quantity() -> None:
    """closePosition goes without quantity and reduceOnly (−4137, −1106), by mark price."""
    order = requests.far_rail(BTC, client_id="a", position_side=Side.BUY, trigger=829_000)

    assert (
        "algoType=CONDITIONAL&symbol=BTCUSDT&side=SELL&type=STOP_MARKET&triggerPrice=82900&closePosition=true"
        "&workingType=MARK_PRICE&priceProtect=false&selfTradePreventionMode=EXPIRE_MAKER&clientAlgoId=a"
    ) == canonical(order.parameters())
    assert "/fapi/v1/algoOrder" == order.path
    assert order.close_position


def test_the_working_stop_is_reduce_only_with_a_quantity() -> None:
    """Rail (b) has a quantity and reduceOnly, and no closePosition."""
    order = requests.working_stop(BTC, client_id="b", position_side=Side.SELL, lots=5, trigger=829_000)
    parameters = dict(order.parameters())

    assert ("BUY", "0.005", "true") == (parameters["side"], parameters["quantity"], parameters["reduceOnly"])
    assert "closePosition" not in parameters
    assert not order.close_position


def test_the_targets() -> None:
    """TP1 rests post-only or good-till-cancel, TP2 is a conditional close of the whole position."""
    resting = dict(
        requests.target(BTC, client_id="t", position_side=Side.BUY, lots=5, price=850_000, post_only=True).parameters()
    )
    taking = dict(
        requests.target(BTC, client_id="t", position_side=Side.BUY, lots=5, price=850_000, post_only=False).parameters()
    )
    last = requests.last_target(BTC, client_id="u", position_side=Side.BUY, trigger=860_000)

    assert ("GTX", "true", "SELL") == (resting["timeInForce"], resting["reduceOnly"], resting["side"])
    assert "GTC" == taking["timeInForce"]
    assert "TAKE_PROFIT_MARKET" == dict(last.parameters())["type"]
    assert last.close_position


def test_a_market_order_with_a_time_in_force_cannot_be_built() -> None:
    """The types refuse a combination the venue refuses."""
    with pytest.raises(AssertionError):
        RegularOrder(
            symbol="BTCUSDT",
            client_id="x",
            side=Side.BUY,
            order_type=RegularType.MARKET,
            quantity="1",
            time_in_force=TimeInForce.IOC,
        )


def test_no_conditional_type_exists_on_the_regular_path() -> None:
    """A conditional order cannot go down the regular path: the two types share neither path nor order types."""
    assert {"LIMIT", "MARKET"} == {kind.value for kind in RegularType}
    assert RegularOrder.path != AlgoOrder.path


@given(st.integers(1, 10_000_000))
def test_slices_cover_the_quantity_and_respect_the_market_maximum(lots: int) -> None:
    """Pieces add up to the quantity and none exceeds 0.9 × the market lot maximum."""
    pieces = requests.slices(BTC, lots)

    assert lots == sum(pieces)
    assert all(0 < piece <= BTC.max_market_lots * 9 // 10 for piece in pieces)


def test_cancels_and_queries_name_the_book_they_speak_of() -> None:
    """Cancel and query of the two books have their own paths (−2011, −2013 otherwise)."""
    assert "/fapi/v1/order" == requests.CancelRegular(symbol="BTCUSDT", client_id="x").path
    assert "/fapi/v1/algoOrder" == requests.CancelAlgo(symbol="BTCUSDT", client_id="x").path
    assert "/fapi/v1/order" == requests.query_order("BTCUSDT", "x").path
    assert "/fapi/v1/algoOrder" == requests.query_algo_order("x").path


def test_the_weights_are_the_sheets() -> None:
    """Weights of the reads as in venue sheet 4.1–4.5."""
    assert [20, 1, 2, 5, 10] == [
        requests.depth("BTCUSDT").weight,
        *(requests.klines("BTCUSDT", limit).weight for limit in (99, 499, 1_000, 1_500)),
    ]
    assert [5, 5, 1, 40, 1, 40, 5, 1, 1, 1, 10, 2, 5, 1] == [
        requests.position_risk().weight,
        requests.position_risk("BTCUSDT").weight,
        requests.open_orders("BTCUSDT").weight,
        requests.open_orders().weight,
        requests.open_algo_orders("BTCUSDT").weight,
        requests.open_algo_orders().weight,
        requests.balance().weight,
        requests.server_time().weight,
        requests.exchange_info().weight,
        requests.premium_index("BTCUSDT").weight,
        requests.premium_index().weight,
        requests.book_ticker("BTCUSDT").weight,
        requests.book_ticker().weight,
        requests.open_interest("BTCUSDT").weight,
    ]


def test_odd_symbols_are_percent_encoded() -> None:
    """Non-ASCII symbols are encoded before they are signed (venue sheet 6.1)."""
    assert "symbol=%E5%B8%81USDT" == canonical((("symbol", "币USDT"),))


def test_the_listen_key_needs_the_key_only() -> None:
    """The user stream's upkeep is not signed (venue sheet 3.1)."""
    assert [requests.Security.KEY] * 3 == [requests.listen_key(m).security for m in ("POST", "PUT", "DELETE")]
