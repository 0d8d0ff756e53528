"""The only place where own regular orders are accepted, matched, modified and ended.

Rules, by sheet section: 3.3–3.5 events, 6.2 times in force and self-trade prevention, 6.3 modify, 6.4 position modes
and reduceOnly, pains V6 and V7. Per fill the user stream carries TRADE_LITE, ACCOUNT_UPDATE, ORDER_TRADE_UPDATE in this
order; the sheet fixes no order across events, so clients must tolerate any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from connectors.exchange_simulator import filters
from connectors.exchange_simulator.account import Account, Position, account_update
from connectors.exchange_simulator.admission import judge, own_opposite
from connectors.exchange_simulator.book import Execution
from connectors.exchange_simulator.conditional import AlgoOrder
from connectors.exchange_simulator.errors import VenueError
from connectors.exchange_simulator.market import Market
from connectors.exchange_simulator.market_events import MarketTrade
from connectors.exchange_simulator.order_specs import OrderSpec
from connectors.exchange_simulator.orders import Amendment, Fill, Order, order_ack, order_update, trade_lite

Payload = dict[str, Any]  # Any: the venue's JSON
REASON_SELF_TRADE: Final = "1"
REASON_IOC: Final = "2"
REASON_IOC_SELF_TRADE: Final = "3"
REASON_REDUCE_ONLY: Final = "4"
REASON_LIQUIDATED: Final = "5"
REASON_MARKET_REMAINDER: Final = "9"
MAX_MODIFICATIONS: Final = 10_000


class Trading:
    """Own regular orders of the one account over all markets."""

    def __init__(
        self,
        account: Account,
        *,
        markets: dict[str, Market],
        start_ms: int,
        emit: Callable[[Payload], None],
        record: Callable[[str, Payload], None],
        queue_share: int = 1_000,
    ) -> None:
        """*emit* sends a user event; *record* writes truth; *queue_share* is the part of the level ahead, in 1/1000."""
        self.account, self.markets = account, markets
        self.emit, self.record = emit, record
        self._queue_share = queue_share
        self._next_order = self._next_trade = self._next_amendment = start_ms
        self.orders: dict[tuple[str, int], Order] = {}
        self.by_client: dict[tuple[str, str], Order] = {}
        self.open_orders: dict[str, dict[int, Order]] = {}
        self.fills: list[Fill] = []
        # symbol → when countdownCancelAll cancels, ms.
        self.countdowns: dict[str, int] = {}
        # Symbols whose protection must be judged again after the running operation.
        self.touched: dict[str, str] = {}
        self.on_ended: Callable[[Order, int], None] = lambda order, now_ms: None
        self.on_flat: Callable[[Position, int], None] = lambda position, now_ms: None

    # ---- reading ------------------------------------------------------------------------------------------------

    def opened(self, symbol: str) -> list[Order]:
        """Open regular orders of a symbol, oldest first."""
        return list(self.open_orders.get(symbol, {}).values())

    def open_notional(self, symbol: str, *, buy: bool, side: str | None = None) -> int:
        """Value of the open orders of one direction (and position side), e8 USDT."""
        return sum(
            order.row.notional(order.price, order.remaining)
            for order in self.open_orders.get(symbol, {}).values()
            if order.buy == buy and side in (None, order.position_side)
        )

    def next_sequence(self) -> int:
        """A number for a generated client id."""
        self._next_order += 1
        return self._next_order

    def open_order_margin(self, position: Position) -> int:
        """Approximate margin of resting orders that do not only reduce: notional / leverage (sheet 7.4)."""
        orders = self.open_orders.get(position.row.symbol)
        if not orders:
            return 0
        bound = sum(
            order.row.notional(order.price, order.remaining)
            for order in orders.values()
            if not order.closes and order.position_side == position.side
        )
        return bound // position.leverage

    def available(self) -> int:
        """Margin free for new risk, e8 USDT (cross wallet + open profit − bound margins)."""
        free = self.account.cross_wallet()
        for position in self.account.positions:
            mark = self.markets[position.row.symbol].mark_e8
            if not position.isolated:
                free += position.unrealised(mark) - position.initial_margin(mark)
            free -= self.open_order_margin(position)
        return free

    def reducible(self, order: Order | AlgoOrder | OrderSpec, position: Position) -> int:
        """Lots of *position* that this direction may still close, so that it never opens or flips."""
        return max(0, -position.lots if order.side == "BUY" else position.lots)

    def position_of(self, order: Order | AlgoOrder) -> Position:
        """The position an order belongs to."""
        return self.account.position(order.row, order.position_side)

    # ---- placing ------------------------------------------------------------------------------------------------

    def place(self, market: Market, spec: OrderSpec, *, now_ms: int) -> tuple[Order, Payload]:
        """Accept and match an order; returns it with the ack as of acceptance. Refusals raise VenueError."""
        executions, price = judge(self, market, spec)
        order = self.accept(market, spec, price=price, now_ms=now_ms)
        ack = order_ack(order)
        self.match_taker(market, order, executions, now_ms=now_ms)
        return order, ack

    def accept(
        self, market: Market, spec: OrderSpec, *, price: int, now_ms: int, algo: AlgoOrder | None = None
    ) -> Order:
        """Make the order, note it and tell NEW; nothing is matched yet."""
        self._next_order += 1
        order = Order(
            market.row,
            order_id=self._next_order,
            client_id=spec.client_id,
            side=spec.side,
            order_type=spec.order_type,
            time_in_force=spec.time_in_force,
            lots=spec.lots,
            price=price,
            reduce_only=spec.reduce_only,
            close_position=spec.close_position,
            now_ms=now_ms,
            original_type=None if algo is None else algo.order_type,
            stop_price=0 if algo is None else algo.trigger,
            working_type="CONTRACT_PRICE" if algo is None else algo.working_type,
            self_trade_prevention=spec.self_trade_prevention,
            algo_id=None if algo is None else algo.algo_id,
            position_side=spec.position_side,
            price_match=spec.price_match,
            good_till_ms=spec.good_till_ms,
            activation=0 if algo is None else algo.activation,
            callback=0 if algo is None else algo.callback,
        )
        symbol = market.row.symbol
        self.orders[symbol, order.order_id] = order
        self.by_client[symbol, order.client_id] = order
        self.open_orders.setdefault(symbol, {})[order.order_id] = order
        self._send_order(order, "NEW", now_ms=now_ms)
        return order

    # ---- matching -----------------------------------------------------------------------------------------------

    def match_taker(self, market: Market, order: Order, executions: list[Execution], *, now_ms: int) -> None:
        """Execute an accepted order against the book and, as its self-trade mode says, against own resting orders."""
        bound = order.price or filters.market_bound(order.row, buy=order.buy, mark_e8=market.mark_e8)
        own = own_opposite(self.opened(order.row.symbol), buy=order.buy, bound=bound)
        for part in self._in_price_order(order, executions, own):
            if isinstance(part, Order):
                self._meet_own(market, order, part, now_ms=now_ms)
            else:
                lots = min(part.lots, order.remaining)
                if order.closes:
                    lots = min(lots, self.reducible(order, self.position_of(order)))
                if lots <= 0:
                    break
                market.book.take([Execution(part.ticks, lots)])
                self.fill(market, order, ticks=part.ticks, lots=lots, maker=False, now_ms=now_ms)
            if not order.is_open:
                break
        if order.is_open and order.remaining:
            self._end_remainder(market, order, now_ms=now_ms)
        self.enforce_reduce_only(order.row.symbol, now_ms=now_ms)

    @staticmethod
    def _in_price_order(order: Order, parts: list[Execution], own: list[Order]) -> Iterator[Execution | Order]:
        """Strangers' lots and own makers, best price first; strangers come first at one price."""
        waiting = list(own)
        for part in parts:
            while waiting and (waiting[0].price < part.ticks if order.buy else waiting[0].price > part.ticks):
                yield waiting.pop(0)
            yield part
        yield from waiting

    def _meet_own(self, market: Market, taker: Order, maker: Order, *, now_ms: int) -> None:
        """Two own orders meet: the taker's mode decides who ends EXPIRED_IN_MATCH; NONE lets them trade (6.2)."""
        if not maker.is_open:
            return
        mode = "NONE" if taker.time_in_force == "FOK" else taker.self_trade_prevention
        if mode == "NONE":
            lots = min(taker.remaining, maker.remaining)
            for order in (maker, taker):
                if order.closes:
                    lots = min(lots, self.reducible(order, self.position_of(order)))
            if lots > 0:
                self.fill(market, maker, ticks=maker.price, lots=lots, maker=True, now_ms=now_ms)
                self.fill(market, taker, ticks=maker.price, lots=lots, maker=False, now_ms=now_ms)
            return
        if mode in ("EXPIRE_MAKER", "EXPIRE_BOTH"):
            self.finish(maker, "EXPIRED_IN_MATCH", reason=REASON_SELF_TRADE, now_ms=now_ms)
        if mode in ("EXPIRE_TAKER", "EXPIRE_BOTH"):
            reason = REASON_IOC_SELF_TRADE if taker.time_in_force == "IOC" else REASON_SELF_TRADE
            self.finish(taker, "EXPIRED_IN_MATCH", reason=reason, now_ms=now_ms)

    def _end_remainder(self, market: Market, order: Order, *, now_ms: int) -> None:
        """What a taker could not fill: expires (MARKET, IOC) or rests behind the displayed queue."""
        if order.closes and self.reducible(order, self.position_of(order)) == 0:
            self.finish(order, "EXPIRED", reason=REASON_REDUCE_ONLY, now_ms=now_ms)
        elif order.order_type == "MARKET":
            self.finish(order, "EXPIRED", reason=REASON_MARKET_REMAINDER, now_ms=now_ms)
        elif order.time_in_force == "IOC":
            self.finish(order, "EXPIRED", reason=REASON_IOC, now_ms=now_ms)
        else:
            shown = market.book.displayed(buy=order.buy, ticks=order.price)
            order.queue_ahead = shown * self._queue_share // 1_000

    def fill(
        self, market: Market, order: Order, *, ticks: int, lots: int, maker: bool, now_ms: int,
        execution: str = "TRADE",
    ) -> None:  # fmt: skip
        """Book one execution and tell it; CALCULATED is a liquidation's, which pays its own fee instead (7.4)."""
        row = order.row
        assert 0 < lots <= order.remaining, "an order never fills beyond its quantity"
        signed = lots if order.buy else -lots
        position = self.position_of(order)
        before = position.lots
        self._next_trade += 1
        trade_id = self._next_trade
        fee, realised = self.account.fill(
            position, signed_lots=signed, ticks=ticks, maker=maker, now_ms=now_ms, trade_id=trade_id,
            charged=execution == "TRADE",
        )  # fmt: skip
        order.filled += lots
        order.quote += row.notional(ticks, lots)
        order.updated_ms = now_ms
        order.status = "PARTIALLY_FILLED" if order.remaining else "FILLED"
        if order.remaining == 0:
            self.open_orders[row.symbol].pop(order.order_id, None)
        fill = Fill(
            order, trade_id=trade_id, ticks=ticks, lots=lots, maker=maker, fee=fee, realised=realised, at_ms=now_ms
        )
        self.fills.append(fill)
        self.record(
            "fill",
            {
                "symbol": row.symbol, "order_id": order.order_id, "client_id": order.client_id, "side": order.side,
                "trade_id": fill.trade_id, "price": row.price_text(ticks), "quantity": row.quantity_text(lots),
                "maker": maker, "fee_e8": fee, "realised_e8": realised, "reduce_only": order.reduce_only,
                "position": row.quantity_text(position.lots), "wallet_e8": self.account.wallet,
                "position_side": order.position_side,
            },
        )  # fmt: skip
        self.emit(trade_lite(fill))
        self.tell_account([position], reason="ORDER", now_ms=now_ms)
        self._send_order(order, execution, now_ms=now_ms, fill=fill)
        self.touched[row.symbol] = "fill"
        if not order.is_open:
            self.on_ended(order, now_ms)
        # Flipped is closed, too: what was bound to the old position ends with it (6.2 GTE_GTC).
        if position.lots == 0 or before * position.lots < 0:
            self.on_flat(position, now_ms)

    def tell_account(
        self, positions: list[Position], *, reason: str, now_ms: int, change: int = 0, symbol: str | None = None
    ) -> None:
        """Send ACCOUNT_UPDATE for what changed."""
        marks = {position.row.symbol: self.markets[position.row.symbol].mark_e8 for position in positions}
        self.emit(
            account_update(
                self.account, positions, marks=marks, reason=reason, now_ms=now_ms, change=change, symbol=symbol
            )
        )

    def _send_order(
        self, order: Order, execution: str, *, now_ms: int, fill: Fill | None = None, modify_id: str | None = None
    ) -> None:
        symbol = order.row.symbol
        if fill is None:
            self.record(
                "amendment" if execution == "AMENDMENT" else "order",
                {
                    "symbol": symbol, "order_id": order.order_id, "client_id": order.client_id, "side": order.side,
                    "type": order.order_type, "original_type": order.original_type, "status": order.status,
                    "price": order.row.price_text(order.price), "quantity": order.row.quantity_text(order.lots),
                    "filled": order.row.quantity_text(order.filled), "reduce_only": order.reduce_only,
                    "time_in_force": order.time_in_force, "reason": order.expiry_reason, "algo_id": order.algo_id,
                    "position_side": order.position_side,
                },
            )  # fmt: skip
        self.emit(
            order_update(
                order,
                execution=execution,
                now_ms=now_ms,
                bid_notional=self.open_notional(symbol, buy=True),
                ask_notional=self.open_notional(symbol, buy=False),
                fill=fill,
                modify_id=modify_id,
            )
        )

    def enforce_reduce_only(self, symbol: str, *, now_ms: int) -> None:
        """Knock out resting closing orders that their position no longer covers, newest first (er 4)."""
        if not any(order.closes for order in self.open_orders.get(symbol, {}).values()):
            return
        for side in self.account.sides:
            for buy in (True, False):
                resting = [
                    order
                    for order in self.opened(symbol)
                    if order.closes and order.buy == buy and order.position_side == side
                ]
                if not resting:
                    continue
                held = self.reducible(resting[0], self.position_of(resting[0]))
                excess = sum(order.remaining for order in resting) - held
                while resting and (held == 0 or (excess > 0 and len(resting) > 1)):
                    last = resting.pop()
                    excess -= last.remaining
                    self.finish(last, "EXPIRED", reason=REASON_REDUCE_ONLY, now_ms=now_ms)

    # ---- ending and changing ------------------------------------------------------------------------------------

    def cancel(self, order: Order, *, now_ms: int) -> Order:
        """Cancel an open order; -2011 for any other."""
        if not order.is_open:
            raise VenueError(-2011)
        self.finish(order, "CANCELED", reason="0", now_ms=now_ms)
        return order

    def finish(self, order: Order, status: str, *, reason: str, now_ms: int) -> None:
        """End an order without a fill; EXPIRED_IN_MATCH is told as execution EXPIRED."""
        order.status, order.expiry_reason, order.updated_ms = status, reason, now_ms
        del self.open_orders[order.row.symbol][order.order_id]
        self._send_order(order, "CANCELED" if status == "CANCELED" else "EXPIRED", now_ms=now_ms)
        self.on_ended(order, now_ms)

    def modify(
        self, market: Market, order: Order, *, lots: int, price: int, price_match: str, modify_id: str | None,
        now_ms: int,
    ) -> Order:  # fmt: skip
        """Change price and quantity of an open LIMIT order; its place in the queue is lost (sheet 6.3)."""
        if not order.is_open:
            raise VenueError(-2013)
        if order.order_type != "LIMIT":
            raise VenueError(-5025)
        if len(order.amendments) >= MAX_MODIFICATIONS:
            raise VenueError(-5026)
        if (lots, price) == (order.lots, order.price):
            raise VenueError(-5027)
        row = order.row
        value = row.notional(price, lots)
        if not order.closes and value < row.min_notional_e8:
            raise VenueError(-5029, notional=row.min_notional_e8 // 10**8)
        filters.check_percent_price(row, buy=order.buy, ticks=price, mark_e8=market.mark_e8)
        if not order.closes:
            extra = row.notional(price, max(0, lots - order.filled)) - row.notional(order.price, order.remaining)
            if extra > 0 and extra // self.position_of(order).leverage > self.available():
                raise VenueError(-2019)
        executions = market.book.sweep(buy=order.buy, lots=max(0, lots - order.filled), limit=price)
        # A quantity that is filled already, or a post-only order that would take, ends the order (6.3 a, b).
        takes = order.time_in_force == "GTX" and (
            executions or own_opposite(self.opened(row.symbol), buy=order.buy, bound=price)
        )
        if (order.filled and lots <= order.filled) or takes:
            return self.cancel(order, now_ms=now_ms)
        self._next_amendment += 1
        order.amendments.append(
            Amendment(self._next_amendment, prices=(order.price, price), lots=(order.lots, lots), at_ms=now_ms)
        )
        order.lots, order.price, order.price_match, order.updated_ms = lots, price, price_match, now_ms
        self._send_order(order, "AMENDMENT", now_ms=now_ms, modify_id=modify_id)
        self.match_taker(market, order, executions, now_ms=now_ms)
        return order

    def cancel_all(self, symbol: str, *, now_ms: int) -> None:
        """Cancel every open regular order of a symbol."""
        for order in self.opened(symbol):
            self.cancel(order, now_ms=now_ms)

    def end_what_is_due(self, now_ms: int) -> None:
        """Run out countdowns and GTD orders."""
        for symbol, deadline in list(self.countdowns.items()):
            if now_ms >= deadline:
                del self.countdowns[symbol]
                self.cancel_all(symbol, now_ms=now_ms)
        for group in self.open_orders.values():
            for order in [order for order in group.values() if 0 < order.good_till_ms <= now_ms]:
                self.finish(order, "EXPIRED", reason="0", now_ms=now_ms)

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
        if order.closes:
            lots = min(lots, self.reducible(order, self.position_of(order)))
        if lots > 0:
            self.fill(market, order, ticks=order.price, lots=lots, maker=True, now_ms=now_ms)
            self.enforce_reduce_only(order.row.symbol, now_ms=now_ms)

    # ---- faults -------------------------------------------------------------------------------------------------

    def vanish(self, client_ids: list[str], *, now_ms: int) -> bool:
        """Forget open orders with these client ids without any event: accepted, then gone. True if one was."""
        gone = False
        for order in [order for group in self.open_orders.values() for order in group.values()]:
            if order.client_id in client_ids:
                symbol = order.row.symbol
                del self.open_orders[symbol][order.order_id]
                del self.orders[symbol, order.order_id], self.by_client[symbol, order.client_id]
                self.record("vanished", {"symbol": symbol, "client_id": order.client_id, "at": now_ms})
                gone = True
        return gone
