"""The only place for the table of commands; each command's body is loaded when it is called."""

from __future__ import annotations

import importlib
from types import MappingProxyType

import click

# Name → "module:attribute" of a click command. Loading them one by one keeps `perpguard --help` fast (no Faust, no
# Kafka client) and lets one broken part fail alone.
COMMANDS = MappingProxyType(
    {
        "demo": "pipeline.commands.demo:demo",
        "chaos": "pipeline.commands.chaos:chaos",
        "backtest": "pipeline.commands.backtest:backtest",
        "scenarios": "pipeline.commands.scenarios:scenarios",
        "open": "pipeline.commands.open:open_",
        "close": "pipeline.commands.close:close",
        "override": "pipeline.commands.override:override",
        "halt": "pipeline.commands.halt:halt",
        "kill": "pipeline.commands.kill:kill",
        "resume": "pipeline.commands.resume:resume",
        "signal": "pipeline.commands.signal:signal",
        "scan": "pipeline.commands.scan:scan",
        "doctor": "pipeline.commands.doctor:doctor",
        "positions": "pipeline.commands.positions:positions",
        "explain": "pipeline.commands.explain:explain",
        "report": "pipeline.commands.report:report",
        "replay": "pipeline.commands.replay:replay",
        "bench": "pipeline.commands.bench:bench",
        "config": "pipeline.commands.config:config",
        "kafka": "pipeline.commands.kafka:kafka",
        "simulator": "pipeline.commands.simulator:simulator",
        "connector": "pipeline.commands.connector:connector",
        "record": "pipeline.commands.record:record",
        "plugin": "pipeline.commands.plugin:plugin",
        "topics": "pipeline.commands.topics:topics",
    }
)

# One line each, so that `--help` need not import the commands to describe them.
SUMMARIES = MappingProxyType(
    {
        "demo": "Open, guard, kill a worker, end, replay and verify: everything on this machine.",
        "chaos": "Kill, freeze and join processes by a seed while the pipeline trades; judge what it did.",
        "backtest": "Play yesterday's market through the pipeline in virtual time; table, JSON, one page.",
        "scenarios": "Play market situations through the pipeline in virtual time and judge how positions end.",
        "open": "Ask for a position.",
        "close": "Close one position, or all.",
        "override": "Pin a position's stop, leave it alone, switch rules off for it.",
        "halt": "Close everything and take no entries; --resume trades again.",
        "kill": "Cancel entries, close everything, prove it: without Kafka and without the pipeline.",
        "resume": "Trade again after a halt, of the account or of one symbol.",
        "signal": "Hand in a signal of a program; it meets every gate.",
        "scan": "Rank every symbol: factors with their quality, stage, gates that refuse.",
        "doctor": "Check keys, modes, clock, limits, broker, disk; say how to mend each.",
        "positions": "Show what is open.",
        "explain": "Say why something happened, from the log.",
        "report": "Show closed positions: PnL, fees, how each ended, naked time.",
        "replay": "Fold the log again from its raw bytes and compare with what was decided.",
        "bench": "Measure; the figures, their conditions and a control of the machine.",
        "config": "Check a configuration; print every key.",
        "kafka": "Run a real Kafka on this machine, without Docker.",
        "simulator": "Run a Binance USDⓈ-M futures exchange on this machine.",
        "connector": "Bring every frame of the venue into the log, untouched.",
        "record": "Write every market frame into compressed files; say what a recording is worth.",
        "plugin": "Write, check, run, watch and verify factors, signals and exit rules of your own.",
        "topics": "Make the topics on a cluster and draw the identity of the log.",
    }
)


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports only the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the table's order, which is the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command *cmd_name*, or return None when the table does not have it."""
        target = COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, attribute = target.split(":")
        try:
            command = getattr(importlib.import_module(module), attribute)
        except ImportError as error:
            raise click.ClickException(f"the command {cmd_name} cannot be loaded from {target}: {error}") from error
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, SUMMARIES[name]) for name in COMMANDS])


@click.group(cls=LazyGroup)
@click.version_option(package_name="perpguard")
def main() -> None:
    """Guard Binance USD-M futures positions on every market event."""


if __name__ == "__main__":
    main()
