"""The conditional half of the trading interface: the algo service (sheet 4.4, 6.5)."""

from __future__ import annotations

from typing import Any

from connectors.exchange_simulator.conditional import AlgoOrder, algo_ack, algo_query
from connectors.exchange_simulator.errors import VenueError
from connectors.exchange_simulator.order_requests import algo_spec
from connectors.exchange_simulator.parameters import Params, limit_of, mandatory, optional_int, time_window
from connectors.exchange_simulator.venue import Venue

Json = Any  # the venue's JSON: objects, arrays and scalars


def new_algo_order(venue: Venue, params: Params, now_ms: int) -> Json:
    """POST algoOrder (sheet 6.5)."""
    market, spec = algo_spec(venue, params, now_ms)
    return algo_ack(venue.conditional.place(market, spec, now_ms=now_ms))


def all_algo_orders(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET allAlgoOrders: ascending by id (its page was removed in 2026-04; clients still call it)."""
    symbol = venue.market(mandatory(params, "symbol")).row.symbol
    first = optional_int(params, "algoId") or 0
    start, end = time_window(params, now_ms, longest=7 * 86_400_000)
    found = [
        algo
        for algo in venue.conditional.algos.values()
        if algo.row.symbol == symbol and algo.algo_id >= first and start <= algo.created_ms <= end
    ]
    return [algo_query(algo) for algo in found[-limit_of(params, 500) :]]


def _find_algo(venue: Venue, params: Params, code: int) -> AlgoOrder:
    algo_id = optional_int(params, "algoId")
    if algo_id is not None:
        found = venue.conditional.algos.get(algo_id)
    elif "clientAlgoId" in params:
        found = venue.conditional.by_client.get(params["clientAlgoId"])
    else:
        raise VenueError(-1102, name="algoId")
    if found is None:
        raise VenueError(code)
    return found


def get_algo_order(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET algoOrder."""
    return algo_query(_find_algo(venue, params, -2013))


def delete_algo_order(venue: Venue, params: Params, now_ms: int) -> Json:
    """DELETE algoOrder; `code` is the string "200"."""
    algo = _find_algo(venue, params, -2011)
    venue.conditional.cancel(algo, now_ms=now_ms)
    return {"algoId": algo.algo_id, "clientAlgoId": algo.client_id, "code": "200", "msg": "success"}


def open_algo_orders(venue: Venue, params: Params, now_ms: int) -> Json:
    """GET openAlgoOrders."""
    symbol = venue.market(params["symbol"]).row.symbol if "symbol" in params else None
    algo_id = optional_int(params, "algoId")
    found = venue.conditional.opened(symbol)
    return [algo_query(algo) for algo in found if algo_id is None or algo.algo_id == algo_id]


def delete_open_algo_orders(venue: Venue, params: Params, now_ms: int) -> Json:
    """DELETE algoOpenOrders."""
    for algo in venue.conditional.opened(venue.market(mandatory(params, "symbol")).row.symbol):
        if algo.state == "NEW":
            venue.conditional.cancel(algo, now_ms=now_ms)
    return {"code": 200, "msg": "The operation of cancel all open order is done."}
