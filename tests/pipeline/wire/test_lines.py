"""Lines of ``inputs``: frames embedded byte for byte, one kind each, nothing that can forge a neighbour."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.events import (
    CloseRequested,
    EntryAdmitted,
    FeedLost,
    Leg,
    PositionOverridden,
    ReferenceBars,
    RequestEnded,
    Side,
    SymbolResumed,
    Verdict,
)
from pipeline.core.plugin_answers import PluginAnswered, SaysClose
from pipeline.core.policies import Policy
from pipeline.core.units import E8, Lots, Milliseconds, Ticks
from pipeline.wire import lines
from pipeline.wire.lines import WRITERS, Answer, Line, TradingStateLine

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(min_value=-(2**53), max_value=2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)

BODIES = {
    "frame": msgspec.Raw(b'{"e":"bookTicker"}'),
    "tick": 1_700_000_000_000,
    "outcome": RequestEnded(intent="i", position="p", leg=Leg.ENTRY, client_id="c", verdict=Verdict.ACCEPTED),
    "admission": EntryAdmitted(
        admission="a",
        side=Side.SELL,
        lots=Lots(1),
        notional=E8(2),
        stop=Ticks(3),
        target=Ticks(4),
        last_target=Ticks(5),
        expires_ms=Milliseconds(6),
    ),
    "close": CloseRequested(command="c", reason="r"),
    "resume": SymbolResumed(command="c"),
    "override": PositionOverridden(command="c", pin_stop=True, disabled_exits=("X8",)),
    "state": TradingStateLine(mode="active", reason="", policy=Policy(stop_min_ticks=9)),
    "answer": Answer(kind="depth", request="r", body=msgspec.Raw(b'{"lastUpdateId":1}')),
    "lost": FeedLost(stream="public-0", reason="socket lost"),
    "reference": ReferenceBars(symbol="BTCUSDT", open_ms=Milliseconds(300_000), closes=[5, 6], trend="up"),
    "plugin": PluginAnswered(ask="a", name="guard", version="1", code="c", answer=SaysClose("enough")),
}


def test_every_kind_has_a_writer_and_an_example_here() -> None:
    """The table of writers covers every optional field of a line."""
    common = {"at", "src", "inc", "n", "sym", "turns"}

    assert set(Line.__struct_fields__) - common == set(WRITERS) == set(BODIES)


@pytest.mark.parametrize("kind", sorted(BODIES))
def test_a_line_of_each_kind_reads_back(kind: str) -> None:
    """Encode and decode agree for every kind."""
    line = Line(at=5, src="connector/public-0", inc="a", n=1, sym="BTCUSDT", **{kind: BODIES[kind]})

    assert line == lines.decode(lines.encode(line))


def test_a_tick_names_the_symbols_whose_turn_it_is() -> None:
    """The names stand in the log, beside the tick; a tick that names nobody is as short as before."""
    line = Line(at=5, src="decide/0", inc="a", n=1, sym="*", tick=7, turns=("BTCUSDT", "ETHUSDT"))

    assert line == lines.decode(lines.encode(line))
    assert b"turns" not in lines.encode(msgspec.structs.replace(line, turns=()))


@given(JSON, st.integers(1, 2**60), st.integers(1, 2**40), st.text(max_size=12), st.text(max_size=12))
def test_a_frame_is_embedded_byte_for_byte(value: object, at: int, number: int, source: str, symbol: str) -> None:
    """Whatever the venue sent stands in the line as it came; source and symbol cannot break out of their strings."""
    frame = msgspec.json.encode(value)
    prefix = lines.frame_prefix(source=source, incarnation="z", symbol=symbol)

    line = lines.decode(lines.frame_line(at, number, frame, prefix))

    assert (at, source, "z", number, symbol) == (line.at, line.src, line.inc, line.n, line.sym)
    assert frame == bytes(line.frame)


@given(st.binary(max_size=40))
def test_only_one_json_value_without_a_newline_may_be_embedded(frame: bytes) -> None:
    """A frame that passes cannot end its line early nor start another one."""
    if lines.embeddable(frame):
        prefix = lines.frame_prefix(source="connector/public-0", incarnation="z", symbol="BTCUSDT")
        line = lines.frame_line(1, 1, frame, prefix)
        assert [line] == lines.split(line)
        assert frame.strip() == bytes(lines.decode(line).frame).strip()


@pytest.mark.parametrize("frame", [b"", b"{", b"{}{}", b'{"a":1}\n', b"{}\r", b"nan", b'{"a":1},"sym":"ETHUSDT"'])
def test_what_could_forge_a_line_is_refused(frame: bytes) -> None:
    """Cut, doubled or continued JSON and any line break stay outside of the log."""
    assert not lines.embeddable(frame)


@given(st.lists(st.binary(min_size=1, max_size=20).filter(lambda line: b"\n" not in line), max_size=6))
def test_split_undoes_join(parts: list[bytes]) -> None:
    """A record is its lines, with or without a newline behind the last one."""
    assert parts == lines.split(lines.join(parts))
    if parts:
        assert parts == lines.split(lines.join(parts) + b"\n")


def test_an_empty_line_in_the_middle_is_a_line() -> None:
    """It is quarantined later instead of vanishing."""
    assert [b"a", b"", b"b"] == lines.split(b"a\n\nb")
