"""
The only place that says what a chaos run broke, reading the exchange's ledger and the log and nothing else.

Every violation names the place in the log, or the exchange's instant, at which it can be looked up. ``timed`` ones
depend on how quick the machine was: they count, but a test on a loaded machine looks at the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from pipeline.chaos.disturb import Disturbed
from pipeline.chaos.evidence import Evidence, Folded
from pipeline.chaos.recovery import Recovered
from pipeline.console.log_access import Record
from pipeline.core.events import Leg, Verdict
from pipeline.core.identity import intent_of, leg_of
from pipeline.demo.exchange import loosened_by_us, open_episodes
from pipeline.demo.promises import NAKED_KILLED_MS, NAKED_MS, resting_orders
from pipeline.wire import records

Json: TypeAlias = Any  # the ledger's JSON

LIVE_MS: Final = 10_000  # architecture section 8: any process killed → live decisions again
COVER_MS: Final = 5_000  # … → cover proven from the venue
UP: Final = "pipeline up"
KILLED: Final = "executor killed"
FROZEN: Final = "executor frozen"


class Violation(msgspec.Struct, frozen=True):
    """What was broken (promise of architecture section 1), where it can be looked up."""

    promise: str
    what: str
    where: str
    timed: bool = False


def replay_is_equal(replay: Json | None) -> list[Violation]:
    """P1: ``replay --verify`` in a fresh process."""
    if replay is None:
        return [Violation("P1", "the replay did not finish (see replay.log)", "replay.log")]
    if replay["equal"]:
        return []
    first = replay["first_difference"] or {}
    place = f"inputs {first.get('partition')}/{first.get('offset')}/{first.get('line')}"
    return [Violation("P1", f"the log folded again differs: {first}", place)]


def intents_are_the_fold(intents: Iterable[Record], folded: Folded) -> list[Violation]:
    """P1, P2: the intents of the log are those of an undisturbed fold; repeats carry the same id and bytes."""
    found: dict[str, tuple[int, bytes]] = {}
    broken: list[Violation] = []
    for record in intents:
        intent = records.decode_intent(record.value)
        where = f"intents {record.partition}/{record.offset}"
        if intent.id not in found:
            found[intent.id] = (record.offset, record.value)
            expected = folded.intents.get(intent.id)
            if expected is None:
                broken.append(
                    Violation("P1", f"intent {intent.id} is not in an undisturbed fold of {intent.cause}", where)
                )
            elif expected != record.value:
                broken.append(Violation("P1", f"intent {intent.id} has other bytes than an undisturbed fold", where))
        elif found[intent.id][1] != record.value:
            first = found[intent.id][0]
            broken.append(Violation("P1", f"intent {intent.id} is repeated with other bytes than at {first}", where))
    for identity, value in folded.intents.items():
        if identity not in found:
            cause = records.decode_intent(value).cause
            broken.append(Violation("P2", f"intent {identity} is missing in the log", f"inputs {cause}"))
    return broken


def risk_at_most_once(ledger: Mapping[str, list[Json]], known: Mapping[str, records.IntentRecord]) -> list[Violation]:
    """
    P2: no entry reached the exchange twice, nothing reached it that no intent asked for.

    Only entries may add risk: whatever else we send must be reduce-only, or close the position.
    """
    broken: list[Violation] = []
    entries: dict[str, list[Json]] = {}
    for line in ledger["order"]:
        if line["status"] != "NEW" or line["algo_id"] is not None:
            continue
        intent = intent_of(line["client_id"])
        where = f"ledger {line['n']}"
        if intent is None or intent not in known:
            broken.append(Violation("P2", f"the exchange took {line['client_id']}, which no intent asked for", where))
        elif leg_of(line["client_id"]) is Leg.ENTRY:
            entries.setdefault(intent, []).append(line)
        elif not line["reduce_only"]:
            broken.append(Violation("P2", f"{line['client_id']} is no entry and could add risk", where))
    for line in ledger["algo"]:
        if line["state"] != "NEW":
            continue
        if not (line["reduce_only"] or line["close_position"]):
            broken.append(Violation("P2", f"{line['client_id']} could add risk", f"ledger {line['n']}"))
        if intent_of(line["client_id"]) not in known:
            text = f"the exchange took {line['client_id']}, which no intent asked for"
            broken.append(Violation("P2", text, f"ledger {line['n']}"))
    for intent, lines in entries.items():
        if len(lines) > 1:
            clients = ", ".join(f"{line['client_id']} (ledger {line['n']})" for line in lines)
            text = f"entry {intent} took effect {len(lines)} times: {clients}"
            broken.append(Violation("P2", text, f"inputs {known[intent].cause}"))
    return broken


def every_intent_ended(
    known: Mapping[str, records.IntentRecord], attempts: Iterable[records.AttemptRecord]
) -> list[Violation]:
    """P2: none is lost: each took effect, or its refusal is stated."""
    ended: set[str] = set()
    for entry in attempts:
        if isinstance(entry, records.IntentSettled):
            ended.add(entry.intent)
        elif isinstance(entry, records.AttemptEnded) and entry.outcome.verdict is not Verdict.IN_DOUBT:
            ended.add(entry.outcome.intent)
    return [
        Violation("P2", f"intent {one.id} ({type(one.intent).__name__}) has no end", f"inputs {one.cause}")
        for one in known.values()
        if one.id not in ended
    ]


class Naked(msgspec.Struct, frozen=True):
    """One stretch without cover, in exchange ms; ``around`` says what was the matter with the executor then."""

    symbol: str
    start_ms: int
    end_ms: int
    around: str
    allowed_ms: int

    @property
    def length_ms(self) -> int:
        """How long."""
        return self.end_ms - self.start_ms


def naked_stretches(episodes: Iterable[Json], recovered: Sequence[Recovered]) -> list[Naked]:
    """Every stretch of an open quantity without covering stops, each with what it may last."""
    executor = [one for one in recovered if one.disturbed.victim == "execute"]
    found = []
    for episode in episodes:
        for start, end in episode["naked"]["any"]["intervals"]:
            around, allowed = UP, NAKED_MS
            for one in executor:
                begin, until = one.disturbed.began_ms, one.disturbed.over_ms + (one.cover_ms or NAKED_KILLED_MS)
                if start >= until or end <= begin:
                    continue
                if one.disturbed.kind == "freeze":
                    # It slept and could do nothing; from its waking the bound of a killed one holds.
                    around, allowed = FROZEN, max(allowed, one.disturbed.over_ms - start + NAKED_KILLED_MS)
                else:
                    around, allowed = KILLED, max(allowed, NAKED_KILLED_MS)
            found.append(Naked(episode["symbol"], start, end, around, allowed))
    return found


def never_naked(stretches: Iterable[Naked]) -> list[Violation]:
    """P3: live stops cover the open quantity in time."""
    return [
        Violation(
            "P3",
            f"{one.symbol} was {one.length_ms} ms without a covering stop ({one.around}: {one.allowed_ms} ms allowed)",
            f"exchange {one.start_ms} to {one.end_ms}",
            timed=True,
        )
        for one in stretches
        if one.length_ms > one.allowed_ms
    ]


def never_looser(episodes: Iterable[Json]) -> list[Violation]:
    """P3: no move ever loosened the tightest live trigger."""
    return [
        Violation(
            "P3",
            f"{episode['symbol']} {episode['side']}: the tightest stop went {moment['from']} → {moment['to']} "
            f"by a {moment['cause']} of ours",
            f"exchange {moment['ms']}",
        )
        for episode in episodes
        for moment in loosened_by_us(episode)
    ]


def nothing_left(evidence: Evidence) -> list[Violation]:
    """P3: flat and swept in the end."""
    end = f"exchange {evidence.summary['now']}"
    broken = [Violation("P3", f"{one['symbol']} is still open", end) for one in open_episodes(evidence.summary)]
    return broken + [Violation("P3", f"{client} still rests", end) for client in resting_orders(evidence.ledger)]


def back_in_time(recovered: Iterable[Recovered]) -> list[Violation]:
    """Architecture section 8: live decisions again within 10 s, cover proven within 5 s of a kill of the executor."""
    broken = []
    for one in recovered:
        where = f"log {one.disturbed.over_ms} ms"
        if one.dark_ms > LIVE_MS:
            text = f"{one.disturbed.name}: {one.darkest} was dark for {one.dark_ms} ms, {LIVE_MS} are allowed"
            broken.append(Violation("live", text, where, timed=True))
        if one.cover_ms is not None and one.cover_ms > COVER_MS:
            text = f"{one.disturbed.name}: cover was proven after {one.cover_ms} ms, {COVER_MS} are allowed"
            broken.append(Violation("cover", text, where, timed=True))
    return broken


def judge(
    evidence: Evidence, *, recovered: Sequence[Recovered], stretches: Sequence[Naked], hung: Iterable[str]
) -> list[Violation]:
    """Everything that was broken, hard ones first."""
    known: dict[str, records.IntentRecord] = {}
    for record in evidence.intents:
        intent = records.decode_intent(record.value)
        known.setdefault(intent.id, intent)
    episodes = evidence.summary["episodes"]
    return [
        *replay_is_equal(evidence.replay),
        *intents_are_the_fold(evidence.intents, evidence.folded),
        *risk_at_most_once(evidence.ledger, known),
        *every_intent_ended(known, evidence.attempts),
        *never_looser(episodes),
        *nothing_left(evidence),
        *never_naked(stretches),
        *back_in_time(recovered),
        *(Violation("stop", f"{name} did not stop when asked and was killed", f"{name}.log", True) for name in hung),
    ]


def bitten(disturbances: Iterable[Disturbed]) -> dict[str, int]:
    """How often each fault was done to each process."""
    counts: dict[str, int] = {}
    for one in disturbances:
        name = f"{one.kind} {one.victim}"
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))
