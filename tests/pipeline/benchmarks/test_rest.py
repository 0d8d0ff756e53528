"""Tests of the REST benchmark: which requests count, and in which minute."""

from __future__ import annotations

from pipeline.benchmarks.rest import Minute, configuration, per_minute
from pipeline.configuration import flatten


def request(at: int, path: str, weight: int) -> dict[str, object]:
    """A request as the exchange's ledger states it."""
    return {"at": at, "kind": "request", "path": path, "weight": weight}


def test_requests_count_in_their_minute_and_the_benchmark_s_own_do_not() -> None:
    """Whole minutes from the beginning on; what comes before, after, or from the benchmark itself is left out."""
    lines = [
        request(999, "/fapi/v1/order", 1),
        request(1_000, "/fapi/v3/positionRisk", 5),
        request(60_999, "/fapi/v1/openInterest", 1),
        request(61_000, "/fapi/v1/openOrders", 40),
        request(61_001, "/fapi/v1/ticker/bookTicker", 2),
        request(121_000, "/fapi/v1/openOrders", 40),
    ]

    assert per_minute(lines, begin_ms=1_000, minutes=2) == [Minute(2, 1, 6), Minute(1, 0, 40)]


def test_the_configuration_is_one_that_the_pipeline_accepts() -> None:
    """Every key is known."""
    _, problems = flatten(configuration(["BTCUSDT"]))

    assert [] == problems
