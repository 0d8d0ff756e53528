"""Fault rules match, count their bites, and say what they put in place of the truth."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.exchange_simulator.faults import (
    REQUEST_ACTIONS,
    UNKNOWN_TEXT,
    FaultError,
    FaultPlan,
    parse_rules,
    replaced_reply,
)

ORDER = {"method": "POST", "path": "/fapi/v1/order", "symbol": "BTCUSDT", "type": "MARKET", "side": "BUY"}


def plan(*rules: dict[str, Any]) -> FaultPlan:
    """A plan of these rules."""
    made = FaultPlan()
    made.add(parse_rules(list(rules)))
    return made


def test_a_rule_bites_as_often_as_it_says_and_then_rests() -> None:
    """skip lets the first pass, count bounds the bites, the report tells what never bit."""
    made = plan(
        {"action": "hold_after", "match": {"path": "/fapi/v1/order"}, "skip": 1, "count": 2},
        {"action": "429", "match": {"symbol": "NONE"}},
    )
    bites = [made.find(REQUEST_ACTIONS, ORDER) is not None for _ in range(5)]

    assert [False, True, True, False, False] == bites
    report = made.report()
    assert (2, [2], 1, 1) == (report["bites"], report["never_bit"], len(report["active"]), len(report["ended"]))


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ({}, True),
        ({"path": "/fapi/v1/*"}, True),
        ({"orderType": "MARKET", "side": "BUY"}, True),
        ({"type": "LIMIT"}, False),
        ({"symbol": "BTC"}, False),
        ({"client_id": "x"}, False),
    ],
)
def test_every_named_attribute_must_match(match: dict[str, str], expected: bool) -> None:
    """Equality, or a common beginning with a star."""
    assert expected == (plan({"action": "429", "match": match}).find(REQUEST_ACTIONS, ORDER) is not None)


def test_the_throttle_spares_what_only_reduces() -> None:
    """−1008 hits an entry, never a reduce-only or closePosition order, a cancel or a query (pain V8)."""
    made = plan({"action": "throttle", "count": -1})
    assert made.find(REQUEST_ACTIONS, ORDER) is not None
    for change in (
        {"reduceOnly": "true"},
        {"closePosition": "true"},
        {"method": "DELETE"},
        {"path": "/fapi/v3/balance"},
    ):
        assert made.find(REQUEST_ACTIONS, ORDER | change) is None


@pytest.mark.parametrize(
    ("action", "status", "code", "executes"),
    [
        ("503_unknown_executed", 503, -1000, True),
        ("503_unknown_not_executed", 503, -1000, False),
        ("503_unavailable", 503, -1000, False),
        ("503_internal", 503, -1001, False),
        ("throttle", 503, -1008, False),
        ("timeout_executed", 408, -1007, True),
        ("429", 429, -1003, False),
        ("418", 418, -1003, False),
    ],
)
def test_the_meanings_of_the_ambiguous_answers(action: str, status: int, code: int, executes: bool) -> None:
    """Status, code and whether the order took effect, as in the sheet's table 5.3."""
    replaced = replaced_reply(parse_rules([{"action": action}])[0])

    assert replaced is not None
    assert (status, code, executes) == (replaced[0], replaced[1]["code"], REQUEST_ACTIONS[action].executes)
    assert ("unknown" in action) == (replaced[1]["msg"] == UNKNOWN_TEXT)


def test_a_rule_may_give_any_status_code_and_body() -> None:
    """status with a code takes the venue's text, with a body the body itself; holds keep the true reply."""
    code, body, hold = parse_rules(
        [
            {"action": "status", "status": 400, "code": -2019},
            {"action": "status", "status": 403, "body": "<html>WAF</html>"},
            {"action": "hold_before"},
        ]
    )
    assert (400, {"code": -2019, "msg": "Margin is insufficient."}) == replaced_reply(code)
    assert (403, "<html>WAF</html>") == replaced_reply(body)
    assert replaced_reply(hold) is None


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ([{"action": "explode"}], r"faults\[0\].action: 'explode'"),
        ([{"action": "429", "match": {"color": "red"}}], "color"),
        ([{"match": {}}], "action"),
        ([{"action": "429", "oops": 1}], "oops"),
        ({"rules": 5}, "faults"),
    ],
)
def test_mistakes_are_named(raw: Any, words: str) -> None:
    """An unknown action, attribute or key, and a missing action."""
    with pytest.raises(FaultError, match=words):
        parse_rules(raw)
