"""
The only place for the table rule → golden sessions: ``python -m tests.sessions.table > docs/golden-sessions.md``.

Exit rules come from ``core.exits.RULES`` and the stories of ``test_exit_rules``; stop levels, verdicts about walls and
tiers of the account are told in the modules named in their rows.
"""

from __future__ import annotations

from pipeline.core.account_state import Tier
from pipeline.core.exits import RULES
from pipeline.core.plugin_answers import CLOSE_RULE
from pipeline.core.positions import Basis
from pipeline.core.wall_state import WallVerdict
from tests.sessions import test_adopted, test_exit_rules, test_levels


def named(*words: str) -> list[str]:
    """Stories of levels whose names hold one of these words."""
    return [name for name in test_levels.STORIES if any(word in name for word in words)]


def tested(module: str, *names: str) -> list[str]:
    """Tests outside the stories, with their file."""
    return [f"{module}::{name}" for name in names]


def rows() -> dict[str, tuple[str, list[str], list[str]]]:
    """Rule, level, verdict or tier → what it is, the sessions in which it fires, those in which it just does not."""
    found: dict[str, tuple[str, list[str], list[str]]] = {}
    for rule in RULES:
        found.setdefault(rule.id, (rule.text, [], []))
    for name, (told_of, does, _) in test_exit_rules.STORIES.items():
        found[told_of][1 if does else 2].append(name)
    for name in test_adopted.STORIES:
        if "level" in name:
            found["LEVEL"][1].append(name)
    plugins = "tests/pipeline/core/test_plugins.py"
    found[CLOSE_RULE] = (
        "an exit plug-in of the owner's says so",
        tested(plugins, "test_an_exit_plug_in_closes"),
        tested(
            plugins, "test_a_shadow_says_what_it_would_do", "test_what_the_built_in_rules_have_begun_is_not_touched"
        ),
    )
    walls, risk = "tests/pipeline/core/test_walls.py", "tests/pipeline/core/test_risk.py"
    stops = "tests/sessions/test_stops.py"
    levels = {
        Basis.INITIAL: named("draws_the_stop_near", "draws_the_first_stop", "leave_the_tables_alone"),
        Basis.BREAKEVEN: tested(stops, "test_a_stop_filled_at_breakeven_is_told_so"),
        Basis.CHANDELIER: tested(stops, "test_a_rise_trails_the_stop_and_the_fall_back_ends_as_trailing_stop"),
        Basis.SWING: named("the_stop_follows_a_swing", "a_swing_below_breakeven"),
        Basis.FACTORS: named("composite_of_minus_fifteen"),
        Basis.WALL: named("leans_on_a_wall"),
        Basis.TIME: named("tighten_by_time"),
        Basis.PLUGIN: tested("tests/pipeline/core/test_plugins.py", "test_an_exit_plug_in_tightens_within_the_ratchet"),
    }
    for basis in Basis:
        found[f"stop {basis.value}"] = ("candidate of the ratchet", levels[basis], [])
    verdicts = {
        WallVerdict.EATEN: tested(walls, "test_eaten_wall", "test_trades_after_the_diff_still_make_it_eaten"),
        WallVerdict.PULLED: tested(walls, "test_pulled_wall"),
        WallVerdict.FLICKER: tested(walls, "test_two_pulls_within_a_minute_are_a_flicker_and_ignored"),
        WallVerdict.ICEBERG: tested(walls, "test_refilled_wall_is_an_iceberg"),
    }
    for verdict in WallVerdict:
        found[f"wall {verdict.value}"] = ("verdict about a wall", verdicts[verdict], [])
    for tier in Tier:
        found[f"tier {tier.name.lower()}"] = ("tier of the drawdown", tested(risk, "test_drawdown_tiers"), [])
    return found


def table() -> str:
    """The page."""
    lines = [
        "# Golden sessions",
        "",
        "Scripted sessions in `tests/sessions`, each told for a long, mirrored and restarted at every line.",
        "Made by `python -m tests.sessions.table`; a test holds that no rule is missing and no place empty.",
        "",
        "| what | | fires in | just does not in |",
        "|---|---|---|---|",
    ]
    for name, (text, fires, holds) in rows().items():
        lines.append(f"| {name} | {text} | {_list(fires)} | {_list(holds) or '–'} |")
    return "\n".join(lines) + "\n"


def _list(names: list[str]) -> str:
    return "<br>".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    print(table(), end="")
