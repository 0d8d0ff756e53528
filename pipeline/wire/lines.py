"""
The only place for the lines of an ``inputs`` record: how they are written, read and told apart.

A record is a batch of newline-delimited JSON, one object per line (architecture 2.2)::

    {"at":<receive ns>,"src":"<writer>","inc":"<incarnation>","n":<number>,"sym":"<SYMBOL or *>","<kind>":<body>}

``kind`` is exactly one of the fields of ``Line`` below. ``n`` counts 1, 2, 3 … per (src, inc, sym): the fold drops
repeats and reports holes. ``sym`` ``*`` is for every symbol of the partition. A frame is embedded byte for byte as
received; it must be one JSON value without a newline byte (``embeddable``), else a hostile frame could forge a line.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pipeline.core.events import (
    CloseRequested,
    EntryAdmitted,
    FeedLost,
    PositionOverridden,
    ReferenceBars,
    RequestEnded,
    SymbolResumed,
)
from pipeline.core.plugin_answers import PluginAnswered
from pipeline.core.policies import Policy

EVERY_SYMBOL: Final = "*"
MAX_RECORD_BYTES: Final = 256 * 1024
MAX_RECORD_LINES: Final = 500


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    A REST answer that a data request led to; ``body`` is the venue's JSON untouched (absent when ``error`` is set).

    ``kind`` as in ``commands.RequestData``; ``request`` is the id of the asking output (or of the asker's own making).
    For ``audit`` the body is ``{"positionRisk":…,"openOrders":…,"openAlgoOrders":…}`` with each answer untouched;
    for ``exchange_info`` it is the symbol's own object of ``symbols``. ``synthetic`` labels values of a sidecar.
    """

    kind: str
    request: str = ""
    body: msgspec.Raw = msgspec.Raw(b"null")
    error: str = ""
    synthetic: bool = False


class TradingStateLine(msgspec.Struct, frozen=True):
    """Trading state, policy and shortlist of the account, repeated every few seconds by account."""

    mode: str
    reason: str
    policy: Policy
    shortlisted: tuple[str, ...] = ()


class Line(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """
    One line; exactly one of the optional fields is set. ``frame`` is the venue's JSON, combined or bare.

    ``turns`` goes with ``tick``: the symbols whose turn it is to compute their scores (domain 4.13, chosen by the
    worker and therefore in the log). ``reference`` goes to every symbol.
    """

    at: int
    src: str
    inc: str
    n: int
    sym: str
    frame: msgspec.Raw = msgspec.Raw(b"")
    tick: int | None = None
    outcome: RequestEnded | None = None
    admission: EntryAdmitted | None = None
    close: CloseRequested | None = None
    state: TradingStateLine | None = None
    answer: Answer | None = None
    lost: FeedLost | None = None
    resume: SymbolResumed | None = None
    override: PositionOverridden | None = None
    reference: ReferenceBars | None = None
    plugin: PluginAnswered | None = None
    turns: tuple[str, ...] = ()


# Who may write which kind (architecture 2.2: checked by the fold; the writer is the part of ``src`` before ``/``).
WRITERS: Final[dict[str, frozenset[str]]] = {
    "frame": frozenset({"connector"}),
    "lost": frozenset({"connector"}),
    "tick": frozenset({"decide"}),
    "outcome": frozenset({"execute"}),
    "answer": frozenset({"execute"}),
    "admission": frozenset({"account"}),
    "close": frozenset({"account"}),
    "state": frozenset({"account"}),
    "resume": frozenset({"account"}),
    "override": frozenset({"account"}),
    "reference": frozenset({"decide"}),
    "plugin": frozenset({"plugins"}),
}

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Line)


def embeddable(frame: bytes) -> bool:
    """True when *frame* is exactly one JSON value without a newline byte, so that it may stand inside a line."""
    if b"\n" in frame or b"\r" in frame:
        return False
    try:
        msgspec.json.decode(frame, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def frame_prefix(*, source: str, incarnation: str, symbol: str) -> tuple[bytes, bytes]:
    """The constant parts of a frame line of one (source, symbol): around ``n`` and before the frame."""
    head = b',"src":' + _encoder.encode(source) + b',"inc":' + _encoder.encode(incarnation) + b',"n":'
    return head, symbol_field(symbol) + b'"frame":'


def symbol_field(symbol: str) -> bytes:
    """How every line of *symbol* names it, in the bytes of a record: to look for it without reading the lines."""
    return b',"sym":' + _encoder.encode(symbol) + b","


def frame_line(at_ns: int, number: int, frame: bytes, prefix: tuple[bytes, bytes]) -> bytes:
    """Write a frame line (without newline) around the untouched bytes; the caller has checked ``embeddable``."""
    return b'{"at":%d%b%d%b%b}' % (at_ns, prefix[0], number, prefix[1], frame)


def encode(line: Line) -> bytes:
    """Write any other line (without newline)."""
    return _encoder.encode(line)


# Read one line; raises msgspec.DecodeError (ValidationError included), UnicodeDecodeError or RecursionError for
# anything that is not one. The bound method itself: it is called for every line.
decode: Final = _decoder.decode


def split(record: bytes) -> list[bytes]:
    """The lines of a record in order; a trailing newline ends the last line and starts none."""
    lines = record.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    return lines


def join(lines: list[bytes]) -> bytes:
    """One record of the given lines."""
    return b"\n".join(lines)
