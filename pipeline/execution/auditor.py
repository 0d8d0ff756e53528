"""
The only place where the executor doubts itself: does the venue show a stop for every open position (issue 8)?

Reads of its own (positionRisk, openAlgoOrders), judged by ``execution.cover``, which knows nothing of our journal or
state. Judged on start, on reconnect of the user stream, after each change of a stop, and at the cadence of domain 6.7:
60 s while a position is open, 30 s while the user stream is down. Whole audits that decide asked for count as reads,
so that the cadence costs nothing while decide lives.

It cancels nothing and places nothing. A position without cover in two complete reads a second apart is told to people
and, as a complete ``audit`` line, to the symbol in ``inputs``: what follows is X1 in the core, replayable as ever.
A read that is incomplete proves nothing; several in a row are a word for people.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
import structlog

from pipeline.binance import requests
from pipeline.binance.errors import ReadFailed
from pipeline.core.rate_limits import Lane
from pipeline.core.units import format_e8
from pipeline.execution.cover import Cover, ReadIncomplete, algo_rows, cover, position_rows
from pipeline.execution.desk import Desk
from pipeline.execution.ports import OutboxUnavailable
from pipeline.execution.sender import Sender
from pipeline.execution.user_stream import UserStream
from pipeline.wire import lines

log = structlog.get_logger(__name__)

CADENCE_SECONDS: Final = 65.0  # a little behind decide's own 60 s, whose reads are then as good
CADENCE_SUSPECT_SECONDS: Final = 30.0
SETTLE_SECONDS: Final = 1.0  # after a change: what is on its way has arrived
CHANGES_APART_SECONDS: Final = 20.0  # a trailing stop moves every few seconds; the reads cost weight
SECOND_READ_SECONDS: Final = 1.0
BLIND_AFTER: Final = 3
AGAIN_SECONDS: Final = 2.0
FEW: Final = 40  # below so many symbols single reads of the conditional book weigh less than one of all


class Auditor:
    """Proves cover; ``verdicts`` are those of the newest complete read, by (symbol, position side)."""

    def __init__(self, desk: Desk, sender: Sender, user_stream: UserStream | None) -> None:
        self._desk, self._sender, self._stream = desk, sender, user_stream
        self._due = asyncio.Event()
        self._changed_ms = 0
        self._proven_ms = 0
        self._failures = 0
        self._suspects: dict[tuple[str, str], int] = {}
        self.verdicts: dict[tuple[str, str], Cover] = {}
        self.reads = 0
        desk.on_cover_changed = self.changed
        desk.on_audit = self.heard

    def changed(self, symbol: str) -> None:
        """A stop of *symbol* was placed or moved: look at the venue soon."""
        log.debug("cover_changed", symbol=symbol)
        self._due.set()

    def heard(self, positions: bytes, algo_orders: bytes) -> None:
        """A whole audit was read for somebody else: its bytes prove as much as ours."""
        try:
            self._judge(cover(position_rows(positions), algo_rows(algo_orders)))
            if self._suspects:
                self._due.set()  # look for ourselves
        except ReadIncomplete as error:
            log.warning("audit_incomplete", error=str(error))

    async def run(self) -> None:
        """Audit at once, then whenever it is time; for ever."""
        if self._stream is None:
            await self._keep()
        else:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._on_reconnect(self._stream))
                group.create_task(self._keep())

    async def _keep(self) -> None:
        await self._audit()
        while True:
            changed = await self._wait()
            if changed:
                await asyncio.sleep(SETTLE_SECONDS)
                self._due.clear()
                self._changed_ms = self._desk.clock.now_ms()
            if self._something_open():
                await self._audit()
            else:
                self._proven_ms = self._desk.clock.now_ms()

    def _something_open(self) -> bool:
        told = any(lots for lots, _ in self._desk.evidence.positions.values())
        return bool(self.verdicts or self._desk.positions) or told

    async def _wait(self) -> bool:
        """Until the next audit is due; True when a change is the reason."""
        while True:
            now = self._desk.clock.now_ms()
            change_in = CHANGES_APART_SECONDS - (now - self._changed_ms) / 1_000
            if self._due.is_set() and change_in <= 0:
                return True
            cadence_in = self._cadence() - (now - self._proven_ms) / 1_000
            if cadence_in <= 0:
                return False
            try:
                async with asyncio.timeout(min(cadence_in, change_in) if self._due.is_set() else cadence_in):
                    if self._due.is_set():
                        await asyncio.Event().wait()
                    await self._due.wait()
            except TimeoutError:
                pass

    def _cadence(self) -> float:
        suspect = self._stream is not None and not self._stream.connected.is_set()
        return CADENCE_SUSPECT_SECONDS if suspect else CADENCE_SECONDS

    async def _on_reconnect(self, stream: UserStream) -> None:
        while True:
            await stream.connected.wait()
            self._due.set()
            while stream.connected.is_set():  # noqa: ASYNC110 - an Event has no wait for its being cleared
                await asyncio.sleep(SETTLE_SECONDS)

    # ---- one audit

    async def _audit(self) -> None:
        """Read and judge; a suspicion is read again before anything is said."""
        self._proven_ms = self._desk.clock.now_ms()  # a try counts: the next is not due at once
        while True:
            found = await self._read()
            if found is None:
                self._failures += 1
                if self._failures == BLIND_AFTER:
                    text = f"cover could not be proven {BLIND_AFTER} times in a row; stops are left as they are"
                    self._desk.alert("auditor_blind", "warning", text)
                if self._failures < BLIND_AFTER and self._desk.positions:
                    await asyncio.sleep(AGAIN_SECONDS)
                    continue
                return
            self._failures = 0
            self._judge(found)
            if not self._suspects:
                return
            await asyncio.sleep(SECOND_READ_SECONDS)
            again = await self._read()
            if again is None:
                continue
            lasting = [verdict for verdict in again if not _good(verdict) and _key(verdict) in self._suspects]
            self._judge(again)
            for verdict in lasting:
                await self._raise(verdict)
            if lasting:
                self._changed_ms = self._desk.clock.now_ms()
                self._due.set()  # not again at once, but sooner than at the cadence
            return

    def _judge(self, verdicts: tuple[Cover, ...]) -> None:
        now = self._desk.clock.now_ms()
        self._desk.on_verdicts(verdicts)
        self._proven_ms = now
        self.verdicts = {_key(verdict): verdict for verdict in verdicts}
        self._suspects = {_key(verdict): now for verdict in verdicts if not _good(verdict)}

    async def _read(self) -> tuple[Cover, ...] | None:
        """Positions of the account and every conditional order of theirs; None: incomplete, nothing is proven."""
        self.reads += 1
        try:
            positions = position_rows(await self._sender.read(requests.position_risk(), Lane.QUERY))
            symbols = sorted({row.symbol for row in positions if row.position_amt.strip("-0.")})
            if len(symbols) > FEW:
                bodies = [await self._sender.read(requests.open_algo_orders(), Lane.QUERY)]
            else:
                asked = (self._sender.read(requests.open_algo_orders(symbol), Lane.QUERY) for symbol in symbols)
                bodies = await asyncio.gather(*asked)
            return cover(positions, [row for body in bodies for row in algo_rows(body)])
        except (ReadFailed, ReadIncomplete) as error:
            log.warning("audit_incomplete", error=str(error))
            return None

    # ---- words

    async def _raise(self, verdict: Cover) -> None:
        """Twice seen: an alert, and a complete audit as a line of the symbol."""
        ours = [position for position in self._desk.of_symbol(verdict.symbol) if position.filled]
        believed = "; our own books say it is covered" if any(position.covered for position in ours) else ""
        amount = format_e8(verdict.amount_e8)
        if not verdict.proven:
            text = f"{verdict.symbol} {amount}: {verdict.words()}, by two reads of the venue{believed}"
            self._desk.alert("auditor_uncovered", "critical", text, verdict.symbol)
        elif verdict.through:
            text = f"{verdict.symbol} {amount}: the mark is beyond a stop that still waits, in two reads"
            self._desk.alert("auditor_through", "critical", text, verdict.symbol)
        try:
            bodies = await asyncio.gather(
                self._sender.read(requests.position_risk(), Lane.QUERY),
                self._sender.read(requests.open_orders(verdict.symbol), Lane.QUERY),
                self._sender.read(requests.open_algo_orders(verdict.symbol), Lane.QUERY),
            )
            body = b'{"positionRisk":%b,"openOrders":%b,"openAlgoOrders":%b}' % tuple(bodies)
            if lines.embeddable(body):
                answer = lines.Answer(kind="audit", request="", body=msgspec.Raw(body))
                await self._desk.outbox.answer(verdict.symbol, answer)
        except (ReadFailed, OutboxUnavailable) as error:
            log.warning("audit_not_told", symbol=verdict.symbol, error=str(error))


def _key(verdict: Cover) -> tuple[str, str]:
    return verdict.symbol, verdict.position_side


def _good(verdict: Cover) -> bool:
    """Covered and not overrun; a stop that goes off right now is on its way to flat."""
    return verdict.firing or (verdict.proven and not verdict.through)
