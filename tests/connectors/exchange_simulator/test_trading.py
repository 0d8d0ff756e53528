"""Own orders obey the venue's rules: times in force, reduce-only, conditional life cycle, queue, duplicates."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.exchange_simulator.fixed_point import E8
from connectors.exchange_simulator.market_events import BookChange
from connectors.exchange_simulator.venue import VenueSettings
from tests.connectors.exchange_simulator.venues import MIDDLE, Bench

FILL = ["TRADE_LITE", "ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE"]


def code(reply: object) -> int | None:
    """The code of a refusal, None when accepted."""
    body = reply.body  # type: ignore[attr-defined]
    return body.get("code") if isinstance(body, dict) else None


def test_a_market_order_sweeps_the_book_and_its_events_come_in_order() -> None:
    """NEW, then per price TRADE_LITE, ACCOUNT_UPDATE, ORDER_TRADE_UPDATE; the ack still says NEW."""
    bench = Bench()
    bench.book(MIDDLE, lots=6)
    reply = bench.market("BUY", "0.010")

    assert ("NEW", "0.000") == (reply.body["status"], reply.body["executedQty"])
    events = bench.events()
    assert ["ORDER_TRADE_UPDATE", *FILL, *FILL] == [name for name, _ in events]
    assert ["NEW", "PARTIALLY_FILLED", "FILLED"] == [state for name, state in events if name == "ORDER_TRADE_UPDATE"]
    assert 10 == bench.lots


def test_result_replies_show_the_end() -> None:
    """newOrderRespType=RESULT answers the final state."""
    reply = Bench().market("BUY", "0.010", newOrderRespType="RESULT")

    assert ("FILLED", "0.010") == (reply.body["status"], reply.body["executedQty"])


def test_a_market_order_the_book_cannot_fill_expires_with_reason_9() -> None:
    """What is left within the take bound fills, the rest ends EXPIRED, er 9."""
    bench = Bench()
    bench.book(MIDDLE, lots=2)
    bench.market("BUY", "0.050")
    last = bench.venue.user_events[-1]["o"]

    assert ("EXPIRED", "9", "0.010") == (last["X"], last["er"], last["z"])


@pytest.mark.parametrize(
    ("time_in_force", "price", "expected"),
    [
        ("IOC", "83860.10", ["NEW", "PARTIALLY_FILLED", "EXPIRED"]),
        ("GTC", "83860.10", ["NEW", "PARTIALLY_FILLED"]),
        ("GTC", "83860.50", ["NEW", *["PARTIALLY_FILLED"] * 4, "FILLED"]),
        ("FOK", "83860.50", ["NEW", *["PARTIALLY_FILLED"] * 4, "FILLED"]),
        ("GTX", "83860.00", ["NEW"]),
    ],
)
def test_times_in_force(time_in_force: str, price: str, expected: list[str]) -> None:
    """IOC expires its rest (er 2), GTC rests, FOK fills whole, GTX only rests."""
    bench = Bench()
    bench.book(MIDDLE, lots=10)
    bench.limit("BUY", "0.050", price, timeInForce=time_in_force)

    assert expected == [state for name, state in bench.events() if name == "ORDER_TRADE_UPDATE"]


def test_fok_and_gtx_refusals_leave_no_trace() -> None:
    """−5021 and −5022 are synchronous: no order, no event (5.4)."""
    bench = Bench()
    bench.book(MIDDLE, lots=10)

    assert -5021 == code(bench.limit("BUY", "0.051", "83860.50", timeInForce="FOK", newClientOrderId="f"))
    assert -5022 == code(bench.limit("BUY", "0.010", "83860.10", timeInForce="GTX", newClientOrderId="g"))
    assert [] == bench.events()
    assert -2013 == code(bench.call("GET", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="f"))


def test_client_ids_are_unique_only_among_open_orders() -> None:
    """−4116 while the first is open; after it ended the same id is accepted again (pain V6)."""
    bench = Bench()
    bench.limit("BUY", "0.010", "83800.00", newClientOrderId="same")
    assert -4116 == code(bench.limit("BUY", "0.010", "83800.00", newClientOrderId="same"))
    bench.call("DELETE", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="same")
    assert code(bench.market("BUY", "0.010", newClientOrderId="same")) is None
    assert code(bench.market("BUY", "0.010", newClientOrderId="same")) is None
    assert 20 == bench.lots


def test_reduce_only_needs_an_opposite_position_and_free_budget() -> None:
    """−2022 when flat or on the same side, −4118 when a resting target already covers everything (pain V7)."""
    bench = Bench()
    assert -2022 == code(bench.market("SELL", "0.010", reduceOnly="true"))
    bench.market("BUY", "0.010")
    assert -2022 == code(bench.market("BUY", "0.010", reduceOnly="true"))
    bench.limit("SELL", "0.010", "84500.00", reduceOnly="true")
    assert -4118 == code(bench.market("SELL", "0.010", reduceOnly="true"))


def test_a_reduce_only_order_larger_than_the_position_never_flips() -> None:
    """It fills what is held and expires the rest with er 4; the smaller target is knocked out with it."""
    bench = Bench()
    bench.market("BUY", "0.010")
    bench.limit("SELL", "0.004", "84500.00", reduceOnly="true", newClientOrderId="target")
    bench.events()
    bench.market("SELL", "0.030", reduceOnly="true", newClientOrderId="close")

    assert 0 == bench.lots
    ended = {
        event["o"]["c"]: (event["o"]["X"], event["o"]["er"])
        for event in bench.venue.user_events
        if event["e"] == "ORDER_TRADE_UPDATE"
    }
    assert {"close": ("EXPIRED", "4"), "target": ("EXPIRED", "4")} == ended


def test_resting_orders_wait_for_the_queue_before_them() -> None:
    """A trade at our price eats the displayed queue first; a trade through it fills us."""
    bench = Bench()
    bench.book(MIDDLE, lots=100)
    bench.limit("BUY", "0.010", "83859.90", newClientOrderId="maker")
    bench.trade(MIDDLE - 1, 90, buyer_is_maker=True)
    assert 0 == bench.lots
    bench.trade(MIDDLE - 1, 14, buyer_is_maker=True)
    assert 4 == bench.lots
    bench.trade(MIDDLE - 2, 3, buyer_is_maker=True)
    assert 7 == bench.lots
    bench.book(MIDDLE - 50)
    assert 10 == bench.lots
    assert all(fill.maker and fill.ticks == MIDDLE - 1 for fill in bench.venue.trading.fills)


def test_margin_is_checked_for_what_increases_only() -> None:
    """−2019 beyond wallet × leverage; closing never needs margin."""
    bench = Bench(VenueSettings(wallet_e8=100 * E8, leverage=20, mark_noise_ppm=0))
    assert -2019 == code(bench.market("BUY", "0.030"))
    assert code(bench.market("BUY", "0.020")) is None
    assert -2019 == code(bench.market("BUY", "0.010"))
    assert code(bench.market("SELL", "0.020")) is None
    assert 0 == bench.lots


steps = st.lists(
    st.one_of(
        st.tuples(st.just("market"), st.sampled_from(["BUY", "SELL"]), st.integers(1, 40), st.booleans()),
        st.tuples(st.just("limit"), st.sampled_from(["BUY", "SELL"]), st.integers(1, 40), st.booleans()),
        st.tuples(st.just("stop"), st.sampled_from(["BUY", "SELL"]), st.integers(1, 40), st.booleans()),
        st.tuples(st.just("move"), st.just(""), st.integers(-80, 80), st.booleans()),
        st.tuples(st.just("trade"), st.just(""), st.integers(1, 60), st.booleans()),
        st.tuples(st.just("cancel"), st.just(""), st.integers(0, 5), st.booleans()),
    ),
    min_size=5,
    max_size=40,
)


@settings(max_examples=120, deadline=None)
@given(steps)
def test_sessions_conserve_money_and_never_break_an_order(sequence: list[tuple[str, str, int, bool]]) -> None:
    """
    Over random sessions: money is conserved to the last unit, the position is the sum of the fills, no order fills
    beyond its quantity, reduce-only fills never open or flip, and the user events replay into the account REST shows.
    """
    bench = Bench(VenueSettings(mark_noise_ppm=0, queue_share=500))
    middle = MIDDLE
    position_before = 0
    for kind, side, size, flag in sequence:
        bench.now += 100
        quantity, reduce = f"0.{size:03d}", str(flag).lower()
        if kind == "market":
            bench.market(side, quantity, reduceOnly=reduce)
        elif kind == "limit":
            bench.limit(side, quantity, f"{(middle + (20 if side == 'SELL' else -20)) / 10:.1f}", reduceOnly=reduce)
        elif kind == "stop":
            extra = {"closePosition": "true"} if flag else {"quantity": quantity, "reduceOnly": "true"}
            bench.stop(side, f"{(middle + (30 if side == 'BUY' else -30)) / 10:.1f}", **extra)
        elif kind == "move":
            middle += size
            bench.book(middle, lots=15)
            bench.wait(1_000)
        elif kind == "trade":
            bench.trade(middle + (1 if flag else -1) * 20, size, buyer_is_maker=not flag)
        else:
            for order in bench.venue.trading.opened("BTCUSDT")[size : size + 1]:
                bench.call("DELETE", "/fapi/v1/order", symbol="BTCUSDT", orderId=order.order_id)
        for fill in bench.venue.trading.fills:
            assert fill.order.filled <= fill.order.lots
        position_before = bench.lots
    account, row = bench.venue.account, bench.venue.markets["BTCUSDT"].row
    position = account.position(row)
    fills = bench.venue.trading.fills
    signed = [fill.lots if fill.order.buy else -fill.lots for fill in fills]

    assert position_before == sum(signed)
    paid = sum(row.notional(fill.ticks, lots) for fill, lots in zip(fills, signed, strict=True))
    assert account.wallet - position.cost == account.deposited - paid - sum(fill.fee for fill in fills)
    running = 0
    for fill, lots in zip(fills, signed, strict=True):
        if fill.order.reduce_only:
            assert running * lots < 0 and abs(lots) <= abs(running)
        running += lots
    seen = [event for event in bench.venue.user_events if event["e"] == "ACCOUNT_UPDATE"]
    if seen:
        balance = bench.call("GET", "/fapi/v3/balance").body[0]["balance"]
        assert balance == seen[-1]["a"]["B"][0]["wb"]
        assert row.quantity_text(position.lots) == seen[-1]["a"]["P"][0]["pa"]


@pytest.mark.parametrize(
    ("mode", "maker", "taker", "lots"),
    [
        ("EXPIRE_MAKER", ("EXPIRED_IN_MATCH", "1"), ("FILLED", "0"), -30),
        ("EXPIRE_TAKER", ("NEW", "0"), ("EXPIRED_IN_MATCH", "1"), -10),
        ("EXPIRE_BOTH", ("EXPIRED_IN_MATCH", "1"), ("EXPIRED_IN_MATCH", "1"), -10),
        ("NONE", ("FILLED", "0"), ("FILLED", "0"), -20),
    ],
)
def test_own_orders_that_meet_end_as_the_takers_mode_says(
    mode: str, maker: tuple[str, str], taker: tuple[str, str], lots: int
) -> None:
    """Better strangers fill first; then the mode decides who expires (er 1); NONE lets the two trade (6.2)."""
    bench = Bench()
    bench.book(MIDDLE, lots=10)
    # Alone between the best bid (10 lots at 83,859.90) and the next one.
    bench.venue.apply(BookChange("BTCUSDT", [(MIDDLE - 2, 0)], []), bench.now)
    bench.limit("BUY", "0.010", "83859.80", newClientOrderId="maker")
    bench.market("SELL", "0.030", selfTradePreventionMode=mode, newClientOrderId="taker")
    found = {}
    for name in ("maker", "taker"):
        order = bench.venue.trading.by_client["BTCUSDT", name]
        found[name] = (order.status, order.expiry_reason)

    assert {"maker": maker, "taker": taker} == found
    assert lots == bench.lots


def test_an_ioc_taker_stopped_by_its_own_order_has_reason_3() -> None:
    """er 3 instead of 1; the event says execution EXPIRED, status EXPIRED_IN_MATCH."""
    bench = Bench()
    bench.limit("SELL", "0.010", "83860.00", newClientOrderId="maker")
    bench.limit("BUY", "0.010", "83860.00", timeInForce="IOC", selfTradePreventionMode="EXPIRE_TAKER")
    event = bench.venue.user_events[-1]["o"]

    assert ("EXPIRED", "EXPIRED_IN_MATCH", "3") == (event["x"], event["X"], event["er"])


@pytest.mark.parametrize(
    ("mode", "side", "price"),
    [
        ("OPPONENT", "BUY", "83860.10"),
        ("OPPONENT_5", "BUY", "83860.50"),
        ("QUEUE", "BUY", "83859.90"),
        ("QUEUE_5", "SELL", "83860.50"),
        ("OPPONENT", "SELL", "83859.90"),
    ],
)
def test_a_matched_price_comes_from_the_book(mode: str, side: str, price: str) -> None:
    """OPPONENT is the other side's best, QUEUE the own side's; _5 its fifth level (6.2)."""
    reply = Bench().order(side=side, type="LIMIT", quantity="0.010", timeInForce="GTC", priceMatch=mode).body

    assert (price, mode) == (reply["price"], reply["priceMatch"])


def test_good_till_date_cancels_at_its_second() -> None:
    """GTD rests until goodTillDate, then expires by itself."""
    bench = Bench()
    date = (bench.now + 700_000) // 1_000 * 1_000
    reply = bench.limit("BUY", "0.010", "83000.00", timeInForce="GTD", goodTillDate=date)
    assert date == reply.body["goodTillDate"]
    bench.wait(date - bench.now - 1)
    assert 1 == len(bench.venue.trading.opened("BTCUSDT"))
    bench.wait(1_000)
    assert ("EXPIRED", date) == (bench.venue.user_events[-1]["o"]["X"], bench.venue.user_events[-1]["o"]["gtd"])


def test_hedge_mode_holds_long_and_short_apart() -> None:
    """Opposite orders open the other side instead of closing; each side closes by its own orders only (6.4)."""
    bench = Bench()
    bench.call("POST", "/fapi/v1/positionSide/dual", dualSidePosition="true")
    bench.market("BUY", "0.030", positionSide="LONG")
    bench.market("SELL", "0.020", positionSide="SHORT")
    bench.limit("SELL", "0.010", "84500.00", positionSide="LONG", newClientOrderId="target")
    assert -2022 == code(bench.market("SELL", "0.021", positionSide="LONG"))
    bench.market("SELL", "0.020", positionSide="LONG")
    bench.market("BUY", "0.005", positionSide="SHORT")

    rows = bench.call("GET", "/fapi/v3/positionRisk").body
    assert [("LONG", "0.010"), ("SHORT", "-0.015")] == [(row["positionSide"], row["positionAmt"]) for row in rows]
    event = bench.venue.user_events[-1]["o"]
    assert ("SHORT", False) == (event["ps"], event["R"])
    assert "NEW" == bench.venue.trading.by_client["BTCUSDT", "target"].status
    bench.stop("BUY", "84800.00", positionSide="SHORT", closePosition="true", clientAlgoId="rail")
    bench.book(MIDDLE + 10_000)
    bench.wait(1_000)
    rows = bench.call("GET", "/fapi/v3/positionRisk").body
    assert [] == rows, "the target took the long, the stop the short"
