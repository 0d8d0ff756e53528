"""
The only place that plays the simulator's market situations through the pipeline in virtual time and judges what came.

Each situation (``exchange_simulator.situations``) has an expectation: the rule that ends the position, what must have
been noticed before, and the kind of input that must stand in the story as a cause. Nobody asks for a position: it opens
from a signal, with the thresholds of the domain. Judged are the exchange's ledger (naked time), the log folded a second
time, and the story that ``explain`` tells of the position.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from connectors.exchange_simulator.instruments import default_instrument
from connectors.exchange_simulator.situations import SITUATIONS, SYMBOL, past_bars
from connectors.exchange_simulator.synthetic import SyntheticMarket
from pipeline.backtest.run import Backtest, EntryRule, Market, Trace
from pipeline.core.commands import Decision, ReportTrade
from pipeline.reporting import story
from pipeline.settings import Settings, load
from pipeline.virtual.clock import START_MS, run, silence
from pipeline.wire import lines, records
from pipeline.wire.topics import ATTEMPTS, INPUTS

RATE: Final = 1.0  # steps a second
NAKED_MS: Final = 2_000  # the bound of pain 1


class Expected(msgspec.Struct, frozen=True):
    """
    What a situation must lead to.

    *reason* and *outcome* of the trade, the *rules* that must have acted on the way, a text *noticed* among the notes
    and alerts of the decisions, and a part of an input line that must be among the *causes* of the acting rule.
    """

    seconds: int
    reason: str
    outcome: str
    rules: tuple[str, ...]
    noticed: str = ""
    cause: str = ""


EXPECTED: Final[dict[str, Expected]] = {
    "trend": Expected(640, "S_ch", "trailing_stop", ("S_be", "S_ch", "STOP"), cause="markPriceUpdate"),
    "cascade": Expected(3_800, "X5", "cascade", ("X5",), cause="markPriceUpdate"),
    "wall-eaten": Expected(850, "S_w", "tightened_stop", ("S_w", "X12", "STOP"), noticed="the wall was eaten"),
    "wall-pulled": Expected(850, "S_w", "tightened_stop", ("S_w", "X12", "STOP"), noticed="the wall was pulled"),
    "funding": Expected(1_750, "X13", "funding", ("X13",), cause="markPriceUpdate"),
    "thin": Expected(800, "S0", "hard_stop", ("X11", "STOP"), noticed="X11"),
    "halt": Expected(600, "X17", "instrument", ("X17",), noticed="TRADING_HALT"),
}


class Verdict(msgspec.Struct, frozen=True):
    """One situation and what was found; *failed* names each promise that did not hold."""

    scenario: str
    positions: int
    by_signal: int
    reasons: list[str]
    expected: str
    naked_ms: int
    equal: bool
    explained: bool
    lines: int
    decisions: int
    failed: list[str]
    story: str = ""

    @property
    def holds(self) -> bool:
        """True when every promise held."""
        return not self.failed


class Told(Backtest):
    """A backtest that keeps its decisions, so that their story can be told at the end."""

    def __init__(self, market: Market, settings: Settings, *, disk: Path, seed: int) -> None:
        super().__init__(market, settings, entries=EntryRule(), disk=disk, seed=seed, on_progress=lambda share: None)
        self.decided: list[Decision] = []
        self.story: list[story.Step] = []
        self._inputs: dict[tuple[int, int], bytes] = {}

    def _drain(self, *, everything: bool) -> None:
        """Keep what the causes point to before the log lets it go."""
        for partition in range(INPUTS.partitions):
            for record in self._kafka.of(INPUTS.name, partition).records:
                if record.value:
                    self._inputs[partition, record.offset] = record.value
        super()._drain(everything=everything)

    def _decided(self, decision: Decision) -> None:
        super()._decided(decision)
        self.decided.append(decision)

    def tell(self) -> list[story.Step]:
        """The story of the first position, as ``explain`` tells it."""
        if not self.trace.trades:
            return []
        chosen = story.concerning(self.decided, self.trace.trades[0][1].position)
        attempts = [
            records.decode_attempt(record.value)
            for partition in range(ATTEMPTS.partitions)
            for record in self._kafka.of(ATTEMPTS.name, partition).records
        ]
        instrument = self._replay.instrument(self.trace.symbol)
        known = {self.trace.symbol: instrument} if instrument is not None else {}
        return story.story_of(chosen, attempts=attempts, instruments=known, line_at=self._line)

    def _line(self, place: str) -> str:
        partition, offset, number = (int(part) for part in place.split("/"))
        body = self._inputs.get((partition, offset))
        return "no longer in the log" if body is None else story.line_words(lines.split(body)[number])


def market_of(name: str, *, seed: int = 1) -> Market:
    """A situation as a market that a backtest plays; KeyError for a name that is none."""
    scenario = SITUATIONS[name]
    row = scenario.instrument(default_instrument(SYMBOL))
    return Market(
        symbol=SYMBOL,
        name=name,
        row=row,
        source=SyntheticMarket([row], seed=seed, scenario=scenario, rate=RATE, start_ms=START_MS),
        length_ms=EXPECTED[name].seconds * 1_000,
        shift_ms=0,
        past=past_bars(row, scenario.symbols[SYMBOL].past, seed=seed, start_ms=START_MS),
    )


def settings_of(directory: Path) -> Settings:
    """The default configuration with signals on."""
    path = directory / "scenario.json"
    path.write_text('{"policy": {"signals": true}}')
    return load({"PERPGUARD_SYMBOLS": SYMBOL, "PERPGUARD_ROLE": "all"}, path)


def carry_out(name: str, *, seed: int = 1, say: Callable[[str], None] = lambda text: None) -> Verdict:
    """Play one situation and judge it."""
    say(f"{name}: {EXPECTED[name].seconds} simulated seconds")
    with silence(), tempfile.TemporaryDirectory(prefix="perpguard-scenario-") as text:
        directory = Path(text)
        one = Told(market_of(name, seed=seed), settings_of(directory), disk=directory, seed=seed)
        trace = run(one.main)
        return judge(name, trace, one.decided, one.tell())


def judge(name: str, trace: Trace, decided: list[Decision], steps: list[story.Step]) -> Verdict:
    """Hold what was found against what is expected."""
    expected = EXPECTED[name]
    trades: list[ReportTrade] = [trade for _, trade in trace.trades]
    first = trades[0] if trades else None
    by_signal = trace.rules.get("signal", 0)
    told = story.told(steps)
    seen = _words(decided)
    explained = _explains(expected, steps, told)
    promises: list[tuple[bool, str]] = [
        (first is not None, "no position was opened"),
        (by_signal >= len(trades) > 0, f"{len(trades)} positions, {by_signal} signals: not all from a signal"),
        (
            first is not None and (first.reason, first.outcome) == (expected.reason, expected.outcome),
            f"ended by {first.reason} ({first.outcome})" if first is not None else "nothing ended",
        ),
        (
            all(rule in trace.rules for rule in expected.rules),
            f"rules {sorted(trace.rules)}, not all of {expected.rules}",
        ),
        (expected.noticed in seen, f"nobody noticed {expected.noticed!r}"),
        (trace.naked_ms < NAKED_MS, f"naked for {trace.naked_ms} ms"),
        (trace.equal, f"the second fold differs: {trace.difference}"),
        (explained, "the story does not name the cause"),
        (not trace.faults, f"faults: {trace.faults}"),
        (trace.flat, "not flat at the end"),
    ]
    return Verdict(
        scenario=name,
        positions=len(trades),
        by_signal=by_signal,
        reasons=[f"{trade.reason} ({trade.outcome})" for trade in trades],
        expected=f"{expected.reason} ({expected.outcome})",
        naked_ms=trace.naked_ms,
        equal=trace.equal,
        explained=explained,
        lines=trace.lines,
        decisions=trace.decisions,
        failed=[text for holds, text in promises if not holds],
        story=told,
    )


def _words(decided: list[Decision]) -> str:
    """Every note and alert of the decisions."""
    return "\n".join(
        f"{getattr(output, 'code', '')} {getattr(output, 'text', '')}" for one in decided for output in one.outputs
    )


def _explains(expected: Expected, steps: list[story.Step], told: str) -> bool:
    """The story names each rule in words, and the kind of input that made the acting one act."""
    acting = [step for step in steps for rule in expected.rules if any(r.partition(":")[0] == rule for r in step.rules)]
    named = {rule.partition(":")[0] for step in acting for rule in step.rules}
    if not set(expected.rules) <= named:
        return False
    causes: list[Any] = [words for step in acting for _, words in step.causes]
    return f"({expected.reason})" in told and (not expected.cause or any(expected.cause in text for text in causes))
