"""The only place with conditional (algo) orders: states, trigger conditions and wire shapes (sheet 3.6, 4.4, 6.5).

States: NEW → TRIGGERING → TRIGGERED → FINISHED; NEW → CANCELED | EXPIRED; TRIGGERING → REJECTED | EXPIRED.
"""

from __future__ import annotations

from typing import Any, Final

from connectors.exchange_simulator.fixed_point import format_e8, format_trimmed
from connectors.exchange_simulator.instruments import Instrument
from connectors.exchange_simulator.order_specs import closes
from connectors.exchange_simulator.orders import Order

Payload = dict[str, Any]  # Any: the venue's JSON
# type → (type of the child order, whether a BUY triggers at or above the trigger price)
CONDITIONAL_TYPES: Final = {
    "STOP": ("LIMIT", True),
    "STOP_MARKET": ("MARKET", True),
    "TAKE_PROFIT": ("LIMIT", False),
    "TAKE_PROFIT_MARKET": ("MARKET", False),
    # A trailing order's trigger follows the best price since it became active.
    "TRAILING_STOP_MARKET": ("MARKET", True),
}
TRAILING: Final = "TRAILING_STOP_MARKET"
STOP_TYPES: Final = ("STOP", "STOP_MARKET")
OPEN_STATES: Final = ("NEW", "TRIGGERING")


class AlgoOrder:
    """A conditional order; *trigger* and *price* in ticks, *lots* 0 when closePosition."""

    def __init__(
        self,
        row: Instrument,
        *,
        algo_id: int,
        client_id: str,
        side: str,
        order_type: str,
        time_in_force: str,
        lots: int,
        price: int,
        trigger: int,
        working_type: str,
        close_position: bool,
        reduce_only: bool,
        price_protect: bool,
        self_trade_prevention: str,
        now_ms: int,
        position_side: str = "BOTH",
        price_match: str = "NONE",
        good_till_ms: int = 0,
        activation: int = 0,
        callback: int = 0,
    ) -> None:
        self.row = row
        self.algo_id, self.client_id = algo_id, client_id
        self.side, self.buy, self.order_type = side, side == "BUY", order_type
        self.time_in_force = time_in_force
        self.lots, self.price, self.trigger = lots, price, trigger
        self.working_type = working_type
        self.close_position, self.reduce_only, self.price_protect = close_position, reduce_only, price_protect
        self.self_trade_prevention = self_trade_prevention
        self.position_side, self.price_match, self.good_till_ms = position_side, price_match, good_till_ms
        self.activation, self.callback = activation, callback
        # Trailing only: whether the activation price was reached, and the best price since then, e8.
        self.active = False
        self.extreme = 0
        self.state = "NEW"
        self.created_ms = self.updated_ms = now_ms
        self.triggered_ms = 0
        self.child: Order | None = None
        self.reason = ""

    @property
    def is_open(self) -> bool:
        """Whether the order waits for its trigger."""
        return self.state in OPEN_STATES

    @property
    def is_stop(self) -> bool:
        """Whether it limits a loss (STOP, STOP_MARKET)."""
        return self.order_type in STOP_TYPES

    @property
    def closes(self) -> bool:
        """Whether it may only make its position smaller."""
        return self.close_position or closes(self.position_side, buy=self.buy, reduce_only=self.reduce_only)

    def working_price(self, *, mark_e8: int, last_ticks: int) -> int:
        """The price it looks at, e8."""
        return mark_e8 if self.working_type == "MARK_PRICE" else last_ticks * self.row.tick_e8

    def follow(self, price_e8: int) -> bool:
        """Let a trailing order see a price: it becomes active, or its best price moves. True when just activated."""
        activation = self.activation * self.row.tick_e8
        if not self.active:
            if price_e8 > activation if self.buy else price_e8 < activation:
                return False
            self.active, self.extreme = True, price_e8
            return True
        self.extreme = min(self.extreme, price_e8) if self.buy else max(self.extreme, price_e8)
        return False

    def triggers_at(self, *, mark_e8: int, last_ticks: int) -> bool:
        """Whether the condition of sheet 6.5 holds at these prices."""
        price = self.working_price(mark_e8=mark_e8, last_ticks=last_ticks)
        if self.order_type == TRAILING:
            if not self.active:
                return False
            turned = self.extreme * (10_000 + (self.callback if self.buy else -self.callback)) // 10_000
            return price >= turned if self.buy else price <= turned
        trigger = self.trigger * self.row.tick_e8
        rising = CONDITIONAL_TYPES[self.order_type][1] == self.buy
        return price >= trigger if rising else price <= trigger


def algo_ack(algo: AlgoOrder) -> Payload:
    """Reply of POST algoOrder."""
    row = algo.row
    return {
        "algoId": algo.algo_id,
        "clientAlgoId": algo.client_id,
        "algoType": "CONDITIONAL",
        "orderType": algo.order_type,
        "symbol": row.symbol,
        "side": algo.side,
        "positionSide": algo.position_side,
        "timeInForce": algo.time_in_force,
        "quantity": row.quantity_text(algo.lots),
        "algoStatus": algo.state,
        "triggerPrice": row.price_text(algo.trigger),
        "price": row.price_text(algo.price),
        "icebergQuantity": None,
        "selfTradePreventionMode": algo.self_trade_prevention,
        "workingType": algo.working_type,
        "priceMatch": algo.price_match,
        "closePosition": algo.close_position,
        "priceProtect": algo.price_protect,
        "reduceOnly": algo.reduce_only,
        "activatePrice": row.price_text(algo.activation) if algo.callback else "",
        "callbackRate": format_trimmed(algo.callback * 10**6) if algo.callback else "",
        "createTime": algo.created_ms,
        "updateTime": algo.updated_ms,
        "triggerTime": algo.triggered_ms,
        "goodTillDate": algo.good_till_ms,
    }


def algo_query(algo: AlgoOrder) -> Payload:
    """An element of GET algoOrder / openAlgoOrders."""
    body = algo_ack(algo)
    if not algo.callback:
        del body["activatePrice"], body["callbackRate"]
    child = algo.child
    body["actualOrderId"] = "" if child is None else str(child.order_id)
    body["actualPrice"] = "0.00000" if child is None else format_e8(child.average_e8(), max(5, algo.row.price_decimals))
    body["tpTriggerPrice"] = body["tpPrice"] = body["slTriggerPrice"] = body["slPrice"] = algo.row.price_text(0)
    body["tpOrderType"] = ""
    if child is not None:
        body["actualType"] = child.order_type
        body["actualQty"] = algo.row.quantity_text(child.filled)
    return body


def algo_update(algo: AlgoOrder, *, now_ms: int) -> Payload:
    """ALGO_UPDATE of sheet 3.6; `rm` only with a reason."""
    row, child = algo.row, algo.child
    body = {
        "caid": algo.client_id,
        "aid": algo.algo_id,
        "at": "CONDITIONAL",
        "o": algo.order_type,
        "s": row.symbol,
        "S": algo.side,
        "ps": algo.position_side,
        "f": algo.time_in_force,
        "q": row.quantity_text(algo.lots),
        "X": algo.state,
        "ai": "" if child is None else str(child.order_id),
        "ap": "0.00000" if child is None else format_e8(child.average_e8(), max(5, row.price_decimals)),
        "aq": "0.00000" if child is None else row.quantity_text(child.filled),
        "act": "0" if child is None else child.order_type,
        "tp": row.price_text(algo.trigger),
        "p": row.price_text(algo.price) if algo.price else "0",
        "V": algo.self_trade_prevention,
        "wt": algo.working_type,
        "pm": algo.price_match,
        "cp": algo.close_position,
        "pP": algo.price_protect,
        "R": algo.reduce_only,
        "tt": algo.triggered_ms,
        "gtd": algo.good_till_ms,
    }
    if algo.callback:
        # Told since 2026-08-21: a trailing order may say NEW twice, first inactive, later active (3.6).
        body["ia"] = algo.active
    if algo.reason:
        body["rm"] = algo.reason
    return {"e": "ALGO_UPDATE", "T": now_ms, "E": now_ms, "o": body}
