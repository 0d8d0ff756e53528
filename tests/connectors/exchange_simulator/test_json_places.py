"""A mistake in a JSON text is found on its line, whatever stands around it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.exchange_simulator.json_places import line_of, mistake, path_of

TEXT = """{
  "seed": 7,
  "rules": [
    {"action": "a\\"]}", "match": {}},
    {"action": "b",
     "count": -3, "deep": [1, [2,
       3]]}
  ]
}"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ([], 1), (["seed"], 2), (["rules"], 3), (["rules", 0, "match"], 4), (["rules", 1], 5),
        (["rules", 1, "count"], 6), (["rules", 1, "deep", 1, 1], 7), (["rules", 1, "missing"], 5), (["rules", 9], 3),
    ],
)  # fmt: skip
def test_the_line_of_a_value(path: list[str | int], line: int) -> None:
    """Its own line; a value that is not there has its parent's."""
    assert line == line_of(TEXT, path)


class Row(msgspec.Struct, forbid_unknown_fields=True):
    """One row."""

    size: int


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b'[\n{"size": 1},\n{"size": "x"}]', "line 3: Expected `int`"),
        (b'[\n{"size": 1},\n\n{"oops": 1}]', "line 4"),
        (b'[\n{"size": 1},\n{"size" 1}]', "line 3"),
        (b"[\n\xff]", "line 2"),
        (b"", "line 1"),
    ],
)
def test_what_msgspec_refuses_is_told_with_its_line(raw: bytes, words: str) -> None:
    """A wrong type, an unknown field, broken JSON and broken text."""
    with pytest.raises(msgspec.MsgspecError) as refusal:
        msgspec.json.decode(raw, type=list[Row])
    assert words in mistake(raw, refusal.value)


def test_the_path_of_a_message() -> None:
    """Names and indices in order; none without a path."""
    assert ["rules", 3, "match"] == path_of("Expected `str`, got `int` - at `$.rules[3].match`")
    assert [] == path_of("Input data was truncated")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(values, st.integers(0, 3), st.text(max_size=20))
def test_any_text_has_lines(value: Any, indent: int, noise: str) -> None:
    """Any JSON, however indented, and any damage to it: a line of the text, never an exception."""
    for text in (json.dumps(value, indent=indent), json.dumps(value)[:5] + noise):
        for path in ((), ("a", 0), (0, 0)):
            assert 1 <= line_of(text, path) <= text.count("\n") + 1
