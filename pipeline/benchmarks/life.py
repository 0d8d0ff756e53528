"""
The only place where benchmarks and tests get a log with whole positions in it: admitted, filled, railed, moved, ended.

``Life`` writes one line a record, folds it at once, and answers every intent as the executor and an obliging venue
would: requests take effect, fills come as user events, quantities are stated. Nothing here judges the decisions; it
only makes the lines that follow from them, so that a log exists whose decisions can be counted and compared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from pipeline.benchmarks.inputs import BTCUSDT, EXECUTOR, InputRecord, LineWriter
from pipeline.binance.fold import PartitionFold
from pipeline.core.commands import (
    CancelLeg,
    ClosePosition,
    Decision,
    MoveStop,
    OpenBracket,
    Output,
    PlaceTarget,
    Sweep,
)
from pipeline.core.events import CloseRequested, EntryAdmitted, Leg, RequestEnded, Side, Verdict
from pipeline.core.identity import client_id
from pipeline.core.policies import Policy
from pipeline.core.units import E8, Lots, Milliseconds, Ticks
from pipeline.wire.lines import EVERY_SYMBOL, Answer, TradingStateLine
from pipeline.wire.records import SegmentSealed
from pipeline.wire.topics import partition_of

TICK_E8: Final = 10_000_000
STEP_E8: Final = 100_000
ACCOUNT: Final = "account/main"
DECIDE: Final = "decide/0"
MS: Final = 1_000_000
CONDITIONAL: Final = {Leg.FAR: "STOP_MARKET", Leg.WORKING: "STOP_MARKET", Leg.LAST_TARGET: "TAKE_PROFIT_MARKET"}


class Resting(msgspec.Struct):
    """An order that rests at the obliging venue."""

    client: str
    leg: Leg
    side: Side
    trigger: int
    lots: int


class Life:
    """A growing log of one symbol (see above). ``records``, ``decisions`` and ``seals`` are what came of it so far."""

    def __init__(
        self, *, symbol: str = "BTCUSDT", price: int = 600_000, fold: str = "f", policy: Policy | None = None
    ) -> None:
        self.symbol = symbol
        self.price = price  # ticks
        self.at_ns = 1_790_771_372_000 * MS
        self.records: list[InputRecord] = []
        self.decisions: list[Decision] = []
        self.seals: list[SegmentSealed] = []
        self.fold = PartitionFold(partition=partition_of(symbol), log_identity="abcdefg", fold=fold, universe={symbol})
        self.resting: dict[str, Resting] = {}
        self.lots = 0  # signed
        self.places_rails = True  # False: placements of rails are lost without a word
        self.triggers = True  # False: the venue's conditional orders sleep
        self._writer = LineWriter()
        self._wanted: list[tuple[str, Output]] = []
        self._policy = policy or Policy()
        self._ids = 0
        self.answer("exchange_info", BTCUSDT | {"symbol": symbol})
        self.answer("klines", _klines(self.at_ns // MS, self.price))
        self.trading("active")
        self.move(0)

    # -------------------------------------------------------------------------------------------------------- lines

    def line(self, source: str, *, symbol: str = "", milliseconds: int = 10, **body: Any) -> None:  # Any: a Line field
        """Write, fold and answer one line."""
        self.at_ns += milliseconds * MS
        self._take(self._writer.line(symbol or self.symbol, self.at_ns, source, **body))

    def frame(self, data: dict[str, Any], *, stream: str = "", milliseconds: int = 10) -> None:  # Any: JSON
        """A frame of the connector: combined when it has a stream, else bare (user events)."""
        self.at_ns += milliseconds * MS
        body = {"stream": f"{self.symbol.lower()}@{stream}", "data": data} if stream else data
        source = "connector/public-0.a" if stream else "connector/user"
        self._take(self._writer.frame(self.symbol, self.at_ns, msgspec.json.encode(body), source=source))

    def answer(self, kind: str, body: Any) -> None:  # Any: JSON
        """A REST answer."""
        self.line(EXECUTOR, answer=Answer(kind=kind, body=msgspec.Raw(msgspec.json.encode(body)), synthetic=True))

    def trading(self, mode: str) -> None:
        """The account's trading state and policy."""
        state = TradingStateLine(mode=mode, reason="", policy=self._policy)
        self.line(ACCOUNT, symbol=EVERY_SYMBOL, state=state)

    def tick(self, milliseconds: int = 250) -> None:
        """Time passes."""
        self.line(DECIDE, symbol=EVERY_SYMBOL, milliseconds=milliseconds, tick=self.at_ns // MS)

    def state_quantity(self, lots: int) -> None:
        """ACCOUNT_UPDATE: the venue states a signed quantity, whatever our orders say."""
        self.lots = lots
        at_ms = self.at_ns // MS
        entry = _price(self.price) if lots else "0"
        self.frame(
            {"e": "ACCOUNT_UPDATE", "E": at_ms, "T": at_ms, "a": {"m": "ORDER", "B": [], "P": [
                {"s": self.symbol, "pa": _signed(lots), "ep": entry, "ps": "BOTH"}]}},
        )  # fmt: skip

    def audit(self) -> None:
        """A complete read of the venue: quantity and conditional orders (resting targets are left to the stream)."""
        side = "BOTH"
        self.answer("audit", {
            "positionRisk": [{"symbol": self.symbol, "positionSide": side, "positionAmt": _signed(self.lots),
                              "entryPrice": _price(self.price), "liquidationPrice": "0"}],
            "openOrders": [
                {"orderId": 1, "symbol": self.symbol, "status": "NEW", "clientOrderId": order.client,
                 "price": _price(order.trigger), "origQty": _lots(order.lots), "executedQty": "0", "type": "LIMIT",
                 "side": order.side.value, "reduceOnly": True, "positionSide": side}
                for order in self.resting.values() if order.leg not in CONDITIONAL],
            "openAlgoOrders": [
                {"algoId": 1, "clientAlgoId": order.client, "orderType": CONDITIONAL[order.leg], "symbol": self.symbol,
                 "side": order.side.value, "algoStatus": "NEW", "triggerPrice": _price(order.trigger),
                 "quantity": _lots(order.lots) if order.leg is Leg.WORKING else "0",
                 "closePosition": order.leg is not Leg.WORKING, "reduceOnly": order.leg is Leg.WORKING,
                 "positionSide": side}
                for order in self.resting.values() if order.leg in CONDITIONAL],
        })  # fmt: skip

    def move(self, ticks: int) -> None:
        """The market moves: quote, mark price, and what the resting orders make of it; then a tick of time."""
        self.price += ticks
        at_ms = self.at_ns // MS
        self._ids += 1
        self.frame(
            {"e": "bookTicker", "u": self._ids, "s": self.symbol, "b": _price(self.price), "B": "1.000",
             "a": _price(self.price + 1), "A": "1.000", "T": at_ms, "E": at_ms},
            stream="bookTicker",
        )  # fmt: skip
        self.frame(
            {"e": "markPriceUpdate", "E": at_ms, "s": self.symbol, "p": _price(self.price), "i": _price(self.price),
             "r": "0.0001", "T": at_ms + 3_600_000},
            stream="markPrice@1s",
        )  # fmt: skip
        self._trigger()
        self.tick()

    def admit(self, side: Side, *, lots: int = 100, stop: int = 6_000, target: int = 12_000) -> None:
        """Account admits an entry; *stop* and *target* are distances in ticks."""
        self._ids += 1
        sign = side.sign
        self.trading("active")
        self.line(
            ACCOUNT,
            admission=EntryAdmitted(
                admission=f"a{self._ids}",
                side=side,
                lots=Lots(lots),
                notional=E8(0),
                stop=Ticks(self.price - sign * stop),
                target=Ticks(self.price + sign * target),
                last_target=Ticks(self.price + sign * 2 * target),
                expires_ms=Milliseconds(self.at_ns // MS + 5_000),
            ),
        )

    def close(self) -> None:
        """A person closes the position."""
        self._ids += 1
        self.line(ACCOUNT, close=CloseRequested(command=f"c{self._ids}", reason="closed by hand"))

    # ------------------------------------------------------------------------------------------- executor and venue

    def _take(self, line: bytes) -> None:
        offset, append_ms = len(self.records), self.at_ns // MS
        self.records.append(InputRecord(append_ms=append_ms, value=line))
        applied = self.fold.apply_record(offset=offset, append_ms=append_ms, value=line)
        assert not applied.quarantined, applied.quarantined
        self.seals += [applied.sealed] if applied.sealed is not None else []
        self.decisions += applied.decisions
        busy = bool(self._wanted)
        for decision in applied.decisions:
            self._wanted += zip(decision.ids, decision.outputs, strict=True)
        while self._wanted and not busy:
            name, output = self._wanted[0]
            self._act(name, output)
            del self._wanted[0]

    def _act(self, name: str, output: Output) -> None:
        match output:
            case OpenBracket(side=side, lots=lots, limit=limit):
                self._fill(client_id(intent=name, leg=Leg.ENTRY, attempt=0), name, Leg.ENTRY, side, lots, limit)
                self._rest(name, name, Leg.FAR, side.opposite, output.far_trigger, lots)
                self._rest(name, name, Leg.WORKING, side.opposite, output.working_trigger, lots)
            case MoveStop(position=position, leg=leg, side=side, trigger=trigger, lots=lots):
                old = [order.client for order in self.resting.values() if order.leg is leg]
                self._rest(name, position, leg, side.opposite, trigger, lots)
                self._cancel(old, position)
            case PlaceTarget(position=position, leg=leg, side=side, price=price, lots=lots):
                self._rest(name, position, leg, side.opposite, price, lots)
            case CancelLeg(position=position, leg=leg):
                self._cancel([order.client for order in self.resting.values() if order.leg is leg], position)
            case ClosePosition(position=position, side=side):
                if self.lots:
                    client = client_id(intent=name, leg=Leg.CLOSE, attempt=0)
                    self._fill(client, position, Leg.CLOSE, side.opposite, abs(self.lots), self.price)
            case Sweep(position=position):
                self._cancel(list(self.resting), position)
            case _:
                pass

    def _outcome(self, client: str, position: str, leg: Leg, verdict: Verdict, **more: Any) -> None:  # Any: its fields
        outcome = RequestEnded(
            intent=client.rpartition("-")[0],
            position=position,
            leg=leg,
            client_id=client,
            verdict=verdict,
            venue_ms=Milliseconds(self.at_ns // MS),
            **more,
        )
        self.line(EXECUTOR, outcome=outcome)

    def _rest(self, intent: str, position: str, leg: Leg, side: Side, trigger: int, lots: int) -> None:  # noqa: PLR0917
        client = client_id(intent=intent, leg=leg, attempt=0)
        if leg in (Leg.FAR, Leg.WORKING) and not self.places_rails:
            return
        self.resting[client] = Resting(client=client, leg=leg, side=side, trigger=trigger, lots=lots)
        self._outcome(client, position, leg, Verdict.ACCEPTED, status="NEW", trigger=Ticks(trigger), lots=Lots(lots))
        if leg in CONDITIONAL:
            self._algo(self.resting[client], "NEW")

    def _cancel(self, clients: list[str], position: str) -> None:
        for client in clients:
            order = self.resting.pop(client)
            self._outcome(client, position, order.leg, Verdict.CANCELLED, status="CANCELED")
            if order.leg in CONDITIONAL:
                self._algo(order, "CANCELED")

    def _algo(self, order: Resting, status: str) -> None:
        self._ids += 1
        self.frame(
            {"e": "ALGO_UPDATE", "E": self.at_ns // MS, "T": self.at_ns // MS, "o": {
                "caid": order.client, "aid": self._ids, "o": CONDITIONAL[order.leg], "s": self.symbol,
                "S": order.side.value, "ps": "BOTH", "q": "0" if order.leg is not Leg.WORKING else _lots(order.lots),
                "X": status, "ai": "", "tp": _price(order.trigger), "cp": order.leg is not Leg.WORKING,
                "R": order.leg is Leg.WORKING}},
        )  # fmt: skip

    def _trigger(self) -> None:
        """Stops and targets that the price has reached are filled, the first of them while a position is left."""
        for order in sorted(self.resting.values(), key=lambda row: row.leg is not Leg.TARGET):
            reached = (self.price - order.trigger) * order.side.sign
            if not self.triggers and order.leg in CONDITIONAL:
                continue
            hit = reached >= 0 if order.leg in (Leg.FAR, Leg.WORKING) else reached <= 0
            if not hit or not self.lots or order.client not in self.resting:
                continue
            lots = min(order.lots, abs(self.lots)) if order.leg is Leg.TARGET else abs(self.lots)
            del self.resting[order.client]
            if order.leg in CONDITIONAL:
                self._algo(order, "TRIGGERED")
            self._fill(order.client, order.client.rpartition("-")[0], order.leg, order.side, lots, order.trigger)

    def _fill(  # noqa: PLR0917 - one fill, told by both roads
        self, client: str, position: str, leg: Leg, side: Side, lots: int, price: int
    ) -> None:
        self._ids += 1
        self.lots += side.sign * lots
        at_ms = self.at_ns // MS
        if leg in (Leg.ENTRY, Leg.CLOSE):
            self._outcome(
                client,
                position,
                leg,
                Verdict.ACCEPTED,
                order_id=self._ids,
                status="FILLED",
                lots=Lots(lots),
                filled_lots=Lots(lots),
                average_price=E8(price * TICK_E8),
            )
        self.frame(
            {"e": "ORDER_TRADE_UPDATE", "E": at_ms, "T": at_ms, "o": {
                "s": self.symbol, "c": client, "S": side.value, "o": "LIMIT", "q": _lots(lots), "x": "TRADE",
                "X": "FILLED", "i": self._ids, "l": _lots(lots), "z": _lots(lots), "L": _price(price), "N": "USDT",
                "n": "0.01", "T": at_ms, "t": self._ids, "R": leg is not Leg.ENTRY, "ot": "LIMIT", "ps": "BOTH",
                "rp": "0"}},
        )  # fmt: skip
        self.state_quantity(self.lots)

    # ---------------------------------------------------------------------------------------------------- whole lives

    def live_and_die(self, side: Side, ending: str) -> None:
        """One position from admission to flat; *ending* is a name of ``ENDINGS``."""
        sign = side.sign
        self.places_rails = ending != "naked"
        self.admit(side)
        for _ in range(4):
            self.move(sign * 20)
        ENDINGS[ending](self, sign)
        self.places_rails = self.triggers = True
        self.trading("active")
        for _ in range(12):
            self.move(sign)

    def go(self, ticks: int, *, moves: int = 50, pause_ms: int = 0) -> None:
        """Move the market by *ticks* at a time until the position is flat."""
        for _ in range(moves):
            if not self.lots:
                return
            self.move(ticks)
            if pause_ms:
                self.tick(pause_ms)


def _trail(life: Life, sign: int) -> None:
    for _ in range(16):
        life.move(sign * 650)
        life.tick(6_000)
    life.go(-sign * 900)


def _by_hand(life: Life, sign: int) -> None:
    life.move(sign * 50)
    life.close()
    life.go(0)


def _killed(life: Life, _: int) -> None:
    life.trading("halted")
    life.go(0)


def _external(life: Life, _: int) -> None:
    life.state_quantity(0)
    for _ in range(8):
        life.move(0)


def _reduced(life: Life, sign: int) -> None:
    life.state_quantity(sign * 40)
    for _ in range(8):
        life.move(0)
    life.go(-sign * 700)


def _stuck(life: Life, _: int) -> None:
    working = next(order for order in life.resting.values() if order.leg is Leg.WORKING)
    life._algo(working, "TRIGGERING")
    life.go(0)


def _asleep(life: Life, sign: int) -> None:
    life.triggers = False
    life.go(-sign * 700)


def _naked(life: Life, _: int) -> None:
    for _ in range(4):
        life.tick(1_000)
        life.audit()
    life.go(0)


def _too_long(life: Life, _: int) -> None:
    for _ in range(300):
        life.tick(300_000)
        life.move(0)
        if not life.lots:
            return


# How a position ends, by the exit rule that ends it: two moves of the market, our own hand, and what goes wrong.
ENDINGS: Final[dict[str, Callable[[Life, int], None]]] = {
    "stop": lambda life, sign: life.go(-sign * 700),
    "target": lambda life, sign: life.go(sign * 2_000),
    "trail": _trail,
    "hand": _by_hand,
    "killed": _killed,
    "external": _external,
    "reduced": _reduced,
    "stuck": _stuck,
    "asleep": _asleep,
    "naked": _naked,
    "time": _too_long,
}


def _klines(at_ms: int, price: int) -> list[list[object]]:
    """200 closed candles before *at_ms*, 30 ticks high or so, so that both average true ranges are known."""
    rows: list[list[object]] = []
    begin = (at_ms // 300_000 - 201) * 300_000
    for number in range(200):
        open_ms, base = begin + number * 300_000, price + number % 7
        rows.append([open_ms, _price(base), _price(base + 90), _price(base - 90), _price(base + 5), "10.000",
                     open_ms + 299_999, "600000.0", 100, "5.000", "300000.0", "0"])  # fmt: skip
    return rows


def _price(ticks: int) -> str:
    return f"{ticks // 10}.{ticks % 10}0"


def _lots(count: int) -> str:
    return f"{count // 1_000}.{count % 1_000:03d}"


def _signed(count: int) -> str:
    return f"-{_lots(-count)}" if count < 0 else _lots(count)
