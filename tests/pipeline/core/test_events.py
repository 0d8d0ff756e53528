"""The only place for tests of the events: every kind has a tag of its own and a row in the engine."""

from __future__ import annotations

from typing import get_args

import msgspec

from pipeline.core.engine import HANDLERS
from pipeline.core.events import Event, Leg, Quote, Side
from pipeline.core.units import Lots, Milliseconds, Ticks


def test_every_kind_of_event_is_folded() -> None:
    """The union is closed: a kind without a handler would fail in the fold, so it fails here."""
    assert set(get_args(Event)) == set(HANDLERS)


def test_every_kind_has_a_tag_of_its_own() -> None:
    """Tags tell the kinds apart on the wire."""
    tags = [kind.__struct_config__.tag for kind in get_args(Event)]

    assert len(tags) == len(set(tags))


def test_events_are_frozen() -> None:
    """What has happened cannot be changed."""
    quote = Quote(update_id=1, bid=Ticks(1), bid_lots=Lots(1), ask=Ticks(2), ask_lots=Lots(1), event_ms=Milliseconds(0))

    assert quote == msgspec.msgpack.decode(msgspec.msgpack.encode(quote), type=Quote)
    assert Quote.__struct_config__.frozen


def test_sides_mirror_each_other() -> None:
    """The sign and the closing side."""
    assert (1, -1) == (Side.BUY.sign, Side.SELL.sign)
    assert (Side.SELL, Side.BUY) == (Side.BUY.opposite, Side.SELL.opposite)


def test_legs_are_one_character_each() -> None:
    """They are part of a client id of at most 36 characters."""
    assert {1} == {len(leg.value) for leg in Leg}
    assert len(set(Leg)) == len({leg.value for leg in Leg})
