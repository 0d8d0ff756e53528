"""Tests of the judges of chaos: each notices what it is there for, and names the place."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pipeline.chaos import judges
from pipeline.chaos.disturb import Disturbed
from pipeline.chaos.evidence import Folded
from pipeline.chaos.judges import FROZEN, KILLED, UP, naked_stretches
from pipeline.chaos.recovery import Recovered
from pipeline.console.log_access import Record
from pipeline.core.commands import OpenBracket, Sweep
from pipeline.core.events import Leg, RequestEnded, Side, Verdict
from pipeline.core.identity import client_id
from pipeline.core.units import Lots, Milliseconds, Ticks
from pipeline.wire import records

ENTRY = records.IntentRecord(
    "LOGIDEN.01.0.aaaa0",
    "BTCUSDT",
    "0/1/0",
    Milliseconds(1),
    "f",
    OpenBracket(Side.BUY, Lots(1), Ticks(10), Ticks(5), Ticks(7), Milliseconds(9)),
)
SWEEP = records.IntentRecord("LOGIDEN.02.0.aaaa0", "BTCUSDT", "0/2/0", Milliseconds(1), "f", Sweep(ENTRY.id))
KNOWN = {intent.id: intent for intent in (ENTRY, SWEEP)}


def in_log(*intents: records.IntentRecord) -> list[Record]:
    """The topic with these intents."""
    return [Record(0, offset, 1, None, records.encode(intent)) for offset, intent in enumerate(intents)]


def folded(*intents: records.IntentRecord) -> Folded:
    """An undisturbed fold that gives these."""
    return Folded({intent.id: records.encode(intent) for intent in intents}, 9)


def order(n: int, leg: Leg, attempt: int, intent: str = ENTRY.id, **more: Any) -> dict[str, Any]:
    """An accepted order."""
    client = client_id(intent=intent, leg=leg, attempt=attempt)
    return {"n": n, "client_id": client, "status": "NEW", "algo_id": None, "reduce_only": False} | more


def stop(n: int, client: str, **more: Any) -> dict[str, Any]:
    """An accepted conditional order."""
    return {"n": n, "client_id": client, "state": "NEW", "reduce_only": True, "close_position": False} | more


def ledger(*orders: dict[str, Any], algo: tuple[dict[str, Any], ...] = ()) -> dict[str, list[Any]]:
    """What the exchange took."""
    return {"order": list(orders), "algo": list(algo)}


def disturbed(kind: str, victim: str, began: int, over: int) -> Disturbed:
    """A disturbance."""
    return Disturbed(number=3, kind=kind, victim=victim, began_ms=began, over_ms=over, until_ms=over + 5_000)


def episode(*intervals: tuple[int, int], **more: Any) -> dict[str, Any]:
    """A position of the ledger's summary."""
    naked = {"any": {"intervals": [list(span) for span in intervals]}}
    return {"symbol": "BTCUSDT", "side": "LONG", "naked": naked, "loosened": []} | more


def test_replay_must_be_equal() -> None:
    """A difference is named with its place; no result is a violation too."""
    first = {"partition": 1, "offset": 2, "line": 3, "kind": "decision"}

    assert [] == judges.replay_is_equal({"equal": True, "first_difference": None})
    assert ["inputs 1/2/3"] == [
        one.where for one in judges.replay_is_equal({"equal": False, "first_difference": first})
    ]
    assert 1 == len(judges.replay_is_equal({"equal": False, "first_difference": None}))
    assert 1 == len(judges.replay_is_equal(None))


def test_repeats_of_the_same_bytes_are_allowed() -> None:
    """Outputs that were already sent are sent again after a kill."""
    assert [] == judges.intents_are_the_fold(in_log(ENTRY, SWEEP, ENTRY), folded(ENTRY, SWEEP))


@pytest.mark.parametrize(
    ("log", "fold", "where"),
    [
        (in_log(ENTRY), folded(ENTRY, SWEEP), "inputs 0/2/0"),
        (in_log(ENTRY, SWEEP), folded(ENTRY), "intents 0/1"),
        (in_log(msgspec.structs.replace(ENTRY, at_ms=Milliseconds(2))), folded(ENTRY), "intents 0/0"),
        (in_log(ENTRY, msgspec.structs.replace(ENTRY, at_ms=Milliseconds(2))), folded(ENTRY), "intents 0/1"),
    ],
    ids=["missing", "not in the fold", "other bytes", "repeated with other bytes"],
)
def test_a_wrong_intent_is_named(log: list[Record], fold: Folded, where: str) -> None:
    """None is missing, none is wrong, a repeat has the same bytes."""
    assert [where] == [one.where for one in judges.intents_are_the_fold(log, fold)]


def test_an_entry_that_took_effect_twice_is_found() -> None:
    """A second attempt is one too many, and so is the same client id again."""
    fill = order(3, Leg.ENTRY, 1, status="FILLED")

    assert [] == judges.risk_at_most_once(ledger(order(2, Leg.ENTRY, 1), fill), KNOWN)
    assert ["inputs 0/1/0"] == [
        one.where for one in judges.risk_at_most_once(ledger(order(2, Leg.ENTRY, 1), order(5, Leg.ENTRY, 2)), KNOWN)
    ]
    assert 1 == len(judges.risk_at_most_once(ledger(order(2, Leg.ENTRY, 1), order(5, Leg.ENTRY, 1)), KNOWN))


def test_protecting_orders_may_go_out_twice() -> None:
    """At least once is their promise; a child of a triggered stop is no order of ours."""
    stops = tuple(stop(n, order(n, Leg.WORKING, n)["client_id"]) for n in (1, 2))
    child = order(4, Leg.WORKING, 1) | {"client_id": "autoclose", "algo_id": 7}

    assert [] == judges.risk_at_most_once(ledger(order(3, Leg.ENTRY, 1), child, algo=stops), KNOWN)


def test_what_nobody_asked_for_is_found() -> None:
    """An order of an intent that is not in the log, on either book."""
    foreign = order(2, Leg.ENTRY, 1, intent="LOGIDEN.09.0.aaaa0")

    assert ["ledger 2", "ledger 3"] == [
        one.where for one in judges.risk_at_most_once(ledger(foreign, algo=(stop(3, "strange"),)), KNOWN)
    ]


def test_what_is_no_entry_must_not_add_risk() -> None:
    """A close or a target without reduce-only, a stop that neither reduces nor closes."""
    loose = stop(3, order(3, Leg.FAR, 1)["client_id"], reduce_only=False)
    closing = stop(4, order(3, Leg.FAR, 2)["client_id"], reduce_only=False, close_position=True)
    target = order(2, Leg.TARGET, 1)

    assert ["ledger 2", "ledger 3"] == [
        one.where for one in judges.risk_at_most_once(ledger(target, algo=(loose, closing)), KNOWN)
    ]


def test_every_intent_needs_an_end() -> None:
    """A doubt is none."""
    outcome = RequestEnded(ENTRY.id, ENTRY.id, Leg.ENTRY, "c", Verdict.IN_DOUBT)
    doubt = records.AttemptEnded(1, "BTCUSDT", outcome, Milliseconds(2))
    taken = msgspec.structs.replace(doubt, outcome=msgspec.structs.replace(outcome, verdict=Verdict.ACCEPTED))
    settled = records.IntentSettled(1, SWEEP.id, "BTCUSDT", Milliseconds(3))

    assert [] == judges.every_intent_ended(KNOWN, [taken, settled])
    assert ["inputs 0/1/0"] == [one.where for one in judges.every_intent_ended(KNOWN, [doubt, settled])]


def test_what_naked_time_is_allowed_depends_on_the_executor() -> None:
    """Two seconds while it lives, five around its kill, and from its waking when it was frozen."""
    kill = Recovered(disturbed("kill", "execute", 10_000, 10_000), 1, "partition 0", cover_ms=4_000)
    frozen = Recovered(disturbed("freeze", "execute", 50_000, 58_000), 1, "partition 0")
    decide = Recovered(disturbed("kill", "decide", 90_000, 90_000), 1, "partition 0")
    spans = [(1_000, 3_001), (9_000, 14_000), (9_000, 14_001), (51_000, 63_000), (57_000, 63_001), (90_000, 92_001)]
    found = naked_stretches([episode(*spans)], [kill, frozen, decide])

    assert [
        (UP, 2_000),
        (KILLED, 5_000),
        (KILLED, 5_000),
        (FROZEN, 12_000),
        (FROZEN, 6_000),
        (UP, 2_000),
    ] == [(one.around, one.allowed_ms) for one in found]
    assert [1_000, 9_000, 57_000, 90_000] == [int(one.where.split()[1]) for one in judges.never_naked(found)]


def test_a_loosened_stop_is_found() -> None:
    """By what we asked for; a stop that fires takes its trigger away by itself."""
    moment = {"ms": 7, "from": "10", "to": "9", "cause": "cancel"}

    assert ["exchange 7"] == [one.where for one in judges.never_looser([episode(loosened=[moment])])]
    assert [] == judges.never_looser([episode(loosened=[moment | {"cause": "trigger"}])])


def test_what_came_back_late_is_named() -> None:
    """Ten seconds until live, five until cover is proven."""
    late = Recovered(disturbed("kill", "execute", 1, 1), 10_001, "partition 4", cover_ms=5_001)
    fine = Recovered(disturbed("kill", "execute", 1, 1), 10_000, "partition 4", cover_ms=5_000)

    assert ["live", "cover"] == [one.promise for one in judges.back_in_time([late, fine])]


def test_faults_are_counted_by_kind_and_victim() -> None:
    """What was done how often to whom."""
    done = [disturbed("kill", "execute", 1, 1), disturbed("kill", "execute", 2, 2), disturbed("join", "decide", 3, 3)]

    assert {"join decide": 1, "kill execute": 2} == judges.bitten(done)
