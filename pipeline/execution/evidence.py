"""
The only place that keeps what our own user stream said about our orders and positions; evidence, never bookkeeping.

Events come more than once, late, and in another order than things happened (venue sheet 3.6). So an order's fill is the
largest figure ever said, and an ended order does not come alive again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from pipeline.core.instruments import Instrument
from pipeline.core.units import NotADecimal, parse_e8

KEPT: Final = 10_000
ORDER_ENDED: Final = frozenset({"FILLED", "CANCELED", "EXPIRED", "EXPIRED_IN_MATCH", "REJECTED"})
ALGO_FIRED: Final = frozenset({"TRIGGERING", "TRIGGERED", "FINISHED"})
ALGO_ENDED: Final = ALGO_FIRED | {"CANCELED", "REJECTED", "EXPIRED"}
_RANK: Final = {"NEW": 1, "PARTIALLY_FILLED": 2, "TRIGGERING": 3, "TRIGGERED": 4}


class Sighting(msgspec.Struct, frozen=True):
    """What the stream said last about one order; ``book`` is ``order`` or ``algoOrder``, lots and price in units."""

    symbol: str
    client_id: str
    book: str
    status: str
    filled: int = 0
    order_id: int = 0
    average_e8: int = 0
    event_ms: int = 0

    @property
    def ended(self) -> bool:
        """Nothing more will fill it (a conditional one: it no longer protects)."""
        return self.status in (ORDER_ENDED if self.book == "order" else ALGO_ENDED)


class _Order(msgspec.Struct):
    s: str
    c: str = ""
    X: str = ""
    z: str = "0"
    ap: str = "0"
    i: int = 0
    caid: str = ""
    aid: int = 0
    aq: str = "0"


class _Row(msgspec.Struct):
    s: str
    pa: str
    ps: str = "BOTH"
    mt: str = ""


class _Account(msgspec.Struct):
    P: list[_Row] = []
    m: str = ""


class _Setting(msgspec.Struct):
    s: str = ""
    l: int = 0  # noqa: E741 - the venue's name


class _Frame(msgspec.Struct):
    e: str = ""
    E: int | str = 0
    o: _Order | None = None
    a: _Account | None = None
    ac: _Setting | None = None
    s: str = ""
    c: str = ""
    l: str = "0"  # noqa: E741 - the venue's name
    t: int = 0
    i: int = 0


class _Combined(msgspec.Struct):
    data: msgspec.Raw = msgspec.Raw(b"")


class Evidence:
    """
    Sightings by client id; *instruments* turns quantities into lots (events of other symbols are not ours).

    ``on_sighting`` and ``on_position`` are called once per event; they must not wait.
    """

    def __init__(self, instruments: Mapping[str, Instrument]) -> None:
        self._instruments = instruments
        self.orders: dict[str, Sighting] = {}
        self.algo_orders: dict[str, Sighting] = {}
        self.positions: dict[str, tuple[int, int]] = {}  # symbol → (signed lots, event ms)
        self.malformed = 0
        self.on_sighting: Callable[[Sighting], None] = _nothing
        self.on_position: Callable[[str, int, int], None] = _nothing
        self.on_setting: Callable[[str, int | None], None] = _nothing  # leverage, or margin type (None), of a symbol
        self._lite: dict[str, dict[int, int]] = {}  # client id → trade id → lots
        self._waiters: dict[str, list[asyncio.Event]] = {}
        self._decoder = msgspec.json.Decoder(_Frame)

    def frame(self, raw: bytes) -> str:
        """Take one user frame (bare or combined); returns its event type, "" for one that cannot be read."""
        try:
            frame = self._decoder.decode(raw)
            if not frame.e:
                frame = self._decoder.decode(msgspec.json.decode(raw, type=_Combined).data)
            self._take(frame)
        except (msgspec.DecodeError, NotADecimal):
            self.malformed += 1
            return ""
        return frame.e

    def seen(self, sighting: Sighting) -> None:
        """Take a sighting from the stream or from a read."""
        book = self.orders if sighting.book == "order" else self.algo_orders
        before = book.get(sighting.client_id)
        if before is not None:
            sighting = _merged(before, sighting)
        book[sighting.client_id] = sighting
        if len(book) > KEPT:
            del book[next(iter(book))]
        self.on_sighting(sighting)
        for waiter in self._waiters.get(sighting.client_id, ()):
            waiter.set()

    async def wait(self, client_id: str, milliseconds: int) -> bool:
        """Wait for the next sighting of an order; False when none came in time."""
        waiter = asyncio.Event()
        self._waiters.setdefault(client_id, []).append(waiter)
        try:
            async with asyncio.timeout(milliseconds / 1_000):
                await waiter.wait()
            return True
        except TimeoutError:
            return False
        finally:
            self._waiters[client_id].remove(waiter)
            if not self._waiters[client_id]:
                del self._waiters[client_id]

    def of(self, client_id: str, book: str) -> Sighting | None:
        """What is known of an order of one book."""
        return (self.orders if book == "order" else self.algo_orders).get(client_id)

    def _take(self, frame: _Frame) -> None:
        event_ms = frame.E if isinstance(frame.E, int) else 0
        if frame.e == "ORDER_TRADE_UPDATE" and frame.o is not None:
            order, instrument = frame.o, self._instruments.get(frame.o.s)
            if instrument is not None:
                self.seen(
                    Sighting(
                        symbol=order.s,
                        client_id=order.c,
                        book="order",
                        status=order.X,
                        filled=instrument.whole_lots(order.z),
                        order_id=order.i,
                        average_e8=parse_e8(order.ap),
                        event_ms=event_ms,
                    )
                )
        elif frame.e == "TRADE_LITE":
            instrument = self._instruments.get(frame.s)
            if instrument is not None:
                trades = self._lite.setdefault(frame.c, {})
                trades[frame.t] = instrument.whole_lots(frame.l)
                if len(self._lite) > KEPT:
                    del self._lite[next(iter(self._lite))]
                self.seen(
                    Sighting(
                        symbol=frame.s,
                        client_id=frame.c,
                        book="order",
                        status="PARTIALLY_FILLED",
                        filled=sum(trades.values()),
                        order_id=frame.i,
                        event_ms=event_ms,
                    )
                )
        elif frame.e == "ALGO_UPDATE" and frame.o is not None:
            algo = frame.o
            self.seen(
                Sighting(
                    symbol=algo.s,
                    client_id=algo.caid,
                    book="algoOrder",
                    status=algo.X,
                    order_id=algo.aid,
                    event_ms=event_ms,
                )
            )
        elif frame.e == "ACCOUNT_UPDATE" and frame.a is not None:
            for row in frame.a.P:
                instrument = self._instruments.get(row.s)
                if frame.a.m == "MARGIN_TYPE_CHANGE" and row.mt != "isolated":
                    self.on_setting(row.s, None)
                if instrument is not None and row.ps == "BOTH":
                    lots = instrument.whole_lots(row.pa)
                    self.positions[row.s] = (lots, event_ms)
                    self.on_position(row.s, lots, event_ms)
        elif frame.e == "ACCOUNT_CONFIG_UPDATE" and frame.ac is not None and frame.ac.s:
            self.on_setting(frame.ac.s, frame.ac.l)


def _merged(before: Sighting, after: Sighting) -> Sighting:
    """The later state of the two: fills only grow, an ended order stays ended."""
    status = after.status
    if before.ended or (not after.ended and _RANK.get(before.status, 0) > _RANK.get(after.status, 0)):
        status = before.status
    return msgspec.structs.replace(
        after,
        status=status,
        filled=max(before.filled, after.filled),
        order_id=after.order_id or before.order_id,
        average_e8=after.average_e8 or before.average_e8,
        event_ms=max(before.event_ms, after.event_ms),
    )


def _nothing(*_: object) -> None:
    """Nobody listens."""
