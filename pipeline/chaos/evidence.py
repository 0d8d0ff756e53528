"""
The only place that reads what a chaos run left behind: the log and the exchange's ledger, after everything has stopped.

Intents are read with every repeat; what should stand there is folded anew from the raw bytes of ``inputs``, without any
table, in a process that took no part.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final, TypeAlias

import msgspec

from pipeline.audit.fold_digest import fold_digest
from pipeline.binance.fold import PartitionFold
from pipeline.console.log_access import Record, open_log
from pipeline.demo import verdict
from pipeline.demo.stage import Stage
from pipeline.settings import Settings
from pipeline.wire import records
from pipeline.wire.outputs import records_of
from pipeline.wire.topics import ANCHORS, ATTEMPTS, DECISIONS, INPUTS, INTENTS

Json: TypeAlias = Any  # the ledger's JSON

LEDGER_KINDS: Final = ("order", "algo", "fill", "request", "position_opened")


class Folded(msgspec.Struct):
    """What an undisturbed fold of ``inputs`` gives: the bytes of every intent by its id, and how many lines it took."""

    intents: dict[str, bytes]
    lines: int


class Evidence(msgspec.Struct):
    """Everything that is judged."""

    inputs: list[Record]
    decisions: list[Record]
    anchors: list[Record]
    intents: list[Record]
    attempts: list[records.AttemptRecord]
    folded: Folded
    ledger: dict[str, list[Json]]
    summary: Json
    replay: Json | None


async def gather(stage: Stage) -> Evidence:
    """Read everything, replay the log in a fresh process, and fold it here."""
    replaying = asyncio.create_task(asyncio.to_thread(verdict.replay, stage))
    summary = await stage.exchange.summary()
    ledger = {kind: await stage.exchange.ledger(kind) for kind in LEDGER_KINDS}
    async with open_log(stage.settings) as log:
        inputs = await log.read(INPUTS)
        decisions = await log.read(DECISIONS)
        anchors = await log.read(ANCHORS)
        intents = await log.read(INTENTS)
        attempts = [records.decode_attempt(record.value) for record in await log.read(ATTEMPTS)]
    folded = await asyncio.to_thread(fold, inputs, stage.settings, stage.log_identity)
    return Evidence(
        inputs=inputs,
        decisions=decisions,
        anchors=anchors,
        intents=intents,
        attempts=attempts,
        folded=folded,
        ledger=ledger,
        summary=summary,
        replay=await replaying,
    )


def fold(inputs: Iterable[Record], settings: Settings, log_identity: str) -> Folded:
    """Fold the records of ``inputs``, per partition in order, from nothing."""
    name = fold_digest(settings.config_digest.encode())
    folds: dict[int, PartitionFold] = {}
    intents: dict[str, bytes] = {}
    for record in inputs:
        partition = folds.get(record.partition)
        if partition is None:
            partition = folds[record.partition] = PartitionFold(
                partition=record.partition, log_identity=log_identity, fold=name, universe=frozenset(settings.symbols)
            )
        applied = partition.apply_record(offset=record.offset, append_ms=record.append_ms, value=record.value)
        for decision in applied.decisions:
            for outgoing in records_of(decision, log_identity):
                if outgoing.topic is INTENTS:
                    intents[records.decode_intent(outgoing.value).id] = outgoing.value
    return Folded(intents, sum(one.lines for one in folds.values()))
