"""
The only place for the venue probes of domain 6.7: five questions that only an order can answer, on play money only.

Each probe opens what it needs at the minimum size, looks, and cleans up after itself; what it saw is recorded, not what
was hoped for. ``Probe.safe`` says whether our design may lean on it. They run on a flat symbol or not at all.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from pipeline.binance.errors import Reaction
from pipeline.core.units import format_e8, parse_e8
from pipeline.emergency.grid import Grids
from pipeline.emergency.venue import Call, PlainVenue, Reply, now_ms

TRIGGER_SECONDS: Final = 60.0  # a calm market may take so long to fall by a tick behind the stop that follows it
FOLLOW_SECONDS: Final = 1.2  # the mark price is made once a second
COUNTDOWN_MS: Final = 1_000
MULTIPLE: Final = 3  # of the least notional: half of a position must still be an order


class Probe(msgspec.Struct, frozen=True):
    """What the venue did; ``safe``: as our orders need it; None: it was not to be seen, so nothing is known."""

    name: str
    safe: bool | None
    seen: str
    at_ms: int


class NotPossible(Exception):
    """The symbol is not flat, or a step of the preparation was refused."""


class Probes:
    """Runs the probes on *symbol*; *say* gets each step before it is done."""

    def __init__(
        self, venue: PlainVenue, symbol: str, say: Callable[[str], None], *, patience: float = TRIGGER_SECONDS
    ) -> None:
        self._patience = patience
        self._venue, self._symbol, self._say = venue, symbol, say
        self._grids = Grids(venue)
        self._numbers = itertools.count(1)
        self._last = 0
        self._name = f"probe-{now_ms():x}"

    def run(self) -> Iterator[Probe]:
        """All five. Raises NotPossible before anything is sent if the symbol is in use."""
        if self._amount() or self._list("/fapi/v1/openOrders") or self._list("/fapi/v1/openAlgoOrders"):
            raise NotPossible(f"{self._symbol} has a position or orders: probes need a flat symbol")
        for probe in (
            self._close_position_while_flat,
            self._close_position_beside_targets,
            self._quantity_above_the_position,
            self._countdown_and_conditional_orders,
            self._stop_triggers_while_targets_rest,
        ):
            try:
                safe, seen = probe()
                yield Probe(probe.__name__.strip("_").replace("_", " "), safe, seen, now_ms())
            finally:
                self._clean()

    # ---- the five questions

    def _close_position_while_flat(self) -> tuple[bool, str]:
        reply = self._stop(0.97, closePosition="true")
        return reply.accepted, "accepted: a rail may rest before the entry" if reply.accepted else reply.words()

    def _close_position_beside_targets(self) -> tuple[bool, str]:
        self._open()
        self._target(1.03)
        reply = self._stop(0.97, closePosition="true")
        return reply.accepted, "accepted beside a full-size target" if reply.accepted else reply.words()

    def _quantity_above_the_position(self) -> tuple[bool, str]:
        quantity = self._open()
        reply = self._stop(0.97, quantity=format_e8(2 * parse_e8(quantity)), reduceOnly="true")
        return reply.accepted, "a reduce-only stop above the position rests" if reply.accepted else reply.words()

    def _countdown_and_conditional_orders(self) -> tuple[bool, str]:
        self._open()
        self._must(self._stop(0.97, closePosition="true"), "a stop")
        self._target(1.03)
        self._post("/fapi/v1/countdownCancelAll", countdownTime=str(COUNTDOWN_MS))
        time.sleep(COUNTDOWN_MS / 1_000 + 0.5)
        stops, orders = self._list("/fapi/v1/openAlgoOrders"), self._list("/fapi/v1/openOrders")
        left = f"{len(stops)} of 1 stop and {len(orders)} of 1 order left after the countdown"
        return len(stops) == 1, left

    def _stop_triggers_while_targets_rest(self) -> tuple[bool | None, str]:
        """
        The stop is put a tick below the mark and follows it up, so that the next fall sets it off.

        A mark that never falls answers nothing; a stop that goes off and leaves the position open is unsafe.
        """
        quantity = self._open()
        self._target(1.03)
        until = time.monotonic() + self._patience
        seen = "the mark did not fall while a stop rested below it"
        while time.monotonic() < until:
            reply = self._stop(1.0, away=-1, quantity=quantity, reduceOnly="true")
            if not reply.accepted and reply.classified.reaction is not Reaction.WOULD_TRIGGER:
                return False, f"the stop was not taken: {reply.words()}"
            if not reply.accepted:
                continue  # the mark fell between the two requests
            if self._flat_within(FOLLOW_SECONDS):
                return True, "it closed the position while a full-size target rested"
            cancelled = self._cancel_stops()
            if cancelled is not None:
                # It went off: it has what is left of the time to close the position.
                if self._flat_within(max(FOLLOW_SECONDS, until - time.monotonic())):
                    return True, "it closed the position while a full-size target rested"
                return False, f"it went off and the position is still open: {cancelled}"
        return None, seen

    def _flat_within(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while self._amount():
            if time.monotonic() >= until:
                return False
            time.sleep(0.1)
        return True

    def _cancel_stops(self) -> str | None:
        """Take the resting stop away; None when it still waited, else the venue's words."""
        name = f"{self._name}-{self._last}"
        reply = self._venue.call(Call("DELETE", "/fapi/v1/algoOrder", (("clientAlgoId", name),)))
        return None if reply.accepted else reply.words()

    # ---- steps

    def _open(self) -> str:
        mark = self._mark()
        info = self._grids.lots_down_e8(self._symbol, MULTIPLE * self._grids.least_e8(self._symbol, mark))
        quantity = format_e8(info)
        self._must(self._post("/fapi/v1/order", side="BUY", type="MARKET", quantity=quantity), "an entry")
        found = self._amount()
        if not found:
            raise NotPossible("the entry did not fill")
        return found

    def _target(self, factor: float) -> None:
        price = self._price(factor)
        quantity = self._amount()
        terms = {"side": "SELL", "type": "LIMIT", "timeInForce": "GTC", "price": price, "quantity": quantity}
        self._must(self._post("/fapi/v1/order", **terms, reduceOnly="true"), "a target")

    def _stop(self, factor: float, *, away: int = 0, **size: str) -> Reply:
        trigger = self._price(factor, away=away)
        terms = {"algoType": "CONDITIONAL", "side": "SELL", "type": "STOP_MARKET", "triggerPrice": trigger}
        return self._post("/fapi/v1/algoOrder", **terms, **size, workingType="MARK_PRICE", priceProtect="false")

    def _clean(self) -> None:
        """Back to flat and without orders, whatever stands."""
        for path in ("/fapi/v1/allOpenOrders", "/fapi/v1/algoOpenOrders"):
            self._venue.call(Call("DELETE", path, (("symbol", self._symbol),)))
        amount = self._amount()
        if amount:
            self._post("/fapi/v1/order", side="SELL", type="MARKET", quantity=amount, reduceOnly="true")

    def _post(self, path: str, **terms: str) -> Reply:
        named = {"/fapi/v1/order": "newClientOrderId", "/fapi/v1/algoOrder": "clientAlgoId"}.get(path)
        if named:
            self._last = next(self._numbers)
        name = ((named, f"{self._name}-{self._last}"),) if named else ()
        self._say(f"{path} {' '.join(f'{key}={value}' for key, value in terms.items())}")
        return self._venue.call(Call("POST", path, (("symbol", self._symbol), *terms.items(), *name)), seconds=5.0)

    def _must(self, reply: Reply, what: str) -> None:
        if not reply.accepted:
            raise NotPossible(f"{what} was refused: {reply.words()}")

    def _list(self, path: str) -> list[dict[str, Any]]:  # Any: the venue's JSON
        reply = self._venue.call(Call("GET", path, (("symbol", self._symbol),)))
        if not reply.accepted:
            raise NotPossible(f"{path}: {reply.words()}")
        rows: list[dict[str, Any]] = msgspec.json.decode(reply.body)
        return rows

    def _amount(self) -> str:
        """The position's quantity as the venue writes it; "" when flat."""
        rows = self._list("/fapi/v3/positionRisk")
        return next((row["positionAmt"] for row in rows if parse_e8(row["positionAmt"])), "")

    def _mark(self) -> int:
        query = (("symbol", self._symbol),)
        reply = self._venue.call(Call("GET", "/fapi/v1/premiumIndex", query, signed=False))
        self._must(reply, "the mark price")
        return parse_e8(msgspec.json.decode(reply.body)["markPrice"])

    def _price(self, factor: float, *, away: int = 0) -> str:
        return self._grids.price_text(self._symbol, int(self._mark() * factor), away=away)
