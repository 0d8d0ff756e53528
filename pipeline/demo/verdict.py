"""
The only place that reads what a demo left behind, has it replayed, and makes the verdict, the report and the JSON.

Called when connector and workers have stopped: the log is complete, the ledger has its last word.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from pipeline.binance.account_fold import SOURCE, AccountFold, rules_of
from pipeline.console.log_access import Record, open_log
from pipeline.core.commands import Decision
from pipeline.demo import figures, promises
from pipeline.demo.exchange import requests_per_minute
from pipeline.demo.fleet import perpguard
from pipeline.demo.promises import Promise
from pipeline.demo.stage import Stage
from pipeline.reporting.account_view import AccountView
from pipeline.reporting.story import concerning, without_repeats
from pipeline.reporting.trades_report import TradesReport, report_of
from pipeline.wire import lines, records
from pipeline.wire.topics import ACCOUNT, ATTEMPTS, DECISIONS, INPUTS, INTENTS, QUARANTINE, TRADES

Json: TypeAlias = Any  # JSON of the ledger and of the result

REPLAY_SECONDS: Final = 120.0


class Evidence(msgspec.Struct):
    """The log and the ledger after the end."""

    inputs: list[Record]
    account: list[Record]
    decisions: list[Decision]
    intents: list[tuple[int, records.IntentRecord]]
    attempts: list[records.AttemptRecord]
    report: TradesReport
    quarantined: int
    ledger: dict[str, list[Json]]
    summary: Json
    replay: Json | None


async def gather(stage: Stage) -> Evidence:
    """Read everything and replay the log in a fresh process at the same time."""
    replaying = asyncio.create_task(asyncio.to_thread(replay, stage))
    summary = await stage.exchange.summary()
    ledger = {kind: await stage.exchange.ledger(kind) for kind in ("order", "algo", "fill")}
    async with open_log(stage.settings) as log:
        inputs = await log.read(INPUTS)
        account = await log.read(ACCOUNT)
        decisions = [records.decode_decision(record.value) for record in await log.read(DECISIONS)]
        intents = [(record.append_ms, records.decode_intent(record.value)) for record in await log.read(INTENTS)]
        attempts = [records.decode_attempt(record.value) for record in await log.read(ATTEMPTS)]
        trades = [record.value for record in await log.read(TRADES)]
        quarantined = len(await log.read(QUARANTINE))
    view = AccountView()
    for record in account:
        view.take(record.append_ms, record.value)
    return Evidence(
        inputs=inputs,
        account=account,
        decisions=without_repeats(decisions),
        intents=_first_of_each(intents),
        attempts=attempts,
        report=report_of(trades, instruments=view.instruments, episodes=summary["episodes"]),
        quarantined=quarantined,
        ledger=ledger,
        summary=summary,
        replay=await replaying,
    )


def _first_of_each(intents: Sequence[tuple[int, records.IntentRecord]]) -> list[tuple[int, records.IntentRecord]]:
    found: dict[str, tuple[int, records.IntentRecord]] = {}
    for append_ms, intent in intents:
        found.setdefault(intent.id, (append_ms, intent))
    return list(found.values())


def replay(stage: Stage) -> Json | None:
    """``perpguard replay --verify`` in a fresh process; None when it gave no result (its words are in its log)."""
    result = stage.directory / "replay.json"
    command = perpguard("replay", "--verify", "--json", str(result))
    environment = os.environ | stage.fleet.environment
    with (stage.directory / "replay.log").open("ab") as log:
        try:
            subprocess.run(
                command, env=environment, stdout=log, stderr=subprocess.STDOUT, timeout=REPLAY_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return None
    return _json_of(result)


def _json_of(path: Path) -> Json | None:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def account_lines(stage: Stage, evidence: Evidence) -> tuple[list[bytes], list[bytes]]:
    """The account's lines by folding its topic again, and as they stand in ``inputs``, per partition in order."""
    fold = AccountFold(
        log_identity=stage.log_identity,
        fold="",
        rules=rules_of(stage.settings),
        policy=stage.settings.policy,
    )
    folded: dict[int, list[bytes]] = {}
    for record in evidence.account:
        applied = fold.apply_record(offset=record.offset, append_ms=record.append_ms, value=record.value)
        for partition, line in applied.lines:
            folded.setdefault(partition, []).append(line)
    written: dict[int, list[bytes]] = {}
    mark = b'"src":"' + SOURCE.encode() + b'"'
    for record in evidence.inputs:
        for line in lines.split(record.value):
            if mark in line[:120]:
                written.setdefault(record.partition, []).append(line)
    places = sorted(folded | written)
    return (
        [line for partition in places for line in folded.get(partition, [])],
        [line for partition in places for line in dict.fromkeys(written.get(partition, []))],
    )


def common_promises(stage: Stage, evidence: Evidence, *, killed: str | None) -> list[Promise]:
    """The promises that every demo is held to."""
    folded, written = account_lines(stage, evidence)
    hung = [f"{name} did not stop within its time and was killed" for name in stage.hung]
    return [
        promises.replay_is_equal(evidence.replay),
        promises.account_is_equal(folded, written),
        promises.sent_once([intent for _, intent in evidence.intents], evidence.attempts, evidence.ledger),
        promises.never_naked(evidence.summary["episodes"], killed=killed),
        promises.never_looser(evidence.summary["episodes"]),
        promises.nothing_left(evidence.summary, promises.resting_orders(evidence.ledger)),
        Promise("demo", "every process stopped when it was asked to", hung),
    ]


def result_of(stage: Stage, evidence: Evidence, held: Sequence[Promise], seconds: float) -> dict[str, Json]:
    """The result in the schema of architecture section 7, and nothing else."""
    places = [(record.partition, record.offset, record.value) for record in evidence.inputs]
    replayed: Mapping[str, Json] = evidence.replay or {"decisions": 0, "equal": False}
    memory = {name: part.memory_mb for name, part in stage.fleet.parts.items()}
    return {
        "ok": all(promise.held for promise in held),
        "positions": [
            {
                "id": row.id,
                "symbol": row.symbol,
                "outcome": row.outcome,
                "naked_ms_max": row.naked_ms_max,
                "causes": _causes(evidence.decisions, row.cause),
            }
            for row in evidence.report.rows
        ],
        "replay": {
            "decisions": replayed["decisions"],
            "equal": replayed["equal"],
            "digests": sum(bool(decision.state_digest) for decision in evidence.decisions),
        },
        "latency_ms": figures.latencies(figures.frame_times(places), evidence.intents, evidence.attempts),
        "rest": requests_per_minute(evidence.summary),
        "memory_mb": memory,
        "seconds": round(seconds, 1),
    }


def _causes(decisions: Sequence[Decision], place: str) -> list[str]:
    """What the decision at *place* rests on, and whatever the story of its position rests on before."""
    found: dict[str, None] = {}
    for decision in concerning(decisions, place):
        found.update(dict.fromkeys(decision.causes))
    return list(found)
