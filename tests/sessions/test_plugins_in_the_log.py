"""Lines of plug-ins through the fold's bytes: a forged, a strange or a broken one decides nothing and is kept."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.binance.fold import Applied, PartitionFold
from pipeline.core.plugin_answers import PluginAnswered, SaysClose
from pipeline.wire import lines
from pipeline.wire.topics import partition_of

NOW_NS = 1_700_000_000_000_000_000
HOME = partition_of("BTCUSDT")
GOOD = {"ask": "a", "name": "calm", "version": "1", "code": "c", "answer": {"type": "close", "why": "enough"}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def folded(body: object = GOOD, *, src: str = "plugins/0", sym: str = "BTCUSDT", **others: object) -> Applied:
    """One record with one line, after the symbol was admitted by a frame of the connector."""
    fold = PartitionFold(partition=HOME, log_identity="abcdefg", fold="f", universe={"BTCUSDT"})
    first = {"at": NOW_NS, "src": "connector/a", "inc": "i", "n": 1, "sym": "BTCUSDT", "frame": {}}
    fold.apply_record(offset=0, append_ms=NOW_NS // 1_000_000, value=json.dumps(first).encode())
    line = {"at": NOW_NS, "src": src, "inc": "i", "n": 1, "sym": sym, "plugin": body} | others
    return fold.apply_record(offset=1, append_ms=NOW_NS // 1_000_000, value=json.dumps(line).encode())


def test_an_answer_that_nobody_asked_for_is_refused_in_the_decision() -> None:
    """The configuration knows no plug-in: one note, nothing else, and no quarantine."""
    applied = folded()

    assert [] == applied.quarantined
    assert ["plugin_refused"] == [output.code for decision in applied.decisions for output in decision.outputs]  # type: ignore[union-attr]  # notes


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"src": "connector/a"}, "may not be written by 'connector/a'"),
        ({"src": "plugins"}, ""),
        ({"sym": "*"}, "a line of this kind is for one symbol"),
        ({"sym": "NOPEUSDT"}, "a symbol outside the configured universe"),
        ({"tick": 5}, "a line has exactly one kind"),
        ({"n": 0}, "is out of range"),
    ],
)
def test_a_line_of_another_hand_place_or_kind_is_kept_with_its_reason(change: dict[str, object], words: str) -> None:
    """Nothing is decided by it."""
    applied = folded(**change)  # type: ignore[arg-type]  # fields of a line

    if not words:  # the part before the slash is the writer: the same hand
        assert [] == applied.quarantined
        return
    assert [] == applied.decisions
    assert words in applied.quarantined[0].reason


@pytest.mark.parametrize(
    "answer",
    [
        {"type": "open"},
        {"type": "tighten", "price": 1.5},
        {"type": "tighten"},
        {"type": "factor", "value": "5"},
        {},
        None,
    ],
)
def test_an_answer_that_is_none_is_kept_with_its_bytes(answer: object) -> None:
    """Unknown kinds, prices off every integer, missing fields."""
    applied = folded(GOOD | {"answer": answer})

    assert [] == applied.decisions
    assert "no line" in applied.quarantined[0].reason


@given(JSON | st.dictionaries(st.sampled_from(sorted(GOOD)), JSON).map(lambda changed: GOOD | changed))
def test_no_body_breaks_the_fold(body: object) -> None:
    """Whatever stands there: folded or kept, and no symbol halts for it."""
    applied = folded(body)

    assert not [o for d in applied.decisions for o in d.outputs if getattr(o, "code", "") == "symbol_halted"]


def test_a_repeat_has_no_effect() -> None:
    """The same running number again is dropped, as any writer's."""
    fold = PartitionFold(partition=HOME, log_identity="abcdefg", fold="f", universe={"BTCUSDT"})
    said = PluginAnswered(ask="a", name="calm", version="1", code="c", answer=SaysClose())
    line = lines.encode(lines.Line(at=NOW_NS, src="plugins/0", inc="i", n=1, sym="BTCUSDT", plugin=said))
    once = fold.apply_record(offset=0, append_ms=NOW_NS // 1_000_000, value=line)
    again = fold.apply_record(offset=1, append_ms=NOW_NS // 1_000_000, value=line)

    assert (1, 0) == (len(once.decisions), len(again.decisions))
