"""Whatever the executor awaits is a place at which a seed may kill it."""

from __future__ import annotations

import ast
from pathlib import Path

from pipeline.chaos.virtual_sites import ACCOUNT_WATCH, EXECUTE, EXECUTE_WATCH, sites, unreachable

ROOT = Path(__file__).resolve().parents[3]
# Virtual time has its own in their place: a user stream, and a producer without the express of aiokafka's parts.
WITH_A_SOCKET = {"pipeline.execution.user_stream", "pipeline.execution.express"}
SUSPENDS = (ast.Await, ast.AsyncFor, ast.AsyncWith)


def test_every_module_of_the_executor_that_can_be_suspended_is_watched() -> None:
    """A new one wants a row, or virtual chaos never kills in it."""
    suspending = {
        f"pipeline.execution.{path.stem}"
        for path in (ROOT / "pipeline" / "execution").glob("*.py")
        if any(isinstance(node, SUSPENDS) for node in ast.walk(ast.parse(path.read_text())))
    }

    assert suspending - WITH_A_SOCKET - {"pipeline.execution.ports"} <= set(EXECUTE)


def test_sites_are_those_of_the_watched_modules_and_none_of_what_is_only_made_up() -> None:
    """What stands for Faust or a broker in virtual time is no crash point; the road of a request is one."""
    chosen = sites()

    assert set(chosen.execute) <= set(EXECUTE_WATCH.sites)
    assert set(chosen.account) <= set(ACCOUNT_WATCH.sites)
    assert {site[1] for site in chosen.writes} >= {"Sender._place_once", "Sender._exchange"}
    assert not any(site[1].startswith("VirtualJournal.") for site in (*chosen.execute, *chosen.account))


def test_what_is_called_unreachable_says_why() -> None:
    """And is the exception."""
    chosen = sites()
    every = (*chosen.execute, *chosen.account)

    assert sum(bool(unreachable(site)) for site in every) < len(every) // 8
