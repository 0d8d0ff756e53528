"""
The only place that judges a run of virtual chaos, reading the exchange's ledger and the log and nothing else.

The judges of the process mode (``chaos.judges``) are applied as they are; what follows here are those that only virtual
time makes exact: late entries, leases, doubts ended too early, exits in time, limits, states, what is left in the end.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from pipeline.agents.execute import limits_of
from pipeline.binance.account_fold import AccountFold, rules_of
from pipeline.binance.fold import PartitionFold
from pipeline.chaos import judges
from pipeline.chaos.evidence import Folded
from pipeline.chaos.judges import Violation
from pipeline.chaos.virtual_run import FOLD, Spell, Traces
from pipeline.console.log_access import Record
from pipeline.core.commands import ClosePosition, OpenBracket
from pipeline.core.events import Leg, Verdict
from pipeline.core.identity import intent_of, leg_of
from pipeline.demo.promises import resting_orders
from pipeline.execution.entries import STALE_MS
from pipeline.execution.lease import RECEIVE_WINDOW_MS
from pipeline.settings import Settings
from pipeline.virtual.log import Stored
from pipeline.virtual.workers import LOG_IDENTITY
from pipeline.wire import lines, records
from pipeline.wire.outputs import records_of
from pipeline.wire.topics import ACCOUNT, ALERTS, ATTEMPTS, DECISIONS, INPUTS, INTENTS, QUARANTINE

Json: TypeAlias = Any  # the ledger's JSON

TAIL_MS: Final = 1_500  # what stands in the log's last moments may not have been folded when the run ended
CLOCK_SLACK_MS: Final = 60  # how wrong an offset measured over the road can be
NAKED_FAULTLESS_MS: Final = 2_000  # P3
RAIL_MS: Final = 3_000  # of one rail, the other covering, where nothing disturbs
DISTURBED_MS: Final = 6_000  # a fault's effect lasts so long at most
START_COVER_MS: Final = 300  # from the epoch record to live stops, the venue answering at once
LASTING: Final = ("broker", "slow", "unanswered", "cut execute", "connection_refused", "refuse", "429", "418", "hold")
DEATHS: Final = (
    "kill ",
    "hunt ",
    "stop ",
    "twin ",
    "freeze ",
    "orphan ",
)  # names of faults that leave venue and log alone
NAKED_MS: Final = 5_000  # P3, with faults, beside the time in which nobody could act
X2_MS: Final = 3_000  # domain 6.3, X2: TRIGGERING for longer is a failed rail
ON_THE_ROAD_MS: Final = 40
STARTING_MS: Final = 4_000
EXIT_MS: Final = 5_000  # a close asked for has reached the exchange
SAID_BY_DESIGN: Final = (
    "superseded",
    "position is flat",
    "position is closing",
    "position is not flat",
    "no working stop rests",
    "looser",
    "unknown position",
    "another executor took over",
    "no valid lease",
    "a position of ours holds the symbol",  # a rail under a position of others that turned out to be ours
)
BAD_ALERTS: Final = {
    "symbol_halted": "states",
    "account_halted": "states",
    "intent_forged": "P2",
    "rail_rejected": "P3",
    "order_contradiction": "states",
    "unknown_position": "P3",
    "foreign_stop_adopted": "P3",
    "intent_malformed": "P6",
}


class Refolded(msgspec.Struct):
    """The log folded again from nothing."""

    decisions: dict[tuple[int, int, int, str], bytes]
    intents: dict[str, bytes]
    folds: dict[int, PartitionFold]


def judge(traces: Traces, configured: Settings) -> list[Violation]:
    """Everything that was broken."""
    kafka, ledger = traces.kafka, traces.ledger
    by_kind: dict[str, list[Json]] = {"order": [], "algo": [], "fill": [], "request": [], "position_opened": []}
    for line in ledger.lines:
        by_kind.setdefault(line["kind"], []).append(line)
    attempts = [records.decode_attempt(record.value) for record in kafka.records(ATTEMPTS)]
    intents = [_record(record) for record in kafka.records(INTENTS)]
    known = known_intents(traces)
    refolded = refold(traces, configured)
    end_ms = traces.ended_ms
    tail = end_ms - TAIL_MS
    episodes = [episode.summary(end_ms) for episode in ledger.episodes]
    broken = [Violation("process", f"{name} ended by {error!r}", "process") for name, error in traces.faults]
    broken += decisions_are_equal(kafka.records(DECISIONS), refolded, tail)
    young = {name for name, value in refolded.intents.items() if records.decode_intent(value).at_ms >= tail}
    folded = Folded({n: v for n, v in refolded.intents.items() if n not in young}, 0)
    broken += judges.intents_are_the_fold([one for one in intents if _id(one) not in young], folded)
    broken += judges.risk_at_most_once(by_kind, known)
    settled_late = {name for name, one in known.items() if one.at_ms >= tail}
    broken += judges.every_intent_ended({n: one for n, one in known.items() if n not in settled_late}, attempts)
    broken += never_looser(episodes, by_kind)
    broken += nothing_left(traces, by_kind, refolded, configured)
    broken += never_naked(episodes, traces)
    broken += each_rail_when_undisturbed(episodes, traces)
    broken += starts_protect(
        episodes,
        traces,
        [r for r, a in zip(kafka.records(ATTEMPTS), attempts, strict=True) if isinstance(a, records.EpochStarted)],
    )
    broken += no_late_entry(by_kind["order"], known)
    broken += leases_kept(by_kind["order"], attempts)
    broken += doubts_ended_rightly(by_kind, attempts)
    broken += exits_are_never_refused(attempts)
    broken += closes_in_time(traces, known, by_kind, episodes)
    broken += limits_kept(ledger.lines, configured)
    broken += bans_respected(traces, by_kind)
    broken += nothing_bad_was_said(traces, {line["client_id"] for line in by_kind.get("vanished", ())})
    return broken


def _record(stored: Stored) -> Record:
    return Record(stored.partition, stored.offset, stored.timestamp, stored.key, stored.value)


def _id(record: Record) -> str:
    return records.decode_intent(record.value).id


# ------------------------------------------------------------------------------------------------------- replay


def refold(traces: Traces, configured: Settings) -> Refolded:
    """Fold every record of ``inputs`` again, from nothing."""
    universe = frozenset(configured.symbols)
    refolded = Refolded({}, {}, {})
    for record in traces.kafka.records(INPUTS):
        fold = refolded.folds.get(record.partition)
        if fold is None:
            fold = refolded.folds[record.partition] = PartitionFold(
                partition=record.partition, log_identity=LOG_IDENTITY, fold=FOLD, universe=universe
            )
        applied = fold.apply_record(offset=record.offset, append_ms=record.timestamp, value=record.value)
        for decision in applied.decisions:
            place = (record.partition, record.offset, decision.line, decision.symbol)
            for outgoing in records_of(decision, LOG_IDENTITY):
                if outgoing.topic is INTENTS:
                    refolded.intents[records.decode_intent(outgoing.value).id] = outgoing.value
                elif outgoing.topic is DECISIONS:
                    refolded.decisions[place] = outgoing.value
    return refolded


def decisions_are_equal(written: Sequence[Stored], refolded: Refolded, tail: int) -> list[Violation]:
    """P1: every decision in the log is what a fold from nothing gives, none is missing."""
    broken = []
    seen = set()
    for record in written:
        decision = records.decode_decision(record.value)
        place = (decision.partition, decision.offset, decision.line, decision.symbol)
        where = "inputs {}/{}/{}".format(*place[:3])
        seen.add(place)
        expected = refolded.decisions.get(place)
        if expected != record.value:
            broken.append(Violation("P1", f"the decision of {place[3]} is not that of an undisturbed fold", where))
    for place, value in refolded.decisions.items():
        if place not in seen and records.decode_decision(value).log_ms < tail:
            broken.append(Violation("P1", f"a decision of {place[3]} is missing", "inputs {}/{}/{}".format(*place[:3])))
    return broken[:3]


# ---------------------------------------------------------------------------------------------------- the end


def nothing_left(
    traces: Traces, by_kind: Mapping[str, list[Json]], refolded: Refolded, configured: Settings
) -> list[Violation]:
    """P3 and the states: flat and swept in the end, at the exchange, in decide, in account's slots."""
    end = f"exchange {traces.ended_ms}"
    broken = [
        Violation("P3", f"{episode.row.symbol} is still open", end)
        for episode in traces.ledger.episodes
        if episode.closed_ms is None
    ]
    # A stop that the exchange keeps in TRIGGERING can neither be cancelled (−4117) nor hurt: it only closes.
    beyond_us = {line["client_id"]: line["state"] == "TRIGGERING" for line in by_kind["algo"]}
    beyond_us |= {line["client_id"]: True for line in by_kind.get("vanished", ())}
    broken += [
        Violation("P3", f"{name} still rests", end)
        for name in resting_orders(by_kind)
        if not beyond_us.get(name.rpartition(" ")[2], False)
    ]
    if not traces.quiet and not broken:
        broken.append(Violation("end", "it never became quiet", end))
    for fold in refolded.folds.values():
        for symbol, state in fold.states.items():
            if state.position is not None:
                broken.append(
                    Violation("states", f"decide holds {symbol} {state.position.stage.value} in the end", end)
                )
    account = AccountFold(log_identity=LOG_IDENTITY, fold=FOLD, rules=rules_of(configured), policy=configured.policy)
    for record in traces.kafka.records(ACCOUNT):
        account.apply_record(offset=record.offset, append_ms=record.timestamp, value=record.value)
    broken += [Violation("states", f"account keeps a slot of {symbol}", end) for symbol in account.state.slots]
    return broken


# ---------------------------------------------------------------------------------------------------- protection


def never_naked(episodes: Sequence[Json], traces: Traces) -> list[Violation]:
    """
    P3: no open quantity without covering stops for longer than allowed, less the time in which nobody could act.

    A stop that has gone off is the exchange's to carry out: X2 takes it for failed 3 s later and not before (domain
    6.3), and what X2 asks for has the time of a close.
    """
    broken = []
    allowed = NAKED_MS if traces.plan.faults else NAKED_FAULTLESS_MS
    fired = [
        (line["symbol"], Spell(line["at"], line["at"] + X2_MS))
        for line in traces.ledger.lines
        if line["kind"] == "algo" and line["state"] == "TRIGGERING" and line["type"] == "STOP_MARKET"
    ]
    for episode in episodes:
        waiting = [spell for symbol, spell in fired if symbol == episode["symbol"]]
        for start, end in episode["naked"]["any"]["intervals"]:
            excused = overlap([*traces.spells, *(one for one in waiting if one.start_ms >= start)], start, end)
            if end - start - excused > allowed:
                text = f"{episode['symbol']} was {end - start} ms without a covering stop, {excused} excused"
                broken.append(Violation("P3", text, f"exchange {start} to {end}"))
    return broken


def each_rail_when_undisturbed(episodes: Sequence[Json], traces: Traces) -> list[Violation]:
    """P3, per rail: where no fault bites, each of the two covers the whole quantity but for moments of moving."""
    broken = []
    for episode in episodes:
        for rail in ("close_position", "reduce_only"):
            for start, end in episode["naked"][rail]["intervals"]:
                disturbed = any(start - DISTURBED_MS <= at <= end for at, _ in traces.bitten)
                if end - start > RAIL_MS and not disturbed:
                    text = f"{episode['symbol']} had no {rail} stop for its quantity for {end - start} ms"
                    broken.append(Violation("P3", text, f"exchange {start} to {end}"))
    return broken


def starts_protect(episodes: Sequence[Json], traces: Traces, starts: Sequence[Stored]) -> list[Violation]:
    """
    P3: an executor that takes over covers what it finds open from the venue's word alone (architecture 2.4), whatever
    decide says and when. Looked at where nothing bites just then and neither log nor venue is away.
    """
    broken = []
    fired = {
        (line["symbol"], line["at"])
        for line in traces.ledger.lines
        if line["kind"] == "algo" and line["state"] == "TRIGGERING"
    }
    lasting = [at for at, name in traces.bitten if name.startswith(LASTING)]
    bitten = [at for at, name in traces.bitten if not name.startswith(DEATHS)]
    for episode in episodes:
        for start, end in episode["naked"]["any"]["intervals"]:
            if (episode["symbol"], start) in fired:
                continue  # a stop that has gone off covers for its venue: X2's
            for took_over in (one.timestamp for one in starts if start < one.timestamp < end):
                due = took_over + START_COVER_MS
                if end <= due or overlap(traces.spells, took_over, due):
                    continue
                disturbed = any(took_over - DISTURBED_MS <= at <= due for at in lasting)
                if not disturbed and not any(took_over <= at <= due for at in bitten):
                    text = f"{episode['symbol']} was open without a stop for {end - took_over} ms behind a start"
                    broken.append(Violation("P3", text, f"exchange {took_over} to {end}"))
    return broken


def never_looser(episodes: Sequence[Json], by_kind: Mapping[str, list[Json]]) -> list[Violation]:
    """P3, less the episodes in which the exchange forgot a stop that it had accepted: no road proves that in time."""
    vanished = [(line["symbol"], line["at"]) for line in by_kind.get("vanished", ())]
    return judges.never_looser(
        [
            episode
            for episode in episodes
            if not any(
                symbol == episode["symbol"] and episode["opened_ms"] <= at <= (episode["closed_ms"] or at)
                for symbol, at in vanished
            )
        ]
    )


def overlap(spells: Sequence[Spell], start_ms: int, end_ms: int) -> int:
    """How much of an interval lies in the union of the spells."""
    covered, until = 0, start_ms
    for spell in sorted(spells, key=lambda one: one.start_ms):
        begin, end = max(spell.start_ms, until), min(spell.end_ms, end_ms)
        if end > begin:
            covered += end - begin
            until = end
    return covered


def closes_in_time(
    traces: Traces,
    known: Mapping[str, records.IntentRecord],
    by_kind: Mapping[str, list[Json]],
    episodes: Sequence[Json],
) -> list[Violation]:
    """P4: a close that decide asked for reaches the exchange in time, or the position ends without it."""
    broken = []
    held_ms = sum(
        fault.milliseconds * fault.amount for fault in traces.plan.faults if fault.action == "hold_before"
    )  # sent in time, but the exchange looked at it later
    appended: dict[str, int] = {}
    for record in traces.kafka.records(INTENTS):
        appended.setdefault(records.decode_intent(record.value).id, record.timestamp)
    for name, one in known.items():
        if not isinstance(one.intent, ClosePosition):
            continue
        asked = appended[name]
        reached = [
            line["at"]
            for line in (*by_kind["order"], *by_kind["algo"])
            if intent_of(line["client_id"]) in (name, one.intent.position)
            and leg_of(line["client_id"]) is Leg.CLOSE
            and line["at"] >= asked
        ]
        ended = [e["closed_ms"] for e in episodes if e["symbol"] == one.symbol and (e["closed_ms"] or 0) >= asked]
        still_open = any(
            e["symbol"] == one.symbol and e["opened_ms"] <= asked and (e["closed_ms"] is None or e["closed_ms"] > asked)
            for e in episodes
        )
        if not still_open:
            continue
        first = min([*reached, *ended], default=traces.ended_ms)
        excused = overlap(traces.spells, asked, first)
        if first - asked - excused > EXIT_MS + held_ms:
            text = f"close {name} took {first - asked} ms to the exchange, {excused} excused"
            broken.append(Violation("P4", text, f"inputs {one.cause}"))
    return broken


# ---------------------------------------------------------------------------------------------------------- entries


def no_late_entry(orders: Sequence[Json], known: Mapping[str, records.IntentRecord]) -> list[Violation]:
    """P2: an entry takes effect within its life and one receive window, or never."""
    broken = []
    for line in orders:
        intent = intent_of(line["client_id"]) or ""
        if line["status"] != "NEW" or intent not in known or leg_of(line["client_id"]) is not Leg.ENTRY:
            continue
        late = line["at"] - known[intent].at_ms - STALE_MS - RECEIVE_WINDOW_MS
        if late > CLOCK_SLACK_MS + 500:  # half a second: the executor's own clock may be off
            text = f"{line['client_id']} took effect {line['at'] - known[intent].at_ms} ms after its cause"
            broken.append(Violation("P2", text, f"ledger {line['n']}"))
    return broken


def leases_kept(orders: Sequence[Json], attempts: Sequence[records.AttemptRecord]) -> list[Violation]:
    """One writer: no entry of an epoch takes effect after its own lease, nor before its predecessor's has run out."""
    until: dict[int, int] = {}
    ended: set[int] = set()
    lease: dict[int, int] = {}
    epoch_of: dict[str, int] = {}
    for one in attempts:
        if isinstance(one, records.EpochStarted):
            lease[one.epoch] = one.lease_ms
            until[one.epoch] = one.at_ms + one.lease_ms
        elif isinstance(one, records.LeaseRenewed) and one.epoch == max(lease, default=0):
            until[one.epoch] = max(until[one.epoch], one.at_ms + lease[one.epoch])
        elif isinstance(one, records.EpochEnded):
            ended.add(one.epoch)
        elif isinstance(one, records.Attempted):
            epoch_of[one.client_id] = one.epoch
    broken = []
    for line in orders:
        if line["status"] != "NEW" or line["algo_id"] is not None or line["reduce_only"]:
            continue
        client = line["client_id"]
        if client not in epoch_of:
            broken.append(Violation("P2", f"{client} was not written ahead", f"ledger {line['n']}"))
            continue
        epoch = epoch_of[client]
        before = until.get(epoch - 1, 0)
        if line["at"] < before - CLOCK_SLACK_MS - 600 and epoch - 1 not in ended:
            text = f"{client} of epoch {epoch} came {before - line['at']} ms before its predecessor's lease ended"
            broken.append(Violation("fence", text, f"ledger {line['n']}"))
        over = line["at"] - until[epoch]
        if over > CLOCK_SLACK_MS + 600:  # the executor's wall clock may be off by half a second
            text = f"{client} of epoch {epoch} took effect {over} ms after its lease"
            broken.append(Violation("fence", text, f"ledger {line['n']}"))
    return broken


def doubts_ended_rightly(
    by_kind: Mapping[str, list[Json]], attempts: Sequence[records.AttemptRecord]
) -> list[Violation]:
    """P2: what was called absent, rejected or refused never took effect; nothing was sent and not written ahead."""
    took = {line["client_id"]: line for line in by_kind["algo"] if line["state"] == "NEW"}
    took |= {line["client_id"]: line for line in by_kind["order"] if line["status"] == "NEW"}
    vanished = {line["client_id"] for line in by_kind.get("vanished", ())}
    attempted = {one.client_id for one in attempts if isinstance(one, records.Attempted)}
    broken = [
        Violation("P2", f"{client} was not written ahead", f"ledger {line['n']}")
        for client, line in took.items()
        if client not in attempted
    ]
    for one in attempts:
        if not isinstance(one, records.AttemptEnded):
            continue
        outcome = one.outcome
        line = took.get(outcome.client_id)
        if line is None or outcome.client_id in vanished:
            continue
        if outcome.verdict in (Verdict.ABSENT, Verdict.REFUSED, Verdict.REJECTED):
            text = f"{outcome.client_id} was called {outcome.verdict.value} ({outcome.message}) and took effect"
            broken.append(Violation("P2", text, f"ledger {line['n']}"))
    return broken


def exits_are_never_refused(attempts: Sequence[records.AttemptRecord]) -> list[Violation]:
    """P4: what only reduces is refused for reasons of the position alone, never by a budget, a limit or a lateness."""
    return [
        Violation("P4", f"{one.outcome.client_id} was refused: {one.outcome.message}", "attempts")
        for one in attempts
        if isinstance(one, records.AttemptEnded)
        and one.outcome.verdict is Verdict.REFUSED
        and one.outcome.leg is not Leg.ENTRY
        and not one.outcome.message.startswith(SAID_BY_DESIGN)
    ]


# ----------------------------------------------------------------------------------------------------------- limits


def limits_kept(ledger: Sequence[Json], configured: Settings) -> list[Violation]:
    """The executor's own limits, and the exchange's: no refusal by its rate limiter."""
    limits = limits_of(configured)
    broken = []
    open_now: dict[str, int] = {}
    for line in ledger:
        kind = line["kind"]
        if kind == "position_opened":
            open_now[line["symbol"]] = line["at"]
            if len(open_now) > limits.max_positions:
                broken.append(Violation("limits", f"{len(open_now)} positions are open", f"ledger {line['n']}"))
        elif kind == "position_closed":
            open_now.pop(line["symbol"], None)
        elif kind == "request" and (line["status"] in (418, 429) or line["code"] == -1015):
            text = f"the exchange answered {line['status']} {line['code']} to {line['method']} {line['path']}"
            broken.append(Violation("limits", text, f"ledger {line['n']}"))
    return broken


def bans_respected(traces: Traces, by_kind: Mapping[str, list[Json]]) -> list[Violation]:
    """
    After 429 or 418 nothing is sent for as long as the exchange said. A request on the road is none; a successor does
    not know what its predecessor was told; a held request arrives whenever it is let go.
    """
    if traces.takeovers or any(fault.action.startswith("hold") or fault.kind == "late" for fault in traces.plan.faults):
        return []
    starts = [
        record.timestamp
        for record in traces.kafka.records(ATTEMPTS)
        if isinstance(records.decode_attempt(record.value), records.EpochStarted)
    ]
    refused = by_kind.get("request_not_executed", [])
    arrived = [*by_kind["request"], *refused]
    broken = []
    for told in refused:
        if told["status"] not in (429, 418):
            continue
        begin, until = told["at"] + ON_THE_ROAD_MS, told["at"] + max(1, told["milliseconds"] // 1_000) * 1_000
        for line in arrived:
            # its first requests go out before it takes over
            successor = any(told["at"] <= start <= line["at"] + STARTING_MS for start in starts)
            if begin < line["at"] < until - CLOCK_SLACK_MS and not successor:
                text = f"{line['method']} {line['path']} {line['at'] - told['at']} ms after {told['status']}"
                broken.append(Violation("limits", text, f"ledger {line['n']}"))
    return broken[:1]


def nothing_bad_was_said(traces: Traces, vanished: Collection[str]) -> list[Violation]:
    """No alert that only a fault of ours can raise, no quarantine; of *vanished* orders anything may be said."""
    broken = []
    for record in traces.kafka.records(ALERTS):
        alert = records.decode_alert(record.value)
        promise = BAD_ALERTS.get(alert.code)
        if promise is not None and not alert.text.startswith(tuple(vanished)):
            broken.append(Violation(promise, f"{alert.code}: {alert.text[:160]}", f"alerts {record.offset}"))
    for record in traces.kafka.records(QUARANTINE):
        one = records.decode_quarantine(record.value)
        broken.append(Violation("P6", f"quarantined: {one.reason[:160]}", one.cause))
    return broken


def known_intents(traces: Traces) -> dict[str, records.IntentRecord]:
    """Every intent of the log by its id, as it stands there first."""
    known: dict[str, records.IntentRecord] = {}
    for record in traces.kafka.records(INTENTS):
        intent = records.decode_intent(record.value)
        known.setdefault(intent.id, intent)
    return known


def brackets(known: Mapping[str, records.IntentRecord]) -> int:
    """How many entries were asked for."""
    return sum(isinstance(one.intent, OpenBracket) for one in known.values())


def input_lines(traces: Traces) -> int:
    """Lines of ``inputs``."""
    return sum(len(lines.split(record.value)) for record in traces.kafka.records(INPUTS))
