"""The only place with the regular order record and its three shapes on the wire: ack, query, ORDER_TRADE_UPDATE."""

from __future__ import annotations

from typing import Any

from connectors.exchange_simulator.fixed_point import E8, divide_rounded, format_e8, format_trimmed
from connectors.exchange_simulator.instruments import Instrument
from connectors.exchange_simulator.order_specs import closes

Payload = dict[str, Any]  # Any: the venue's JSON
OPEN_STATUSES = ("NEW", "PARTIALLY_FILLED")


class Order:
    """A regular order; quantities in lots, prices in ticks (0 = no limit), quote in e8 USDT."""

    def __init__(
        self,
        row: Instrument,
        *,
        order_id: int,
        client_id: str,
        side: str,
        order_type: str,
        time_in_force: str,
        lots: int,
        price: int,
        reduce_only: bool,
        close_position: bool,
        now_ms: int,
        original_type: str | None = None,
        stop_price: int = 0,
        working_type: str = "CONTRACT_PRICE",
        self_trade_prevention: str = "EXPIRE_MAKER",
        algo_id: int | None = None,
        position_side: str = "BOTH",
        price_match: str = "NONE",
        good_till_ms: int = 0,
        activation: int = 0,
        callback: int = 0,
    ) -> None:
        self.row = row
        self.order_id, self.client_id = order_id, client_id
        self.side, self.buy = side, side == "BUY"
        self.order_type, self.original_type = order_type, original_type or order_type
        self.time_in_force = time_in_force
        self.lots, self.price = lots, price
        self.reduce_only, self.close_position = reduce_only, close_position
        self.stop_price, self.working_type = stop_price, working_type
        self.self_trade_prevention = self_trade_prevention
        self.algo_id = algo_id
        self.position_side, self.price_match, self.good_till_ms = position_side, price_match, good_till_ms
        self.activation, self.callback = activation, callback
        self.amendments: list[Amendment] = []
        self.status = "NEW"
        self.filled = 0
        self.quote = 0
        self.expiry_reason = "0"
        self.queue_ahead = 0
        self.created_ms = self.updated_ms = now_ms

    @property
    def remaining(self) -> int:
        """Lots still to fill."""
        return self.lots - self.filled

    @property
    def is_open(self) -> bool:
        """Whether the order can still fill."""
        return self.status in OPEN_STATUSES

    @property
    def closes(self) -> bool:
        """Whether it may only make its position smaller."""
        return closes(self.position_side, buy=self.buy, reduce_only=self.reduce_only)

    def average_e8(self) -> int:
        """Average fill price so far, e8."""
        return divide_rounded(self.quote * E8, self.filled * self.row.step_e8) if self.filled else 0


def order_ack(order: Order) -> Payload:
    """Reply of POST and DELETE; avgPrice and cumQuote are gone since 2026-06-30 (sheet 4.3)."""
    row = order.row
    executed = row.quantity_text(order.filled)
    return {
        "orderId": order.order_id,
        "symbol": row.symbol,
        "status": order.status,
        "clientOrderId": order.client_id,
        "price": row.price_text(order.price),
        "origQty": row.quantity_text(order.lots),
        "executedQty": executed,
        "cumQty": executed,
        "timeInForce": order.time_in_force,
        "type": order.order_type,
        "reduceOnly": order.reduce_only,
        "closePosition": order.close_position,
        "side": order.side,
        "positionSide": order.position_side,
        "stopPrice": row.price_text(order.stop_price),
        "workingType": order.working_type,
        "priceProtect": False,
        "origType": order.original_type,
        "priceMatch": order.price_match,
        "selfTradePreventionMode": order.self_trade_prevention,
        "goodTillDate": order.good_till_ms,
        "updateTime": order.updated_ms,
    } | _trailing(order)


def _trailing(order: Order) -> Payload:
    """Only trailing orders tell these two (sheet 4.3); the rate is in percent."""
    if not order.callback:
        return {}
    return {
        "activatePrice": order.row.price_text(order.activation),
        "priceRate": format_trimmed(order.callback * 10**6),
    }


def order_query(order: Order) -> Payload:
    """An element of GET order / openOrders: the ack without cumQty, with avgPrice, cumQuote and time."""
    body = order_ack(order)
    del body["cumQty"]
    body["avgPrice"] = format_e8(order.average_e8(), max(5, order.row.price_decimals))
    body["cumQuote"] = format_e8(order.quote, 5)
    body["time"] = order.created_ms
    return body


def order_update(
    order: Order,
    *,
    execution: str,
    now_ms: int,
    bid_notional: int,
    ask_notional: int,
    fill: Fill | None = None,
    modify_id: str | None = None,
) -> Payload:
    """ORDER_TRADE_UPDATE of sheet 3.3; *fill* only for TRADE and CALCULATED, *modify_id* only for AMENDMENT."""
    row = order.row
    event: Payload = {
        "e": "ORDER_TRADE_UPDATE",
        "E": now_ms,
        "T": now_ms,
        "o": {
            "s": row.symbol,
            "c": order.client_id,
            "S": order.side,
            "o": order.order_type,
            "f": order.time_in_force,
            "q": row.quantity_text(order.lots),
            "p": row.price_text(order.price) if order.price else "0",
            "ap": format_trimmed(order.average_e8(), row.price_decimals),
            "sp": row.price_text(order.stop_price) if order.stop_price else "0",
            "x": execution,
            "X": order.status,
            "i": order.order_id,
            "l": "0" if fill is None else row.quantity_text(fill.lots),
            "z": row.quantity_text(order.filled) if order.filled else "0",
            "L": "0" if fill is None else row.price_text(fill.ticks),
            "N": "USDT",
            "n": "0" if fill is None else format_e8(fill.fee),
            "T": now_ms,
            "t": 0 if fill is None else fill.trade_id,
            "b": format_e8(bid_notional, 5) if bid_notional else "0",
            "a": format_e8(ask_notional, 5) if ask_notional else "0",
            "m": fill is not None and fill.maker,
            "R": order.reduce_only,
            "wt": order.working_type,
            "ot": order.original_type,
            "ps": order.position_side,
            "cp": order.close_position,
            "rp": "0" if fill is None else format_trimmed(fill.realised),
            "pP": False,
            "si": 0,
            "ss": 0,
            "V": order.self_trade_prevention,
            "pm": order.price_match,
            "gtd": order.good_till_ms,
            "er": order.expiry_reason,
        },
    }
    if order.callback:
        event["o"] |= {"AP": row.price_text(order.activation), "cr": format_trimmed(order.callback * 10**6)}
    if modify_id is not None:
        event["o"]["M"] = modify_id
    return event


class Amendment:
    """One modification of an order: prices in ticks, quantities in lots, before and after."""

    def __init__(self, number: int, *, prices: tuple[int, int], lots: tuple[int, int], at_ms: int) -> None:
        self.number, self.prices, self.lots, self.at_ms = number, prices, lots, at_ms


def amendment_row(order: Order, amendment: Amendment, count: int) -> Payload:
    """A row of GET orderAmendment."""
    price, quantity = order.row.price_text, order.row.quantity_text
    return {
        "amendmentId": amendment.number,
        "symbol": order.row.symbol,
        "pair": order.row.symbol,
        "orderId": order.order_id,
        "clientOrderId": order.client_id,
        "time": amendment.at_ms,
        "amendment": {
            "price": {"before": price(amendment.prices[0]), "after": price(amendment.prices[1])},
            "origQty": {"before": quantity(amendment.lots[0]), "after": quantity(amendment.lots[1])},
            "count": count,
        },
        "priceMatch": order.price_match,
    }


class Fill:
    """One own execution: lots at ticks, fee and realised profit in e8 USDT."""

    def __init__(
        self, order: Order, *, trade_id: int, ticks: int, lots: int, maker: bool, fee: int, realised: int, at_ms: int
    ) -> None:
        self.order = order
        self.trade_id, self.ticks, self.lots = trade_id, ticks, lots
        self.maker, self.fee, self.realised, self.at_ms = maker, fee, realised, at_ms


def trade_lite(fill: Fill) -> Payload:
    """TRADE_LITE of sheet 3.4: pushed as well as ORDER_TRADE_UPDATE."""
    order, row = fill.order, fill.order.row
    return {
        "e": "TRADE_LITE",
        "E": fill.at_ms,
        "T": fill.at_ms,
        "s": row.symbol,
        "q": row.quantity_text(order.lots),
        "p": row.price_text(order.price) if order.price else "0",
        "m": fill.maker,
        "c": order.client_id,
        "S": order.side,
        "L": row.price_text(fill.ticks),
        "l": row.quantity_text(fill.lots),
        "t": fill.trade_id,
        "i": order.order_id,
    }


def user_trade(fill: Fill) -> Payload:
    """A row of GET userTrades (sheet 4.3); commission positive = cost."""
    order, row = fill.order, fill.order.row
    return {
        "symbol": row.symbol,
        "id": fill.trade_id,
        "orderId": order.order_id,
        "side": order.side,
        "price": row.price_text(fill.ticks),
        "qty": row.quantity_text(fill.lots),
        "realizedPnl": format_trimmed(fill.realised),
        "quoteQty": format_e8(row.notional(fill.ticks, fill.lots), 5),
        "commission": format_e8(fill.fee),
        "commissionAsset": "USDT",
        "time": fill.at_ms,
        "positionSide": order.position_side,
        "buyer": order.buy,
        "maker": fill.maker,
        "marginAsset": "USDT",
        "baseQty": row.quantity_text(fill.lots),
        "pair": row.symbol,
    }
