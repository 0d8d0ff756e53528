"""The only place that reads request parameters, with the venue's codes for what is missing or malformed (sheet 5.4)."""

from __future__ import annotations

from connectors.exchange_simulator.errors import VenueError
from connectors.exchange_simulator.fixed_point import is_whole

Params = dict[str, str]


def mandatory(params: Params, name: str) -> str:
    """A parameter that must be there and not empty (-1102)."""
    value = params.get(name, "")
    if not value:
        raise VenueError(-1102, name=name)
    return value


def optional_int(params: Params, name: str) -> int | None:
    """A whole number, or None when absent; -1102 when it is no number."""
    text = params.get(name)
    if text is None:
        return None
    if not is_whole(text, longest=18):
        raise VenueError(-1102, name=name)
    return int(text)


def boolean(params: Params, name: str) -> bool:
    """ "true"/"false" in any case; absent is false."""
    text = params.get(name, "false").lower()
    if text not in ("true", "false"):
        raise VenueError(-1102, name=name)
    return text == "true"


def choice(params: Params, name: str, allowed: tuple[str, ...] | list[str], code: int, default: str) -> str:
    """One of *allowed*, else the venue's *code*."""
    value = params.get(name, default)
    if value not in allowed:
        raise VenueError(code, name=name)
    return value


def limit_of(params: Params, default: int, *, most: int = 1_000) -> int:
    """`limit`, cut to *most* as the account endpoints do; -1130 for zero."""
    limit = optional_int(params, "limit")
    if limit is None:
        return default
    if limit < 1:
        raise VenueError(-1130, name="limit")
    return min(limit, most)


def time_window(params: Params, now_ms: int, *, longest: int) -> tuple[int, int]:
    """startTime and endTime, ms; -1023 when reversed, -1127 when further apart than *longest*; everything without."""
    start, end = optional_int(params, "startTime"), optional_int(params, "endTime")
    if start is not None and end is not None:
        if start > end:
            raise VenueError(-1023)
        if end - start > longest:
            raise VenueError(-1127)
    if start is not None and end is None:
        end = start + longest
    return start or 0, now_ms if end is None else end
