"""The only place for ``perpguard bench``: run benchmarks and print or write their figures."""

from __future__ import annotations

import json
from pathlib import Path

import click
import msgspec

from pipeline.benchmarks import report
from pipeline.benchmarks.report import BENCHMARKS, Options, Result


@click.command(epilog="\n\n".join(f"{name}: {text}" for name, text in report.SUMMARIES.items()))
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHMARKS)), metavar="[NAME]…")
@click.option(
    "--repetitions", type=click.IntRange(1, 100), default=5, show_default=True, help="The median is reported."
)
@click.option("--quick", is_flag=True, help="A small run that only shows that it runs; its figures say nothing.")
@click.option(
    "--json",
    "json_path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="Write the result here: one object for one NAME, else a list.",
)
def bench(names: tuple[str, ...], repetitions: int, quick: bool, json_path: Path | None) -> None:
    """
    Measure, with the conditions and a control of the machine before and after.

    Without NAME every benchmark runs. `must` and `aim` stand beside each figure; the exit code does not judge.
    """
    results = []
    for name in names or tuple(BENCHMARKS):
        result = report.run(name, Options(repetitions=repetitions, quick=quick))
        results.append(result)
        click.echo(words(result))
    if json_path is not None:
        plain = msgspec.to_builtins(results[0] if len(names) == 1 else results)
        json_path.write_text(json.dumps(plain, indent=2, ensure_ascii=False) + "\n")


def words(result: Result) -> str:
    """The result as a table for people."""
    rows = [f"{result.name}"]
    for name, figure in result.figures.items():
        limits = ", ".join(
            f"{word} {value:g}" for word, value in (("must", figure.must), ("aim", figure.aim)) if value is not None
        )
        spread = f"{min(figure.runs):g} … {max(figure.runs):g}" if figure.runs else "one run"
        rows.append(f"  {name:<28} {figure.value:>12g} {figure.unit:<8} {limits:<26} runs {spread}")
    rows.append("  control     " + ", ".join(f"{name} {value:g}" for name, value in result.control.items()))
    rows.append("  conditions  " + ", ".join(f"{name} {value}" for name, value in result.conditions.items()))
    return "\n".join(rows)
