"""The only place where positions are closed by force: liquidation, the insurance fund, auto-deleveraging (sheet 7.4).

A large position is reduced bracket by bracket until its margin holds again; in the lowest bracket it is closed whole.
What the book then does not give up to the bankruptcy price is taken over by the fund at that price; when the fund could
not bear it, by ADL of strangers, which is the same for this account. `liquidationFee` goes to the fund, never more than
is left of the closed part's margin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from connectors.exchange_simulator.account import Account, Position
from connectors.exchange_simulator.book import Execution
from connectors.exchange_simulator.brackets import bracket_at
from connectors.exchange_simulator.conditional_trading import ConditionalTrading
from connectors.exchange_simulator.fixed_point import E8, format_e8, format_trimmed
from connectors.exchange_simulator.instruments import Instrument
from connectors.exchange_simulator.market import Market
from connectors.exchange_simulator.order_specs import OrderSpec
from connectors.exchange_simulator.orders import Order
from connectors.exchange_simulator.trading import REASON_IOC, REASON_LIQUIDATED, Trading

Payload = dict[str, Any]  # Any: the venue's JSON
# `liquidationFee` of exchangeInfo is 0.012500.
LIQUIDATION_FEE_BPS: Final = 125
# MARGIN_CALL goes out once when maintenance reaches this part of the margin balance (guidance only, sheet 3.7).
MARGIN_CALL_PERCENT: Final = 80


class Liquidation:
    """Watches the account's margin at every new mark."""

    def __init__(
        self,
        trading: Trading,
        conditional: ConditionalTrading,
        *,
        record: Callable[[str, Payload], None],
        publish: Callable[[str, int, Payload], None],
    ) -> None:
        """*publish* takes a forceOrder with its symbol and lots, for the public streams."""
        self._trading, self._conditional = trading, conditional
        self._account: Account = trading.account
        self._record, self._publish = record, publish
        self._called = False
        self._count = 0
        self.forced: list[tuple[Order, str]] = []

    def check(self, now_ms: int) -> None:
        """Liquidate what lacks its maintenance margin: each isolated position alone, the cross ones together."""
        held = [position for position in self._account.positions if position.lots]
        if not held:
            return
        for position in held:
            if position.isolated and position.lots:
                self._judge([position], now_ms=now_ms)
        cross = [position for position in held if position.lots and not position.isolated]
        if not cross:
            return
        balance, needed = self._judge(cross, now_ms=now_ms)
        self._margin_call(cross, balance, needed, now_ms=now_ms)

    def _judge(self, positions: list[Position], *, now_ms: int) -> tuple[int, int]:
        """Liquidate positions that share a margin when it is used up; returns balance and need as found."""
        balance, needed = self._margin(positions)
        if balance <= needed:
            self._liquidate(positions, now_ms=now_ms)
        return balance, needed

    def _margin(self, positions: list[Position]) -> tuple[int, int]:
        """Margin balance and maintenance of positions that share a margin, e8 USDT."""
        wallet = positions[0].isolated_wallet if positions[0].isolated else self._account.cross_wallet()
        balance = wallet + sum(position.unrealised(self._mark(position)) for position in positions)
        return balance, sum(position.maintenance(self._mark(position)) for position in positions)

    def _mark(self, position: Position) -> int:
        return self._trading.markets[position.row.symbol].mark_e8

    def _margin_call(self, cross: list[Position], balance: int, needed: int, *, now_ms: int) -> None:
        risky = needed * 100 >= balance * MARGIN_CALL_PERCENT and any(position.lots for position in cross)
        if risky and not self._called:
            self._trading.emit(
                {
                    "e": "MARGIN_CALL",
                    "E": now_ms,
                    "cw": format_trimmed(self._account.cross_wallet()),
                    "p": [self._called_row(position) for position in cross],
                }
            )
        self._called = risky

    def _called_row(self, position: Position) -> Payload:
        mark = self._mark(position)
        return {
            "s": position.row.symbol,
            "ps": position.side,
            "pa": position.row.quantity_text(position.lots),
            "mt": "CROSSED",
            "iw": format_trimmed(position.isolated_wallet),
            "mp": format_trimmed(mark),
            "up": format_trimmed(position.unrealised(mark)),
            "mm": format_trimmed(position.maintenance(mark)),
        }

    def _liquidate(self, positions: list[Position], *, now_ms: int) -> None:
        """
        Cancel the orders that stand in the way, then reduce until the margin holds again or nothing is left.

        The position that needs the most goes first. A large one is brought down to the next bracket, which frees more
        maintenance than it costs; in the lowest bracket, or when the book does not take the slice, all of it is closed.
        """
        isolated = positions[0].isolated
        symbols = [positions[0].row.symbol] if isolated else list(self._trading.open_orders)
        for symbol in symbols:
            for order in self._trading.opened(symbol):
                self._trading.finish(order, "EXPIRED", reason=REASON_LIQUIDATED, now_ms=now_ms)
        for algo in self._conditional.opened(positions[0].row.symbol if isolated else None):
            self._conditional.expire(algo, cause="liquidation", now_ms=now_ms)
        while held := [position for position in positions if position.lots]:
            balance, needed = self._margin(held)
            if balance > needed:
                break
            position = max(held, key=lambda one: one.maintenance(self._mark(one)))
            whole = sum(abs(one.notional(self._mark(one))) for one in held)
            share = balance * abs(position.notional(self._mark(position))) // max(1, whole)
            slice_lots = self._above_the_bracket_below(position)
            if not (slice_lots and share > 0 and self._reduce(position, share, slice_lots, now_ms=now_ms)):
                self._close(position, share, now_ms=now_ms)
        # A cross wallet below zero is the fund's loss; with isolated margin only what its own wallet lacked.
        lack = -self._account.cross_wallet()
        if lack > 0:
            self._account.pay_insurance("", -lack, now_ms=now_ms)
            self._trading.tell_account([], reason="INSURANCE_CLEAR", now_ms=now_ms, change=lack)

    def _above_the_bracket_below(self, position: Position) -> int:
        """Lots that bring a position down to the cap of the next lower bracket; 0 in the lowest one."""
        mark = self._mark(position)
        floor = bracket_at(position.row, position.notional(mark)).floor
        kept = floor // max(1, position.row.value_at_e8(mark, 1))
        return abs(position.lots) - kept if kept else 0

    def _limit(self, position: Position, balance: int) -> int:
        """The price in ticks at which nothing is left of a position's share of the margin balance."""
        row, mark = position.row, self._mark(position)
        distance = balance * E8 // (abs(position.lots) * row.step_e8)
        if position.lots < 0:
            return max(1, (mark + distance) // row.grid_e8 * row.tick_multiple)
        return max(1, -(-(mark - distance) // row.grid_e8) * row.tick_multiple)

    def _reduce(self, position: Position, balance: int, lots: int, *, now_ms: int) -> bool:
        """Bring a position down by an IOC order; what the book does not take expires. False: it took nothing."""
        market = self._trading.markets[position.row.symbol]
        row, held, buy = position.row, abs(position.lots), position.lots < 0
        ticks = self._limit(position, balance)
        parts = market.book.sweep(buy=buy, lots=lots, limit=ticks)
        if not parts:
            return False
        order = self._forced_order(market, position, prefix="autoclose-", lots=lots, ticks=ticks, now_ms=now_ms)
        self._take(market, order, parts, now_ms=now_ms)
        if order.is_open:
            self._trading.finish(order, "EXPIRED", reason=REASON_IOC, now_ms=now_ms)
        at_mark = row.value_at_e8(market.mark_e8, order.filled)
        gained = at_mark - order.quote if buy else order.quote - at_mark
        # Only the slice's own part of the balance pays, so that the rest keeps its margin.
        self._end(order, left=balance * order.filled // held + gained, now_ms=now_ms)
        return True

    def _take(self, market: Market, order: Order, parts: list[Execution], *, now_ms: int) -> None:
        for part in parts:
            market.book.take([part])
            self._calculated(market, order, part, now_ms=now_ms)

    def _close(self, position: Position, balance: int, *, now_ms: int) -> None:
        market = self._trading.markets[position.row.symbol]
        row = position.row
        buy = position.lots < 0
        lots = abs(position.lots)
        ticks = self._limit(position, balance)
        order = self._forced_order(market, position, prefix="autoclose-", lots=lots, ticks=ticks, now_ms=now_ms)
        self._take(market, order, market.book.sweep(buy=buy, lots=lots, limit=ticks), now_ms=now_ms)
        rest = order.remaining
        if rest:
            # The fund takes the rest at the bankruptcy price and is rid of it at the mark.
            gain = (market.mark_e8 - ticks * row.tick_e8) * rest * row.step_e8 // E8 * (-1 if buy else 1)
            by_fund = self._account.insurance + gain >= 0
            if by_fund:
                self._account.insurance += gain
            self._record(
                "takeover",
                {
                    "symbol": row.symbol, "quantity": row.quantity_text(rest), "price": row.price_text(ticks),
                    "by": "insurance" if by_fund else "adl", "fund_gain_e8": gain if by_fund else 0,
                },
            )  # fmt: skip
            self._calculated(market, order, Execution(ticks, rest), now_ms=now_ms)
        # The margin balance counted the position at the mark; the executions were better or worse than that.
        at_mark = row.value_at_e8(market.mark_e8, lots)
        gained = at_mark - order.quote if buy else order.quote - at_mark
        self._end(order, left=balance + gained, now_ms=now_ms)

    def _end(self, order: Order, *, left: int, now_ms: int) -> None:
        """Take the liquidation fee out of what is *left* of the margin, and tell the world."""
        row = order.row
        fee = max(0, min(left, order.quote * LIQUIDATION_FEE_BPS // 10_000, self._account.cross_wallet()))
        if fee:
            self._account.pay_insurance(row.symbol, fee, now_ms=now_ms)
            self._trading.tell_account([], reason="INSURANCE_CLEAR", now_ms=now_ms, change=-fee)
        self.forced.append((order, "LIQUIDATION"))
        self._record(
            "liquidation",
            {
                "symbol": row.symbol, "side": order.side, "quantity": row.quantity_text(order.filled),
                "price": row.price_text(order.price), "fee_e8": fee, "insurance_e8": self._account.insurance,
            },
        )  # fmt: skip
        self._publish(row.symbol, order.filled, force_order(order, now_ms=now_ms))

    def _forced_order(
        self, market: Market, position: Position, *, prefix: str, lots: int, ticks: int, now_ms: int
    ) -> Order:
        self._count += 1
        name = prefix if not prefix.endswith("-") else f"{prefix}{now_ms}{self._count:03d}"
        spec = OrderSpec(
            client_id=name,
            side="BUY" if position.lots < 0 else "SELL",
            order_type="LIQUIDATION",
            time_in_force="IOC",
            lots=lots,
            price=ticks,
            position_side=position.side,
            self_trade_prevention="NONE",
        )
        return self._trading.accept(market, spec, price=ticks, now_ms=now_ms)

    def _calculated(self, market: Market, order: Order, part: Execution, *, now_ms: int) -> None:
        self._trading.fill(
            market, order, ticks=part.ticks, lots=part.lots, maker=False, now_ms=now_ms, execution="CALCULATED"
        )

    def deleverage(self, position: Position, *, lots: int, now_ms: int) -> Order:
        """Close lots of a position at the mark because a stranger's liquidation needs a counterparty (ADL)."""
        market = self._trading.markets[position.row.symbol]
        ticks = market.row.nearest_tick(market.mark_e8)
        lots = min(lots, abs(position.lots))
        order = self._forced_order(market, position, prefix="adl_autoclose", lots=lots, ticks=ticks, now_ms=now_ms)
        self._calculated(market, order, Execution(ticks, lots), now_ms=now_ms)
        # Resting reduce-only orders have less to reduce now (er 4, sheet 6.4).
        self._trading.enforce_reduce_only(position.row.symbol, now_ms=now_ms)
        self.forced.append((order, "ADL"))
        self._record("adl", {"symbol": position.row.symbol, "quantity": position.row.quantity_text(lots)})
        return order


def force_order(order: Order, *, now_ms: int) -> Payload:
    """The forceOrder event of sheet 2.9 for a liquidation order that has ended."""
    row = order.row
    average = format_e8(order.average_e8(), row.price_decimals)
    return {
        "e": "forceOrder",
        "E": now_ms,
        "ps": row.symbol,
        "st": 1,
        "o": {
            "s": row.symbol,
            "S": order.side,
            "o": "LIMIT",
            "f": "IOC",
            "q": row.quantity_text(order.lots),
            "p": row.price_text(order.price),
            "ap": average,
            # An IOC that the book took in part is told as such (sheet 2.9).
            "X": "FILLED" if order.remaining == 0 else "PARTIALLY_FILLED",
            "l": row.quantity_text(order.filled),
            "z": row.quantity_text(order.filled),
            "T": order.updated_ms,
        },
    }


def strangers_force_order(row: Instrument, *, long: bool, ticks: int, lots: int, now_ms: int) -> Payload:
    """The forceOrder event of a stranger's liquidation, filled at one price."""
    price, quantity = row.price_text(ticks), row.quantity_text(lots)
    return {
        "e": "forceOrder",
        "E": now_ms,
        "ps": row.symbol,
        "st": 1,
        "o": {
            "s": row.symbol,
            "S": "SELL" if long else "BUY",
            "o": "LIMIT",
            "f": "IOC",
            "q": quantity,
            "p": price,
            "ap": price,
            "X": "FILLED",
            "l": quantity,
            "z": quantity,
            "T": now_ms,
        },
    }
