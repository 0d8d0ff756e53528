"""The only place that tells on which line of a JSON text a value stands, so that a mistake in a file can be found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import msgspec

Step = str | int
_SPACE: Final = re.compile(r"\s*")
_TEXT: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_PLAIN: Final = re.compile(r"[^\s,\]}]+")
_OFFSET: Final = re.compile(r"\(byte (\d+)\)")
_PATH: Final = re.compile(r"\$\S*`?$")
_STEP: Final = re.compile(r"\[(\d+)\]|\.([^.\[`]+)")


def line_of(text: str, path: Sequence[Step]) -> int:
    """The line (from 1) of the value at *path*; of its nearest parent that exists when it does not."""
    places: dict[tuple[Step, ...], int] = {}
    # What is no JSON has places up to its mistake.
    with suppress(IndexError):
        _walk(text, 0, (), places)
    wanted = tuple(path)
    while wanted not in places and wanted:
        wanted = wanted[:-1]
    return text.count("\n", 0, places.get(wanted, 0)) + 1


def mistake(raw: bytes, error: msgspec.MsgspecError) -> str:
    """What msgspec says, with the line: of the broken byte, or of the value its path names."""
    words = str(error)
    text = raw.decode("utf-8", errors="replace")
    byte = _OFFSET.search(words)
    if byte is not None:
        line = raw.count(b"\n", 0, int(byte.group(1))) + 1
        return f"line {line}: {words}"
    return f"line {line_of(text, path_of(words))}: {words}"


def path_of(words: str) -> list[Step]:
    """The path msgspec names at the end of its message (`$.rules[3].match`)."""
    found = _PATH.search(words)
    if found is None:
        return []
    return [int(index) if index else name for index, name in _STEP.findall(found.group())]


def _walk(text: str, at: int, path: tuple[Step, ...], places: dict[tuple[Step, ...], int]) -> int:
    """Note where every value below *at* begins; returns the place behind it."""
    at = _skip(text, at)
    places[path] = at
    if text[at] not in "{[":
        return _after(_TEXT if text[at] == '"' else _PLAIN, text, at)
    closing, number = ("}", None) if text[at] == "{" else ("]", 0)
    at = _skip(text, at + 1)
    while text[at] != closing:
        step: Step
        if number is None:
            end = _after(_TEXT, text, at)
            step, at = text[at + 1 : end - 1], _skip(text, end) + 1
        else:
            step, number = number, number + 1
        at = _skip(text, _walk(text, at, (*path, step), places))
        if text[at] == ",":
            at = _skip(text, at + 1)
    return at + 1


def _skip(text: str, at: int) -> int:
    return _after(_SPACE, text, at)


def _after(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    if found is None:
        raise IndexError(at)
    return found.end()
