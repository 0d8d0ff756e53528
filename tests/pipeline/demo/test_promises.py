"""Tests of the demo's judges: each notices what it is there for."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.commands import OpenBracket, Sweep
from pipeline.core.events import Leg, RequestEnded, Side, Verdict
from pipeline.core.identity import client_id
from pipeline.core.units import Lots, Milliseconds, Ticks
from pipeline.demo import promises
from pipeline.wire import records

ENTRY = "LOGIDEN.01.0.aaaa0"
SWEEP = "LOGIDEN.02.0.aaaa0"
ENTRY_CLIENT = client_id(intent=ENTRY, leg=Leg.ENTRY, attempt=1)


def intents() -> list[records.IntentRecord]:
    """An entry and a sweep."""
    bracket = OpenBracket(Side.BUY, Lots(1), Ticks(10), Ticks(5), Ticks(7), Milliseconds(9))
    return [
        records.IntentRecord(name, "BTCUSDT", "0/1/0", Milliseconds(1), "f", intent)
        for name, intent in ((ENTRY, bracket), (SWEEP, Sweep(ENTRY)))
    ]


def attempts(verdict: Verdict = Verdict.ACCEPTED) -> list[records.AttemptRecord]:
    """How both ended."""
    outcome = RequestEnded(ENTRY, ENTRY, Leg.ENTRY, ENTRY_CLIENT, verdict)
    return [
        records.AttemptEnded(1, "BTCUSDT", outcome, Milliseconds(2)),
        records.IntentSettled(1, SWEEP, "BTCUSDT", Milliseconds(3)),
    ]


def ledger(*clients: str) -> dict[str, list[Any]]:
    """Orders that the exchange accepted."""
    orders = [{"client_id": name, "status": "NEW", "algo_id": None, "quantity": "1"} for name in clients]
    return {"order": orders, "algo": [], "fill": [{"client_id": name, "quantity": "1"} for name in clients]}


def episode(symbol: str, longest: int, **more: Any) -> dict[str, Any]:
    """A position as the ledger tells it."""
    rail = {"longest_ms": longest, "naked_ms": longest}
    base = {"symbol": symbol, "closed_ms": 5, "naked": {"any": rail}, "loosened": [], "tightest": [[1, "2", "place"]]}
    return base | more


def test_equal_replay_holds() -> None:
    """Only an equal result holds; no result and a difference do not."""
    result = {"lines": 9, "decisions": 3, "equal": True, "first_difference": None}

    assert promises.replay_is_equal(result).held
    assert not promises.replay_is_equal(None).held
    assert not promises.replay_is_equal(result | {"equal": False, "first_difference": "0/1/0"}).held


def test_the_accounts_lines_must_be_the_same() -> None:
    """A missing, another or a further line breaks it, and the place is named."""
    assert promises.account_is_equal([b"a", b"b"], [b"a", b"b"]).held
    assert "first at line 1" in promises.account_is_equal([b"a", b"b"], [b"a", b"c"]).broken[0]
    assert "one is longer" in promises.account_is_equal([b"a", b"b"], [b"a"]).broken[0]


def test_every_intent_once() -> None:
    """An entry that reached the exchange once and an intent that was settled hold."""
    assert promises.sent_once(intents(), attempts(), ledger(ENTRY_CLIENT)).held


@pytest.mark.parametrize(
    ("clients", "verdict", "words"),
    [
        ((ENTRY_CLIENT, client_id(intent=ENTRY, leg=Leg.ENTRY, attempt=2)), Verdict.ACCEPTED, "more than once"),
        ((ENTRY_CLIENT, "by-hand"), Verdict.ACCEPTED, "no intent asked for"),
        ((ENTRY_CLIENT,), Verdict.IN_DOUBT, f"intent {ENTRY} (OpenBracket) has no end"),
    ],
)
def test_twice_unasked_and_lost_are_found(clients: tuple[str, ...], verdict: Verdict, words: str) -> None:
    """An entry sent twice, an order that nobody asked for and an intent without an end are each named."""
    broken = promises.sent_once(intents(), attempts(verdict), ledger(*clients)).broken

    assert words in broken[0]


def test_naked_time_has_two_bounds() -> None:
    """Two seconds for everybody, five where the executor was killed between fill and rails."""
    assert promises.never_naked([episode("BTCUSDT", 2_000), episode("SOLUSDT", 5_000)], killed="SOLUSDT").held
    assert not promises.never_naked([episode("BTCUSDT", 2_001)], killed="SOLUSDT").held
    assert not promises.never_naked([episode("SOLUSDT", 5_001)], killed="SOLUSDT").held


def test_only_our_own_loosening_counts() -> None:
    """A stop that fires takes its trigger away; a cancel that loosens is ours."""
    fired = {"ms": 1, "from": "10", "to": None, "cause": "trigger"}

    assert promises.never_looser([episode("BTCUSDT", 0, loosened=[fired])]).held
    assert not promises.never_looser([episode("BTCUSDT", 0, loosened=[fired | {"cause": "cancel"}])]).held


def test_what_is_left_is_named() -> None:
    """An open position and a resting order break it."""
    open_one = {"episodes": [episode("BTCUSDT", 0, closed_ms=None)]}

    assert promises.nothing_left({"episodes": [episode("BTCUSDT", 0)]}, []).held
    assert ["BTCUSDT is still open", "order x still rests on the exchange"] == promises.nothing_left(
        open_one, ["order x"]
    ).broken


def test_resting_orders_follow_the_ledger() -> None:
    """New, partly filled and triggering orders rest; filled, cancelled and finished ones do not."""
    lines = {
        "order": [
            {"client_id": "new", "status": "NEW", "quantity": "2"},
            {"client_id": "part", "status": "NEW", "quantity": "2"},
            {"client_id": "full", "status": "NEW", "quantity": "2"},
            {"client_id": "gone", "status": "NEW", "quantity": "2"},
            {"client_id": "gone", "status": "CANCELED", "quantity": "2"},
        ],
        "fill": [{"client_id": "part", "quantity": "0.5"}, {"client_id": "full", "quantity": "2"}],
        "algo": [
            {"client_id": "stop", "state": "NEW"},
            {"client_id": "done", "state": "NEW"},
            {"client_id": "done", "state": "FINISHED"},
        ],
    }

    assert ["order new", "order part", "conditional order stop"] == promises.resting_orders(lines)


def test_bad_input_needs_an_answer_and_a_record() -> None:
    """A refusal with words and a quarantined frame hold; silence does not."""
    answer = {"accepted": False, "reason": "unknown symbol 'NOPEUSDT'"}

    assert promises.bad_input_is_answered(answer, 1).held
    assert not promises.bad_input_is_answered(answer, 0).held
    assert not promises.bad_input_is_answered({"accepted": None, "reason": "no answer"}, 1).held


def test_kills_must_happen_and_be_survived() -> None:
    """A kill that did not happen, none at all, and a recovery beyond ten seconds break it."""
    assert promises.came_back({"a": 3_000}).held
    assert not promises.came_back({"a": -1}).held
    assert not promises.came_back({}).held
    assert not promises.came_back({"a": 10_001}).held


def test_outcomes_are_held_against_the_plan() -> None:
    """A symbol without a trade and one that ended otherwise are named."""
    assert promises.ended_as_planned([], {}).held
    assert ["BTCUSDT should end by target, but has no trade"] == promises.ended_as_planned(
        [], {"BTCUSDT": "target"}
    ).broken
