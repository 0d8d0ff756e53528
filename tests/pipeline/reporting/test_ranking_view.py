"""Tests of the ranking for people: order, newest word, gates, what cannot be read."""

from __future__ import annotations

import json
from typing import Any

from pipeline.core.commands import GateRow, ReportSignal
from pipeline.core.events import Side
from pipeline.core.units import E8, Milliseconds
from pipeline.reporting.ranking_view import RankingView, payload, why_not
from pipeline.wire import records
from tests.core_scores import scores

GATE = GateRow("basis", "200 bps", "≤ 100 bps", "refuse", "perpetual and index agree")


def factors(symbol: str, score: int, *, at_ms: int = 1_000) -> bytes:
    """A record of ``factors``: T is known, O is missing."""
    rows = {
        "T": records.FactorRow(31.5, 0.9, True, Milliseconds(1), (1,), {}),
        "O": records.FactorRow(0.0, 0.0, False, Milliseconds(1), (1,), {"missing": "no poll yet"}),
    }
    return records.encode(
        records.FactorsRecord(symbol, "0/1/0", Milliseconds(at_ms), E8(5), rows, scores(score=score, odds_long=700_000))
    )


def said(symbol: str, **changes: Any) -> bytes:
    """A record of ``account``: what a closed bar said."""
    fields: dict[str, Any] = {
        "bar_ms": Milliseconds(300_000),
        "stage": "prime",
        "fresh": False,
        "side": Side.BUY,
        "score": 50_000,
        "strength": 70_000,
        "odds": 800_000,
        "coverage": 900,
        "liquidity": 80,
        "independence": 50,
        "price": E8(5),
        "refused": ["basis"],
        "gates": [GATE],
    }
    return records.encode(records.SignalReported(symbol, "0/1/0", ReportSignal(**(fields | changes))))


def test_the_strongest_comes_first_with_its_factors_and_gates() -> None:
    """Values of ``factors`` and gates of ``account`` stand in one row; a factor that is missing says why."""
    view = RankingView()
    view.take_factors(factors("AUSDT", 20_000))
    view.take_factors(factors("BUSDT", -60_000))
    view.take_account(said("BUSDT"))
    view.take_tiers(records.encode(records.Tiers(Milliseconds(1), 1, ["AUSDT"], ["BUSDT"])))
    first, second = view.rows()

    assert [("BUSDT", "short", -60.0), ("AUSDT", "long", 20.0)] == [
        (r.symbol, r.side, r.score) for r in (first, second)
    ]
    assert (["basis"], [GATE], "prime", True, False) == (
        first.refused, first.gates, first.stage, first.shortlisted, first.held,
    )  # fmt: skip
    assert ("no poll yet", 31.5, 0.9) == (
        first.factors["O"].missing, first.factors["T"].value, first.factors["T"].quality,
    )  # fmt: skip
    assert (0.7, "", True) == (second.odds, second.stage, second.held)


def test_the_newest_word_stands() -> None:
    """Records of several partitions come in any order."""
    view = RankingView()
    view.take_factors(factors("AUSDT", 1_000, at_ms=9))
    view.take_factors(factors("AUSDT", 2_000, at_ms=8))
    view.take_account(said("AUSDT", bar_ms=Milliseconds(600_000), stage="watch"))
    view.take_account(said("AUSDT"))

    assert [(1.0, "watch")] == [(row.score, row.stage) for row in view.rows()]


def test_a_symbol_is_ranked_by_its_bar_alone_when_its_values_are_not_there() -> None:
    """Without a record of ``factors`` the bar's own score ranks it."""
    view = RankingView()
    view.take_account(said("AUSDT"))

    assert [(50.0, 0.8, {})] == [(row.score, row.odds, row.factors) for row in view.rows()]


def test_what_cannot_be_read_is_counted() -> None:
    """Other messages of ``account`` are passed over, bytes that are none are counted."""
    view = RankingView()
    for take in (view.take_factors, view.take_account, view.take_tiers):
        take(b"{}")
    view.take_account(records.encode(records.AccountTick(Milliseconds(1))))

    assert (3, []) == (view.unreadable, view.rows())


def test_json_has_every_gate_by_name_and_no_rest() -> None:
    """Programs read names, and that it took no REST request."""
    view = RankingView()
    view.take_account(said("AUSDT"))
    found = json.loads(json.dumps(payload(view.rows(), now_ms=7)))

    assert (7, 0, 1) == (found["at_ms"], found["rest"], found["symbols"])
    assert {
        "id": "basis", "value": "200 bps", "limit": "≤ 100 bps", "verdict": "refuse",
        "reason": "perpetual and index agree",
    } == found["ranking"][0]["gates"][0]  # fmt: skip


def test_why_not_names_each_gate_that_does_not_pass() -> None:
    """What was found and what is allowed; a symbol without a judged bar says so."""
    view = RankingView()
    view.take_account(said("AUSDT", gates=[GATE, GateRow("spread", "1 bps", "≤ 10 bps", "pass", "")]))
    view.take_factors(factors("BUSDT", 1_000))
    words = why_not(view.rows()[0])

    assert "gate basis refuses: found 200 bps, allowed ≤ 100 bps" in words
    assert "spread" not in words
    assert "no closed bar" in why_not(view.rows()[1])
