"""Tests of the views for authors' tests: real ones in form, and calls that refuse what the core would."""

from __future__ import annotations

import pytest

from pipeline.plugins.api import Factor, Misuse, Plugin, view_of
from pipeline.plugins.testing import call, make_position, make_view
from tests.plugin_views import view


def test_a_made_view_has_every_field_of_a_real_one() -> None:
    """Same types, so that what works in a test works on the log."""
    made, real = make_view(position=make_position("short"), factors={"T": 5.0}), view_of(view())

    assert {name: type(getattr(real, name)) for name in real.__struct_fields__ if name != "position"} == {
        name: type(getattr(made, name)) for name in made.__struct_fields__ if name != "position"
    }


def test_a_call_takes_parameters_and_refuses_a_wrong_answer() -> None:
    """The plug-in's own parameters stand unless others are given."""
    plugin = Plugin(
        kind="factor", version="1", evaluate=lambda seen, p: Factor(p["a"] * len(seen.bars)), parameters={"a": 1}
    )

    assert Factor(48.0) == call(plugin, make_view())
    assert Factor(96.0) == call(plugin, make_view(), a=2)
    with pytest.raises(Misuse, match=r"Factor\.value: found 144"):
        call(plugin, make_view(), a=3)
