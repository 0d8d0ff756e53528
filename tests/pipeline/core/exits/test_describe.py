"""The table as people read it: every act has its words, a switched-off rule says so, numbers are the policy's."""

from __future__ import annotations

import msgspec

from pipeline.core.exits.describe import ACTIONS, Row, effective
from pipeline.core.exits.table import RULES
from pipeline.core.plugin_answers import CLOSE_RULE
from pipeline.core.policies import PluginRow, Policy


def test_every_row_of_the_table_is_told_in_its_order() -> None:
    """One row each; the owner's own exit rules have the last one."""
    assert [*(rule.id for rule in RULES), CLOSE_RULE] == [row.id for row in effective(Policy())]
    assert {rule.act for rule in RULES} == set(ACTIONS)


def test_a_rule_that_is_off_says_so_and_a_vital_one_cannot_be() -> None:
    """What the configuration names and may not is on all the same."""
    rows = effective(msgspec.structs.replace(Policy(), disabled_exits=("X8", "X1")))

    assert {"X8", CLOSE_RULE} == {row.id for row in rows if not row.on}


def test_exit_plug_ins_are_told_by_name_and_a_shadow_closes_nothing() -> None:
    """The row is on once one of them acts; factors and signals have no part in it."""
    shadow = PluginRow(name="calm", kind="exit", version="2", shadow=True)
    acting = PluginRow(name="eager", kind="exit", version="1", every_ms=500)
    other = PluginRow(name="mood", kind="factor", version="1")

    def row(*plugins: PluginRow) -> Row:
        return effective(msgspec.structs.replace(Policy(), plugins=plugins))[-1]

    assert (False, "an exit plug-in says so: calm 2 (shadow)") == (row(shadow, other).on, row(shadow, other).condition)
    both = row(shadow, acting)
    assert (True, "an exit plug-in says so: calm 2 (shadow), eager 1") == (both.on, both.condition)
    assert ("eager.every_ms", 500) in both.parameters


def test_numbers_are_those_of_the_policy() -> None:
    """Confirmation and parameters follow it."""
    rows = effective(msgspec.structs.replace(Policy(), x9_hold_ms=2_500, x8_bars=1, x5_marks=3, x13_rate_bps=77))  # type: ignore[arg-type]
    told = {row.id: row.confirmation for row in rows}

    assert ("2.5 s", "1 closed bar", "3 marks", "at once") == (told["X9"], told["X8"], told["X5"], told["X3"])
    assert ("x13_rate_bps", 77) in next(row.parameters for row in rows if row.id == "X13")
