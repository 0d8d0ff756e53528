"""The only place that says which topic each output of a decision goes to, and as which record."""

from __future__ import annotations

from typing import assert_never

import msgspec

from pipeline.core.bars import BAR_MS
from pipeline.core.commands import (
    Alert,
    AnswerAdmission,
    AskPlugins,
    CancelLeg,
    ClosePosition,
    Decision,
    MoveStop,
    Note,
    OpenBracket,
    Output,
    PlaceTarget,
    ReducePosition,
    ReportPosition,
    ReportSignal,
    ReportTrade,
    RequestData,
    ShareBars,
    Sweep,
)
from pipeline.core.identity import cause
from pipeline.wire import lines, topics
from pipeline.wire.plugin_asks import PluginAsk
from pipeline.wire.records import (
    AdmissionAnswered,
    AlertRecord,
    DataIntentRecord,
    FactorsRecord,
    IntentRecord,
    PositionReported,
    QuarantineRecord,
    SegmentSealed,
    SignalReported,
    TradeRecord,
    TradeReported,
    encode,
)
from pipeline.wire.topics import Topic


class Outgoing(msgspec.Struct, frozen=True):
    """One record to produce. ``partition`` None leaves it to the producer's partitioner (topics of one partition)."""

    topic: Topic
    partition: int | None
    key: bytes
    value: bytes


def records_of(decision: Decision, log_identity: str) -> list[Outgoing]:
    """
    Every record that *decision* leads to, the decision itself last: when it is in the log, its consequences are too.

    The id of an intent, alert or trade is the output's own (``decision.ids``), so that re-sent ones are known.
    """
    place = cause(partition=decision.partition, offset=decision.offset, line=decision.line)
    assert len(decision.ids) == len(decision.outputs), place
    assert all(name.startswith(f"{log_identity}.") for name in decision.ids), (log_identity, decision.ids)
    key = decision.symbol.encode()
    outgoing: list[Outgoing] = []
    for name, output in zip(decision.ids, decision.outputs, strict=True):
        if isinstance(output, ShareBars):
            outgoing += _shared(decision, output, log_identity)
            continue
        if isinstance(output, AskPlugins):
            asked = PluginAsk(id=name, symbol=decision.symbol, at_ms=decision.log_ms, asked=output)
            outgoing.append(Outgoing(topics.PLUGIN_ASKS, decision.partition, key, encode(asked)))
            continue
        for topic, record in _records(decision, place, name, output):
            outgoing.append(Outgoing(topic=topic, partition=None, key=key, value=encode(record)))
    outgoing.append(
        Outgoing(topic=topics.DECISIONS, partition=decision.partition, key=key, value=encode(decision)),
    )
    return outgoing


def _records(decision: Decision, place: str, name: str, output: Output) -> list[tuple[Topic, msgspec.Struct]]:
    symbol = decision.symbol
    match output:
        case OpenBracket() | MoveStop() | PlaceTarget() | CancelLeg() | ClosePosition() | ReducePosition() | Sweep():
            intent = IntentRecord(
                id=name, symbol=symbol, cause=place, at_ms=decision.log_ms, fold=decision.fold, intent=output
            )
            return [(topics.INTENTS, intent)]
        case RequestData():
            wanted = DataIntentRecord(id=name, symbol=symbol, at_ms=decision.log_ms, request=output)
            return [(topics.DATA_INTENTS, wanted)]
        case AnswerAdmission():
            answered = AdmissionAnswered(
                symbol=symbol,
                cause=place,
                admission=output.admission,
                used=output.used,
                position=output.position,
                reason=output.reason,
            )
            return [(topics.ACCOUNT, answered)]
        case ReportPosition():
            return [(topics.ACCOUNT, PositionReported(symbol=symbol, cause=place, report=output))]
        case ReportSignal():
            return [(topics.ACCOUNT, SignalReported(symbol=symbol, cause=place, report=output))]
        case ReportTrade():
            return [
                (topics.TRADES, TradeRecord(id=name, symbol=symbol, cause=place, trade=output)),
                (topics.ACCOUNT, TradeReported(symbol=symbol, cause=place, trade=output)),
            ]
        case Alert():
            alert = AlertRecord(
                id=name,
                symbol=symbol,
                source="decide",
                code=output.code,
                severity=output.severity,
                text=output.text,
                at_ms=decision.log_ms,
            )
            return [(topics.ALERTS, alert)]
        case Note() | ShareBars() | AskPlugins():
            return []
        case _:
            assert_never(output)


def _shared(decision: Decision, output: ShareBars, log_identity: str) -> list[Outgoing]:
    """
    A line for every partition. Its number counts bars of the venue's time, so that one sent again is known by it, and
    its time is the decision's own.
    """
    bars = output.bars
    line = lines.encode(
        lines.Line(
            at=decision.log_ms * 1_000_000,
            src=f"decide/{bars.symbol}",
            inc=log_identity,
            n=bars.open_ms // BAR_MS,
            sym=lines.EVERY_SYMBOL,
            reference=bars,
        )
    )
    return [Outgoing(topics.INPUTS, partition, b"", line) for partition in range(topics.INPUT_PARTITIONS)]


def factors_record(record: FactorsRecord, partition: int) -> Outgoing:
    """Published factors on their way to people and the scanner."""
    return Outgoing(topics.FACTORS, partition, record.symbol.encode(), encode(record))


def quarantine_record(record: QuarantineRecord) -> Outgoing:
    """A refused line on its way to people."""
    return Outgoing(topic=topics.QUARANTINE, partition=None, key=record.symbol.encode(), value=encode(record))


def seal_record(sealed: SegmentSealed) -> Outgoing:
    """The seal of a segment of ``inputs`` on its way to the audit."""
    return Outgoing(topic=topics.ANCHORS, partition=sealed.partition, key=b"sealed", value=encode(sealed))
