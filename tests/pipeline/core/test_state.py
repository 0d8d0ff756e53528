"""The only place for tests of the state's bytes: complete, the same for the same history, a digest over all of it."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.core.state import SymbolState, decode, digest, encode, new_state
from tests.sessions.test_targets import opened


def test_a_state_in_the_middle_of_a_position_survives_bytes() -> None:
    """Encode, decode, encode gives the same bytes and the same digest."""
    session, venue = opened()
    session.wait(1_000)
    venue.mark(session.position.target)
    stored = encode(session.state)

    assert stored == encode(decode(stored))
    assert digest(session.state) == digest(decode(stored))


def test_the_same_history_gives_the_same_bytes() -> None:
    """Two folds of one story end in one state."""
    assert encode(opened()[0].state) == encode(opened()[0].state)


@pytest.mark.parametrize("field", [f for f in SymbolState.__struct_fields__ if f not in ("symbol", "tag")])
def test_every_field_is_part_of_the_bytes(field: str) -> None:
    """Whatever ``step`` may read is stored: no field is left out of the image."""
    assert field in msgspec.msgpack.decode(encode(new_state("BTCUSDT")), strict=False)


def test_foreign_bytes_are_refused() -> None:
    """Bytes of another schema are an error of the world, not a state."""
    with pytest.raises(msgspec.DecodeError):
        decode(msgspec.msgpack.encode({"symbol": 5}))
