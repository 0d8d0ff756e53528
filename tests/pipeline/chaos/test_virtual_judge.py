"""The judges that only virtual time makes exact: each with a ledger and a log that keep its promise or break it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.chaos import virtual_judge as judges
from pipeline.chaos.virtual_run import Spell
from pipeline.core.commands import OpenBracket
from pipeline.core.events import Leg, RequestEnded, Side, Verdict
from pipeline.core.units import Lots, Milliseconds, Ticks
from pipeline.virtual.log import Stored
from pipeline.wire.records import Attempted, AttemptEnded, EpochEnded, EpochStarted, IntentRecord, LeaseRenewed

INTENT = "abcdefg.01.0.tagg0"
ENTRY = f"{INTENT}-e1"


def started(epoch: int, at_ms: int) -> EpochStarted:
    """An epoch with a lease of 3 s."""
    return EpochStarted(epoch=epoch, executor=f"e{epoch}", lease_ms=3_000, at_ms=Milliseconds(at_ms))


def attempted(epoch: int, client_id: str = ENTRY, leg: Leg = Leg.ENTRY) -> Attempted:
    """A write-ahead."""
    return Attempted(
        epoch=epoch,
        intent=INTENT,
        position=INTENT,
        symbol="BTCUSDT",
        leg=leg,
        action="place",
        path="order",
        client_id=client_id,
        parameters={},
        at_ms=Milliseconds(0),
    )


def ended(verdict: Verdict, leg: Leg = Leg.ENTRY, message: str = "") -> AttemptEnded:
    """The end of the intent's first attempt for a leg."""
    outcome = RequestEnded(
        intent=INTENT, position=INTENT, leg=leg, client_id=f"{INTENT}-{leg.value}1", verdict=verdict, message=message
    )
    return AttemptEnded(epoch=1, symbol="BTCUSDT", outcome=outcome, at_ms=Milliseconds(0))


def order(at_ms: int, client_id: str = ENTRY) -> dict[str, Any]:
    """An entry that the exchange took."""
    return {
        "n": 1, "at": at_ms, "kind": "order", "client_id": client_id, "status": "NEW", "algo_id": None,
        "reduce_only": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("spells", "excused"),
    [
        ([], 0),
        ([Spell(50, 150)], 50),
        ([Spell(150, 160), Spell(155, 180)], 30),
        ([Spell(0, 1_000), Spell(120, 130)], 100),
        ([Spell(0, 100), Spell(200, 300)], 0),
    ],
)
def test_excused_is_the_union_of_the_spells(spells: list[Spell], excused: int) -> None:
    """No moment is counted twice, nothing outside the interval."""
    assert excused == judges.overlap(spells, 100, 200)


@pytest.mark.parametrize(
    ("fired_ms", "end_ms", "broken"), [(None, 6_000, 0), (None, 6_100, 1), (1_000, 9_000, 0), (1_000, 9_100, 1)]
)
def test_naked_time_counts_from_when_a_stop_that_went_off_has_failed(
    fired_ms: int | None, end_ms: int, broken: int
) -> None:
    """
    Five seconds are allowed. A stop in TRIGGERING is failed after three by X2 (domain 6.3), not before: they are the
    exchange's, and what X2 asks for has its time from then on (seeds 4783, 5212).
    """
    stop = {"kind": "algo", "symbol": "BTCUSDT", "state": "TRIGGERING", "type": "STOP_MARKET", "at": fired_ms}
    traces = SimpleNamespace(
        plan=SimpleNamespace(faults=[1]), spells=[], ledger=SimpleNamespace(lines=[] if fired_ms is None else [stop])
    )
    episode = {"symbol": "BTCUSDT", "naked": {"any": {"intervals": [(1_000, end_ms)]}}}

    assert broken == len(judges.never_naked([episode], traces))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("end_ms", "bitten", "spells", "broken"),
    [
        (2_300, [], [], 0),
        (2_400, [], [], 1),
        (2_400, [(1_900, "kill execute")], [], 1),
        (2_400, [(2_010, "503_internal")], [], 0),
        (2_400, [(1_000, "broker")], [], 0),
        (2_400, [], [Spell(2_100, 2_200)], 0),
    ],
)
def test_a_start_covers_what_it_finds_open(
    end_ms: int, bitten: list[tuple[int, str]], spells: list[Spell], broken: int
) -> None:
    """Within 300 ms of its epoch record, unless something bites just then, or it dies again."""
    traces = SimpleNamespace(bitten=bitten, spells=spells, ledger=SimpleNamespace(lines=[]))
    episode = {"symbol": "BTCUSDT", "naked": {"any": {"intervals": [(1_000, end_ms)]}}}
    start = Stored("attempts", 0, 0, 2_000, b"", b"")

    assert broken == len(judges.starts_protect([episode], traces, [start]))  # type: ignore[arg-type]


@pytest.mark.parametrize(("at_ms", "broken"), [(3_800, 0), (5_000, 1)])
def test_an_entry_of_an_epoch_comes_within_its_lease(at_ms: int, broken: int) -> None:
    """Renewed at 200: good until 3,200; half a second and a bit are the clock's error."""
    log = [started(1, 0), LeaseRenewed(epoch=1, executor="e1", at_ms=Milliseconds(200)), attempted(1)]

    assert broken == len(judges.leases_kept([order(at_ms)], log))


@pytest.mark.parametrize("clean", [False, True])
def test_a_successor_does_not_enter_within_its_predecessors_lease(*, clean: bool) -> None:
    """Unless the predecessor said that it had ended."""
    log: list[Any] = [started(1, 0), started(2, 500), attempted(2)]
    if clean:
        log.insert(1, EpochEnded(epoch=1, executor="e1", at_ms=Milliseconds(400)))

    assert (not clean) == bool(judges.leases_kept([order(1_000)], log))


def test_an_entry_that_was_not_written_ahead_is_named() -> None:
    """By the ledger's line."""
    found = judges.leases_kept([order(100)], [started(1, 0)])

    assert [("P2", "ledger 1")] == [(one.promise, one.where) for one in found]


@pytest.mark.parametrize(("at_ms", "broken"), [(12_400, 0), (12_700, 1)])
def test_a_late_entry_is_named(at_ms: int, broken: int) -> None:
    """A second of life, a second of receive window, and the clocks' error."""
    bracket = OpenBracket(Side.BUY, Lots(1), Ticks(10), Ticks(8), Ticks(9), Milliseconds(0))
    intent = IntentRecord(INTENT, "BTCUSDT", "0/1/0", Milliseconds(10_000), "fold", bracket)

    assert broken == len(judges.no_late_entry([order(at_ms)], {INTENT: intent}))


@pytest.mark.parametrize(
    ("verdict", "broken"), [(Verdict.ABSENT, 1), (Verdict.REFUSED, 1), (Verdict.REJECTED, 1), (Verdict.ACCEPTED, 0)]
)
def test_what_was_called_absent_never_took_effect(verdict: Verdict, broken: int) -> None:
    """Held against the ledger; an order that the exchange forgot may be called anything."""
    by_kind: dict[str, list[dict[str, Any]]] = {"order": [order(100)], "algo": []}
    log = [attempted(1), ended(verdict)]

    assert broken == len(judges.doubts_ended_rightly(by_kind, log))
    forgotten = by_kind | {"vanished": [{"client_id": ENTRY}]}
    assert [] == judges.doubts_ended_rightly(forgotten, log)


@pytest.mark.parametrize(
    ("leg", "message", "broken"),
    [
        (Leg.WORKING, "superseded", 0),
        (Leg.CLOSE, "position is flat", 0),
        (Leg.CLOSE, "stale: its cause is 2000 ms old", 1),
        (Leg.WORKING, "limits: the budget is used", 1),
        (Leg.ENTRY, "stale: its cause is 2000 ms old", 0),
    ],
)
def test_exits_are_refused_for_reasons_of_the_position_alone(leg: Leg, message: str, broken: int) -> None:
    """An entry may be refused for anything."""
    assert broken == len(judges.exits_are_never_refused([ended(Verdict.REFUSED, leg, message)]))
