"""
The only place for what the section ``plugins`` of the configuration file may say, row by row (docs/plugins.md).

Strict like the rest of the file: every problem names the row, the value found and what is allowed. The plug-ins
themselves are not looked at, for the workers that fold never load one: `perpguard plugin check` compares both.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from pipeline.core.plugin_answers import FACTOR, KINDS
from pipeline.core.policies import PluginRow
from pipeline.core.units import Milliseconds

Json: TypeAlias = Any  # a parsed JSON value: its type is what this module finds out

MOST: Final = 16
NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_VERSION: Final = re.compile(r"[A-Za-z0-9._-]{1,40}")
NAME_WORDS: Final = "a small letter, then small letters, digits and _, at most 40"
WORDS: Final = (
    'a list of at most 16 {"name", "kind", "version", …}, see docs/plugins.md: "kind" is factor, signal or exit; '
    '"parameters", "deadline_ms", "budget_ms", "every_ms", "bars", "least" and "shadow" may be left out'
)


def _integer(low: int, high: int) -> tuple[str, Callable[[Json], bool]]:
    return (
        f"an integer from {low} to {high}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high,
    )


def _is_parameters(value: Json) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and NAME.fullmatch(name) and _is_number(number) for name, number in value.items()
    )


def _is_number(value: Json) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and abs(value) <= 1e12
    )


# Field → (what is allowed, the test).
FIELDS: Final[Mapping[str, tuple[str, Callable[[Json], bool]]]] = {
    "name": (NAME_WORDS, lambda value: isinstance(value, str) and bool(NAME.fullmatch(value))),
    "kind": (" or ".join(f'"{kind}"' for kind in KINDS), lambda value: isinstance(value, str) and value in KINDS),
    "version": (
        'the version that the plug-in states, as a text such as "1"',
        lambda value: isinstance(value, str) and bool(_VERSION.fullmatch(value)),
    ),
    "parameters": ('an object of numbers such as {"bars": 20}', _is_parameters),
    "deadline_ms": _integer(100, 60_000),
    "budget_ms": _integer(10, 60_000),
    "every_ms": _integer(250, 3_600_000),
    "bars": _integer(1, 288),
    "least": ("an integer from -100 to 100 or null", lambda value: value is None or _integer(-100, 100)[1](value)),
    "shadow": ("true or false", lambda value: isinstance(value, bool)),
}
NEEDED: Final = ("name", "kind", "version")


def problems(value: Json) -> list[str]:
    """What is wrong with the section, one line each."""
    if not isinstance(value, list) or len(value) > MOST:
        return [f"plugins: found {_show(value)}; allowed: {WORDS}"]
    found: list[str] = []
    for number, row in enumerate(value):
        found += _problems_of(f"plugins[{number}]", row)
    names = [row["name"] for row in value if isinstance(row, dict) and isinstance(row.get("name"), str)]
    found += [
        f"plugins: found {_show(name)} twice; allowed: different names"
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    return found


def _problems_of(path: str, row: Json) -> list[str]:
    if not isinstance(row, dict):
        return [f"{path}: found {_show(row)}; allowed: an object with the keys {', '.join(FIELDS)}"]
    found = [f"{path}.{name}: missing; allowed: {FIELDS[name][0]}" for name in NEEDED if name not in row]
    for name, content in row.items():
        if name not in FIELDS:
            near = difflib.get_close_matches(name, FIELDS, n=1)
            hint = f'; did you mean "{near[0]}"?' if near else ""
            keys = ", ".join(FIELDS)
            found.append(f"{path}.{name}: found {_show(content)}, but there is no such key; allowed here: {keys}{hint}")
        elif not FIELDS[name][1](content):
            found.append(f"{path}.{name}: found {_show(content)}; allowed: {FIELDS[name][0]}")
    if found:
        return found
    made = row_of(row)
    if made.least is not None and made.kind != FACTOR:
        found.append(
            f'{path}.least: found {made.least}; allowed: for a plug-in of the kind "factor" alone: it is its gate'
        )
    if made.budget_ms > made.deadline_ms:
        found.append(
            f"{path}.budget_ms: found {made.budget_ms}; allowed: at most {path}.deadline_ms ({made.deadline_ms}), "
            "because an answer after its deadline is refused"
        )
    return found


def row_of(row: Mapping[str, Json]) -> PluginRow:
    """A row that was found right, as the policy carries it."""
    rest = {name: content for name, content in row.items() if name not in ("parameters", "deadline_ms", "budget_ms")}
    standing = PluginRow("", "", "")
    parameters = row.get("parameters", {})
    return PluginRow(
        **rest,
        parameters=tuple((name, float(parameters[name])) for name in sorted(parameters)),
        deadline_ms=Milliseconds(row.get("deadline_ms", standing.deadline_ms)),
        budget_ms=Milliseconds(row.get("budget_ms", standing.budget_ms)),
    )


def _show(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "…"
