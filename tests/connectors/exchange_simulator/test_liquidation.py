"""A margin that is used up ends in a liquidation: orders end, CALCULATED fills, a fee, the fund, money conserved."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.exchange_simulator.fixed_point import E8
from connectors.exchange_simulator.venue import VenueSettings
from tests.connectors.exchange_simulator.shapes import differences
from tests.connectors.exchange_simulator.venues import BTC, MIDDLE, Bench
from tests.data import require


def leveraged(*, wallet: int = 1_000, isolated: bool = False, insurance: int = 10_000) -> Bench:
    """Long 0.2 BTC (about 16,772 USDT) on a small wallet, with a resting order and a stop."""
    bench = Bench(VenueSettings(wallet_e8=wallet * E8, leverage=20, mark_noise_ppm=0, insurance_e8=insurance * E8))
    if isolated:
        bench.call("POST", "/fapi/v1/marginType", symbol="BTCUSDT", marginType="ISOLATED")
    bench.market("BUY", "0.200")
    bench.limit("SELL", "0.010", "84500.00", reduceOnly="true", newClientOrderId="target")
    bench.stop("SELL", "60000.00", closePosition="true", clientAlgoId="rail")
    bench.venue.user_events.clear()
    return bench


def fall(bench: Bench, distance: int) -> None:
    """Move the whole book down by ticks, and the mark with it."""
    bench.book(MIDDLE - distance, lots=50_000)
    bench.wait(1_000)


@pytest.mark.parametrize("isolated", [False, True])
def test_a_long_is_liquidated_where_positionrisk_says(isolated: bool) -> None:
    """Above liquidationPrice nothing happens, below it the position is closed and everything open ends."""
    bench = leveraged(isolated=isolated)
    price = float(bench.call("GET", "/fapi/v3/positionRisk", symbol="BTCUSDT").body[0]["liquidationPrice"])
    assert 78_000 < price < 81_000
    above = MIDDLE - int(price * 10) - 5
    fall(bench, above)
    assert 200 == bench.lots
    fall(bench, above + 10)
    assert 0 == bench.lots
    assert ([], []) == (bench.venue.trading.opened("BTCUSDT"), bench.venue.conditional.opened())
    ended = {
        event["o"]["c"]: (event["o"]["X"], event["o"]["er"])
        for event in bench.venue.user_events
        if event["e"] == "ORDER_TRADE_UPDATE" and event["o"]["x"] == "EXPIRED"
    }
    assert {"target": ("EXPIRED", "5")} == ended
    assert bench.venue.account.wallet >= 0


def test_the_events_of_a_liquidation() -> None:
    """x=NEW of an autoclose- order, then x=CALCULATED of type LIQUIDATION, IOC; then INSURANCE_CLEAR (3.3, 7.4)."""
    bench = leveraged()
    fall(bench, 46_900)
    orders = [event["o"] for event in bench.venue.user_events if event["e"] == "ORDER_TRADE_UPDATE"]
    forced = [order for order in orders if order["c"].startswith("autoclose-")]

    assert ["NEW", "CALCULATED"] == [order["x"] for order in forced]
    assert {("LIQUIDATION", "IOC", "SELL")} == {(order["o"], order["f"], order["S"]) for order in forced}
    assert "0" == forced[-1]["n"] or float(forced[-1]["n"]) == 0
    assert "INSURANCE_CLEAR" in [event["a"]["m"] for event in bench.venue.user_events if event["e"] == "ACCOUNT_UPDATE"]
    frames = [payload for stream, payload in bench.venue.frames if stream == "!forceOrder@arr"]
    bench.wait(1_000)
    frames += [payload for stream, payload in bench.venue.frames if stream == "!forceOrder@arr"]
    assert ("SELL", "0.200", "FILLED") == (frames[0]["o"]["S"], frames[0]["o"]["q"], frames[0]["o"]["X"])
    own = bench.call("GET", "/fapi/v1/forceOrders", symbol="BTCUSDT").body
    assert [("LIMIT", "FILLED", forced[0]["c"])] == [(row["type"], row["status"], row["clientOrderId"]) for row in own]


def large(*, size: str = "6.000", wallet: int = 25_000, lots: int = 50_000, isolated: bool = False) -> Bench:
    """Long so much BTC that its notional lies in the third bracket (600,000 … 3,000,000 USDT)."""
    bench = Bench(VenueSettings(wallet_e8=wallet * E8, leverage=50, mark_noise_ppm=0, insurance_e8=10_000_000 * E8))
    if isolated:
        bench.call("POST", "/fapi/v1/marginType", symbol="BTCUSDT", marginType="ISOLATED")
    bench.book(MIDDLE, lots=lots)
    # MARKET_LOT_SIZE bounds one order.
    assert [200, 200] == [bench.market("BUY", size).status for _ in range(2)]
    bench.venue.user_events.clear()
    return bench


@pytest.mark.parametrize("isolated", [False, True])
def test_a_large_position_is_reduced_to_the_next_bracket_and_goes_on(isolated: bool) -> None:
    """7.4: just below its price only the part above 600,000 USDT is sold; then the margin holds again."""
    bench = large(isolated=isolated)
    price = float(bench.call("GET", "/fapi/v3/positionRisk", symbol="BTCUSDT").body[0]["liquidationPrice"])
    fall(bench, MIDDLE - int(price * 10) + 5)
    row = bench.call("GET", "/fapi/v3/positionRisk", symbol="BTCUSDT").body[0]

    assert 599_000 < float(row["notional"]) <= 600_000
    assert float(row["liquidationPrice"]) < float(row["markPrice"])
    forced = [event["o"] for event in bench.venue.user_events if event["e"] == "ORDER_TRADE_UPDATE"]
    assert ["NEW", "CALCULATED"] == [order["x"] for order in forced][:2]
    assert ("autoclose-", "FILLED") == (forced[-1]["c"][:10], forced[-1]["X"])
    fees = [line["fee_e8"] for line in bench.venue.ledger.lines if line["kind"] == "liquidation"]
    assert 1 == len(fees)
    assert fees[0] > 0


def test_a_further_fall_takes_bracket_after_bracket() -> None:
    """From the fourth bracket downwards every step ends at a cap, the last one closes everything."""
    bench = large(size="25.000", wallet=130_000, lots=60_000)
    held = [bench.lots]
    for distance in range(20_000, 40_000, 50):
        fall(bench, distance)
        if bench.lots != held[-1]:
            held.append(bench.lots)
    mark = [line["quantity"] for line in bench.venue.ledger.lines if line["kind"] == "liquidation"]

    assert (50_000, 0) == (held[0], held[-1])
    assert len(mark) >= 3
    assert held == sorted(held, reverse=True)


def test_a_thin_book_takes_part_of_the_slice_and_the_rest_of_the_order_expires() -> None:
    """An IOC that the book cannot fill ends EXPIRED (er 2), PARTIALLY_FILLED in forceOrder; then the next one comes."""
    bench = large()
    bench.book(MIDDLE - 17_000, lots=300)
    bench.wait(1_000)
    forced = [event["o"] for event in bench.venue.user_events if event["e"] == "ORDER_TRADE_UPDATE"]

    assert ("EXPIRED", "2") in {(order["X"], order["er"]) for order in forced}
    # Five levels of 0.3 BTC were all there was: the fund took the rest.
    assert 0 == bench.lots
    assert 1 == sum(line["kind"] == "takeover" for line in bench.venue.ledger.lines)


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 45),
    share=st.integers(21, 60),
    path=st.lists(st.integers(-9_000, 6_000), min_size=1, max_size=12),
    side=st.sampled_from(["BUY", "SELL"]),
    lots=st.sampled_from([200, 5_000, 60_000]),
    isolated=st.booleans(),
)
def test_after_every_mark_the_margin_holds_or_nothing_is_left(
    *, size: int, share: int, path: list[int], side: str, lots: int, isolated: bool
) -> None:
    """
    Of any size: afterwards the balance is above the maintenance or the position is gone; liquidation never flips it
    and never touches more than the wallet; the fund is paid what the account pays.
    """
    wallet = size * 83_860 * share // 1_000
    bench = Bench(VenueSettings(wallet_e8=wallet * E8, leverage=50, mark_noise_ppm=0, insurance_e8=E8 * 10**8))
    if isolated:
        bench.call("POST", "/fapi/v1/marginType", symbol="BTCUSDT", marginType="ISOLATED")
    bench.book(MIDDLE, lots=60_000)
    for part in (size // 2, size - size // 2):
        if part:
            assert 200 == bench.market(side, f"{part}.000").status
    account, position = bench.venue.account, bench.venue.account.position(BTC)
    middle, sign = MIDDLE, 1 if side == "BUY" else -1
    for move in path:
        middle += move
        bench.book(middle, lots=lots)
        before = abs(position.lots)
        bench.wait(1_000)
        mark = bench.venue.markets["BTCUSDT"].mark_e8
        margin = position.isolated_wallet if isolated else account.cross_wallet()
        assert position.lots * sign >= 0
        assert abs(position.lots) <= before
        assert position.lots == 0 or margin + position.unrealised(mark) > position.maintenance(mark)
        assert account.wallet >= 0 or position.lots
    paid = sum(entry.amount for entry in account.incomes if entry.kind == "INSURANCE_CLEAR")
    taken = sum(line["fund_gain_e8"] for line in bench.venue.ledger.lines if line["kind"] == "takeover")
    assert account.insurance == account.insurance_at_start - paid + taken
    assert account.wallet == account.deposited + sum(entry.amount for entry in account.incomes)


@pytest.mark.parametrize(("insurance", "by"), [(10_000, "insurance"), (0, "adl")])
def test_beyond_bankruptcy_the_fund_or_adl_takes_over(insurance: int, by: str) -> None:
    """A gap through the bankruptcy price: the book is worse, the rest goes to the fund, or to ADL when it is empty."""
    bench = leveraged(insurance=insurance)
    fall(bench, 60_000)
    over = next(line for line in bench.venue.ledger.lines if line["kind"] == "takeover")

    assert (0, by) == (bench.lots, over["by"])
    # 1,000 USDT were there, 1,200 were lost: at most a rounding remains, never less than nothing.
    assert 0 <= bench.venue.account.wallet < E8
    assert bench.venue.account.insurance >= 0
    assert (bench.venue.account.insurance < insurance * E8) == (by == "insurance")


def test_a_margin_call_comes_once_before() -> None:
    """At 80 % of the margin ratio MARGIN_CALL is told once, and again only after it was better."""
    bench = leveraged()
    for distance in (45_700, 45_710, 0, 45_700):
        fall(bench, distance)
    calls = [event for event in bench.venue.user_events if event["e"] == "MARGIN_CALL"]

    assert (2, 200) == (len(calls), bench.lots)
    assert {"e", "E", "cw", "p"} == set(calls[0])


def test_auto_deleveraging_closes_at_the_mark() -> None:
    """A stranger's bankruptcy takes lots of ours: adl_autoclose, no fee, no position left of those lots."""
    bench = leveraged(wallet=10_000)
    bench.venue.liquidation.deleverage(bench.venue.account.position(BTC), lots=50, now_ms=bench.now)

    assert 150 == bench.lots
    assert "ADL" == bench.venue.liquidation.forced[-1][1]
    row = bench.call("GET", "/fapi/v1/forceOrders", autoCloseType="ADL").body[0]
    assert ("adl_autoclose", "0.050") == (row["clientOrderId"], row["executedQty"])


moves = st.lists(st.integers(-40_000, 40_000), min_size=1, max_size=10)


@settings(max_examples=60, deadline=None)
@given(
    path=moves,
    isolated=st.booleans(),
    side=st.sampled_from(["BUY", "SELL"]),
    size=st.integers(20, 400),
    insurance=st.integers(0, 3),
    dual=st.booleans(),
)
def test_money_is_conserved_through_funding_liquidation_and_insurance(
    *, path: list[int], isolated: bool, side: str, size: int, insurance: int, dual: bool
) -> None:
    """
    Whatever the market does: wallet = deposit + all income rows; income rows = what fills, funding and fund explain;
    the fund = its start + what the account paid it + what take-overs brought; the wallet is never negative after a
    liquidation; nothing is left open.
    """
    bench = Bench(VenueSettings(wallet_e8=1_000 * E8, leverage=25, mark_noise_ppm=0, insurance_e8=insurance * 500 * E8))
    bench.book(MIDDLE, lots=80)
    if dual:
        bench.call("POST", "/fapi/v1/positionSide/dual", dualSidePosition="true")
    if isolated:
        bench.call("POST", "/fapi/v1/marginType", symbol="BTCUSDT", marginType="ISOLATED")
    middle = MIDDLE
    for index, move in enumerate(path):
        position_side = {"positionSide": "LONG" if side == "BUY" else "SHORT"} if dual else {}
        bench.market(side, f"0.{size:03d}", **position_side)
        if dual and index % 2:
            bench.market("SELL" if side == "BUY" else "BUY", "0.050",
                         positionSide="SHORT" if side == "BUY" else "LONG")  # fmt: skip
        middle = max(100_000, middle + move)
        bench.book(middle, lots=60)
        bench.wait(1_000)
        if index % 3 == 2:
            funding = bench.venue.markets["BTCUSDT"].funding
            funding.forced_e8 = move * 20
            bench.now = funding.next_ms
            bench.wait(0)
    account, row = bench.venue.account, BTC
    rows: dict[str, int] = {}
    for entry in account.incomes:
        rows[entry.kind] = rows.get(entry.kind, 0) + entry.amount
    fills = bench.venue.trading.fills
    signed = [(fill, fill.lots if fill.order.buy else -fill.lots) for fill in fills]
    paid = sum(row.notional(fill.ticks, lots) for fill, lots in signed)
    cost = sum(position.cost for position in account.positions)
    taken = sum(line["fund_gain_e8"] for line in bench.venue.ledger.lines if line["kind"] == "takeover")
    funded = sum(line["amount_e8"] for line in bench.venue.ledger.lines if line["kind"] == "funding")

    assert account.wallet == account.deposited + sum(rows.values())
    assert rows.get("REALIZED_PNL", 0) == cost - paid
    assert rows.get("COMMISSION", 0) == -sum(fill.fee for fill in fills)
    assert rows.get("FUNDING_FEE", 0) == funded
    assert account.insurance == account.insurance_at_start - rows.get("INSURANCE_CLEAR", 0) + taken
    assert account.insurance >= 0 or insurance == 0
    assert sum(lots for _, lots in signed) == sum(position.lots for position in account.positions)
    if bench.venue.liquidation.forced and not any(position.lots for position in account.positions):
        assert account.wallet >= 0


# Came with the CM-UM integration (sheet 2.9).
FORCE_ORDER_LATER = [".ps is extra", ".st is extra"]


def test_a_recorded_liquidation_has_our_names_and_types() -> None:
    """The forceOrder frame that unicorn-fy recorded; ps and st came with the CM-UM integration (sheet 2.9)."""
    lines = require("unicorn-fy/frames.jsonl").read_text().splitlines()
    recorded = next(
        frame for frame in map(json.loads, lines) if isinstance(frame, dict) and frame.get("e") == "forceOrder"
    )
    bench = leveraged()
    fall(bench, 46_900)
    bench.wait(1_000)
    ours = next(payload for stream, payload in bench.venue.frames if stream == "btcusdt@forceOrder")

    assert FORCE_ORDER_LATER == sorted(differences(recorded, ours))


def test_auto_deleveraging_cuts_resting_reduce_only_orders() -> None:
    """The position is gone, so what only reduces it expires at once with reason 4 (sheet 6.4)."""
    bench = Bench()
    bench.market("BUY", "0.010")
    bench.limit("SELL", "0.010", "84500.00", reduceOnly="true", newClientOrderId="target")
    bench.venue.user_events.clear()
    position = bench.venue.account.position(BTC)
    bench.venue.liquidation.deleverage(position, lots=10, now_ms=bench.now)
    ended = [event["o"] for event in bench.venue.user_events if event["e"] == "ORDER_TRADE_UPDATE"]

    assert ("target", "EXPIRED", "4") == tuple(ended[-1][name] for name in ("c", "X", "er"))
    assert [] == bench.venue.trading.opened("BTCUSDT")
