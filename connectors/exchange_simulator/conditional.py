"""The only place with conditional (algo) orders: states, trigger conditions and wire shapes (sheet 3.6, 4.4, 6.5).

States: NEW → TRIGGERING → TRIGGERED → FINISHED; NEW → CANCELED | EXPIRED; TRIGGERING → REJECTED | EXPIRED.
"""

from __future__ import annotations

from typing import Any, Final

from connectors.exchange_simulator.fixed_point import format_e8
from connectors.exchange_simulator.instruments import Instrument
from connectors.exchange_simulator.orders import Order

Payload = dict[str, Any]  # Any: the venue's JSON
# type → (type of the child order, whether a BUY triggers at or above the trigger price)
CONDITIONAL_TYPES: Final = {
    "STOP": ("LIMIT", True),
    "STOP_MARKET": ("MARKET", True),
    "TAKE_PROFIT": ("LIMIT", False),
    "TAKE_PROFIT_MARKET": ("MARKET", False),
}
# Every conditional type of the venue; the trailing one is refused here with -1116, on /order with -4120.
ALL_CONDITIONAL_TYPES: Final = (*CONDITIONAL_TYPES, "TRAILING_STOP_MARKET")
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
    ) -> None:
        self.row = row
        self.algo_id, self.client_id = algo_id, client_id
        self.side, self.buy, self.order_type = side, side == "BUY", order_type
        self.time_in_force = time_in_force
        self.lots, self.price, self.trigger = lots, price, trigger
        self.working_type = working_type
        self.close_position, self.reduce_only, self.price_protect = close_position, reduce_only, price_protect
        self.self_trade_prevention = self_trade_prevention
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

    def triggers_at(self, *, mark_e8: int, last_ticks: int) -> bool:
        """Whether the condition of sheet 6.5 holds at these prices."""
        price = mark_e8 if self.working_type == "MARK_PRICE" else last_ticks * self.row.tick_e8
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
        "positionSide": "BOTH",
        "timeInForce": algo.time_in_force,
        "quantity": row.quantity_text(algo.lots),
        "algoStatus": algo.state,
        "triggerPrice": row.price_text(algo.trigger),
        "price": row.price_text(algo.price),
        "icebergQuantity": None,
        "selfTradePreventionMode": algo.self_trade_prevention,
        "workingType": algo.working_type,
        "priceMatch": "NONE",
        "closePosition": algo.close_position,
        "priceProtect": algo.price_protect,
        "reduceOnly": algo.reduce_only,
        "activatePrice": "",
        "callbackRate": "",
        "createTime": algo.created_ms,
        "updateTime": algo.updated_ms,
        "triggerTime": algo.triggered_ms,
        "goodTillDate": 0,
    }


def algo_query(algo: AlgoOrder) -> Payload:
    """An element of GET algoOrder / openAlgoOrders."""
    body = algo_ack(algo)
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
        "ps": "BOTH",
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
        "pm": "NONE",
        "cp": algo.close_position,
        "pP": algo.price_protect,
        "R": algo.reduce_only,
        "tt": algo.triggered_ms,
        "gtd": 0,
    }
    if algo.reason:
        body["rm"] = algo.reason
    return {"e": "ALGO_UPDATE", "T": now_ms, "E": now_ms, "o": body}
