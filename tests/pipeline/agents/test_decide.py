"""The fold of ``inputs``, driven as the runner drives it: intents first, states per symbol, gaps declared."""

from __future__ import annotations

from pathlib import Path

from pipeline.agents.decide import VIEWS, DecideFolding, register
from pipeline.benchmarks.inputs import LineWriter, synthetic
from pipeline.core.commands import CancelLeg, Decision, RequestData
from pipeline.core.events import Leg
from pipeline.core.units import Milliseconds
from pipeline.settings import load
from pipeline.streaming.app import make_app
from pipeline.wire import lines, records
from pipeline.wire.records import Anchor, Manifest
from pipeline.wire.topics import ANCHORS, DECISIONS, FACTORS, INTENTS

SOURCE = synthetic(400)
RECORDS = SOURCE.records(8)


def folding() -> DecideFolding:
    """An empty fold of the synthetic symbol's partition."""
    return DecideFolding(SOURCE.partition, "LOG0001", fold="f1", universe={SOURCE.symbol})


def fed(fold: DecideFolding, begin: int, end: int) -> list[object]:
    """Fold records; returns (topic, value) of each output."""
    return [
        (outgoing.topic.name, outgoing.value)
        for offset in range(begin, end)
        for outgoing in fold.apply(offset=offset, append_ms=RECORDS[offset].append_ms, value=RECORDS[offset].value)
        if outgoing.topic is not ANCHORS  # seals depend on where a life began
    ]


def test_intents_leave_before_anything_else() -> None:
    """What the executor waits for is first, whatever the same record led to before it."""
    decision = Decision(
        symbol="BTCUSDT",
        partition=1,
        offset=2,
        line=3,
        log_ms=Milliseconds(4),
        fold="f1",
        rules=[],
        causes=["1/2/3"],
        ids=["LOG0001.a", "LOG0001.b"],
        outputs=[RequestData(kind="audit"), CancelLeg(position="p", leg=Leg.TARGET)],
        chain="",
    )

    topics = [outgoing.topic for outgoing in folding()._outputs([decision])]
    assert INTENTS is topics[0] and DECISIONS is topics[-1]


def test_restored_fold_goes_on_as_the_one_that_never_stopped() -> None:
    """States out, states in, the next record: equal outputs."""
    whole, first, second = folding(), folding(), folding()
    expected = fed(whole, 0, len(RECORDS))
    found = fed(first, 0, 20)
    for symbol, position in first.applied().items():
        assert position == second.restore(symbol, first.image(symbol))
    second.start(20)
    found += fed(second, 20, len(RECORDS))

    assert expected == found
    assert expected


def test_declared_gap_closes_entries_of_symbols_that_missed_lines() -> None:
    """Every symbol behind the gap loses its feeds, and the decision says so; the next record is folded."""
    fold = folding()
    fed(fold, 0, 20)
    fold.start(40)
    outputs = fold.declare_gap(offset=40, lost=20)
    decision = records.decode_decision(outputs[-1].value)

    assert (39, SOURCE.symbol) == (decision.offset, decision.symbol)
    assert any("20 records are gone" in getattr(output, "text", "") for output in decision.outputs)
    assert [] == fold.declare_gap(offset=40, lost=20)
    fed(fold, 40, len(RECORDS))


def test_anchor_holds_every_state_at_its_manifest() -> None:
    """A replay may start from it."""
    fold = folding()
    fed(fold, 0, 20)
    manifest = Manifest("LOG0001", "f1", SOURCE.partition, 20, dict(fold.applied()))
    anchor = records.decode_anchor(fold.anchor(manifest, at_ms=5)[0].value)

    assert isinstance(anchor, Anchor)
    assert {SOURCE.symbol: fold.image(SOURCE.symbol)} == anchor.states
    assert manifest.applied == anchor.manifest.applied


def test_seal_covers_what_was_folded_since_the_last() -> None:
    """Before a manifest every record is sealed; a second question has nothing to say."""
    fold = folding()
    fed(fold, 0, 3)

    assert 1 == len(fold.seal())
    assert [] == fold.seal()


def test_ticks_reach_every_symbol_of_the_partition() -> None:
    """A line for ``*`` moves every state, so each is changed for the next round."""
    fold = folding()
    fed(fold, 0, 20)
    writer = LineWriter()
    tick = writer.line("*", SOURCE.lines[-1][0], "decide/0", tick=1)
    fold.apply(offset=20, append_ms=RECORDS[-1].append_ms, value=tick)

    assert {SOURCE.symbol: (20, 0)} == fold.applied()


def test_role_is_put_together(tmp_path: Path) -> None:
    """One agent on ``inputs``, five tables; ticks are flushed and clients stopped behind the clean manifests."""
    settings = load({"PERPGUARD_PREFIX": "test.", "PERPGUARD_DATA_DIRECTORY": str(tmp_path)})
    app = make_app(settings, "decide")
    agent = register(app, settings, fold="f1", log_identity=lambda: "LOG0001", incarnation="1")

    assert {"checkpoints", *VIEWS} == set(app.tables)
    assert agent._close == app.before_stop[0]


def test_a_symbol_that_is_due_is_named_for_the_next_tick_and_its_factors_go_out() -> None:
    """The tick that names it leads to a record of topic ``factors`` in the symbol's own partition."""
    fold = folding()
    fed(fold, 0, len(RECORDS))
    turns = fold.turns()
    line = lines.encode(lines.Line(at=SOURCE.lines[-1][0], src="decide/0", inc="9", n=1, sym="*", tick=1, turns=turns))
    outputs = fold.apply(offset=len(RECORDS), append_ms=RECORDS[-1].append_ms, value=line)
    factors = [outgoing for outgoing in outputs if outgoing.topic is FACTORS]

    assert (SOURCE.symbol,) == turns
    assert [(SOURCE.partition, SOURCE.symbol.encode())] == [(o.partition, o.key) for o in factors]
    assert SOURCE.symbol == records.decode_factors(factors[0].value).symbol
