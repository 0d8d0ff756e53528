"""Cover proven from the venue's rows alone: a differential test against a plain count, and each trap by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.execution.cover import AlgoRow, PositionRow, ReadIncomplete, algo_rows, cover, position_rows


def position(amount: str, *, mark: str = "100", liquidation: str = "0", side: str = "BOTH") -> PositionRow:
    return PositionRow("BTCUSDT", amount, side, "100", mark, liquidation)


def stop(trigger: str, quantity: str = "0", **changes: object) -> AlgoRow:
    words = {
        "client_algo_id": f"s{trigger}/{quantity}",
        "algo_id": 1,
        "order_type": "STOP_MARKET",
        "symbol": "BTCUSDT",
        "side": "SELL",
        "trigger_price": trigger,
        "quantity": quantity,
        "close_position": quantity == "0",
        "reduce_only": quantity != "0",
    }
    return AlgoRow(**(words | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rows", "proven"),
    [
        ([], False),
        ([stop("90")], True),
        ([stop("95", "2")], True),
        ([stop("95", "1.9")], False),
        ([stop("95", "1"), stop("94", "1")], True),
        ([stop("90", side="BUY")], False),
        ([stop("90", symbol="ETHUSDT")], False),
        ([stop("90", order_type="TAKE_PROFIT_MARKET")], False),
        ([stop("90", order_type="STOP")], False),
        ([stop("90", algo_status="TRIGGERING")], False),
        ([stop("90", algo_status="CANCELED")], False),
        ([stop("90", position_side="LONG")], False),
        ([stop("95", "2", reduce_only=False)], False),
        ([stop("0")], False),
        ([stop("79")], False),
        ([stop("80")], False),
        ([stop("80.01")], True),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_covers_a_long_of_two(rows: list[AlgoRow], proven: bool) -> None:
    """Two contracts long at 100 with liquidation at 80: only a waiting stop on the closing side before 80 counts."""
    verdict = cover([position("2", liquidation="80")], rows)

    assert [proven] == [found.proven for found in verdict]


def test_a_firing_stop_is_no_cover_and_no_naked_position_either() -> None:
    """While a stop goes off the verdict says so: whoever alarms waits for another read."""
    (found,) = cover([position("2")], [stop("90", algo_status="TRIGGERING")])

    assert (False, True) == (found.proven, found.firing)


def test_a_stop_that_the_mark_has_passed_is_named() -> None:
    """The mark is through a stop that still waits (X2)."""
    (found,) = cover([position("2", mark="89")], [stop("90")])

    assert (True, True) == (found.proven, found.through)


def test_both_sides_of_a_hedged_symbol_are_judged_alone() -> None:
    """LONG and SHORT rows each need their own stop."""
    rows = [position("2", side="LONG"), position("-3", side="SHORT")]
    stops = [stop("110", "3", side="BUY", position_side="SHORT", reduce_only=False)]

    assert [False, True] == [found.proven for found in cover(rows, stops)]


def test_flat_rows_have_no_verdict() -> None:
    """A row of amount zero is no position."""
    assert () == cover([position("0.000")], [stop("90")])


@pytest.mark.parametrize("body", [b"{}", b"[", b'[{"symbol":"X"}]', b'{"code":-1000,"msg":"x"}', b"<html>"])
def test_what_is_no_list_proves_nothing(body: bytes) -> None:
    """A page, an error object, a cut body: incomplete, never "no position" and never "no stop"."""
    with pytest.raises(ReadIncomplete):
        position_rows(body)
    with pytest.raises(ReadIncomplete):
        algo_rows(body)


def test_a_number_that_is_none_proves_nothing() -> None:
    """A row with a word for a number makes the read incomplete."""
    with pytest.raises(ReadIncomplete):
        cover([position("2")], [stop("ninety")])


ORDERS = st.lists(
    st.builds(
        stop,
        st.integers(70, 130).map(str),
        st.integers(0, 4).map(str),
        side=st.sampled_from(["BUY", "SELL"]),
        algo_status=st.sampled_from(["NEW", "NEW", "TRIGGERING", "CANCELED"]),
    ),
    max_size=6,
)


@given(amount=st.integers(-5, 5).filter(bool), orders=ORDERS, liquidation=st.sampled_from([0, 80, 120]))
def test_agrees_with_a_plain_count(amount: int, orders: list[AlgoRow], liquidation: int) -> None:
    """Differential: mirrored sides, several stops, stops behind liquidation."""
    closing = "SELL" if amount > 0 else "BUY"
    total = 0
    for row in orders:
        price = int(row.trigger_price)
        behind = liquidation and (price <= liquidation if amount > 0 else price >= liquidation)
        if row.side == closing and row.algo_status == "NEW" and not behind:
            total += abs(amount) if row.close_position else int(row.quantity)
    (found,) = cover([position(str(amount), liquidation=str(liquidation))], orders)

    assert (total >= abs(amount)) == found.proven
    assert min(total, abs(amount)) * 10**8 == found.covered_e8
