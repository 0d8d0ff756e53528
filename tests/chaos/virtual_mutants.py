"""
The only place for pipelines that are broken on purpose, each in one way, to see that virtual chaos notices.

A mutant is a function replaced, or a role made of a subclass, for as long as its run lasts; the product has no switch.
Run as a program it looks for the first seeds that catch each: ``python -m tests.chaos.virtual_mutants [NAME…]``.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import msgspec

from pipeline.binance import requests
from pipeline.binance.errors import Reaction
from pipeline.binance.requests import Request
from pipeline.binance.rest import Answer
from pipeline.chaos.judges import Violation
from pipeline.chaos.virtual_campaign import look
from pipeline.chaos.virtual_plan import draw
from pipeline.chaos.virtual_run import settings
from pipeline.chaos.virtual_sites import sites
from pipeline.core.commands import PlaceTarget
from pipeline.core.events import Leg, Verdict
from pipeline.core.rate_limits import Lane
from pipeline.core.units import Lots
from pipeline.execution import closing, entries, in_doubt, sender
from pipeline.execution.closing import Closer
from pipeline.execution.desk import Desk, Guarded, WantedRail
from pipeline.execution.entries import Entries
from pipeline.execution.executor import Executor
from pipeline.execution.first_reads import Reads
from pipeline.execution.in_doubt import Miss
from pipeline.execution.journal import PositionJournal
from pipeline.execution.lanes import Lanes
from pipeline.execution.lease import Lease
from pipeline.execution.rails import Rails
from pipeline.execution.recovery import Recovery
from pipeline.execution.sender import Purpose, Sender
from pipeline.execution.targets import Targets
from pipeline.streaming.checkpoints import Step
from pipeline.streaming.runner import PartitionRunner
from pipeline.virtual import workers
from pipeline.virtual.clock import silence
from pipeline.virtual.venue import VenueClient
from pipeline.wire.records import Attempted, IntentRecord

Mutation = Callable[[contextlib.ExitStack], None]
MUTANTS: dict[str, Mutation] = {}


def mutant(make: Mutation) -> Mutation:
    """Register a mutant under its function's name."""
    MUTANTS[make.__name__] = make
    return make


def replace(stack: contextlib.ExitStack, target: Any, name: str, value: Any) -> None:
    """Put *value* in the place of an attribute while the run lasts."""
    stack.enter_context(mock.patch.object(target, name, value))


@mutant
def no_journal(stack: contextlib.ExitStack) -> None:
    """Nothing is written ahead of a request."""

    async def write_ahead(self: Sender, attempted: Attempted, *, spill: bool) -> None:
        self._desk.index.apply(attempted)
        self._desk.durable(attempted.intent)

    replace(stack, Sender, "_write_ahead", write_ahead)


@mutant
def an_entry_is_sent_again_on_timeout(stack: contextlib.ExitStack) -> None:
    """What may have been executed is taken for what was not."""
    replace(stack, sender, "NOT_EXECUTED", sender.NOT_EXECUTED | {Reaction.IN_DOUBT})


@mutant
def cancel_before_new(stack: contextlib.ExitStack) -> None:
    """The working stop moves by taking the old one away first."""

    async def move(self: Rails, position: Guarded, wanted: WantedRail) -> None:
        for order in position.live(Leg.WORKING, doubtful=True):
            await self._canceller.cancel(position, order, intent=wanted.intent)
        for lots in requests.slices(self._desk.instruments[position.symbol], wanted.lots):
            await self._place(position, Leg.WORKING, wanted, lots)

    replace(stack, Rails, "_move_working", move)


@mutant
def no_epoch(stack: contextlib.ExitStack) -> None:
    """Who was superseded does not care."""
    replace(stack, Lease, "seen", _without_loss(Lease.seen))
    replace(stack, Lease, "receive_window", lambda self, *, risk: 1_000)
    replace(stack, Executor, "_watch_lease", _for_ever)


async def _for_ever(_: Executor) -> None:
    await asyncio.Event().wait()


def _without_loss(seen: Callable[[Lease, Any], None]) -> Callable[[Lease, Any], None]:
    def take(self: Lease, record: Any) -> None:
        seen(self, record)
        self.lost.clear()

    return take


@mutant
def no_wait_for_the_old_lease(stack: contextlib.ExitStack) -> None:
    """A new executor enters at once, whatever its predecessor may still send."""
    replace(stack, Lease, "risk_wait_ms", property(lambda self: 0))


@mutant
def the_timestamp_is_taken_after_the_pause(stack: contextlib.ExitStack) -> None:
    """The request carries the time of its write instead of that of its lease check."""

    class Late(VenueClient):
        async def send(
            self, request: Request, *, timestamp_ms: int = 0, receive_window_ms: int = 0, timeout_ms: int = 5_000
        ) -> Answer:
            await asyncio.sleep(0)
            now = self._clock.now_ms() + self.server_ahead_ms
            return await super().send(
                request, timestamp_ms=now, receive_window_ms=receive_window_ms, timeout_ms=timeout_ms
            )

    replace(stack, workers, "VenueClient", Late)


@mutant
def no_wait_for_the_receive_window(stack: contextlib.ExitStack) -> None:
    """Two reads that miss an order end its doubt, at whatever time: the venue may still take it."""

    def absent(misses: list[Miss], *, valid_until_ms: int) -> bool:
        return sum(miss.agrees for miss in misses) >= 2

    replace(stack, in_doubt, "absent", absent)


@mutant
def not_found_is_believed_at_once(stack: contextlib.ExitStack) -> None:
    """One read that misses an order ends its doubt."""

    def absent(misses: list[Miss], *, valid_until_ms: int) -> bool:
        return bool(misses)

    replace(stack, in_doubt, "absent", absent)


@mutant
def the_budget_blocks_exits(stack: contextlib.ExitStack) -> None:
    """Our own budget binds every lane."""
    replace(stack, Lane, "background", property(lambda self: True))


@mutant
def the_resize_is_lost(stack: contextlib.ExitStack) -> None:
    """The working stop keeps the quantity of the first fill, whatever is filled and asked for later."""
    move = Rails._move_working
    first: dict[str, int] = {}

    async def small(self: Rails, position: Guarded, wanted: WantedRail) -> None:
        wanted.lots = min(wanted.lots, first.setdefault(position.id, max(1, wanted.lots // 2)))
        await move(self, position, wanted)

    replace(stack, Rails, "_move_working", small)


@mutant
def a_late_entry_is_sent(stack: contextlib.ExitStack) -> None:
    """Nobody looks how old an entry's cause is."""
    replace(stack, Entries, "_late", lambda self, record, bracket, *, ahead_ms=0: "")


@mutant
def a_close_takes_the_stops_away_first(stack: contextlib.ExitStack) -> None:
    """X0 in the wrong order: the stops go before the position does."""
    ladder = Closer._ladder

    async def disarmed(self: Closer, position: Guarded, intent: str) -> None:
        await self._cancel_legs(position, closing.SWEEP_LAST, intent)
        await ladder(self, position, intent)

    replace(stack, Closer, "_ladder", disarmed)


@mutant
def targets_fill_the_reduce_only_budget(stack: contextlib.ExitStack) -> None:
    """A close goes out beside its own targets, and the venue has nothing left to reduce."""

    async def leave(self: Closer, position: Guarded, intent: str) -> None:
        return None

    def settle_only(self: Targets, record: IntentRecord, position: Guarded) -> None:
        self._sender.settle(record.id, symbol=position.symbol, position=position.id)

    send = Targets._send

    async def greedy(self: Targets, purpose: Purpose, intent: PlaceTarget, position: Guarded, **options: Any) -> Any:
        if intent.leg is Leg.TARGET:
            intent = msgspec.structs.replace(intent, lots=Lots(position.filled))
        return await send(self, purpose, intent, position, **options)

    replace(stack, Targets, "_send", greedy)
    replace(stack, Closer, "_cancel_targets", leave)
    replace(stack, Targets, "cancel", settle_only)
    replace(stack, closing, "REFUSALS_BEFORE_FALLBACK", 1_000_000)


@mutant
def a_repeated_intent_is_carried_out_again(stack: contextlib.ExitStack) -> None:
    """An intent that is delivered twice is done twice."""
    submit = Executor.submit

    def forgetful(self: Executor, record: IntentRecord) -> asyncio.Future[None]:
        self.desk.index.intents.pop(record.id, None)
        return submit(self, record)

    replace(stack, Executor, "submit", forgetful)


@mutant
def exits_may_be_too_late(stack: contextlib.ExitStack) -> None:
    """The age that refuses an entry refuses everything."""
    carry_out = Executor._carry_out

    def punctual(self: Executor, record: IntentRecord) -> None:
        late = self.desk.clock.now_ms() - record.at_ms
        if late > entries.STALE_MS and not hasattr(record.intent, "far_trigger"):
            self.desk.know_symbol(record.id, record.symbol)
            self._refuse(record, f"stale: its cause is {late} ms old")
        else:
            carry_out(self, record)

    replace(stack, Executor, "_carry_out", punctual)


@mutant
def a_ban_is_not_respected(stack: contextlib.ExitStack) -> None:
    """429 and 418 are answers like others."""
    replace(stack, Lanes, "stop_all", lambda self, until_ms: None)


@mutant
def a_sweep_does_not_ask_the_venue(stack: contextlib.ExitStack) -> None:
    """Stops are swept because decide says flat."""

    async def flat(desk: Desk, send: Sender, symbol: str = "", lane: Lane = Lane.QUERY) -> dict[str, tuple[int, str]]:
        return {}

    replace(stack, closing, "read_positions", flat)


@mutant
def a_start_protects_nothing(stack: contextlib.ExitStack) -> None:
    """What is found open at a start keeps the stops it has, if any, until decide asks for some."""
    restore, protect = Recovery._restore, Rails.protect
    found: set[str] = set()

    def take_up(self: Recovery, journal: PositionJournal, reads: Reads) -> Guarded:
        found.add(journal.id)
        return restore(self, journal, reads)

    def arm(self: Rails, position: Guarded) -> None:
        if position.id not in found:
            protect(self, position)

    replace(stack, Recovery, "_restore", take_up)
    replace(stack, Recovery, "_protect", lambda self, position, journal, lots: None)
    replace(stack, Rails, "protect", arm)


@mutant
def doubts_are_forgotten_at_a_start(stack: contextlib.ExitStack) -> None:
    """What had no end when the executor died is never asked for."""
    replace(stack, Recovery, "_end_doubts", lambda self, journal, position, *, valid_until_ms: None)


@mutant
def state_is_durable_before_its_outputs(stack: contextlib.ExitStack) -> None:
    """A round of states does not wait for the outputs that came before them: a kill between loses these for ever."""
    do, send = PartitionRunner._do, PartitionRunner._send

    async def late(self: PartitionRunner, outputs: Any) -> None:
        await asyncio.sleep(0.05)
        await send(self, outputs)

    async def hasty(self: PartitionRunner, step: Step, work: Any) -> None:
        if step is not Step.OUTPUTS:
            await do(self, step, work)

    replace(stack, PartitionRunner, "_send", late)
    replace(stack, PartitionRunner, "_do", hasty)


@mutant
def attempts_are_renumbered_at_a_start(stack: contextlib.ExitStack) -> None:
    """A new executor counts the attempts of an intent from one again."""
    run = Recovery.run

    async def forgetful(self: Recovery, *, valid_until_ms: int) -> None:
        self._desk.index._ordinals.clear()
        await run(self, valid_until_ms=valid_until_ms)

    replace(stack, Recovery, "run", forgetful)


@mutant
def a_doubtful_stop_is_believed(stack: contextlib.ExitStack) -> None:
    """A stop whose placement was not answered is taken for one that rests."""

    async def believe(self: Rails, position: Guarded, sent: Any) -> Any:
        order = self._rests(position, sent)
        order.doubtful = False
        return order

    replace(stack, Rails, "_doubted", believe)


@mutant
def an_unanswered_close_is_believed(stack: contextlib.ExitStack) -> None:
    """A market close whose answer did not come is taken for one that filled."""
    place, look, told = Closer._slice, Closer._look, Closer._told_flat
    believed: set[str] = set()

    async def send(self: Closer, position: Guarded, intent: str, lots: int) -> Any:
        sent = await place(self, position, intent, lots)
        if sent.outcome.verdict is Verdict.IN_DOUBT:
            believed.add(position.id)
        return sent

    async def glance(self: Closer, position: Guarded, *, patient: bool) -> tuple[int, str] | None:
        return (0, "0") if position.id in believed else await look(self, position, patient=patient)

    replace(stack, Closer, "_slice", send)
    replace(stack, Closer, "_look", glance)
    replace(stack, Closer, "_told_flat", lambda self, position: position.id in believed or told(self, position))


@contextlib.contextmanager
def broken(name: str) -> Iterator[None]:
    """The pipeline broken in one way."""
    with contextlib.ExitStack() as stack:
        MUTANTS[name](stack)
        yield


def caught(name: str, seed: int) -> list[Violation]:
    """What virtual chaos says of a mutant at a seed."""
    with silence(), broken(name):
        return look(draw(seed, sites()), settings()).violations


def hunt(name: str, *, seeds: int = 1_000, wanted: int = 2) -> list[tuple[int, str]]:
    """The first seeds that catch a mutant, with the promise that was broken."""
    found: list[tuple[int, str]] = []
    for seed in range(1, seeds + 1):
        violations = caught(name, seed)
        if violations:
            found.append((seed, f"{violations[0].promise}: {violations[0].what[:110]}"))
            if len(found) == wanted:
                break
    return found


if __name__ == "__main__":
    for chosen in sys.argv[1:] or MUTANTS:
        print(chosen, hunt(chosen), flush=True)
