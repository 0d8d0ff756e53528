"""
The only place that tells why something happened: input lines → rule → intent → requests → fills → trade.

Everything is read from the log: a decision names the lines that it rests on and the ids of what it asked for, the
journal ``attempts`` names the intent of each request, so the story needs no memory of any process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from pipeline.core import commands
from pipeline.core.commands import Decision, Output
from pipeline.core.events import Leg
from pipeline.core.exits import RULES
from pipeline.core.instruments import Instrument
from pipeline.core.plugin_answers import words as plugin_words
from pipeline.core.units import format_e8
from pipeline.reporting import factor_story, words
from pipeline.wire import lines, records

Json: TypeAlias = Any  # a JSON value for programs

LEGS: Final[Mapping[Leg, str]] = {
    Leg.ENTRY: "entry",
    Leg.FAR: "far rail",
    Leg.WORKING: "working stop",
    Leg.TARGET: "first target",
    Leg.LAST_TARGET: "last target",
    Leg.CLOSE: "market close",
}
WORDS: Final[Mapping[str, str]] = {rule.id: rule.text for rule in reversed(RULES)} | {
    "S0": "initial stop",
    "S_be": "stop to break-even",
    "S_ch": "stop trails the best mark",
    "S_sw": "stop behind the last swing",
    "S_f": "stop tightened by the factors",
    "S_w": "stop behind a wall",
    "S_time": "stop tightened by time",
    "S_pl": "stop tightened by a plug-in",
    "PLUGIN": "a plug-in of the owner asked to close",
    "signal": "a closed bar gave a signal",
    "ask_plugins": "plug-ins are asked",
    "entry_used": "an admitted entry",
    "entry_declined": "an entry that may not be",
    "target_placed": "the entry is over: targets",
    "rail_moved": "the ratchet",
    "rail_again": "a rail is not proven yet",
    "entry_answered_again": "an admission that was asked twice",
    "entry_ended_empty": "the entry ended without a fill",
    "halt": "the symbol's fold failed",
}
FRAME_CHARACTERS: Final = 160
FACTORS_MS: Final = 620_000  # the hard age of a closed bar (domain 3.3)
JUDGING: Final = frozenset({"signal", *(rule.id for rule in RULES)})


class Asked(msgspec.Struct, frozen=True):
    """One output of a decision, in words and as data, with the requests that it led to."""

    id: str
    words: str
    output: Json
    requests: list[str]


class Factors(msgspec.Struct, frozen=True):
    """The factors as they were last published before a decision: letter → (value, quality); ``words`` say them."""

    at_ms: int
    cause: str
    words: str
    values: dict[str, tuple[float, float]]


class Step(msgspec.Struct, frozen=True):
    """One decision of the story. ``causes`` are (place in the log, what stood there)."""

    place: str
    at_ms: int
    rules: list[str]
    causes: list[tuple[str, str]]
    asked: list[Asked]
    factors: Factors | None = None


# --------------------------------------------------------------------------------------------------- which decisions


def concerning(decisions: Sequence[Decision], identity: str) -> list[Decision]:
    """
    The decisions that concern *identity*: a place ``partition/offset/line``, an output, a position or an admission.

    The whole story of the position is returned whichever of its ids was given; reports once a second are left out.
    """
    hits = [decision for decision in decisions if identity in _names(decision)]
    positions = {name for decision in hits for name in _positions(decision)}
    if not positions:
        return hits
    return [d for d in decisions if positions & set(_positions(d)) and not _only_reports(d)]


def signal_of(decisions: Sequence[Decision], chosen: Sequence[Decision]) -> Decision | None:
    """
    The decision that told account of the signal from which the position of *chosen* was opened: the last fresh one of
    the symbol and side before the entry. None when another position was opened since, or there was none.

    Whether it was a signal that opened it stands in the admission's line (``by_signal``).
    """
    opening = next(((d, o) for d in chosen for o in d.outputs if isinstance(o, commands.OpenBracket)), None)
    if opening is None:
        return None
    entry, bracket = opening
    place = (entry.offset, entry.line)
    before = [d for d in decisions if d.symbol == entry.symbol and (d.offset, d.line) < place]
    for decision in reversed(before):
        for output in decision.outputs:
            if isinstance(output, commands.OpenBracket):
                return None
            if isinstance(output, commands.ReportSignal) and output.fresh and output.side is bracket.side:
                return decision
    return None


def by_signal(raw: bytes) -> bool:
    """Whether a line of ``inputs`` is an admission that a signal asked for."""
    try:
        line = lines.decode(raw)
    except msgspec.DecodeError:
        return False
    return line.admission is not None and line.admission.signal


def without_repeats(decisions: Iterable[Decision]) -> list[Decision]:
    """Drop what was decided again after a crash: readers keep the highest position per partition."""
    kept: list[Decision] = []
    seen: set[tuple[int, int, int, str]] = set()
    for decision in decisions:
        place = (decision.partition, decision.offset, decision.line, decision.symbol)
        if place not in seen:
            seen.add(place)
            kept.append(decision)
    return kept


def last_positions(decisions: Sequence[Decision], symbol: str, *, count: int = 1) -> list[str]:
    """Ids of the newest positions of a symbol, oldest of them first."""
    opened = [
        identity
        for decision in decisions
        if decision.symbol == symbol
        for identity, output in zip(decision.ids, decision.outputs, strict=True)
        if isinstance(output, commands.OpenBracket)
    ]
    return opened[-count:]


def _names(decision: Decision) -> set[str]:
    named = {f"{decision.partition}/{decision.offset}/{decision.line}", *decision.ids, *_positions(decision)}
    return named | {o.admission for o in decision.outputs if isinstance(o, commands.AnswerAdmission)}


def _positions(decision: Decision) -> list[str]:
    found = [
        identity if isinstance(output, commands.OpenBracket) else getattr(output, "position", "")
        for identity, output in zip(decision.ids, decision.outputs, strict=True)
    ]
    return [name for name in found if name]


def _only_reports(decision: Decision) -> bool:
    return all(isinstance(output, commands.ReportPosition) for output in decision.outputs)


# ---------------------------------------------------------------------------------------------------- in plain words


def story_of(
    decisions: Sequence[Decision],
    *,
    attempts: Sequence[records.AttemptRecord],
    instruments: Mapping[str, Instrument],
    line_at: Callable[[str], str],
    factors: Sequence[records.FactorsRecord] = (),
) -> list[Step]:
    """
    Tell *decisions* in their order; *line_at* says what stood at a place of the log.

    A signal and an exit rule are told with the newest of *factors* that the decision can have rested on.
    """
    requests = _requests(attempts, instruments)
    return [
        Step(
            place=f"{decision.partition}/{decision.offset}/{decision.line}",
            at_ms=decision.log_ms,
            rules=[f"{rule}: {WORDS[rule]}" if rule in WORDS else rule for rule in decision.rules],
            causes=[(place, line_at(place)) for place in decision.causes],
            asked=[
                Asked(
                    identity, said(output, instruments.get(decision.symbol)), _plain(output), requests.get(identity, [])
                )
                for identity, output in zip(decision.ids, decision.outputs, strict=True)
            ],
            factors=_factors(decision, factors),
        )
        for decision in decisions
    ]


def _factors(decision: Decision, published: Sequence[records.FactorsRecord]) -> Factors | None:
    """What the factors said when a signal or an exit rule acted; None when nothing that fresh was published."""
    if not JUDGING & {rule.partition(":")[0] for rule in decision.rules}:
        return None
    place = f"{decision.partition}/{decision.offset}/{decision.line}"
    known = [
        record
        for record in published
        if record.symbol == decision.symbol
        and (record.cause == place or decision.log_ms - FACTORS_MS <= record.at_ms <= decision.log_ms)
    ]
    if not known:
        return None
    record = max(known, key=lambda one: (one.at_ms, one.cause == place))
    return Factors(
        record.at_ms,
        record.cause,
        factor_story.briefly(record),
        {letter: (row.value, row.quality) for letter, row in record.factors.items() if row.ready},
    )


def _plain(output: Output) -> Json:
    return msgspec.to_builtins(output)


def _price(ticks: int, instrument: Instrument | None) -> str:
    return instrument.price_text(ticks) if instrument else f"{ticks} ticks"


def _amount(lots: int, instrument: Instrument | None) -> str:
    return instrument.quantity_text(abs(lots)) if instrument else f"{abs(lots)} lots"


def said(output: Output, instrument: Instrument | None) -> str:
    """One output in words."""

    def at(ticks: int) -> str:
        return _price(ticks, instrument)

    def much(lots: int) -> str:
        return _amount(lots, instrument) if lots else "the whole position"

    match output:
        case commands.OpenBracket():
            return (
                f"enter {output.side.value} {much(output.lots)} at {at(output.limit)} or better, working stop "
                f"{at(output.working_trigger)}, far rail {at(output.far_trigger)}"
            )
        case commands.MoveStop():
            return f"{LEGS[output.leg]} to {at(output.trigger)} for {much(output.lots)}"
        case commands.PlaceTarget():
            return f"{LEGS[output.leg]} at {at(output.price)} for {much(output.lots)}"
        case commands.CancelLeg():
            return f"cancel the {LEGS[output.leg]}"
        case commands.ClosePosition():
            return f"close {much(output.lots)} at market: {output.reason}"
        case commands.ReducePosition():
            return f"close {much(output.lots)} of it at market, {much(output.slice_lots)} at a time: {output.reason}"
        case commands.Sweep():
            return "sweep what is left on the venue"
        case commands.RequestData():
            return f"ask for {output.kind.replace('_', ' ')}"
        case commands.AnswerAdmission():
            verdict = "used" if output.used else f"declined, {output.reason}"
            return f"admission {output.admission}: {verdict}"
        case commands.ReportPosition():
            pnl = words.money(output.open_pnl)
            return f"report {output.state}: {_amount(output.lots, instrument)}, stop {at(output.stop)}, {pnl} USDT"
        case commands.ReportSignal():
            gates = f", gates refuse: {', '.join(output.refused)}" if output.refused else ""
            source = f" of the plug-in {output.source}" if output.source else ""
            return (
                f"signal {output.stage} {output.side.value}{source}: E {output.score / 1_000:g}, "
                f"strength {output.strength / 1_000:g}{gates}"
            )
        case commands.ReportTrade():
            net = words.money(output.realised - output.fees)
            how = f"{words.outcome(output.outcome)} ({output.reason})"
            return f"flat {how}: {net} USDT net, {output.stop_moves} stop moves"
        case commands.ShareBars():
            return f"share {len(output.bars.closes)} closes of {output.bars.symbol}"
        case commands.AskPlugins():
            return f"ask the plug-ins {', '.join(output.names)}"
        case commands.Alert():
            return f"{output.severity}: {output.text}"
        case commands.Note():
            return f"{output.code.replace('_', ' ')}: {output.text}"


def _requests(attempts: Sequence[records.AttemptRecord], instruments: Mapping[str, Instrument]) -> dict[str, list[str]]:
    """Intent id → what was sent for it and how it ended, in journal order."""
    found: dict[str, list[str]] = {}
    for entry in attempts:
        match entry:
            case records.Attempted():
                what = entry.parameters.get("type") or entry.parameters.get("orderType") or ""
                details = [what, entry.parameters.get("side", ""), entry.parameters.get("quantity", "")]
                if trigger := entry.parameters.get("triggerPrice") or entry.parameters.get("price"):
                    details.append(f"at {trigger}")
                told = " ".join(detail for detail in details if detail)
                found.setdefault(entry.intent, []).append(
                    f"{words.moment(entry.at_ms)} {entry.action} {LEGS[entry.leg]} {told} as {entry.client_id}"
                )
            case records.AttemptEnded():
                outcome = entry.outcome
                text = f"{words.moment(entry.at_ms)} {outcome.verdict.value.replace('_', ' ')}"
                if outcome.filled_lots:
                    amount = _amount(outcome.filled_lots, instruments.get(entry.symbol))
                    text += f", filled {amount}"
                    if outcome.average_price:  # a reply may not know it yet: the venue's own event does
                        text += f" at {format_e8(outcome.average_price)}"
                if outcome.code or outcome.message:
                    text += f" ({outcome.code or ''} {outcome.message})".replace("( ", "(")
                found.setdefault(outcome.intent, []).append(f"{text}: {outcome.client_id}")
            case _:
                pass
    return found


def line_words(raw: bytes) -> str:
    """What a line of ``inputs`` says, in a line for people."""
    try:
        line = lines.decode(raw)
    except msgspec.DecodeError as error:
        return f"unreadable: {error}"
    if line.outcome is not None:
        outcome = line.outcome
        return f"the executor: {LEGS[outcome.leg]} {outcome.verdict.value.replace('_', ' ')} {outcome.message}".rstrip()
    if line.admission is not None:
        why = ", asked for by a signal" if line.admission.signal else ""
        return f"account admitted {line.admission.side.value} {line.admission.admission}{why}"
    if line.close is not None:
        return f"close asked: {line.close.reason}"
    if line.state is not None:
        return f"trading is {line.state.mode}: {line.state.reason}"
    if line.answer is not None:
        return f"REST answer {line.answer.kind}" + (f", failed: {line.answer.error}" if line.answer.error else "")
    if line.lost is not None:
        return f"stream {line.lost.stream} may have a hole: {line.lost.reason}"
    if line.plugin is not None:
        return f"plug-in {line.plugin.name} {line.plugin.version} says: {plugin_words(line.plugin.answer)}"
    if line.tick is not None:
        return "time passed"
    text = bytes(line.frame).decode("utf-8", "replace")
    return text if len(text) <= FRAME_CHARACTERS else text[: FRAME_CHARACTERS - 1] + "…"


def told(steps: Sequence[Step]) -> str:
    """The story as text."""
    parts: list[str] = []
    for step in steps:
        rules = "; ".join(step.rules) or "no rule"
        parts.append(f"{words.moment(step.at_ms)}  {rules}   [{step.place}]")
        parts += [f"    because {place}: {what}" for place, what in step.causes]
        if step.factors is not None:
            parts.append(f"    {step.factors.words}")
        for asked in step.asked:
            parts.append(f"    → {asked.words}   [{asked.id}]")
            parts += [f"        {request}" for request in asked.requests]
    return "\n".join(parts)
