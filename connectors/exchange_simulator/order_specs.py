"""The only definitions of validated order requests, between the parameters of a client and the rules of trading."""

from __future__ import annotations

from typing import Final

import msgspec

SELF_TRADE_MODES: Final = ("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH")
# Level counted from the best price; OPPONENT_10 and _20 were withdrawn on 2025-10-23 (sheet 6.2, V11).
PRICE_MATCHES: Final = {
    "OPPONENT": (True, 1), "OPPONENT_5": (True, 5),
    "QUEUE": (False, 1), "QUEUE_5": (False, 5), "QUEUE_10": (False, 10), "QUEUE_20": (False, 20),
}  # fmt: skip


class OrderSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A validated regular order request: lots, ticks (0 for MARKET and for priceMatch)."""

    client_id: str
    side: str
    order_type: str
    time_in_force: str
    lots: int
    price: int
    position_side: str = "BOTH"
    reduce_only: bool = False
    close_position: bool = False
    self_trade_prevention: str = "EXPIRE_MAKER"
    price_match: str = "NONE"
    good_till_ms: int = 0

    @property
    def closes(self) -> bool:
        """Whether it may only make a position smaller."""
        return closes(self.position_side, buy=self.side == "BUY", reduce_only=self.reduce_only)


class AlgoSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A validated conditional order request; *callback* in 1e-4, *activation* in ticks (0: the present price)."""

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
    position_side: str = "BOTH"
    price_match: str = "NONE"
    good_till_ms: int = 0
    activation: int = 0
    callback: int = 0


def closes(position_side: str, *, buy: bool, reduce_only: bool) -> bool:
    """Reduce-only, or the closing direction of hedge mode: LONG + SELL, SHORT + BUY (sheet 6.4)."""
    return reduce_only or (position_side == "LONG" and not buy) or (position_side == "SHORT" and buy)
