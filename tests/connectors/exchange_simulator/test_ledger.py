"""The ledger tells how long a position was unprotected, per rail, and whether a stop ever got looser."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.exchange_simulator.ledger import Ledger
from tests.connectors.exchange_simulator.venues import Bench


def episodes(bench: Bench) -> list[dict[str, Any]]:
    """The episodes of the summary."""
    found: list[dict[str, Any]] = bench.venue.ledger.summary(bench.now)["episodes"]
    return found


def test_naked_time_runs_from_the_first_fill_to_a_covering_stop() -> None:
    """300 ms without any stop, 700 ms without the quantity rail, and nothing after."""
    bench = Bench()
    bench.market("BUY", "0.010")
    bench.now += 300
    bench.stop("SELL", "83000.00", closePosition="true")
    bench.now += 400
    bench.stop("SELL", "83300.00", quantity="0.010", reduceOnly="true")
    bench.now += 5_000
    naked = episodes(bench)[0]["naked"]

    assert (300, 300, 700) == tuple(naked[rail]["naked_ms"] for rail in ("any", "close_position", "reduce_only"))
    assert 300 == naked["any"]["first_covered_after_ms"]


def test_a_partial_or_wrong_sided_stop_covers_nothing() -> None:
    """Half the quantity, a take-profit, a stop that is not reducing, and a BUY stop leave a long naked."""
    bench = Bench()
    bench.market("BUY", "0.010")
    bench.stop("SELL", "83000.00", quantity="0.005", reduceOnly="true")
    bench.stop("SELL", "84900.00", closePosition="true", type="TAKE_PROFIT_MARKET")
    bench.stop("SELL", "83000.00", quantity="0.010")
    bench.stop("BUY", "84900.00", closePosition="true")
    bench.now += 1_000

    assert 1_000 == episodes(bench)[0]["naked"]["any"]["naked_ms"]


def test_cancel_then_place_is_naked_in_between_but_new_before_old_is_not() -> None:
    """817 ms of the real testnet run are seen; replacing new-before-old shows none (pain V4)."""
    bench = Bench()
    bench.market("BUY", "0.010")
    bench.stop("SELL", "83000.00", quantity="0.010", reduceOnly="true", clientAlgoId="one")
    bench.call("DELETE", "/fapi/v1/algoOrder", clientAlgoId="one")
    bench.now += 817
    bench.stop("SELL", "83100.00", quantity="0.010", reduceOnly="true", clientAlgoId="two")
    bench.now += 1_000
    bench.stop("SELL", "83200.00", quantity="0.010", reduceOnly="true", clientAlgoId="three")
    bench.call("DELETE", "/fapi/v1/algoOrder", clientAlgoId="two")
    found = episodes(bench)[0]

    assert 817 == found["naked"]["any"]["naked_ms"]
    assert [("83000.00", None)] == [(one["from"], one["to"]) for one in found["loosened"]]
    assert ["83000.00", None, "83100.00", "83200.00"] == [price for _, price, _ in found["tightest"]]


def test_a_looser_replacement_is_named() -> None:
    """Cancelling the tight one of two stops shows the step from tight to loose, for a short too."""
    bench = Bench()
    bench.market("SELL", "0.010")
    bench.stop("BUY", "84500.00", closePosition="true")
    bench.stop("BUY", "84100.00", quantity="0.010", reduceOnly="true", clientAlgoId="tight")
    bench.call("DELETE", "/fapi/v1/algoOrder", clientAlgoId="tight")

    assert [{"ms": bench.now, "from": "84100.00", "to": "84500.00", "cause": "cancel"}] == episodes(bench)[0][
        "loosened"
    ]


def test_an_episode_ends_flat_with_its_result() -> None:
    """Fills, fees and realised profit of the position are in its episode; a new position is a new episode."""
    bench = Bench()
    bench.market("BUY", "0.010")
    bench.now += 50
    bench.market("SELL", "0.010")
    bench.market("SELL", "0.020")
    first, second = episodes(bench)
    account = bench.venue.account

    assert ("LONG", 2, bench.now) == (first["side"], first["fills"], first["closed_ms"])
    assert ("SHORT", None) == (second["side"], second["closed_ms"])
    assert account.fees_paid == first["fees_e8"] + second["fees_e8"]
    assert account.wallet - account.deposited == first["realised_e8"] - account.fees_paid


def test_duplicates_requests_and_answers_are_counted() -> None:
    """A client id that took effect twice, weight per minute, and answers by status and code."""
    bench = Bench()
    for _ in range(2):
        bench.market("BUY", "0.010", newClientOrderId="twice")
    bench.market("BUY", "0.0001")
    bench.call("GET", "/fapi/v3/balance")
    summary = bench.venue.ledger.summary(bench.now)

    assert {"order": {"twice": 2}} == summary["duplicates"]
    assert {"200": 3, "400 -1111": 1} == summary["answers"]
    assert [(4, 5)] == [(minute["requests"], minute["weight"]) for minute in summary["minutes"]]


def test_lines_are_numbered_and_written_once() -> None:
    """Every line has its number and time, also in the file's sink, also when memory forgets the oldest."""
    written: list[dict[str, Any]] = []
    ledger = Ledger(written.append, keep=20)
    for index in range(50):
        ledger.record("note", {"index": index}, now_ms=index)

    assert list(range(50)) == [line["n"] for line in written]
    assert ledger.first_kept == ledger.lines[0]["n"]
    assert len(ledger.lines) <= 20


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["place", "cancel", "wait"]), st.integers(1, 500)), max_size=25))
def test_naked_time_equals_a_plain_sampling_of_every_millisecond(plan: list[tuple[str, int]]) -> None:
    """The judge's naked milliseconds equal what a naive look at the live stops after every step adds up to."""
    bench = Bench()
    bench.market("BUY", "0.010")
    naive = 0
    for step, number in plan:
        live = bench.venue.conditional.opened("BTCUSDT")
        if step == "place":
            bench.stop("SELL", "83000.00", quantity=f"0.{1 + number % 10:03d}", reduceOnly="true")
        elif step == "cancel" and live:
            bench.call("DELETE", "/fapi/v1/algoOrder", algoId=live[number % len(live)].algo_id)
        elif step == "wait":
            if sum(stop.lots for stop in live) < 10:
                naive += number
            bench.now += number

    assert naive == episodes(bench)[0]["naked"]["any"]["naked_ms"]
