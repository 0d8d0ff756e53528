"""Tests of the processes of plug-ins: whatever one does, there is an answer in time, and the next one is served."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from pipeline.core.events import Side
from pipeline.core.plugin_answers import PluginAnswered, SaysClose, SaysFailed
from pipeline.core.policies import PluginRow
from pipeline.core.units import Milliseconds
from pipeline.plugins.host import STRIKES, Child, Host, child_environment
from tests.pipeline.plugins import bad
from tests.plugin_views import view

SHOWN = view(side=Side.BUY)
PATIENCE = 5_000  # of a test that is not about the budget, on a busy machine


def row(name: str, *, budget_ms: int = PATIENCE, **changes: object) -> PluginRow:
    return PluginRow(name, "exit", "1", budget_ms=Milliseconds(budget_ms), deadline_ms=Milliseconds(60_000), **changes)  # type: ignore[arg-type]  # fields by name


async def said(directory: Path, name: str, **changes: object) -> object:
    """What one call of a plug-in gives."""
    child = Child(row(name, **changes), bad.write(directory, name))  # type: ignore[arg-type]  # fields by name
    try:
        await child.ready()
        return await child.ask(SHOWN)
    finally:
        await child.stop()


@pytest.mark.parametrize("name", ["good", "prints", "talks"])
async def test_a_good_one_answers(tmp_path: Path, name: str) -> None:
    """Also one that prints, or writes to what was its output; a reason is cut to what a line may hold."""
    answer = await said(tmp_path, name)

    assert isinstance(answer, SaysClose)
    assert len(answer.why) <= 200


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("raises", "raised ZeroDivisionError: division by zero at raises.py:4"),
        ("exits", "raised SystemExit: 3"),
        ("dies", "ended its process"),
        ("recurses", "raised RecursionError"),
        ("hoards", "raised MemoryError"),
        ("returns_text", "a plug-in of the kind exit returned 'close it'; allowed: Close(…) or Tighten(…) or None"),
        ("returns_signal", "a plug-in of the kind exit returned Signal("),
        ("returns_nan", "Tighten.price: found nan; allowed: a number from 1e-08"),
        ("returns_minus", "Tighten.price: found -5; allowed"),
        ("returns_infinity", "Tighten.price: found inf; allowed"),
        ("returns_text_price", "Tighten.price: found '100'; allowed"),
        ("changes_view", "raised AttributeError"),
    ],
)
async def test_one_that_misbehaves_fails_with_its_place_and_what_is_allowed(
    tmp_path: Path, name: str, words: str
) -> None:
    """One line for its author."""
    answer = await said(tmp_path, name)

    assert isinstance(answer, SaysFailed)
    assert words in answer.reason


@pytest.mark.parametrize("name", ["loops", "loops_deaf", "loops_in_c", "sleeps"])
async def test_one_that_overruns_is_ended(tmp_path: Path, name: str) -> None:
    """In Python, in C, deaf or asleep: the process is killed, the answer says which budget."""
    child = Child(row(name, budget_ms=200), bad.write(tmp_path, name))
    await child.ready()
    pid = child.pid
    assert pid is not None
    answer = await child.ask(SHOWN)

    assert answer == SaysFailed("took more than its 200 ms (budget_ms) and was ended")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    await child.stop()


async def test_after_three_overruns_it_is_not_started_again(tmp_path: Path) -> None:
    """Two hundred symbols must not cost two hundred budgets."""
    child = Child(row("loops", budget_ms=50), bad.write(tmp_path, "loops"))
    answers = [await child.ask(SHOWN) for _ in range(STRIKES)]
    began = time.process_time()
    answers += [await child.ask(SHOWN) for _ in range(1_000)]

    assert all(isinstance(answer, SaysFailed) for answer in answers)
    assert STRIKES == child.starts
    assert "the host does not start it again" in child.out_of_order
    assert time.process_time() - began < 1
    await child.stop()


async def test_a_looping_one_does_not_hold_up_another(tmp_path: Path) -> None:
    """Each has its own process: the good one answers while the other still runs."""
    directory = bad.write(tmp_path, "loops", "good")
    host = Host([row("loops", budget_ms=30_000), row("good")], directory)
    await host.start()
    slow = asyncio_task(host, "loops")
    answer = await host.ask("good", "a", SHOWN)

    assert isinstance(answer.answer, SaysClose)
    assert not slow.done()
    await host.stop()
    assert isinstance((await slow).answer, SaysFailed)
    await host.stop()


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("import does_not_exist\n", "cannot be imported: ModuleNotFoundError"),
        ("def broken(:\n", "cannot be imported: SyntaxError"),
        ("x = 5\n", "is NoneType; allowed: a pipeline.plugins.api.Plugin"),
        ("import sys; sys.exit()\n", "cannot be imported: SystemExit"),
        ("from pipeline.plugins.api import *\nplugin = Plugin(kind='exits', version='1', evaluate=len)\n", "'factor'"),
    ],
)  # fmt: skip
async def test_one_that_cannot_be_loaded_says_why(tmp_path: Path, module: str, words: str) -> None:
    """The first question hears it, and nobody starts it a second time."""
    child = Child(row("good"), bad.write(tmp_path, "good", module=module))
    answers = [await child.ask(SHOWN), await child.ask(SHOWN)]

    assert words in str(answers[0])
    assert 1 == child.starts
    await child.stop()


async def test_one_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    """And with what to do."""
    child = Child(row("absent"), bad.write(tmp_path, "good"))
    answer = await child.ask(SHOWN)

    assert "no plug-in is called 'absent'; there are: " in str(answer)
    assert "plugin new absent" in str(answer)
    await child.stop()


async def test_a_parameter_it_does_not_know_and_another_kind_are_named(tmp_path: Path) -> None:
    """The configuration is compared with the plug-in before the first call."""
    directory = bad.write(tmp_path, "good")
    child = Child(row("good", parameters=(("barz", 5.0),)), directory)
    assert SaysFailed("knows no parameter 'barz'; allowed: bars") == await child.ask(SHOWN)
    await child.stop()
    other = Child(PluginRow("good", "factor", "1"), directory)
    assert "is of the kind 'exit', the configuration says 'factor'" in str(await other.ask(SHOWN))
    await other.stop()


async def test_the_same_view_gives_the_same_answer_in_another_process(tmp_path: Path) -> None:
    """Hashes are not random, and code has one digest."""
    directory = bad.write(tmp_path, "good")
    answers = []
    for _ in range(2):
        host = Host([row("good")], directory)
        answers.append(await host.ask("good", "a", SHOWN))
        await host.stop()

    assert answers[0] == answers[1]
    assert 16 == len(answers[0].code)


def test_a_plug_in_sees_no_secret_of_ours() -> None:
    """Nothing whose name begins with PERPGUARD_ reaches the child."""
    seen = child_environment({"PERPGUARD_API_SECRET": "s", "PERPGUARD_BROKERS": "b", "PATH": "p"})

    assert {"PATH", "PYTHONPATH", "PYTHONHASHSEED"} == set(seen)


def asyncio_task(host: Host, name: str) -> asyncio.Task[PluginAnswered]:
    """A question that is under way."""

    return asyncio.get_running_loop().create_task(host.ask(name, "a", SHOWN))
