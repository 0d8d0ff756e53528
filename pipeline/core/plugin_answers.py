"""
The only place for what a plug-in may answer, and for the event that brings the answer into the fold.

The answers are values, checked by ``core.plugins`` before anything follows from them (docs/plugins.md).
"""

from __future__ import annotations

from typing import Final, assert_never

import msgspec

from pipeline.core.units import E8, format_e8

FACTOR: Final = "factor"
SIGNAL: Final = "signal"
EXIT: Final = "exit"
KINDS: Final = (FACTOR, SIGNAL, EXIT)
CLOSE_RULE: Final = "PLUGIN"  # the rule that a close by an exit plug-in is told as


class SaysNothing(msgspec.Struct, frozen=True, tag="nothing", gc=False):
    """Nothing to say about this view."""


class SaysFactor(msgspec.Struct, frozen=True, tag="factor", gc=False):
    """A factor: 1/1000 of a point from −100,000 (for the short) to 100,000, quality in per mille."""

    value: int
    quality: int = 1_000
    why: str = ""


class SaysSignal(msgspec.Struct, frozen=True, tag="signal", gc=False):
    """An entry is proposed, ``long`` or short; levels and size are the core's own."""

    long: bool
    why: str = ""


class SaysClose(msgspec.Struct, frozen=True, tag="close", gc=False):
    """The position is to be closed at market."""

    why: str = ""


class SaysTighten(msgspec.Struct, frozen=True, tag="tighten", gc=False):
    """The stop is to be tightened to this price (E8; the core rounds it to the grid, away from the market)."""

    price: E8
    why: str = ""


class SaysFailed(msgspec.Struct, frozen=True, tag="failed", gc=False):
    """The plug-in raised, ran out of its time, answered what is no answer, or cannot be loaded; the host says which."""

    reason: str


Answer = SaysNothing | SaysFactor | SaysSignal | SaysClose | SaysTighten | SaysFailed

# Which answers a kind of plug-in may give besides nothing and a failure.
ALLOWED: Final[dict[str, tuple[type, ...]]] = {
    FACTOR: (SaysFactor,),
    SIGNAL: (SaysSignal,),
    EXIT: (SaysClose, SaysTighten),
}


WHY_CHARACTERS: Final = 200
LARGEST: Final = 1 << 62


def words(answer: Answer) -> str:
    """What the plug-in does by this answer, for people; a reason is cut."""
    why = getattr(answer, "why", "")[:WHY_CHARACTERS]
    tail = f": {why}" if why else ""
    match answer:
        case SaysNothing():
            return "say nothing"
        case SaysFactor():
            value, quality = _bounded(answer.value), _bounded(answer.quality)
            return f"say {value / 1_000:g} points of quality {quality / 1_000:g}{tail}"
        case SaysSignal():
            return f"propose a {'long' if answer.long else 'short'}{tail}"
        case SaysClose():
            return f"close{tail}"
        case SaysTighten():
            return f"tighten the stop to {format_e8(_bounded(answer.price))}{tail}"
        case SaysFailed():
            return f"fail: {answer.reason[:WHY_CHARACTERS]}"
        case _:
            assert_never(answer)


def _bounded(number: int) -> int:
    """A number of a line has up to 4,300 digits; nobody reads more of it than that it is large."""
    return max(-LARGEST, min(LARGEST, number))


class PluginAnswered(msgspec.Struct, frozen=True, tag="plugin_answered"):
    """
    The host's line: what plug-in ``name`` says to the question whose output id is ``ask``.

    ``version`` is what the plug-in calls itself, ``code`` the digest of its source.
    """

    ask: str
    name: str
    version: str
    code: str
    answer: Answer
