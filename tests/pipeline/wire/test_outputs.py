"""Every output of a decision has its topic, and the decision itself is the last record."""

from __future__ import annotations

from typing import get_args

import pytest

from pipeline.core import commands
from pipeline.core.commands import Decision, Output
from pipeline.core.events import Leg, ReferenceBars, Side
from pipeline.core.units import E8, Lots, Milliseconds, Ticks
from pipeline.wire import lines, records, topics
from pipeline.wire.outputs import Outgoing, quarantine_record, records_of, seal_record
from tests.plugin_views import view

EXAMPLES: list[tuple[Output, list[str]]] = [
    (
        commands.OpenBracket(
            side=Side.BUY,
            lots=Lots(3),
            limit=Ticks(101),
            far_trigger=Ticks(80),
            working_trigger=Ticks(90),
            expires_ms=Milliseconds(5),
        ),
        ["intents"],
    ),
    (
        commands.MoveStop(position="p", leg=Leg.WORKING, side=Side.BUY, trigger=Ticks(95), lots=Lots(3)),
        ["intents"],
    ),
    (
        commands.PlaceTarget(position="p", leg=Leg.TARGET, side=Side.BUY, price=Ticks(120), lots=Lots(1)),
        ["intents"],
    ),
    (commands.CancelLeg(position="p", leg=Leg.TARGET), ["intents"]),
    (commands.ClosePosition(position="p", side=Side.BUY, lots=Lots(3), reason="X3"), ["intents"]),
    (
        commands.ReducePosition(position="p", side=Side.BUY, lots=Lots(3), slice_lots=Lots(1), reason="X11"),
        ["intents"],
    ),
    (commands.Sweep(position="p"), ["intents"]),
    (commands.RequestData(kind="depth"), ["intents.data"]),
    (commands.AnswerAdmission(admission="a", used=True, position="p", reason=""), ["account"]),
    (
        commands.ReportPosition(
            position="p", state="OPEN", lots=Lots(3), entry_price=E8(5), stop=Ticks(90), open_pnl=E8(-1)
        ),
        ["account"],
    ),
    (
        commands.ReportSignal(
            bar_ms=Milliseconds(300_000),
            stage="prime",
            fresh=True,
            side=Side.BUY,
            score=50_000,
            strength=70_000,
            odds=800_000,
            coverage=900,
            liquidity=80,
            independence=50,
            price=E8(5),
            refused=[],
        ),
        ["account"],
    ),
    (
        commands.ReportTrade(
            position="p",
            side=Side.BUY,
            lots=Lots(3),
            entry_price=E8(5),
            exit_price=E8(6),
            opened_ms=Milliseconds(1),
            closed_ms=Milliseconds(2),
            realised=E8(3),
            fees=E8(1),
            initial_stop=Ticks(90),
            last_stop=Ticks(95),
            stop_moves=1,
            reason="X6",
            outcome="target",
        ),
        ["trades", "account"],
    ),
    (
        commands.ShareBars(bars=ReferenceBars(symbol="BTCUSDT", open_ms=Milliseconds(600_000), closes=[5, 6])),
        ["inputs"] * topics.INPUT_PARTITIONS,
    ),
    (commands.AskPlugins(names=["guard"], due_ms=Milliseconds(9), view=view()), ["plugin.asks"]),
    (commands.Alert(code="c", severity="info", text="t"), ["alerts"]),
    (commands.Note(code="c", text="t"), []),
]


def decision(outputs: list[Output]) -> Decision:
    return Decision(
        symbol="BTCUSDT",
        partition=5,
        offset=7,
        line=2,
        log_ms=Milliseconds(1_000),
        fold="f",
        rules=["X6"],
        causes=["5/7/2"],
        ids=[f"abcdefg.57.2.tag{ordinal}" for ordinal in range(len(outputs))],
        outputs=outputs,
        chain="00",
    )


def test_every_kind_of_output_has_an_example_here() -> None:
    """A new output without a topic fails this test, not the market."""
    assert set(get_args(Output)) == {type(output) for output, _ in EXAMPLES}


@pytest.mark.parametrize(("output", "names"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_an_output_goes_to_its_topics_and_the_decision_comes_last(output: Output, names: list[str]) -> None:
    """The decision is the last record: when it is durable, its consequences are too."""
    made = records_of(decision([output]), "abcdefg")

    assert [*names, "decisions"] == [record.topic.name for record in made]
    placed = (
        list(range(len(names)))
        if isinstance(output, commands.ShareBars)
        else [5 if isinstance(output, commands.AskPlugins) else None] * len(names)
    )
    assert [*placed, 5] == [record.partition for record in made]
    assert {b"BTCUSDT"} == {record.key for record in made if record.topic is not topics.INPUTS}
    assert decision([output]) == records.decode_decision(made[-1].value)


def test_an_intent_carries_the_id_cause_and_log_time_of_its_output() -> None:
    """The executor judges lateness and repeats by these, so they are the output's own."""
    sweep = commands.Sweep(position="p")
    made = records_of(decision([commands.Note(code="c", text="t"), sweep]), "abcdefg")

    expected = records.IntentRecord(
        id="abcdefg.57.2.tag1", symbol="BTCUSDT", cause="5/7/2", at_ms=Milliseconds(1_000), fold="f", intent=sweep
    )
    assert expected == records.decode_intent(made[0].value)


def test_shared_bars_are_a_line_for_each_partition_that_is_known_when_it_comes_again() -> None:
    """Source, incarnation and number follow from the bars alone, so a line sent again after a crash is a repeat."""
    bars = ReferenceBars(symbol="BTCUSDT", open_ms=Milliseconds(600_000), closes=[5, 6], trend="up")
    made = records_of(decision([commands.ShareBars(bars=bars)]), "abcdefg")[:-1]
    line = lines.decode(made[0].value)

    assert list(range(topics.INPUT_PARTITIONS)) == [outgoing.partition for outgoing in made]
    assert 1 == len({outgoing.value for outgoing in made})
    assert ("decide/BTCUSDT", "abcdefg", 2, "*") == (line.src, line.inc, line.n, line.sym)
    assert (bars, 1_000_000_000) == (line.reference, line.at)


def test_ids_of_another_log_are_refused() -> None:
    """An id that names another log would answer for orders it never made: that is a fault of ours."""
    with pytest.raises(AssertionError, match="zzzzzzz"):
        records_of(decision([commands.Sweep(position="p")]), "zzzzzzz")


def test_quarantined_bytes_and_seals_have_their_topics() -> None:
    """Refused bytes go to people, seals to the audit with the partition they speak of."""
    refused = records.QuarantineRecord(
        source="connector/public-0", reason="why", at_ms=Milliseconds(1), payload=b"\xff\x00", symbol="BTCUSDT"
    )
    sealed = records.SegmentSealed(log_identity="abcdefg", partition=3, first_offset=9, digests=["00"])

    first, second = quarantine_record(refused), seal_record(sealed)

    assert (topics.QUARANTINE, b"BTCUSDT") == (first.topic, first.key)
    assert refused == records.decode_quarantine(first.value)
    assert (topics.ANCHORS, 3) == (second.topic, second.partition)
    assert sealed == records.decode_anchor(second.value)
    assert isinstance(second, Outgoing)
