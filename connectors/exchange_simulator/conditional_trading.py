"""The only place where conditional (algo) orders are accepted, triggered and ended (sheet 6.5, pains V3–V5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from connectors.exchange_simulator import filters
from connectors.exchange_simulator.account import Position
from connectors.exchange_simulator.admission import check_entering, matched_price
from connectors.exchange_simulator.conditional import CONDITIONAL_TYPES, TRAILING, AlgoOrder, algo_update
from connectors.exchange_simulator.errors import VenueError
from connectors.exchange_simulator.market import Market
from connectors.exchange_simulator.order_specs import AlgoSpec, OrderSpec
from connectors.exchange_simulator.orders import Order
from connectors.exchange_simulator.trading import Trading

Payload = dict[str, Any]  # Any: the venue's JSON
MAX_ALGO_ORDERS: Final = 200


class ConditionalTrading:
    """The algo service beside the matching engine: its own ids, states and events."""

    def __init__(
        self,
        trading: Trading,
        *,
        start_ms: int,
        emit: Callable[[Payload], None],
        record: Callable[[str, Payload], None],
    ) -> None:
        self._trading, self._account = trading, trading.account
        self._emit, self._record = emit, record
        self._next_algo = 1_000_000_000_000_000 + start_ms
        self.algos: dict[int, AlgoOrder] = {}
        self.by_client: dict[str, AlgoOrder] = {}
        self.open_algos: dict[str, dict[int, AlgoOrder]] = {}
        self.stuck_triggers: dict[str, int] = {}
        # A fault plan's say over one trigger: True leaves it in TRIGGERING for ever.
        self.sticks: Callable[[AlgoOrder], bool] = lambda algo: False
        trading.on_ended = self._child_ended
        trading.on_flat = self._expire_position_bound

    def opened(self, symbol: str | None = None) -> list[AlgoOrder]:
        """Waiting conditional orders, of one symbol or all, oldest first."""
        if symbol is not None:
            return list(self.open_algos.get(symbol, {}).values())
        return [algo for group in self.open_algos.values() for algo in group.values()]

    # ---- placing and cancelling ---------------------------------------------------------------------------------

    def place(self, market: Market, spec: AlgoSpec, *, now_ms: int) -> AlgoOrder:
        """Accept a conditional order; no margin is checked and nothing enters the book (V3)."""
        symbol = market.row.symbol
        known = self.by_client.get(spec.client_id)
        if known is not None and known.is_open:
            raise VenueError(-4116)
        if sum(len(group) for group in self.open_algos.values()) >= MAX_ALGO_ORDERS:
            raise VenueError(-4045)
        if spec.close_position and any(
            algo.close_position
            and (algo.side, algo.order_type, algo.position_side) == (spec.side, spec.order_type, spec.position_side)
            for algo in self.opened(symbol)
        ):
            raise VenueError(-4130)
        algo = self._made(market, spec, now_ms=now_ms)
        if not algo.closes:
            price = spec.price or spec.trigger or market.last_ticks
            filters.check_notional(market.row, value_e8=market.row.notional(price, spec.lots))
        self._activate_at_once(market, algo, asked=spec.activation)
        if algo.triggers_at(mark_e8=market.mark_e8, last_ticks=market.last_ticks):
            raise VenueError(-2021)
        self._next_algo += 1
        self.algos[algo.algo_id] = algo
        self.by_client[algo.client_id] = algo
        self.open_algos.setdefault(symbol, {})[algo.algo_id] = algo
        self._send(algo, "NEW", now_ms=now_ms, cause="place")
        return algo

    def _made(self, market: Market, spec: AlgoSpec, *, now_ms: int) -> AlgoOrder:
        return AlgoOrder(
            market.row,
            algo_id=self._next_algo + 1,
            client_id=spec.client_id,
            side=spec.side,
            order_type=spec.order_type,
            time_in_force=spec.time_in_force,
            lots=spec.lots,
            price=spec.price,
            trigger=spec.trigger,
            working_type=spec.working_type,
            close_position=spec.close_position,
            reduce_only=spec.reduce_only,
            price_protect=spec.price_protect,
            self_trade_prevention=spec.self_trade_prevention,
            now_ms=now_ms,
            position_side=spec.position_side,
            price_match=spec.price_match,
            good_till_ms=spec.good_till_ms,
            activation=spec.activation,
            callback=spec.callback,
        )

    @staticmethod
    def _activate_at_once(market: Market, algo: AlgoOrder, *, asked: int) -> None:
        """Without activatePrice a trailing order is active at the present price; a passed one is -2021 (6.5)."""
        if algo.order_type != TRAILING:
            return
        price = algo.working_price(mark_e8=market.mark_e8, last_ticks=market.last_ticks)
        if asked == 0:
            algo.activation = market.row.nearest_tick(price)
            algo.active, algo.extreme = True, price
        elif asked * market.row.tick_e8 >= price if algo.buy else asked * market.row.tick_e8 <= price:
            raise VenueError(-2021)

    def cancel(self, algo: AlgoOrder, *, now_ms: int) -> None:
        """Cancel before the trigger; -4117 while triggering, -2011 afterwards."""
        if algo.state == "TRIGGERING":
            raise VenueError(-4117)
        if not algo.is_open:
            raise VenueError(-2011)
        self._close(algo, "CANCELED", now_ms=now_ms, cause="cancel")

    def expire(self, algo: AlgoOrder, *, cause: str, now_ms: int) -> None:
        """The system ends a waiting order: position gone, account liquidated, date passed."""
        self._close(algo, "EXPIRED", now_ms=now_ms, cause=cause)

    def _close(self, algo: AlgoOrder, state: str, *, now_ms: int, cause: str) -> None:
        self.open_algos[algo.row.symbol].pop(algo.algo_id, None)
        self._send(algo, state, now_ms=now_ms, cause=cause)

    def _send(self, algo: AlgoOrder, state: str, *, now_ms: int, cause: str) -> None:
        algo.state, algo.updated_ms = state, now_ms
        self._record(
            "activated" if cause == "activated" else "algo",
            {
                "symbol": algo.row.symbol, "algo_id": algo.algo_id, "client_id": algo.client_id, "side": algo.side,
                "type": algo.order_type, "state": state, "trigger": algo.row.price_text(algo.trigger),
                "quantity": algo.row.quantity_text(algo.lots), "close_position": algo.close_position,
                "reduce_only": algo.reduce_only, "working_type": algo.working_type, "reason": algo.reason,
                "cause": cause, "order_id": None if algo.child is None else algo.child.order_id,
                "position_side": algo.position_side,
            },
        )  # fmt: skip
        self._trading.touched[algo.row.symbol] = cause
        self._emit(algo_update(algo, now_ms=now_ms))

    # ---- triggering ---------------------------------------------------------------------------------------------

    def check_triggers(self, market: Market, *, now_ms: int) -> None:
        """Trigger every waiting order whose condition holds at the present mark and last price."""
        group = self.open_algos.get(market.row.symbol)
        if not group:
            return
        for algo in list(group.values()):
            if algo.state != "NEW":
                continue
            if algo.order_type == TRAILING and algo.follow(
                algo.working_price(mark_e8=market.mark_e8, last_ticks=market.last_ticks)
            ):
                self._send(algo, "NEW", now_ms=now_ms, cause="activated")
            if algo.triggers_at(mark_e8=market.mark_e8, last_ticks=market.last_ticks):
                if algo.price_protect and not self._protected_price_holds(market):
                    continue
                self._trigger(market, algo, now_ms=now_ms)

    def end_what_is_due(self, now_ms: int) -> None:
        """Expire waiting orders whose goodTillDate has passed."""
        for algo in self.opened():
            if 0 < algo.good_till_ms <= now_ms and algo.state == "NEW":
                self.expire(algo, cause="good till date", now_ms=now_ms)

    @staticmethod
    def _protected_price_holds(market: Market) -> bool:
        last = market.last_ticks * market.row.tick_e8
        return abs(last - market.mark_e8) * 10_000 <= market.mark_e8 * market.row.trigger_protect

    def _trigger(self, market: Market, algo: AlgoOrder, *, now_ms: int) -> None:
        algo.triggered_ms = now_ms
        self._send(algo, "TRIGGERING", now_ms=now_ms, cause="trigger")
        stuck = self.stuck_triggers.get(algo.row.symbol, 0)
        if stuck > 0:
            self.stuck_triggers[algo.row.symbol] = stuck - 1
            return
        if self.sticks(algo):
            return
        self._forward(market, algo, now_ms=now_ms)

    def _forward(self, market: Market, algo: AlgoOrder, *, now_ms: int) -> None:
        """Hand a triggering order to matching: its child becomes a regular order with the same client id."""
        row = market.row
        trading = self._trading
        held = trading.reducible(algo, trading.position_of(algo))
        if algo.close_position and held == 0:
            self._close(algo, "EXPIRED", now_ms=now_ms, cause="trigger")
            return
        if algo.closes and held == 0:
            self._refuse(algo, -2022, now_ms=now_ms)
            return
        order_type = CONDITIONAL_TYPES[algo.order_type][0]
        try:
            price = algo.price or matched_price(market, algo.price_match, buy=algo.buy)
        except VenueError as refusal:
            self._refuse(algo, refusal.code, now_ms=now_ms)
            return
        bound = price or filters.market_bound(row, buy=algo.buy, mark_e8=market.mark_e8)
        lots = held if algo.close_position else algo.lots
        executions = market.book.sweep(buy=algo.buy, lots=lots, limit=bound)
        if order_type == "MARKET" and not executions:
            self._refuse(algo, -4131, now_ms=now_ms)
            return
        spec = OrderSpec(
            client_id=algo.client_id,
            side=algo.side,
            order_type=order_type,
            time_in_force="GTC" if algo.time_in_force == "GTE_GTC" else algo.time_in_force,
            lots=lots,
            price=price,
            position_side=algo.position_side,
            reduce_only=algo.reduce_only or (algo.close_position and algo.position_side == "BOTH"),
            close_position=algo.close_position,
            self_trade_prevention=algo.self_trade_prevention,
            price_match=algo.price_match,
            good_till_ms=algo.good_till_ms,
        )
        value = row.notional(price, lots) if price else row.value_at_e8(market.mark_e8, lots)
        try:
            # Only now is there a margin check, and the times in force are judged (V3, 3.6 REJECTED).
            check_entering(trading, market, spec, executions, bound=bound, value=value)
        except VenueError as refusal:
            self._refuse(algo, refusal.code, now_ms=now_ms)
            return
        self.open_algos[row.symbol].pop(algo.algo_id, None)
        order = trading.accept(market, spec, price=price, now_ms=now_ms, algo=algo)
        algo.child = order
        self._send(algo, "TRIGGERED", now_ms=now_ms, cause="trigger")
        trading.match_taker(market, order, executions, now_ms=now_ms)

    def _refuse(self, algo: AlgoOrder, code: int, *, now_ms: int) -> None:
        algo.reason = VenueError(code).message
        self._close(algo, "REJECTED", now_ms=now_ms, cause="trigger")

    def _child_ended(self, order: Order, now_ms: int) -> None:
        if order.algo_id is not None:
            algo = self.algos[order.algo_id]
            if algo.state == "TRIGGERED":
                self._send(algo, "FINISHED", now_ms=now_ms, cause="finish")

    def _expire_position_bound(self, position: Position, now_ms: int) -> None:
        for algo in self.opened(position.row.symbol):
            if algo.time_in_force == "GTE_GTC" and algo.state == "NEW" and algo.position_side == position.side:
                self.expire(algo, cause="position closed", now_ms=now_ms)

    # ---- faults -------------------------------------------------------------------------------------------------

    def vanish(self, client_ids: list[str], *, now_ms: int) -> bool:
        """Forget waiting orders with these client ids without any event; True if one was."""
        gone = False
        for algo in self.opened():
            if algo.client_id in client_ids:
                del self.open_algos[algo.row.symbol][algo.algo_id], self.algos[algo.algo_id]
                del self.by_client[algo.client_id]
                self._record("vanished", {"symbol": algo.row.symbol, "client_id": algo.client_id, "at": now_ms})
                self._trading.touched[algo.row.symbol] = "vanish"
                gone = True
        return gone
