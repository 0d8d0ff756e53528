"""The only place where own orders are accepted, matched, triggered and ended.

Rules, by sheet section: 3.3–3.6 events, 6.2 times in force, 6.4 reduceOnly, 6.5 conditional orders, pains V3–V7.
Per fill the user stream carries TRADE_LITE, ACCOUNT_UPDATE, ORDER_TRADE_UPDATE in this order; the sheet fixes no order
across events, so clients must tolerate any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from connectors.exchange_simulator import filters
from connectors.exchange_simulator.account import Account, Position, balance_update
from connectors.exchange_simulator.book import Execution
from connectors.exchange_simulator.conditional import CONDITIONAL_TYPES, AlgoOrder, algo_update
from connectors.exchange_simulator.errors import VenueError
from connectors.exchange_simulator.market import Market
from connectors.exchange_simulator.market_events import MarketTrade
from connectors.exchange_simulator.orders import Fill, Order, order_ack, order_update, trade_lite

Payload = dict[str, Any]  # Any: the venue's JSON
MAX_ALGO_ORDERS: Final = 200
REASON_IOC: Final = "2"
REASON_REDUCE_ONLY: Final = "4"
REASON_MARKET_REMAINDER: Final = "9"


class OrderSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A validated regular order request: lots, ticks (0 for MARKET)."""

    client_id: str
    side: str
    order_type: str
    time_in_force: str
    lots: int
    price: int
    reduce_only: bool = False
    close_position: bool = False
    self_trade_prevention: str = "EXPIRE_MAKER"


class AlgoSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A validated conditional order request."""

    client_id: str
    side: str
    order_type: str
    time_in_force: str
    lots: int
    price: int
    trigger: int
    working_type: str
    close_position: bool
    reduce_only: bool
    price_protect: bool
    self_trade_prevention: str


class Trading:
    """Own orders of the one account over all markets."""

    def __init__(
        self,
        account: Account,
        *,
        start_ms: int,
        emit: Callable[[Payload], None],
        record: Callable[[str, Payload], None],
        queue_share: int = 1_000,
    ) -> None:
        """*emit* sends a user event; *record* writes truth; *queue_share* is the part of the level ahead, in 1/1000."""
        self.account = account
        self._emit, self._record = emit, record
        self._queue_share = queue_share
        self._next_order = start_ms
        self._next_algo = 1_000_000_000_000_000 + start_ms
        self._next_trade = start_ms
        self.orders: dict[tuple[str, int], Order] = {}
        self.by_client: dict[tuple[str, str], Order] = {}
        self.open_orders: dict[str, dict[int, Order]] = {}
        self.algos: dict[int, AlgoOrder] = {}
        self.algo_by_client: dict[str, AlgoOrder] = {}
        self.open_algos: dict[str, dict[int, AlgoOrder]] = {}
        self.fills: list[Fill] = []
        self.stuck_triggers: dict[str, int] = {}
        # Symbols whose protection must be judged again after the running operation.
        self.touched: dict[str, str] = {}

    # ---- reading ------------------------------------------------------------------------------------------------

    def opened(self, symbol: str) -> list[Order]:
        """Open regular orders of a symbol, oldest first."""
        return list(self.open_orders.get(symbol, {}).values())

    def opened_algos(self, symbol: str | None = None) -> list[AlgoOrder]:
        """Waiting conditional orders, of one symbol or all, oldest first."""
        if symbol is not None:
            return list(self.open_algos.get(symbol, {}).values())
        return [algo for group in self.open_algos.values() for algo in group.values()]

    def _open_notional(self, symbol: str, *, buy: bool) -> int:
        return sum(
            order.row.notional(order.price, order.remaining)
            for order in self.open_orders.get(symbol, {}).values()
            if order.buy == buy
        )

    def next_sequence(self) -> int:
        """A number for a generated client id."""
        return self._next_order + self._next_algo + 1

    def open_order_margin(self, position: Position) -> int:
        """Approximate margin of resting, not reducing orders: notional / leverage (sheet 7.4)."""
        symbol = position.row.symbol
        orders = [order for order in self.open_orders.get(symbol, {}).values() if not order.reduce_only]
        return sum(order.row.notional(order.price, order.remaining) for order in orders) // position.leverage

    def available(self, markets: dict[str, Market]) -> int:
        """Margin free for new risk, e8 USDT (cross wallet + open profit − bound margins)."""
        free = self.account.cross_wallet()
        for position in self.account.positions.values():
            mark = markets[position.row.symbol].mark_e8
            if not position.isolated:
                free += position.unrealised(mark) - position.initial_margin(mark)
            free -= self.open_order_margin(position)
        return free

    # ---- regular orders -----------------------------------------------------------------------------------------

    def place(
        self, market: Market, spec: OrderSpec, *, markets: dict[str, Market], now_ms: int
    ) -> tuple[Order, Payload]:
        """Accept and match an order; returns it with the ack as of acceptance. Refusals raise VenueError."""
        row = market.row
        buy = spec.side == "BUY"
        known = self.by_client.get((row.symbol, spec.client_id))
        if known is not None and known.is_open:
            raise VenueError(-4116)
        if len(self.open_orders.get(row.symbol, {})) >= row.max_orders:
            raise VenueError(-2025)
        value = row.notional(spec.price, spec.lots) if spec.price else row.value_at_e8(market.mark_e8, spec.lots)
        if spec.reduce_only:
            self._check_reduce_budget(row.symbol, buy=buy)
        else:
            filters.check_notional(row, value_e8=value)
        if spec.price:
            filters.check_percent_price(row, buy=buy, ticks=spec.price, mark_e8=market.mark_e8)
        bound = spec.price or filters.market_bound(row, buy=buy, mark_e8=market.mark_e8)
        executions = market.book.sweep(buy=buy, lots=spec.lots, limit=bound)
        if spec.order_type == "MARKET" and not executions:
            raise VenueError(-1112 if not (market.book.asks if buy else market.book.bids) else -4131)
        if spec.time_in_force == "GTX" and executions:
            raise VenueError(-5022)
        if spec.time_in_force == "FOK" and sum(part.lots for part in executions) < spec.lots:
            raise VenueError(-5021)
        if not spec.reduce_only:
            self._check_margin(market, spec, value, markets)
        order = self._accept(market, spec, now_ms=now_ms)
        ack = order_ack(order)
        self._match_taker(market, order, executions, now_ms=now_ms)
        return order, ack

    def _check_reduce_budget(self, symbol: str, *, buy: bool) -> None:
        """-2022 without an opposite position; -4118 when resting reduce-only orders already use it all (V7)."""
        position = self.account.positions.get(symbol)
        held = 0 if position is None else (-position.lots if buy else position.lots)
        if held <= 0:
            raise VenueError(-2022)
        resting = [order for order in self.opened(symbol) if order.reduce_only and order.buy == buy]
        if resting and sum(order.remaining for order in resting) >= held:
            raise VenueError(-4118)

    def _check_margin(self, market: Market, spec: OrderSpec, value: int, markets: dict[str, Market]) -> None:
        position = self.account.position(market.row)
        signed = spec.lots if spec.side == "BUY" else -spec.lots
        increase = abs(position.lots + signed) - abs(position.lots)
        if increase <= 0:
            return
        if value * increase // spec.lots // position.leverage > self.available(markets):
            raise VenueError(-2019)

    def _accept(self, market: Market, spec: OrderSpec, *, now_ms: int, algo: AlgoOrder | None = None) -> Order:
        self._next_order += 1
        order = Order(
            market.row,
            order_id=self._next_order,
            client_id=spec.client_id,
            side=spec.side,
            order_type=spec.order_type,
            time_in_force=spec.time_in_force,
            lots=spec.lots,
            price=spec.price,
            reduce_only=spec.reduce_only,
            close_position=spec.close_position,
            now_ms=now_ms,
            original_type=None if algo is None else algo.order_type,
            stop_price=0 if algo is None else algo.trigger,
            working_type="CONTRACT_PRICE" if algo is None else algo.working_type,
            self_trade_prevention=spec.self_trade_prevention,
            algo_id=None if algo is None else algo.algo_id,
        )
        symbol = market.row.symbol
        self.orders[symbol, order.order_id] = order
        self.by_client[symbol, order.client_id] = order
        self.open_orders.setdefault(symbol, {})[order.order_id] = order
        self._send_order(order, "NEW", now_ms=now_ms)
        return order

    def _match_taker(self, market: Market, order: Order, executions: list[Execution], *, now_ms: int) -> None:
        for part in executions:
            lots = min(part.lots, order.remaining)
            if order.reduce_only:
                lots = min(lots, self._reducible(order))
            if lots <= 0:
                break
            market.book.take([Execution(part.ticks, lots)])
            self._fill(market, order, ticks=part.ticks, lots=lots, maker=False, now_ms=now_ms)
        if order.is_open and order.remaining:
            self._end_remainder(market, order, now_ms=now_ms)
        self._enforce_reduce_only(order.row.symbol, now_ms=now_ms)

    def _end_remainder(self, market: Market, order: Order, *, now_ms: int) -> None:
        """What a taker could not fill: expires (MARKET, IOC) or rests behind the displayed queue."""
        if order.reduce_only and self._reducible(order) == 0:
            self._finish(order, "EXPIRED", reason=REASON_REDUCE_ONLY, now_ms=now_ms)
        elif order.order_type == "MARKET":
            self._finish(order, "EXPIRED", reason=REASON_MARKET_REMAINDER, now_ms=now_ms)
        elif order.time_in_force == "IOC":
            self._finish(order, "EXPIRED", reason=REASON_IOC, now_ms=now_ms)
        else:
            shown = market.book.displayed(buy=order.buy, ticks=order.price)
            order.queue_ahead = shown * self._queue_share // 1_000

    def _reducible(self, order: Order) -> int:
        """Lots a reduce-only order may still close, so that it never opens or flips."""
        position = self.account.positions.get(order.row.symbol)
        lots = 0 if position is None else position.lots
        return max(0, -lots if order.buy else lots)

    def cancel(self, order: Order, *, now_ms: int) -> Order:
        """Cancel an open order; -2011 for any other."""
        if not order.is_open:
            raise VenueError(-2011)
        self._finish(order, "CANCELED", reason="0", now_ms=now_ms)
        return order

    def _finish(self, order: Order, status: str, *, reason: str, now_ms: int) -> None:
        order.status, order.expiry_reason, order.updated_ms = status, reason, now_ms
        del self.open_orders[order.row.symbol][order.order_id]
        self._send_order(order, status, now_ms=now_ms)
        self._child_ended(order, now_ms=now_ms)

    def _fill(self, market: Market, order: Order, *, ticks: int, lots: int, maker: bool, now_ms: int) -> None:
        row = order.row
        assert 0 < lots <= order.remaining, "an order never fills beyond its quantity"
        signed = lots if order.buy else -lots
        fee, realised = self.account.fill(row, signed_lots=signed, ticks=ticks, maker=maker, now_ms=now_ms)
        order.filled += lots
        order.quote += row.notional(ticks, lots)
        order.updated_ms = now_ms
        order.status = "PARTIALLY_FILLED" if order.remaining else "FILLED"
        if order.remaining == 0:
            del self.open_orders[row.symbol][order.order_id]
        self._next_trade += 1
        fill = Fill(
            order, trade_id=self._next_trade, ticks=ticks, lots=lots, maker=maker, fee=fee, realised=realised,
            at_ms=now_ms,
        )  # fmt: skip
        self.fills.append(fill)
        position = self.account.position(row)
        self._record(
            "fill",
            {
                "symbol": row.symbol, "order_id": order.order_id, "client_id": order.client_id, "side": order.side,
                "trade_id": fill.trade_id, "price": row.price_text(ticks), "quantity": row.quantity_text(lots),
                "maker": maker, "fee_e8": fee, "realised_e8": realised, "reduce_only": order.reduce_only,
                "position": row.quantity_text(position.lots), "wallet_e8": self.account.wallet,
            },
        )  # fmt: skip
        self._emit(trade_lite(fill))
        self._emit(balance_update(self.account, position, mark_e8=market.mark_e8, reason="ORDER", now_ms=now_ms))
        self._send_order(order, "TRADE", now_ms=now_ms, fill=fill)
        self.touched[row.symbol] = "fill"
        if not order.is_open:
            self._child_ended(order, now_ms=now_ms)
        if position.lots == 0:
            self._expire_position_bound(row.symbol, now_ms=now_ms)

    def _send_order(self, order: Order, execution: str, *, now_ms: int, fill: Fill | None = None) -> None:
        symbol = order.row.symbol
        if fill is None:
            self._record(
                "order",
                {
                    "symbol": symbol, "order_id": order.order_id, "client_id": order.client_id, "side": order.side,
                    "type": order.order_type, "original_type": order.original_type, "status": order.status,
                    "price": order.row.price_text(order.price), "quantity": order.row.quantity_text(order.lots),
                    "filled": order.row.quantity_text(order.filled), "reduce_only": order.reduce_only,
                    "time_in_force": order.time_in_force, "reason": order.expiry_reason, "algo_id": order.algo_id,
                },
            )  # fmt: skip
        self._emit(
            order_update(
                order,
                execution=execution,
                now_ms=now_ms,
                bid_notional=self._open_notional(symbol, buy=True),
                ask_notional=self._open_notional(symbol, buy=False),
                fill=fill,
            )
        )

    def _enforce_reduce_only(self, symbol: str, *, now_ms: int) -> None:
        """Knock out resting reduce-only orders the position no longer covers, newest first (er 4)."""
        for buy in (True, False):
            resting = [order for order in self.opened(symbol) if order.reduce_only and order.buy == buy]
            if not resting:
                continue
            held = self._reducible(resting[0])
            excess = sum(order.remaining for order in resting) - held
            while resting and (held == 0 or (excess > 0 and len(resting) > 1)):
                last = resting.pop()
                excess -= last.remaining
                self._finish(last, "EXPIRED", reason=REASON_REDUCE_ONLY, now_ms=now_ms)

    # ---- market moves -------------------------------------------------------------------------------------------

    def on_book(self, market: Market, *, now_ms: int) -> None:
        """Fill resting orders that the market's book now crosses."""
        orders = self.open_orders.get(market.row.symbol)
        if not orders:
            return
        for order in list(orders.values()):
            best = market.book.best_ask if order.buy else market.book.best_bid
            if not order.is_open:
                continue
            if best is None or (best > order.price if order.buy else best < order.price):
                shown = market.book.displayed(buy=order.buy, ticks=order.price)
                order.queue_ahead = min(order.queue_ahead, shown)
                continue
            parts = market.book.sweep(buy=order.buy, lots=order.remaining, limit=order.price)
            market.book.take(parts)
            self._fill_resting(market, order, sum(part.lots for part in parts), now_ms=now_ms)

    def on_trade(self, market: Market, trade: MarketTrade, *, now_ms: int) -> None:
        """Let a public trade eat the queue before our resting orders, then the orders themselves."""
        orders = self.open_orders.get(market.row.symbol)
        if not orders:
            return
        left = trade.lots
        for order in list(orders.values()):
            # A buyer-maker trade was a seller hitting bids: only our bids can have been in its way.
            if left <= 0 or order.buy != trade.buyer_is_maker or not order.is_open:
                continue
            through = trade.ticks < order.price if order.buy else trade.ticks > order.price
            if not through and trade.ticks != order.price:
                continue
            if not through and order.queue_ahead:
                eaten = min(order.queue_ahead, left)
                order.queue_ahead -= eaten
                lots = left - eaten
            else:
                lots = left
            lots = min(lots, order.remaining)
            if lots > 0:
                left -= lots
                self._fill_resting(market, order, lots, now_ms=now_ms)

    def _fill_resting(self, market: Market, order: Order, lots: int, *, now_ms: int) -> None:
        if order.reduce_only:
            lots = min(lots, self._reducible(order))
        if lots > 0:
            self._fill(market, order, ticks=order.price, lots=lots, maker=True, now_ms=now_ms)
            self._enforce_reduce_only(order.row.symbol, now_ms=now_ms)

    # ---- conditional orders -------------------------------------------------------------------------------------

    def place_algo(self, market: Market, spec: AlgoSpec, *, now_ms: int) -> AlgoOrder:
        """Accept a conditional order; no margin is checked and nothing enters the book (V3)."""
        symbol = market.row.symbol
        known = self.algo_by_client.get(spec.client_id)
        if known is not None and known.is_open:
            raise VenueError(-4116)
        if sum(len(group) for group in self.open_algos.values()) >= MAX_ALGO_ORDERS:
            raise VenueError(-4045)
        if spec.close_position and any(
            algo.close_position and algo.side == spec.side and algo.order_type == spec.order_type
            for algo in self.opened_algos(symbol)
        ):
            raise VenueError(-4130)
        if not spec.reduce_only and not spec.close_position:
            price = spec.price or spec.trigger
            filters.check_notional(market.row, value_e8=market.row.notional(price, spec.lots))
        self._next_algo += 1
        algo = AlgoOrder(
            market.row,
            algo_id=self._next_algo,
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
        )
        if algo.triggers_at(mark_e8=market.mark_e8, last_ticks=market.last_ticks):
            raise VenueError(-2021)
        self.algos[algo.algo_id] = algo
        self.algo_by_client[algo.client_id] = algo
        self.open_algos.setdefault(symbol, {})[algo.algo_id] = algo
        self._send_algo(algo, "NEW", now_ms=now_ms, cause="place")
        return algo

    def cancel_algo(self, algo: AlgoOrder, *, now_ms: int) -> None:
        """Cancel before the trigger; -4117 while triggering, -2011 afterwards."""
        if algo.state == "TRIGGERING":
            raise VenueError(-4117)
        if not algo.is_open:
            raise VenueError(-2011)
        self._close_algo(algo, "CANCELED", now_ms=now_ms, cause="cancel")

    def _close_algo(self, algo: AlgoOrder, state: str, *, now_ms: int, cause: str) -> None:
        self.open_algos[algo.row.symbol].pop(algo.algo_id, None)
        self._send_algo(algo, state, now_ms=now_ms, cause=cause)

    def _send_algo(self, algo: AlgoOrder, state: str, *, now_ms: int, cause: str) -> None:
        algo.state, algo.updated_ms = state, now_ms
        self._record(
            "algo",
            {
                "symbol": algo.row.symbol, "algo_id": algo.algo_id, "client_id": algo.client_id, "side": algo.side,
                "type": algo.order_type, "state": state, "trigger": algo.row.price_text(algo.trigger),
                "quantity": algo.row.quantity_text(algo.lots), "close_position": algo.close_position,
                "reduce_only": algo.reduce_only, "working_type": algo.working_type, "reason": algo.reason,
                "cause": cause, "order_id": None if algo.child is None else algo.child.order_id,
            },
        )  # fmt: skip
        self.touched[algo.row.symbol] = cause
        self._emit(algo_update(algo, now_ms=now_ms))

    def check_triggers(self, market: Market, *, now_ms: int) -> None:
        """Trigger every waiting order whose condition holds at the present mark and last price."""
        group = self.open_algos.get(market.row.symbol)
        if not group:
            return
        for algo in list(group.values()):
            if algo.state == "NEW" and algo.triggers_at(mark_e8=market.mark_e8, last_ticks=market.last_ticks):
                if algo.price_protect and not self._protected_price_holds(market):
                    continue
                self._trigger(market, algo, now_ms=now_ms)

    @staticmethod
    def _protected_price_holds(market: Market) -> bool:
        last = market.last_ticks * market.row.tick_e8
        return abs(last - market.mark_e8) * 10_000 <= market.mark_e8 * market.row.trigger_protect

    def _trigger(self, market: Market, algo: AlgoOrder, *, now_ms: int) -> None:
        algo.triggered_ms = now_ms
        self._send_algo(algo, "TRIGGERING", now_ms=now_ms, cause="trigger")
        stuck = self.stuck_triggers.get(algo.row.symbol, 0)
        if stuck > 0:
            self.stuck_triggers[algo.row.symbol] = stuck - 1
            return
        self.forward_triggered(market, algo, now_ms=now_ms)

    def forward_triggered(self, market: Market, algo: AlgoOrder, *, now_ms: int) -> None:
        """Hand a triggering order to matching: its child becomes a regular order with the same client id."""
        row = market.row
        position = self.account.position(row)
        held = max(0, -position.lots if algo.buy else position.lots)
        if algo.close_position and held == 0:
            self._close_algo(algo, "EXPIRED", now_ms=now_ms, cause="trigger")
            return
        if algo.reduce_only and held == 0:
            algo.reason = VenueError(-2022).message
            self._close_algo(algo, "REJECTED", now_ms=now_ms, cause="trigger")
            return
        order_type = CONDITIONAL_TYPES[algo.order_type][0]
        bound = algo.price or filters.market_bound(row, buy=algo.buy, mark_e8=market.mark_e8)
        lots = held if algo.close_position else algo.lots
        executions = market.book.sweep(buy=algo.buy, lots=lots, limit=bound)
        if order_type == "MARKET" and not executions:
            algo.reason = VenueError(-4131).message
            self._close_algo(algo, "REJECTED", now_ms=now_ms, cause="trigger")
            return
        self.open_algos[row.symbol].pop(algo.algo_id, None)
        spec = OrderSpec(
            client_id=algo.client_id,
            side=algo.side,
            order_type=order_type,
            time_in_force="GTC" if algo.time_in_force == "GTE_GTC" else algo.time_in_force,
            lots=lots,
            price=algo.price,
            reduce_only=algo.reduce_only or algo.close_position,
            close_position=algo.close_position,
            self_trade_prevention=algo.self_trade_prevention,
        )
        order = self._accept_child(market, spec, algo, now_ms=now_ms)
        self._match_taker(market, order, executions, now_ms=now_ms)

    def _accept_child(self, market: Market, spec: OrderSpec, algo: AlgoOrder, *, now_ms: int) -> Order:
        order = self._accept(market, spec, now_ms=now_ms, algo=algo)
        algo.child = order
        self._send_algo(algo, "TRIGGERED", now_ms=now_ms, cause="trigger")
        return order

    def _child_ended(self, order: Order, *, now_ms: int) -> None:
        if order.algo_id is not None:
            algo = self.algos[order.algo_id]
            if algo.state == "TRIGGERED":
                self._send_algo(algo, "FINISHED", now_ms=now_ms, cause="finish")

    def _expire_position_bound(self, symbol: str, *, now_ms: int) -> None:
        for algo in self.opened_algos(symbol):
            if algo.time_in_force == "GTE_GTC" and algo.state == "NEW":
                self._close_algo(algo, "EXPIRED", now_ms=now_ms, cause="position closed")

    # ---- faults -------------------------------------------------------------------------------------------------

    def vanish(self, client_ids: Iterable[str], *, now_ms: int) -> bool:
        """Forget open orders with these client ids without any event: accepted, then gone. True if one was."""
        gone = False
        wanted = list(client_ids)
        for order in [order for group in self.open_orders.values() for order in group.values()]:
            if order.client_id in wanted:
                symbol = order.row.symbol
                del self.open_orders[symbol][order.order_id]
                del self.orders[symbol, order.order_id], self.by_client[symbol, order.client_id]
                self._record("vanished", {"symbol": symbol, "client_id": order.client_id, "at": now_ms})
                gone = True
        for algo in self.opened_algos():
            if algo.client_id in wanted:
                del self.open_algos[algo.row.symbol][algo.algo_id], self.algos[algo.algo_id]
                del self.algo_by_client[algo.client_id]
                self._record("vanished", {"symbol": algo.row.symbol, "client_id": algo.client_id, "at": now_ms})
                self.touched[algo.row.symbol] = "vanish"
                gone = True
        return gone
