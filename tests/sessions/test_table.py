"""The table rule → golden sessions has a row for everything and no empty place, and the page says what is told."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.exits import RULES
from tests.sessions.table import rows, table

PAGE = Path(__file__).parents[2] / "docs" / "golden-sessions.md"


def test_every_rule_level_verdict_and_tier_fires_somewhere() -> None:
    """No place of the column "fires in" is empty, and of rules none of "just does not in"."""
    found = rows()

    assert [] == [name for name, (_, fires, _) in found.items() if not fires]
    assert [] == [rule.id for rule in RULES if not found[rule.id][2]]


def test_what_a_row_names_outside_the_stories_is_a_test() -> None:
    """A test that is renamed must be renamed in the table."""
    root = PAGE.parents[1]
    named = {name for _, fires, holds in rows().values() for name in [*fires, *holds] if "::" in name}
    files = {name: (root / name.partition("::")[0]).read_text() for name in named}

    assert [] == [name for name, text in files.items() if f"def {name.partition('::')[2]}(" not in text]


def test_the_page_is_what_the_stories_say() -> None:
    """Make it again with ``python -m tests.sessions.table > docs/golden-sessions.md``."""
    assert table() == PAGE.read_text()
