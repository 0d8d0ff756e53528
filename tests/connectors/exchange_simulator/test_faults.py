"""Fault rules match, count their bites, and say what they put in place of the truth."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.exchange_simulator.faults import (
    REQUEST_ACTIONS,
    UNKNOWN_TEXT,
    FaultError,
    FaultPlan,
    parse_plan,
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


def test_every_nth_by_chance_and_in_a_span_of_time() -> None:
    """every hits each third, probability a seeded share, from_ms and until_ms a span since the rule was added."""
    made = plan({"action": "429", "every": 3, "count": -1, "skip": 1})
    assert [4, 7, 10] == [index for index in range(1, 12) if made.find(REQUEST_ACTIONS, ORDER)]

    rule = {"action": "429", "probability": 0.25, "count": -1}
    shares = [[plan_of_seed.find(REQUEST_ACTIONS, ORDER) is not None for _ in range(2_000)]
              for plan_of_seed in (plan(rule), plan(rule))]  # fmt: skip
    assert shares[0] == shares[1]
    assert 400 < sum(shares[0]) < 600

    clock = [1_000]
    timed = FaultPlan(elapsed=lambda: clock[0])
    timed.add(parse_rules([{"action": "429", "from_ms": 10, "until_ms": 30, "count": -1}]))
    hits = []
    for now in range(1_000, 1_050, 5):
        clock[0] = now
        hits += [now - 1_000] if timed.find(REQUEST_ACTIONS, ORDER) else []
    assert [10, 15, 20, 25] == hits


def test_timed_rules_come_due_once_or_again_and_again() -> None:
    """at_ms after the rule was added, then every period_ms while the count lasts; a bite counts only when told."""
    clock = [500]
    made = FaultPlan(elapsed=lambda: clock[0])
    made.add(parse_rules([{"action": "disconnect", "at_ms": 20, "period_ms": 10, "count": 2},
                          {"action": "clock_jump", "at_ms": 25, "milliseconds": -5}]))  # fmt: skip
    seen = []
    for now in range(500, 580, 5):
        clock[0] = now
        for rule in made.due():
            seen.append((now - 500, rule.action))
            if rule.action == "disconnect":
                made.bit(rule)
    assert [(20, "disconnect"), (25, "clock_jump"), (30, "disconnect")] == seen
    assert ([2], {"disconnect": 2, "clock_jump": 0}) == (made.report()["never_bit"], made.report()["by_action"])
    assert ["fault rule 2: clock_jump never bit (1 things matched)"] == made.never_bit()


def test_a_file_has_rules_and_a_seed_and_its_mistakes_have_lines() -> None:
    """A list, or an object; an unknown action, key, type, bound and broken JSON are told with their line."""
    file = parse_plan(b'{"seed": 9, "rules": [{"action": "429"}]}')
    assert (9, ["429"]) == (file.seed, [rule.action for rule in file.rules])
    assert parse_plan(b'[{"action": "429"}]').seed is None
    for raw, words in (
        (b'[\n {"action": "429"},\n {"action": "explode"}\n]', r"line 3: faults\[1\].action: 'explode'"),
        (b'{"rules": [\n {"action": "429",\n  "oops": 1}\n]}', "line 2.*oops"),
        (b'{"rules": [\n {"action": "429",\n  "match": {\n"color": "red"}}\n]}', "line 4.*color"),
        (b'{\n"rules": [\n {"action": "429",\n  "probability": 1.5}\n]}', r"line 4.*probability: 1.5 is not in"),
        (b'{"rules": [\n {"action": "429" "x"}]}', "line 2"),
        (b'{\n"rules": 5}', "line 2"),
        (b'{"rules": [],\n"more": 5}', "line 1.*more"),
    ):
        with pytest.raises(FaultError, match=words):
            parse_plan(raw)


def test_the_throttle_spares_what_only_reduces() -> None:
    """−1008 hits an entry, never a reduce-only or closePosition order, a cancel or a query (pain V8)."""
    made = plan({"action": "throttle", "count": -1})
    for hit in ({}, {"positionSide": "LONG"}, {"method": "WS", "path": "order.place"}, {"path": "/fapi/v1/order/test"}):
        assert made.find(REQUEST_ACTIONS, ORDER | hit) is not None
    for change in (
        {"reduceOnly": "true"},
        {"closePosition": "true"},
        {"method": "DELETE"},
        {"path": "/fapi/v3/balance"},
        {"positionSide": "SHORT"},
        {"method": "WS", "path": "order.cancel"},
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
        ([{"action": "429", "count": 0}], r"faults\[0\].count: 0"),
        ([{"action": "429", "until_ms": 5, "from_ms": 9}], "until_ms: 5"),
        ([{"action": "disconnect", "match": {"route": "moon"}}], "moon"),
        ({"rules": 5}, "faults"),
    ],
)
def test_mistakes_are_named(raw: Any, words: str) -> None:
    """An unknown action, attribute or key, and a missing action."""
    with pytest.raises(FaultError, match=words):
        parse_rules(raw)
