"""Plug-ins through the whole pipeline on real processes: one closes, one loops, one raises, and the guards go on."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
from pathlib import Path

from rich.console import Console

from pipeline.core import commands
from pipeline.demo import acts, verdict
from pipeline.demo.fleet import json_line, perpguard
from pipeline.demo.scenario import Leg, Plan, segments
from pipeline.demo.stage import Options, Stage, ready, set_stage
from pipeline.demo.view import View
from pipeline.wire import lines
from tests.pipeline.plugins import bad

# Rises by two R; targets far away, so that only a stop or a plug-in ends it.
PLAN = Plan("BTCUSDT", "long", "1000", -80, 450, 675, (Leg(4, 110), Leg(4, 40)), "plugin")
QUITS = """
from pipeline.plugins.api import Close, Plugin

def evaluate(view, parameters):
    position = view.position
    if position is not None and position.gain_r(view.price) > parameters["at_r"]:
        return Close(f"{position.gain_r(view.price):.1f} R are enough")

plugin = Plugin(kind="exit", version="1", evaluate=evaluate, parameters={"at_r": 9})
"""


def row(name: str, **changes: object) -> dict[str, object]:
    return {"name": name, "kind": "exit", "version": "1", "every_ms": 250, **changes}


CONFIGURATION = json.dumps({
    "plugins": [row("quits", parameters={"at_r": 1.6}), row("loops", budget_ms=200), row("raises"), row("absent")]
})  # fmt: skip


async def play(stage: Stage, directory: Path) -> verdict.Evidence:
    """Open, let the market rise until the plug-in closes, stop, read and replay."""
    plugins = stage.fleet.start(
        "plugins", perpguard("plugin", "run"), PERPGUARD_PLUGIN_DIRECTORY=str(directory), PERPGUARD_INSTANCE="host"
    )
    await asyncio.gather(ready(stage), json_line(plugins, "plugins"))
    await acts.open_position(stage, PLAN, (await stage.exchange.tick_sizes())[PLAN.symbol])
    await stage.exchange.run_path(PLAN.symbol, segments(PLAN, speed=1.0))
    await acts.until_flat(stage, 1)
    await asyncio.to_thread(stage.fleet.stop, "plugins")
    await asyncio.to_thread(stage.stop_pipeline)
    return await verdict.gather(stage)


def command(stage: Stage, *arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """A command of a person, with this plug-in directory."""
    return subprocess.run(
        perpguard(*arguments),
        env=os.environ | stage.fleet.environment | {"PERPGUARD_PLUGIN_DIRECTORY": str(directory)},
        capture_output=True,
        text=True,
        check=False,
    )


async def test_plug_ins_act_fail_and_are_replayed(tmp_path: Path) -> None:
    """
    The good one ends the position; the looping, the raising and the missing one are switched off with an alert; the
    built-in stop moved meanwhile; replay is equal, without any plug-in; the good one called again says the same.
    """
    directory = bad.write(tmp_path / "plugins", "loops", "raises")
    bad.write(directory, "quits", module=QUITS)
    out = io.StringIO()
    options = Options(plans=(PLAN,), configuration=CONFIGURATION)
    with View(Console(file=out, width=150)) as view:
        async with set_stage(options, (PLAN.symbol,), view) as stage:
            evidence = await play(stage, directory)
            promises = verdict.common_promises(stage, evidence, killed=None)
            again = await asyncio.to_thread(command, stage, "plugin", "verify", directory=directory)
            told = await asyncio.to_thread(command, stage, "plugin", "said", directory=directory)
            stage.let_go()

    outputs = [output for decision in evidence.decisions for output in decision.outputs]
    alerts = [output for output in outputs if isinstance(output, commands.Alert)]
    off = sorted(alert.text.split()[1] for alert in alerts if alert.code == "plugin_off")
    assert ["absent", "loops", "raises"] == off, out.getvalue()
    assert ["plugin"] == [trade.outcome for trade in evidence.report.rows]
    trade = next(output for output in outputs if isinstance(output, commands.ReportTrade))
    assert trade.stop_moves > 0, "the guards' own stop to break-even"
    assert [] == [(promise.what, promise.broken) for promise in promises if not promise.held], out.getvalue()
    said = [line for record in evidence.inputs for line in lines.split(record.value) if b'"plugin":{' in line]
    assert len(said) >= 5
    assert (0, True) == (again.returncode, "quits" in again.stdout), again.stdout + again.stderr
    assert "R are enough → the position is closed" in told.stdout, told.stdout + told.stderr
