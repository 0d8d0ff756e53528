"""
The only place for the kill switch: cancel entries, keep or tighten stops, close the largest risk first, prove it.

Rounds over what the venue says now, until two complete reads agree; nothing is believed because it was sent:

1. read positions and both order books, side by side; closing waits for the positions alone;
2. cancel whatever may add to a position (with ``close`` all resting orders: targets use up the reduce-only budget,
   pains V7); stops are not touched;
3. ``close``: market orders that can only reduce, the position with the largest risk written first; the quantity is the
   venue's newest. Refusals climb the ladder of domain 6.7: slices, then a conditional closePosition at the mark.
   Otherwise, and where closing fails: every position that no stop covers gets one;
4. flat (or covered) in two complete reads a second apart, the second after everything that a paused executor may still
   have had on its way is too old for the venue (``Proof.fence``); only then our own leftover stops are cancelled.

Orders of other programs that only reduce are counted, never touched; entries are cancelled whoever placed them.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Final, TypeVar

import msgspec

from pipeline.binance.errors import Reaction
from pipeline.core import identity
from pipeline.core.units import ONE_E8, format_e8
from pipeline.emergency.grid import Grids
from pipeline.emergency.venue import Call, PlainVenue, Reply
from pipeline.execution.cover import AlgoRow, Cover, ReadIncomplete, algo_rows, cover, position_rows

CANCELS_FIRST_SECONDS: Final = 0.25  # how long closes wait for the cancels of entries
ROUND_SECONDS: Final = 1.0  # how long a round waits for its answers
LEFT_EVERY_SECONDS: Final = 1.0
PAUSE_SECONDS: Final = 0.05
BLIND_SECONDS: Final = 0.25  # after a read that gave nothing
REFUSED_SECONDS: Final = 5.0  # key, permission or account are wrong: asking more often only burns weight
REFUSALS_BEFORE_FALLBACK: Final = 4
WORKERS: Final = 12
RAIL_PERMILLE_OF_MARK: Final = 20  # a stop placed here is at most 2 % away: the ATR is not known without the log
RAIL_PERMILLE_OF_LIQUIDATION: Final = 600  # domain 6.7: 0.6 × the distance from mark to liquidation
Row = TypeVar("Row")
NOT_SENT: Final = (Reaction.NOT_EXECUTED, Reaction.STOP_ALL)


class Proof(msgspec.Struct, frozen=True):
    """
    When two reads prove it: so far apart, and the second so long after the start.

    ``fence`` is the recvWindow of an executor's requests and the error of its clock (``execution.lease``).
    """

    apart: float = 1.0
    fence: float = 1.5


class OrderRow(msgspec.Struct, frozen=True, rename="camel"):
    """A row of openOrders."""

    symbol: str
    order_id: int
    client_order_id: str
    side: str
    position_side: str = "BOTH"
    reduce_only: bool = False
    orig_qty: str = "0"

    def closes(self) -> bool:
        """It can only reduce."""
        return self.reduce_only or (self.position_side, self.side) in (("LONG", "SELL"), ("SHORT", "BUY"))


class Step(msgspec.Struct, frozen=True):
    """One thing that was done or found; ``ms`` since the start."""

    ms: int
    symbol: str
    text: str


class Left(msgspec.Struct, frozen=True):
    """A position that is still open; amount as the venue writes it, risk in whole units of quote."""

    symbol: str
    position_side: str
    amount: str
    covered: bool
    risk: str


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How it ended; ``done``: flat (close) or covered (else), proven by two complete reads."""

    done: bool
    flat_ms: int | None
    proven_ms: int | None
    left: list[Left]
    entries_left: int
    foreign_orders: int
    seconds: float
    calls: int
    quota: str
    steps: list[Step]


class Picture(msgspec.Struct, frozen=True):
    """One read of the venue; a list that could not be read is None."""

    covers: tuple[Cover, ...]
    orders: list[OrderRow] | None
    algos: list[AlgoRow] | None

    @property
    def complete(self) -> bool:
        """All three lists are whole: only such a read proves anything."""
        return self.orders is not None and self.algos is not None

    def entries(self) -> tuple[list[OrderRow], list[AlgoRow]]:
        """What may add to a position, in both books."""
        return (
            [order for order in self.orders or () if not order.closes()],
            [order for order in self.algos or () if not order.closes()],
        )


_orders: Final = msgspec.json.Decoder(list[OrderRow])


class Kill:
    """One run of the kill switch; *say* gets every step as it happens."""

    def __init__(
        self,
        venue: PlainVenue,
        *,
        close: bool,
        say: Callable[[Step], None],
        give_up_seconds: float = 0.0,
        name: str = "kill",
        proof: Proof = Proof(),  # noqa: B008 - frozen
    ) -> None:
        self._venue, self._closing, self._tell = venue, close, say
        self._give_up = give_up_seconds
        self._started = time.monotonic()
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="kill")
        self._numbers = itertools.count(1)
        self._name, self._proof = name, proof
        self._refusals: dict[tuple[str, str], int] = {}
        self._pieces: dict[str, int] = {}  # symbol → largest piece in 10^-8, where the whole is refused
        self._grids = Grids(venue)
        self._steps: list[Step] = []
        self._saying = threading.Lock()
        self._last: Picture | None = None
        self._flat_ms: int | None = None
        self._refused_by_key = False
        self.stopped = threading.Event()  # set it to end the run at its next round

    def run(self) -> Outcome:
        """Go on until it is done, *give_up_seconds* have passed, or ``stopped`` is set."""
        trouble = self._venue.synchronise()
        self._say("", f"clock: {trouble}" if trouble else f"clock: the venue is {self._venue.ahead_ms} ms ahead")
        clean_at: float | None = None
        said_left = 0.0
        done = False
        while not self.stopped.is_set():
            picture = self._read()
            if picture is not None:
                self._last = picture
                if self._clean(picture):
                    now = time.monotonic()
                    if clean_at is None:
                        clean_at = now
                        self._first_clean()
                    proven_at = max(clean_at + self._proof.apart, self._started + self._proof.fence)
                    if now >= proven_at:
                        done = True
                        break
                    self._sleep(proven_at - now + 0.001)
                    continue
                clean_at = None
                self._round(picture)
            if self._over():
                break
            if time.monotonic() - said_left >= LEFT_EVERY_SECONDS:
                said_left = time.monotonic()
                self._say_left(picture)
            self._pause(blind=picture is None)
        proven_ms = self._ms() if done else None
        if done:
            self._say("", "proven by two complete reads" + (": flat" if self._closing else ": covered, no entries"))
            if self._closing:
                self._clear_leftovers()
        return self._outcome(done=done, proven_ms=proven_ms)

    # ---- one round

    def _read(self) -> Picture | None:
        """The venue now; None when not even the positions could be read."""
        asked = [
            self._pool.submit(self._venue.call, Call("GET", path))
            for path in ("/fapi/v3/positionRisk", "/fapi/v1/openOrders", "/fapi/v1/openAlgoOrders")
        ]
        wait(asked[:1])
        wait(asked, timeout=CANCELS_FIRST_SECONDS)
        replies = [future.result() if future.done() else None for future in asked]
        try:
            positions = self._rows(replies[0], "positions", position_rows)
            orders = self._rows(replies[1], "open orders", _order_rows)
            algos = self._rows(replies[2], "conditional orders", algo_rows)
            return None if positions is None else Picture(cover(positions, algos or []), orders, algos)
        except ReadIncomplete as error:
            self._say("", f"an incomplete read proves nothing: {error}")
            return None

    def _rows(self, reply: Reply | None, what: str, decode: Callable[[bytes], list[Row]]) -> list[Row] | None:
        if reply is None:
            self._say("", f"{what}: no answer yet")
            return None
        if not reply.accepted:
            self._refused_by_key = self._refused_by_key or reply.classified.reaction is Reaction.FATAL
            self._say("", f"{what} cannot be read: {reply.words()}")
            return None
        return decode(reply.body)

    def _clean(self, picture: Picture) -> bool:
        if not picture.complete or any(picture.entries()):
            return False
        if self._closing:
            return not picture.covers
        return all(found.proven for found in picture.covers)

    def _round(self, picture: Picture) -> None:
        cancels = self._cancel(picture)
        wait(cancels, timeout=CANCELS_FIRST_SECONDS)
        ordered = sorted(picture.covers, key=lambda found: (-found.risk_e8, found.symbol))
        work: list[Future[None]] = list(cancels)
        for found in ordered:
            key = found.symbol, found.position_side
            if self._closing:
                written = threading.Event()
                work.append(self._pool.submit(self._close, found, written))
                written.wait(ROUND_SECONDS / 4)  # the larger risk is on the wire before the next is written
            failing = self._refusals.get(key, 0) >= 2 or not self._closing
            if failing and not found.proven and not found.firing and picture.algos is not None:
                work.append(self._pool.submit(self._protect, found))
        wait(work, timeout=ROUND_SECONDS)

    def _cancel(self, picture: Picture) -> list[Future[None]]:
        orders, algos = picture.entries()
        calls: list[tuple[str, str, Call]] = []
        if self._closing:
            for symbol in sorted({order.symbol for order in picture.orders or ()}):
                count = sum(order.symbol == symbol for order in picture.orders or ())
                call = Call("DELETE", "/fapi/v1/allOpenOrders", (("symbol", symbol),))
                calls.append((symbol, f"cancel {count} resting order(s)", call))
        else:
            for order in orders:
                query = (("symbol", order.symbol), ("orderId", str(order.order_id)))
                text = f"cancel entry {order.client_order_id}"
                calls.append((order.symbol, text, Call("DELETE", "/fapi/v1/order", query)))
        for algo in algos:
            text = f"cancel conditional entry {algo.client_algo_id}"
            call = Call("DELETE", "/fapi/v1/algoOrder", (("algoId", str(algo.algo_id)),))
            calls.append((algo.symbol, text, call))
        return [self._pool.submit(self._do, symbol, text, call) for symbol, text, call in calls]

    def _do(self, symbol: str, text: str, call: Call) -> None:
        reply = self._venue.call(call)
        self._say(symbol, f"{text}: {'done' if reply.accepted else reply.words()}")

    # ---- closing

    def _close(self, found: Cover, written: threading.Event) -> None:
        key = found.symbol, found.position_side
        amount = abs(found.amount_e8)
        if self._refusals.get(key, 0) >= REFUSALS_BEFORE_FALLBACK:
            self._refusals[key] = 0
            written.set()
            self._close_conditionally(found)
            return
        piece = self._pieces.get(found.symbol, amount)
        while amount > 0 and not self.stopped.is_set():
            lots = min(piece, amount)
            reply = self._venue.call(self._market(found, lots), written=written.set)
            text = f"close {format_e8(lots)} ({_money(found.risk_e8)} at risk)"
            if not reply.accepted:
                self._say(found.symbol, f"{text}: {reply.words()}")
                self._refused(found, reply, lots)
                return  # the next round asks the venue what is left
            self._refusals[key] = 0
            self._say(found.symbol, f"{text}: {_status(reply.body)}")
            amount -= lots

    def _market(self, found: Cover, lots_e8: int) -> Call:
        parameters = [
            ("symbol", found.symbol),
            ("side", "SELL" if found.amount_e8 > 0 else "BUY"),
            ("type", "MARKET"),
            ("quantity", format_e8(lots_e8)),
        ]
        return Call("POST", "/fapi/v1/order", (*parameters, *_only_reduces(found), *self._named("newClientOrderId")))

    def _refused(self, found: Cover, reply: Reply, lots_e8: int) -> None:
        """Remember what the refusal asks for; quantity and budget are looked at again by the next round anyway."""
        reaction = reply.classified.reaction
        if reaction in NOT_SENT or reaction is Reaction.IN_DOUBT:
            return
        key = found.symbol, found.position_side
        self._refusals[key] = self._refusals.get(key, 0) + 1
        if reaction is Reaction.BAD_FILTERS:
            most = self._grids.largest_market_e8(found.symbol)
            self._pieces[found.symbol] = most if most and most < lots_e8 else max(1, lots_e8)
        elif reaction is Reaction.THIN_BOOK:
            self._pieces[found.symbol] = self._grids.lots_down_e8(found.symbol, lots_e8 // 2) or lots_e8
        elif reaction is Reaction.FATAL:
            self._say(found.symbol, "only a person can mend this: key, permission or account (perpguard doctor)")
            time.sleep(ROUND_SECONDS)

    def _close_conditionally(self, found: Cover) -> None:
        """Market orders are refused: let the venue close at its next tick of the mark (domain 6.7, last rung)."""
        trigger = self._grids.price_text(found.symbol, found.mark_e8, away=1 if found.amount_e8 > 0 else -1)
        if not trigger:
            self._say(found.symbol, "the filters cannot be read: no conditional close")
            return
        call = self._conditional(found, "TAKE_PROFIT_MARKET", trigger, (("closePosition", "true"),))
        self._do(found.symbol, f"close by a conditional order at {trigger}", call)

    def _protect(self, found: Cover) -> None:
        """A stop for a position that none covers: never behind liquidation, at most 2 % away."""
        distance = found.mark_e8 * RAIL_PERMILLE_OF_MARK // 1_000
        if found.liquidation_e8 > 0:
            room = abs(found.mark_e8 - found.liquidation_e8)
            distance = min(distance, room * RAIL_PERMILLE_OF_LIQUIDATION // 1_000)
        sign = 1 if found.amount_e8 > 0 else -1
        trigger = self._grids.price_text(found.symbol, found.mark_e8 - sign * distance, away=0)
        if not trigger:
            self._say(found.symbol, "the filters cannot be read: no stop can be placed")
            return
        for size in (
            (("closePosition", "true"),),
            (("quantity", format_e8(abs(found.amount_e8))), *_only_reduces(found)),
        ):
            reply = self._venue.call(self._conditional(found, "STOP_MARKET", trigger, size))
            said = "rests" if reply.accepted else reply.words()
            self._say(found.symbol, f"{found.words()}; stop at {trigger}: {said}")
            if reply.classified.reaction is not Reaction.COVER_EXISTS:  # −4130: one such stop rests, behind liquidation
                return

    def _conditional(self, found: Cover, kind: str, trigger: str, size: tuple[tuple[str, str], ...]) -> Call:
        side = (("positionSide", found.position_side),) if found.position_side != "BOTH" else ()
        return Call(
            "POST",
            "/fapi/v1/algoOrder",
            (
                ("algoType", "CONDITIONAL"),
                ("symbol", found.symbol),
                ("side", "SELL" if found.amount_e8 > 0 else "BUY"),
                ("type", kind),
                ("triggerPrice", trigger),
                *(pair for pair in size if pair[0] != "positionSide"),
                *side,
                ("workingType", "MARK_PRICE"),
                ("priceProtect", "false"),
                *self._named("clientAlgoId"),
            ),
        )

    def _named(self, parameter: str) -> tuple[tuple[str, str], ...]:
        extra = (("newOrderRespType", "RESULT"),) if parameter == "newClientOrderId" else ()
        return (
            (parameter, f"{self._name}-{next(self._numbers)}"),
            *extra,
            ("selfTradePreventionMode", "EXPIRE_MAKER"),
        )

    # ---- the end

    def _clear_leftovers(self) -> None:
        """Flat is proven: our own stops and targets go last; those of others are only counted."""
        assert self._last is not None
        ours = [row for row in self._last.algos or () if _is_ours(row.client_algo_id)]
        wait(
            self._pool.submit(
                self._do,
                row.symbol,
                f"cancel leftover {row.client_algo_id}",
                Call("DELETE", "/fapi/v1/algoOrder", (("algoId", str(row.algo_id)),)),
            )
            for row in ours
        )

    def _first_clean(self) -> None:
        if self._closing and self._flat_ms is None:
            self._flat_ms = self._ms()
        self._say(
            "", "flat: no position and no entry (first complete read)" if self._closing else "covered, no entries"
        )

    def _outcome(self, *, done: bool, proven_ms: int | None) -> Outcome:
        self._pool.shutdown(wait=False, cancel_futures=True)
        picture = self._last
        entries = () if picture is None else picture.entries()
        foreign = [row for row in (picture.algos if picture else None) or () if not _is_ours(row.client_algo_id)]
        return Outcome(
            done=done,
            flat_ms=self._flat_ms if done else None,
            proven_ms=proven_ms,
            left=[] if picture is None else _left(picture),
            entries_left=sum(len(book) for book in entries),
            foreign_orders=len(foreign),
            seconds=round(time.monotonic() - self._started, 3),
            calls=self._venue.calls,
            quota=self._venue.quota.words(),
            steps=list(self._steps),
        )

    def _say_left(self, picture: Picture | None) -> None:
        if picture is None:
            self._say("", "what is left is not known: the venue does not answer; still trying")
            return
        words = [f"{row.symbol} {row.amount} {'covered' if row.covered else 'NOT COVERED'}" for row in _left(picture)]
        entries = sum(len(book) for book in picture.entries())
        if entries:
            words.append(f"{entries} entry order(s)")
        if words and (self._closing or entries or not all(found.proven for found in picture.covers)):
            self._say("", "before this round: " + ", ".join(words))

    def _say(self, symbol: str, text: str) -> None:
        step = Step(self._ms(), symbol, text)
        with self._saying:
            self._steps.append(step)
            self._tell(step)

    def _ms(self) -> int:
        return int((time.monotonic() - self._started) * 1_000)

    def _over(self) -> bool:
        return bool(self._give_up) and time.monotonic() - self._started >= self._give_up

    def _pause(self, *, blind: bool) -> None:
        """A moment between rounds; while the venue has forbidden everything, until it allows it again."""
        quota = self._venue.quota
        held = quota.stopped_until_ms / 1_000 - time.time()
        if held > 0:
            self._say("", f"the venue allows nothing for {held:.1f} s more ({quota.stopped_because}); stops rest")
        own = REFUSED_SECONDS if self._refused_by_key else BLIND_SECONDS if blind else PAUSE_SECONDS
        self._refused_by_key = False
        self._sleep(max(own, held))

    def _sleep(self, seconds: float) -> None:
        if self._give_up:
            seconds = min(seconds, max(0.0, self._started + self._give_up - time.monotonic()))
        self.stopped.wait(seconds)


def _order_rows(body: bytes) -> list[OrderRow]:
    try:
        return _orders.decode(body)
    except msgspec.DecodeError as error:
        raise ReadIncomplete(f"openOrders: {error}") from error


def _only_reduces(found: Cover) -> tuple[tuple[str, str], ...]:
    """One-way mode: reduceOnly; hedge mode: the position's side instead (venue sheet 6.4)."""
    if found.position_side == "BOTH":
        return (("reduceOnly", "true"),)
    return (("positionSide", found.position_side),)


def _is_ours(client_id: str) -> bool:
    return identity.intent_of(client_id) is not None or client_id.startswith("kill-")


class _Filled(msgspec.Struct):
    status: str = "?"
    executedQty: str = "?"


def _status(body: bytes) -> str:
    try:
        reply = msgspec.json.decode(body, type=_Filled)
    except msgspec.DecodeError:
        return "taken"
    return f"{reply.status} {reply.executedQty}"


def _money(amount_e8: int) -> str:
    return f"{amount_e8 // ONE_E8}"


def _left(picture: Picture) -> list[Left]:
    rows: Iterable[Cover] = sorted(picture.covers, key=lambda found: (-found.risk_e8, found.symbol))
    return [
        Left(row.symbol, row.position_side, format_e8(row.amount_e8), row.proven, _money(row.risk_e8)) for row in rows
    ]
