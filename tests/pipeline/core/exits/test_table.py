"""The table of exit rules: its order, its marks, and that whatever it names exists."""

from __future__ import annotations

from pipeline.core.exits.rule import Unit
from pipeline.core.exits.table import RULES
from pipeline.core.policies import Policy


def test_the_rules_stand_in_the_order_of_the_domain() -> None:
    """Domain 6.3; a row out of place changes which closing rule wins."""
    order = [rule.id for rule in RULES]

    assert order == [
        *("X0a", "X0b", "X1", "X2", "X3", "LEVEL", "HAND", "X4", "X4", "X5", "X6", "X7", "X7", "STOP", "FLAT"),
        *("X8", "X8", "X9", "X10", "X10", "X11", "X11", "X12", "X13", "X14", "X15", "X15", "X16"),
        *("X17", "X18", "X18", "X19", "APART"),
    ]


def test_only_what_is_not_vital_may_be_switched_off() -> None:
    """Protection, and the ends that the venue itself brings, are no preference."""
    vital = {rule.id for rule in RULES if rule.vital}

    assert {"X0a", "X0b", "X1", "X2", "X3", "X4", "X6", "X7", "LEVEL", "HAND", "STOP", "FLAT"} == vital


def test_only_x8_to_x15_are_suppressed_early() -> None:
    """Domain 6.3."""
    early = {rule.id for rule in RULES if rule.suppressed_early}

    assert {f"X{number}" for number in range(8, 16)} == early


def test_what_protects_never_waits() -> None:
    """Neither lost sight nor a gentle leave silences a vital rule."""
    assert [] == [rule.id for rule in RULES if rule.vital and not (rule.blind and rule.pre_empts)]


def test_every_row_has_a_memory_of_its_own() -> None:
    """Two rows that confirm never share a key."""
    keys = [rule.key or rule.id for rule in RULES if rule.confirmation is not None]

    assert len(set(keys)) == len(keys)


def test_whatever_a_row_names_is_a_field_of_the_policy() -> None:
    """Amounts and parameters are whole numbers that the configuration may set."""
    policy = Policy()
    names = [rule.confirmation.amount for rule in RULES if rule.confirmation is not None and rule.confirmation.amount]
    names += [name for rule in RULES for name in rule.parameters]

    assert [] == [name for name in names if not isinstance(getattr(policy, name, None), int)]


def test_rules_that_read_the_market_wait_for_sight() -> None:
    """X4: nothing that judges by marks or factors runs before the rails are proven again."""
    judging = {rule.id for rule in RULES if not rule.blind}

    assert {"X5", "X8", "X9", "X10", "X11", "X12", "X13", "X14", "X18", "X19"} == judging


def test_a_rule_that_counts_bars_is_never_vital() -> None:
    """Protection does not wait for a bar."""
    assert [] == [r.id for r in RULES if r.vital and r.confirmation is not None and r.confirmation.unit is Unit.BARS]
