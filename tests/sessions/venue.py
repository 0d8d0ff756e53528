"""
The only place for the small venue that answers a scripted session: executor and exchange in one, nothing hidden.

It takes the intents a line led to and tells the evidence of them in the venue's order (outcome, then user events). A
story that is about something going wrong tells its evidence by hand instead, or switches an answer off.
"""

from __future__ import annotations

import msgspec

from pipeline.core.commands import (
    CancelLeg,
    ClosePosition,
    MoveStop,
    OpenBracket,
    Output,
    PlaceTarget,
    ReducePosition,
    RequestData,
    Sweep,
)
from pipeline.core.events import (
    AlgoUpdated,
    Event,
    Leg,
    OpenAlgoOrder,
    OpenOrder,
    OrderUpdated,
    PositionUpdated,
    Reconciled,
    RequestEnded,
    Side,
    Verdict,
)
from pipeline.core.identity import client_id, intent_of
from pipeline.core.units import E8, ONE_E8, Lots, Milliseconds, Ticks
from tests.sessions.script import Session

FEE_E8 = 50_000  # 0.05 % of the notional


class Resting(msgspec.Struct):
    """An order that rests on the venue; ``lots`` 0 is closePosition."""

    client_id: str
    leg: Leg
    side: Side
    trigger: int
    lots: int
    position: str
    order_id: int


class Venue:
    """One symbol of one account in one-way mode. Prices are ticks of 1 USDT."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.price = 50_000
        self.resting: dict[str, Resting] = {}
        self.lots = 0  # signed
        self.entry = 0
        self.trades = 0
        self.ids = 0
        self.answers_audits = True
        self.places_rails = True
        self.fill_share = 1.0
        self.lost = 0  # so many of the next lines are lost on their way

    # ------------------------------------------------------------------------------------- telling

    def tell(self, *events: Event) -> None:
        """Each event as a line of its own; whatever they lead to is answered in turn."""
        for event in events:
            if self.lost:
                self.lost -= 1
                continue
            first = len(self.session.outputs)
            self.session.say(event)
            self.answer(self.session.outputs[first:], self.session.ids[first:])

    def run(self, outputs: list[Output]) -> None:
        """Answer what a line of the story has just led to."""
        ids = self.session.ids[len(self.session.ids) - len(outputs) :]
        self.answer(outputs, ids)

    def answer(self, outputs: list[Output], ids: list[str]) -> None:
        """Do what is asked, in order."""
        for output, name in zip(list(outputs), list(ids), strict=True):
            match output:
                case OpenBracket():
                    self._open(output, name)
                case MoveStop():
                    self._move(output, name)
                case PlaceTarget():
                    self._cancel([order for order in self.resting.values() if order.leg is output.leg])
                    self._place(output.leg, name, output.position, output.side.opposite, output.price, output.lots)
                case CancelLeg():
                    self._cancel([order for order in self.resting.values() if order.leg is output.leg])
                case ClosePosition():
                    self._close(output, name)
                case ReducePosition():
                    self._reduce(output, name)
                case Sweep():
                    self._cancel([o for o in self.resting.values() if o.position == output.position])
                case RequestData(kind="audit") if self.answers_audits:
                    self.tell(self.read())
                case _:
                    pass

    def mark(self, price: int) -> None:
        """Move the market: quote, then mark, then whatever that triggers."""
        self.price = price
        first = len(self.session.outputs)
        self.session.quote(price - 1, price + 1)
        self.session.mark(price)
        self.answer(self.session.outputs[first:], self.session.ids[first:])
        self.trigger()

    def trigger(self) -> None:
        """Fire stops and targets that the price has reached: targets first, then stops."""
        for order in list(self.resting.values()):
            if order.client_id not in self.resting or not self.lots:
                continue
            sign = -order.side.sign  # of the position
            gain = order.leg in (Leg.TARGET, Leg.LAST_TARGET)
            if (self.price - order.trigger) * sign * (1 if gain else -1) < 0:
                continue
            del self.resting[order.client_id]
            lots = min(order.lots or abs(self.lots), abs(self.lots))
            if order.leg is not Leg.TARGET:
                self.tell(self.algo(order, "TRIGGERING"), self.algo(order, "TRIGGERED"))
            self.fill(order, lots, order.trigger if gain else self.price, whole=order.lots or lots)
            if order.leg is not Leg.TARGET:
                self.tell(self.algo(order, "FINISHED"))

    # ------------------------------------------------------------------------------------- evidence

    def fill(self, order: Resting, lots: int, price: int, *, whole: int, before: int = 0) -> None:
        """One trade of *order*: ORDER_TRADE_UPDATE, then ACCOUNT_UPDATE, as the venue sends them."""
        self.trades += 1
        realised = 0
        if order.side.sign * self.lots < 0:
            realised = (price - self.entry) * -order.side.sign * lots * 100_000
        else:
            total = abs(self.lots) + lots
            self.entry = (self.entry * abs(self.lots) + price * lots) // total
        self.lots += order.side.sign * lots
        self.tell(
            OrderUpdated(
                client_id=order.client_id,
                order_id=order.order_id,
                side=order.side,
                execution="TRADE",
                status="FILLED" if before + lots >= whole else "PARTIALLY_FILLED",
                original_type="LIMIT",
                lots=Lots(whole),
                filled_lots=Lots(before + lots),
                fill_lots=Lots(lots),
                fill_price=E8(price * ONE_E8),
                trade_id=self.trades,
                fee=E8(price * lots * 100_000 * FEE_E8 // ONE_E8),
                realised=E8(realised),
                reduce_only=order.leg is not Leg.ENTRY,
                event_ms=Milliseconds(self.session.now),
            ),
            self.account(),
        )

    def account(self) -> PositionUpdated:
        """ACCOUNT_UPDATE's row."""
        return PositionUpdated(
            lots=Lots(self.lots),
            entry_price=E8(self.entry * ONE_E8 if self.lots else 0),
            reason="ORDER",
            event_ms=Milliseconds(self.session.now),
        )

    def algo(self, order: Resting, status: str, *, reason: str = "") -> AlgoUpdated:
        """ALGO_UPDATE."""
        return AlgoUpdated(
            client_id=order.client_id,
            algo_id=order.order_id + 1_000,
            order_type="STOP_MARKET",
            side=order.side,
            status=status,
            order_id=order.order_id if status in ("TRIGGERED", "FINISHED") else 0,
            lots=Lots(order.lots),
            trigger=Ticks(order.trigger),
            close_position=not order.lots,
            reason=reason,
            event_ms=Milliseconds(self.session.now),
        )

    def ended(self, order: Resting, verdict: Verdict, *, code: int = 0, intent: str = "") -> RequestEnded:
        """The executor's outcome about *order*."""
        return RequestEnded(
            intent=intent or intent_of(order.client_id) or "",
            position=order.position,
            leg=order.leg,
            client_id=order.client_id,
            verdict=verdict,
            order_id=order.order_id,
            trigger=Ticks(order.trigger),
            lots=Lots(order.lots),
            code=code,
            venue_ms=Milliseconds(self.session.now),
        )

    def read(self) -> Reconciled:
        """A complete read of the venue now."""
        return Reconciled(
            lots=Lots(self.lots),
            entry_price=E8(self.entry * ONE_E8 if self.lots else 0),
            liquidation=E8(0),
            orders=[
                OpenOrder(
                    client_id=o.client_id,
                    order_id=o.order_id,
                    order_type="LIMIT",
                    side=o.side,
                    lots=Lots(o.lots),
                    filled_lots=Lots(0),
                    price=Ticks(o.trigger),
                    reduce_only=True,
                )
                for o in self.resting.values()
                if o.leg is Leg.TARGET
            ],
            algo_orders=[
                OpenAlgoOrder(
                    client_id=o.client_id,
                    algo_id=o.order_id + 1_000,
                    order_type="TAKE_PROFIT_MARKET" if o.leg is Leg.LAST_TARGET else "STOP_MARKET",
                    side=o.side,
                    status="NEW",
                    lots=Lots(o.lots),
                    trigger=Ticks(o.trigger),
                    close_position=not o.lots,
                    reduce_only=bool(o.lots),
                )
                for o in self.resting.values()
                if o.leg is not Leg.TARGET
            ],
            event_ms=Milliseconds(self.session.now),
        )

    # ------------------------------------------------------------------------------------- doing

    def order(  # noqa: PLR0917
        self, intent: str, leg: Leg, side: Side, trigger: int, lots: int, position: str, attempt: int = 0
    ) -> Resting:
        """A new order with an id of its own."""
        self.ids += 1
        name = client_id(intent=intent, leg=leg, attempt=attempt)
        return Resting(name, leg, side, trigger, lots, position, self.ids)

    def _open(self, bracket: OpenBracket, name: str) -> None:
        entry = self.order(name, Leg.ENTRY, bracket.side, bracket.limit, bracket.lots, name)
        lots = int(bracket.lots * self.fill_share)
        price = self.price + bracket.side.sign
        self.tell(self.ended(entry, Verdict.ACCEPTED))
        if lots:
            self.fill(entry, lots, price, whole=bracket.lots)
        if lots < bracket.lots:
            self.tell(self.expired(entry, filled=lots))
        if lots and self.places_rails:
            opposite = bracket.side.opposite
            self._place(Leg.FAR, name, name, opposite, bracket.far_trigger, 0)
            self._place(Leg.WORKING, name, name, opposite, bracket.working_trigger, lots)

    def expired(self, order: Resting, *, filled: int) -> OrderUpdated:
        """The end of an IOC order with a remainder."""
        return OrderUpdated(
            client_id=order.client_id,
            order_id=order.order_id,
            side=order.side,
            execution="EXPIRED",
            status="EXPIRED",
            original_type="LIMIT",
            lots=Lots(order.lots),
            filled_lots=Lots(filled),
            fill_lots=Lots(0),
            fill_price=E8(0),
            trade_id=0,
            fee=E8(0),
            realised=E8(0),
            reduce_only=False,
            event_ms=Milliseconds(self.session.now),
        )

    def _place(  # noqa: PLR0917
        self, leg: Leg, name: str, position: str, side: Side, trigger: int, lots: int
    ) -> Resting:
        order = self.order(name, leg, side, trigger, lots, position)
        self.resting[order.client_id] = order
        self.tell(self.ended(order, Verdict.ACCEPTED))
        if leg is not Leg.TARGET:
            self.tell(self.algo(order, "NEW"))
        return order

    def _move(self, move: MoveStop, name: str) -> None:
        old = [order for order in self.resting.values() if order.leg is move.leg]
        if move.leg is Leg.FAR:
            self._cancel(old)
        self._place(move.leg, name, move.position, move.side.opposite, move.trigger, move.lots)
        if move.leg is Leg.WORKING:
            self._cancel(old)

    def _cancel(self, orders: list[Resting]) -> None:
        for order in list(orders):
            if self.resting.pop(order.client_id, None) is not None:
                self.tell(self.ended(order, Verdict.CANCELLED))

    def _close(self, close: ClosePosition, name: str) -> None:
        self._cancel([order for order in self.resting.values() if order.leg is Leg.TARGET])
        if self.lots:
            order = self.order(name, Leg.CLOSE, close.side.opposite, 0, abs(self.lots), close.position)
            self.fill(order, abs(self.lots), self.price, whole=abs(self.lots))

    def _reduce(self, part: ReducePosition, name: str) -> None:
        """A part at market, slice by slice."""
        left, attempt = min(part.lots, abs(self.lots)), 0
        while left > 0 and self.lots:
            lots = min(left, part.slice_lots, abs(self.lots))
            order = self.order(name, Leg.CLOSE, part.side.opposite, 0, lots, part.position, attempt=attempt)
            self.fill(order, lots, self.price, whole=lots)
            left, attempt = left - lots, attempt + 1
