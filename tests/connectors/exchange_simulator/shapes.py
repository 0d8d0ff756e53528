"""The only place where the simulator's tests compare names and JSON types of two messages, whatever their values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def shape(value: Any) -> Any:
    """The type of a scalar, the shapes of an object's fields, the shape of a list's first element."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def differences(expected: Any, actual: Any, at: str = "") -> list[str]:
    """Field names and types that differ, as sentences; empty when both have the same shape."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        found = [f"{at}.{name} is missing" for name in expected if name not in actual]
        found += [f"{at}.{name} is extra" for name in actual if name not in expected]
        for name in expected:
            if name in actual:
                found += differences(expected[name], actual[name], f"{at}.{name}")
        return found
    if isinstance(expected, list) and isinstance(actual, list):
        return differences(expected[0], actual[0], f"{at}[]") if expected and actual else []
    return [] if shape(expected) == shape(actual) else [f"{at} is {shape(actual)}, expected {shape(expected)}"]


def documented(path: Path) -> Any:
    """The JSON of a documentation-style sample: the event of a subscription file, the answer of an endpoint file."""
    text = path.read_text()
    if path.parent.name == "Subscriptions":
        text = text[text.index("\n=") + 2 :]
    starts = [position for position in (text.find("{"), text.find("[")) if position >= 0]
    body = json.JSONDecoder().raw_decode(text[min(starts) :])[0]
    return body["data"] if isinstance(body, dict) and "stream" in body else body
