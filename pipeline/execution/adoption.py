"""
The only place that puts a stop under positions nobody here opened: by hand, by another bot, by a log that was lost.

Rule (domain 6.7, "Adopted position"): rail (a), a closePosition STOP_MARKET, at min(2·A, 0.6 × the distance from mark
to liquidation) measured from the **mark**, unless a stop inside liquidation already rests. A is the ATR over 14 hourly
candles. It is the executor's, so it works with decide, connector and Kafka away; what is known comes from the venue at
each look, so a restart loses nothing and needs no state. Until a start has taken up what the journal holds (``begin``)
every position may be ours, however long the venue cannot be read: what is told before is looked at behind it.

Afterwards the owner may move and cancel: ``restore`` (the default) puts a far rail back whenever nothing inside
liquidation covers any more and respects every stop that does; ``respect`` and ``alert`` place none a second time,
``alert`` says so each time. Flat in two reads a second apart: a rail of ours that is left over is cancelled.
"""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Final

import msgspec

from pipeline.binance import requests
from pipeline.binance.errors import Reaction, ReadFailed
from pipeline.binance.requests import AlgoOrder, CancelAlgo, Read
from pipeline.core import identity
from pipeline.core.events import Leg, Side, Verdict
from pipeline.core.rate_limits import Lane
from pipeline.core.units import NotADecimal, format_e8, parse_e8
from pipeline.execution.cover import BOTH, Cover, ReadIncomplete, algo_rows, cover, position_rows
from pipeline.execution.desk import Desk
from pipeline.execution.evidence import Sighting
from pipeline.execution.sender import Purpose, Sender

LOG: Final = "adopted"  # stands where a log identity stands: no real one answers for these orders
OURS_MS: Final = 300  # an entry of ours is under guard before it is sent; its last words may still be on their way
AGAIN_SECONDS: Final = 0.5
SECOND_READ_SECONDS: Final = 1.0
TRIES: Final = 10
ATR_CANDLES: Final = 14
ATR_TIMES: Final = 2
ROOM_PERMILLE: Final = 600
UNKNOWN_ATR_PERMILLE: Final = 30  # of the mark, when candles cannot be read
RESTORE: Final = "restore"
ALERT: Final = "alert"


def distance_e8(found: Cover, atr_e8: int) -> int:
    """How far from the mark the rail lies, in 10^-8 (domain 6.7); *atr* 0: not known."""
    wanted = ATR_TIMES * atr_e8 or found.mark_e8 * UNKNOWN_ATR_PERMILLE // 1_000
    if found.liquidation_e8 > 0:
        wanted = min(wanted, abs(found.mark_e8 - found.liquidation_e8) * ROOM_PERMILLE // 1_000)
    return wanted


def atr_of(body: bytes) -> int:
    """Mean true range of the last 14 closed candles of a klines answer, in 10^-8; 0 when they cannot be read."""
    try:
        rows = msgspec.json.decode(body, type=list[list[str | int | float]])[-ATR_CANDLES - 2 : -1]
        candles = [tuple(parse_e8(str(row[index])) for index in (2, 3, 4)) for row in rows]
    except (msgspec.DecodeError, NotADecimal, IndexError):
        return 0
    ranges = [
        max(high - low, abs(high - before[2]), abs(low - before[2])) for before, (high, low, _) in pairwise(candles)
    ]
    return sum(ranges) // len(ranges) if ranges else 0


class Adopter:
    """Guards what is open on the account and not under guard here; *policy* is respect, restore or alert."""

    def __init__(self, desk: Desk, sender: Sender, *, policy: str = RESTORE) -> None:
        self._desk, self._sender, self._policy = desk, sender, policy
        self._begun = False
        self._early: dict[str, None] = {}  # symbols told of before the start had put our own positions under guard
        self._busy: set[str] = set()
        self._sides: dict[str, int] = {}  # symbol → sign of the position that has had its rail
        self._numbers = 0

    # ---- what wakes it

    def begin(self) -> None:
        """Our own positions are under guard: whatever else is open is of others."""
        self._begun = True
        for symbol in self._early:
            self._look(symbol)
        self._early.clear()

    def told(self, symbol: str, lots: int) -> None:
        """The user stream spoke of a position; 0 lots: it may be over."""
        if lots or symbol in self._sides:
            self._look(symbol)

    def judged(self, verdicts: tuple[Cover, ...]) -> None:
        """The auditor has read the account: foreign positions without cover, and rails whose position is gone."""
        open_now = {verdict.symbol for verdict in verdicts}
        for verdict in verdicts:  # a rail that an earlier start has placed
            if any(stop.startswith(f"{LOG}.") for stop in verdict.stops):
                self._sides.setdefault(verdict.symbol, 1 if verdict.amount_e8 > 0 else -1)
        for symbol in sorted(
            {v.symbol for v in verdicts if not v.proven and not v.firing} | self._sides.keys() - open_now
        ):
            self._look(symbol)

    def sighted(self, sighting: Sighting) -> None:
        """A conditional order ended: of a foreign position it may have been the last cover."""
        if sighting.book == "algoOrder" and sighting.ended and sighting.symbol in self._sides:
            self._look(sighting.symbol)

    def _look(self, symbol: str) -> None:
        if not self._begun:
            self._early[symbol] = None
        elif symbol not in self._busy and not self._desk.of_symbol(symbol):
            self._busy.add(symbol)
            self._desk.spawn(self._guard(symbol), f"adopt {symbol}")

    # ---- one look

    async def _guard(self, symbol: str) -> None:
        try:
            await asyncio.sleep(OURS_MS / 1_000)
            for _ in range(TRIES):
                if self._desk.of_symbol(symbol) or self._desk.lease.lost.is_set():
                    return
                try:
                    found = await self._read(symbol)
                    if found is None:
                        await self._flat(symbol)
                        return
                    if found.proven or found.firing or await self._adopt(found):
                        self._sides.setdefault(symbol, 1 if found.amount_e8 > 0 else -1)
                        return
                except (ReadFailed, ReadIncomplete):
                    pass  # proves nothing: look again
                await asyncio.sleep(AGAIN_SECONDS)
            self._desk.alert("adoption_failed", "critical", f"{symbol}: no stop under a position of others", symbol)
        finally:
            self._busy.discard(symbol)

    async def _read(self, symbol: str) -> Cover | None:
        """The position of the symbol as the venue has it now; None: flat. Raises ReadFailed, ReadIncomplete."""
        positions, orders = await asyncio.gather(
            self._sender.read(requests.position_risk(symbol), Lane.PROTECT),
            self._sender.read(requests.open_algo_orders(symbol), Lane.PROTECT),
        )
        found = [v for v in cover(position_rows(positions), algo_rows(orders)) if v.symbol == symbol]
        return min(found, key=lambda verdict: verdict.proven) if found else None

    async def _adopt(self, found: Cover) -> bool:
        """Place the rail, or say why not; False: look again."""
        symbol, sign = found.symbol, 1 if found.amount_e8 > 0 else -1
        instrument = self._desk.instruments.get(symbol)
        amount = format_e8(found.amount_e8)
        if instrument is None or found.position_side != BOTH:
            text = f"{symbol} {amount} {found.position_side}: a position of others without cover that cannot be adopted"
            self._desk.alert("adoption_impossible", "critical", text, symbol)
            return True
        again = self._sides.get(symbol) == sign
        if again and self._policy != RESTORE:
            text = f"{symbol} {amount}: its owner took the stop away; policy {self._policy}: none is placed"
            self._desk.alert("adopted_uncovered", "critical" if self._policy == ALERT else "warning", text, symbol)
            return True
        atr = await self._atr(symbol) if not again else 0
        distance = distance_e8(found, atr)
        trigger = sign * ((found.mark_e8 * sign - distance) // instrument.tick_e8)  # away from the price
        lots = instrument.whole_lots(format_e8(abs(found.amount_e8)))
        for closing in (True, False):  # −4130: a closePosition stop rests behind liquidation; ours is reduce-only then
            outcome, reaction = await self._place(
                symbol, Side.BUY if sign > 0 else Side.SELL, trigger, 0 if closing else lots
            )
            if outcome in (Verdict.ACCEPTED, Verdict.IN_DOUBT):
                self._sides[symbol] = sign
                word = "restored" if again else "adopted"
                text = f"{symbol} {amount}: a position of others {word}; stop at {instrument.price_text(trigger)}"
                self._desk.alert(f"position_{word}", "warning", text, symbol)
                return outcome is Verdict.ACCEPTED  # a doubt is looked at again
            if reaction is not Reaction.COVER_EXISTS:
                return False
        return False

    async def _place(self, symbol: str, side: Side, trigger: int, lots: int) -> tuple[Verdict, Reaction]:
        instrument = self._desk.instruments[symbol]
        leg = Leg.WORKING if lots else Leg.FAR
        intent = self._name(symbol)
        self._desk.know_symbol(intent, symbol)

        def build(client_id: str) -> AlgoOrder:
            if lots:
                return requests.working_stop(
                    instrument, client_id=client_id, position_side=side, lots=lots, trigger=trigger
                )
            return requests.far_rail(instrument, client_id=client_id, position_side=side, trigger=trigger)

        purpose = Purpose(
            intent=intent, position=intent, symbol=symbol, leg=leg, lane=Lane.PROTECT, trigger=trigger, lots=lots
        )
        wanted = lambda: "a position of ours holds the symbol" if self._desk.of_symbol(symbol) else ""  # noqa: E731
        sent = await self._sender.place(purpose, build, wanted=wanted)
        self._sender.settle(intent, symbol=symbol, position=intent)
        return sent.outcome.verdict, sent.reaction

    def _name(self, symbol: str) -> str:
        """An intent's name like those of the log; the clock and a number stand where the offset stands."""
        self._numbers += 1
        now = identity.base62(self._desk.clock.now_ms())
        return f"{LOG}.{now}.{identity.base62(self._numbers)}.{identity.symbol_tag(symbol)}0"

    async def _atr(self, symbol: str) -> int:
        query = (("symbol", symbol), ("interval", "1h"), ("limit", str(ATR_CANDLES + 2)))
        try:
            return atr_of(await self._sender.read(Read(path="/fapi/v1/klines", query=query), Lane.PROTECT, tries=1))
        except ReadFailed:
            return 0

    # ---- the end

    async def _flat(self, symbol: str) -> None:
        """Flat once: look again a second later, then cancel what is left of our rails. Raises ReadFailed, …"""
        await asyncio.sleep(SECOND_READ_SECONDS)
        if await self._read(symbol) is not None or self._desk.of_symbol(symbol):
            return
        self._sides.pop(symbol, None)
        rows = algo_rows(await self._sender.read(requests.open_algo_orders(symbol), Lane.QUERY))
        for row in rows:
            intent = identity.intent_of(row.client_algo_id)
            if intent is not None and intent.startswith(f"{LOG}."):
                purpose = Purpose(intent=intent, position=intent, symbol=symbol, leg=Leg.FAR, lane=Lane.CANCEL)
                await self._sender.cancel(purpose, CancelAlgo(symbol=symbol, client_id=row.client_algo_id))
