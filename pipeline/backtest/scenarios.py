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
from typing import Final

import msgspec

from connectors.exchange_simulator.instruments import default_instrument
from connectors.exchange_simulator.situations import SITUATIONS, SYMBOL, past_bars
from connectors.exchange_simulator.synthetic import SyntheticMarket
from pipeline.backtest.expected import EXPECTED, Expected
from pipeline.backtest.run import Backtest, EntryRule, Market, Trace
from pipeline.core.commands import Alert, AnswerAdmission, Decision, Note, ReportTrade
from pipeline.reporting import story
from pipeline.reporting.ranking_view import RankingView, why_not
from pipeline.reporting.words import outcome
from pipeline.settings import Settings, load
from pipeline.virtual.clock import START_MS, run, silence
from pipeline.wire import lines, records
from pipeline.wire.topics import ACCOUNT, ATTEMPTS, FACTORS, INPUTS

RATE: Final = 1.0  # steps a second
CONFIGURATION: Final = '{"policy": {"signals": true}}'
NAKED_MS: Final = 2_000  # the bound of pain 1


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
        signal = story.signal_of(self.decided, chosen)
        if signal is not None and any(story.by_signal(self._raw(d.causes[0])) for d in chosen[:1]):
            chosen = [signal, *chosen]
        attempts = [
            records.decode_attempt(record.value)
            for partition in range(ATTEMPTS.partitions)
            for record in self._kafka.of(ATTEMPTS.name, partition).records
        ]
        instrument = self._replay.instrument(self.trace.symbol)
        known = {self.trace.symbol: instrument} if instrument is not None else {}
        published = [
            records.decode_factors(record.value)
            for partition in range(FACTORS.partitions)
            for record in self._kafka.of(FACTORS.name, partition).records
        ]
        return story.story_of(chosen, attempts=attempts, instruments=known, line_at=self._line, factors=published)

    def why_not(self) -> str:
        """What ``explain SYMBOL`` says of the last bar's entry."""
        view = RankingView()
        for record in self._kafka.of(ACCOUNT.name, 0).records:
            view.take_account(record.value)
        row = next((row for row in view.rows() if row.symbol == self.trace.symbol), None)
        return "" if row is None else why_not(row)

    def _line(self, place: str) -> str:
        raw = self._raw(place)
        return story.line_words(raw) if raw else "no longer in the log"

    def _raw(self, place: str) -> bytes:
        """The line at a place; empty when the log let it go."""
        partition, offset, number = (int(part) for part in place.split("/"))
        body = self._inputs.get((partition, offset))
        return b"" if body is None else lines.split(body)[number]


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
    path.write_text(CONFIGURATION)
    return load({"PERPGUARD_SYMBOLS": SYMBOL, "PERPGUARD_ROLE": "all"}, path)


def carry_out(name: str, *, seed: int = 1, say: Callable[[str], None] = lambda text: None) -> Verdict:
    """Play one situation and judge it."""
    say(f"{name}: {EXPECTED[name].seconds} simulated seconds")
    with silence(), tempfile.TemporaryDirectory(prefix="perpguard-scenario-") as text:
        directory = Path(text)
        one = Told(market_of(name, seed=seed), settings_of(directory), disk=directory, seed=seed)
        trace = run(one.main)
        return judge(name, trace, one.decided, one.tell(), one.why_not())


def judge(name: str, trace: Trace, decided: list[Decision], steps: list[story.Step], why: str = "") -> Verdict:
    """Hold what was found against what is expected; *why* is what ``explain SYMBOL`` says of an entry that was none."""
    expected = EXPECTED[name]
    trades: list[ReportTrade] = [trade for _, trade in trace.trades]
    told = story.told(steps) or why
    missing = _refused(expected, trade_count=len(trades), why=why) if expected.refused_by else _missing(expected, steps)
    promises = [
        *([] if expected.refused_by else _ended(expected, trace, trades, decided)),
        (expected.noticed in _words(decided), f"nobody noticed {expected.noticed!r}"),
        (trace.naked_ms < NAKED_MS, f"naked for {trace.naked_ms} ms"),
        (trace.equal, f"the second fold differs: {trace.difference}"),
        (not missing, f"explain does not tell: {', '.join(missing)}"),
        (not trace.faults, f"faults: {trace.faults}"),
        (trace.flat, "not flat at the end"),
    ]
    return Verdict(
        scenario=name,
        positions=len(trades),
        by_signal=trace.rules.get("signal", 0),
        reasons=[f"{trade.reason} ({trade.outcome})" for trade in trades],
        expected=f"refused by {'/'.join(expected.refused_by)}"
        if expected.refused_by
        else f"{expected.reason} ({expected.outcome})",
        naked_ms=trace.naked_ms,
        equal=trace.equal,
        explained=not missing,
        lines=trace.lines,
        decisions=trace.decisions,
        failed=[text for holds, text in promises if not holds],
        story=told,
    )


def _nothing(decided: list[Decision]) -> str:
    """Why an entry that was asked for opened nothing, in words; empty when none was."""
    outputs = [output for decision in decided for output in decision.outputs]
    answers = [one.reason for one in outputs if isinstance(one, AnswerAdmission) and not one.used]
    notes = [one.text for one in outputs if isinstance(one, Note | Alert) and "entry" in one.code]
    return "; ".join(answers + notes)


def _ended(
    expected: Expected, trace: Trace, trades: list[ReportTrade], decided: list[Decision]
) -> list[tuple[bool, str]]:
    """A position from a signal, that ended as expected, by the rules expected."""
    first = trades[0] if trades else None
    signals = trace.rules.get("signal", 0)
    nothing = "" if trades else _nothing(decided)
    return [
        (first is not None, "no position was opened"),
        (not nothing, f"the entry came to nothing: {nothing}"),
        (signals >= len(trades) > 0, f"{len(trades)} positions, {signals} signals: not all from a signal"),
        (
            first is not None and (first.reason, first.outcome) == (expected.reason, expected.outcome),
            f"ended by {first.reason} ({first.outcome})" if first is not None else "nothing ended",
        ),
        (
            all(rule in trace.rules for rule in expected.rules),
            f"rules {sorted(trace.rules)}, not all of {expected.rules}",
        ),
    ]


def _words(decided: list[Decision]) -> str:
    """Every note and alert of the decisions."""
    return "\n".join(
        f"{getattr(output, 'code', '')} {getattr(output, 'text', '')}" for one in decided for output in one.outputs
    )


def _missing(expected: Expected, steps: list[story.Step]) -> list[str]:
    """
    What of the true cause the story does not tell.

    It must go from the signal with its factor values over the admission to the entry's intent, its order and fill; name
    each rule expected with its words, with the kind of input that made it act; and say how the trade ended.
    """
    signal = next((step for step in steps if _named(step, "signal")), None)
    entry = next((step for step in steps if _named(step, "entry_used")), None)
    requests = [request for asked in entry.asked for request in asked.requests] if entry is not None else []
    acting = [step for step in steps if any(_named(step, rule) for rule in expected.rules)]
    told = story.told(steps)
    links: dict[str, bool] = {
        "the signal": signal is not None,
        "the factors of the signal": signal is not None and signal.factors is not None and bool(signal.factors.values),
        "that the signal asked for the entry": entry is not None
        and any("asked for by a signal" in said for _, said in entry.causes),
        "the entry's order": any("place entry" in request for request in requests),
        "the entry's fill": any("filled" in request for request in requests),
    }
    for rule in expected.rules:
        words = f"{rule}: {story.WORDS[rule]}"
        links[words] = any(words in step.rules for step in acting)
    if expected.cause:
        links[f"a {expected.cause} as cause"] = any(
            expected.cause in said for step in acting for _, said in step.causes
        )
    ended = f"{outcome(expected.outcome)} ({expected.reason})"
    links |= {repr(text): text in told for text in (ended, *expected.words)}
    return [what for what, found in links.items() if not found]


def _named(step: story.Step, rule: str) -> bool:
    return any(name.partition(":")[0] == rule for name in step.rules)


def _refused(expected: Expected, *, trade_count: int, why: str) -> list[str]:
    """What is wrong with "why not": no position may be there, and the gate that refused must be named."""
    named = [gate for gate in expected.refused_by if f"gate {gate} refuses: found" in why]
    return (["no entry was to be"] if trade_count else []) + ([] if named else [f"a gate of {expected.refused_by}"])
