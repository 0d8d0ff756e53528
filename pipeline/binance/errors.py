"""
The only place where the venue's refusals and the road's failures get their meaning: a table, and the tree of errors.

::

    VenueFailure                    the world failed us; .retriable says whether the same words may be tried again
    ├── NotWritten                  nothing reached the wire: provably not executed
    ├── NoAnswer                    the request was (or may have been) written and no answer came: in doubt
    ├── ReadFailed                  a read ended without a usable answer; it proves nothing
    └── Fatal                       key, permission or account: only a person can mend it

Key of the table is the code of the body *and*, where the venue uses one code or status for several things, its text
(venue sheet 5.3: HTTP 503 has four meanings, −1003 is a limit or a ban). A code nobody knows is in doubt and alerted.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

import msgspec

from pipeline.core.units import Milliseconds


class VenueFailure(Exception):
    """Root of what can go wrong on the road to the venue."""

    retriable = False


class NotWritten(VenueFailure):
    """No byte of the request left: connection refused, pool exhausted, name not found."""

    retriable = True


class NoAnswer(VenueFailure):
    """The request was written, the answer is missing or cut: the venue may have executed it (venue sheet 5.3)."""


class ReadFailed(VenueFailure):
    """A read had no usable answer; "not found" must never be concluded from it (pains 3, 11)."""

    retriable = True


class Fatal(VenueFailure):
    """Key, permission, signature or account are wrong: stop asking, tell people."""


class Reaction(Enum):
    """What an answer means for the one who asked."""

    ACCEPTED = "accepted"
    IN_DOUBT = "in_doubt"  # executed or not: only evidence tells (venue sheet 5.5)
    NOT_EXECUTED = "not_executed"  # failed before matching: may go again at once as a new attempt
    REJECTED = "rejected"  # refused for good; a new decision is needed
    RESYNC_CLOCK = "resync_clock"  # −1021, −5028: not executed, our clock or the road is off
    STOP_ALL = "stop_all"  # 429, −1003, 418
    STOP_ORDERS = "stop_orders"  # −1015
    FATAL = "fatal"
    WOULD_TRIGGER = "would_trigger"  # −2021, −4142: the price is through already
    WOULD_TAKE = "would_take"  # −5022: post-only would take
    UNKNOWN_ORDER = "unknown_order"  # −2011, −2013: not in this book, now
    ALREADY_EXISTS = "already_exists"  # −4116: an earlier attempt lives
    COVER_EXISTS = "cover_exists"  # −4130: one closePosition order per side and type
    NO_POSITION = "no_position"  # −2022, −2024: nothing (left) to reduce, or taken by others
    REDUCE_CROWDED = "reduce_crowded"  # −4118: resting reduce-only orders use it all up
    TRIGGERING = "triggering"  # −4117: it is going off right now
    THIN_BOOK = "thin_book"  # −1112, −2020, −4131, −5041: no counterpart within bounds
    BAD_FILTERS = "bad_filters"  # off the grid or the range: read exchangeInfo again
    CLOSE_ONLY = "close_only"  # only reduce-only is allowed
    NOTHING_TO_DO = "nothing_to_do"  # already as wanted
    PAUSE = "pause"  # maintenance
    NO_LISTEN_KEY = "no_listen_key"  # −1125
    BUG = "bug"  # we wrote something the venue does not take


_R = Reaction

# Venue sheet 5.4, row by row. Codes that are not here are IN_DOUBT with an alert.
CODES: Final[dict[int, Reaction]] = {
    200: _R.ACCEPTED,
    -1000: _R.IN_DOUBT,
    -1001: _R.NOT_EXECUTED,
    -1002: _R.FATAL,
    -1003: _R.STOP_ALL,
    -1006: _R.IN_DOUBT,
    -1007: _R.IN_DOUBT,
    -1008: _R.NOT_EXECUTED,
    -1015: _R.STOP_ORDERS,
    -1016: _R.PAUSE,
    -1020: _R.BUG,
    -1021: _R.RESYNC_CLOCK,
    -1022: _R.FATAL,
    -1023: _R.BUG,
    -1099: _R.FATAL,
    -1111: _R.BAD_FILTERS,
    -1112: _R.THIN_BOOK,
    -1120: _R.BUG,
    -1121: _R.BAD_FILTERS,
    -1122: _R.BAD_FILTERS,
    -1125: _R.NO_LISTEN_KEY,
    -2010: _R.REJECTED,
    -2011: _R.UNKNOWN_ORDER,
    -2012: _R.IN_DOUBT,
    -2013: _R.UNKNOWN_ORDER,
    -2014: _R.FATAL,
    -2015: _R.FATAL,
    -2017: _R.FATAL,
    -2018: _R.REJECTED,
    -2019: _R.REJECTED,
    -2020: _R.THIN_BOOK,
    -2021: _R.WOULD_TRIGGER,
    -2022: _R.NO_POSITION,
    -2023: _R.REJECTED,
    -2024: _R.NO_POSITION,
    -2025: _R.REJECTED,
    -2026: _R.BUG,
    -2027: _R.REJECTED,
    -2028: _R.REJECTED,
    -4000: _R.IN_DOUBT,
    -4015: _R.BUG,
    -4016: _R.REJECTED,
    -4021: _R.BUG,
    -4024: _R.REJECTED,
    -4028: _R.BUG,
    -4031: _R.BUG,
    -4032: _R.BUG,
    -4045: _R.REJECTED,
    -4046: _R.NOTHING_TO_DO,
    -4059: _R.NOTHING_TO_DO,
    -4060: _R.BUG,
    -4061: _R.REJECTED,
    -4062: _R.BUG,
    -4082: _R.BUG,
    -4083: _R.IN_DOUBT,
    -4087: _R.CLOSE_ONLY,
    -4088: _R.FATAL,
    -4109: _R.FATAL,
    -4116: _R.ALREADY_EXISTS,
    -4117: _R.TRIGGERING,
    -4118: _R.REDUCE_CROWDED,
    -4120: _R.BUG,
    -4130: _R.COVER_EXISTS,
    -4131: _R.THIN_BOOK,
    -4135: _R.BUG,
    -4137: _R.BUG,
    -4138: _R.BUG,
    -4140: _R.BAD_FILTERS,
    -4141: _R.BAD_FILTERS,
    -4142: _R.WOULD_TRIGGER,
    -4164: _R.REJECTED,
    -4171: _R.NOTHING_TO_DO,
    -4183: _R.REJECTED,
    -4184: _R.REJECTED,
    -4192: _R.REJECTED,
    -4400: _R.CLOSE_ONLY,
    -4401: _R.CLOSE_ONLY,
    -4405: _R.REJECTED,
    -4407: _R.REJECTED,
    -4531: _R.REJECTED,
    -5021: _R.REJECTED,
    -5022: _R.WOULD_TAKE,
    -5027: _R.NOTHING_TO_DO,
    -5028: _R.RESYNC_CLOCK,
    -5041: _R.THIN_BOOK,
    -5043: _R.REJECTED,
    **dict.fromkeys((-1010, -1013, -1014), _R.BUG),
    **dict.fromkeys(range(-1106, -1099), _R.BUG),
    **dict.fromkeys((-1108, -1109, -1110), _R.FATAL),
    **dict.fromkeys(range(-1119, -1113), _R.BUG),
    **dict.fromkeys((-1127, -1128, -1130, -1136), _R.BUG),
    **dict.fromkeys((-4001, -4002, -4013, -4014), _R.BAD_FILTERS),
    **dict.fromkeys((-4003, -4004, -4005, -4023), _R.BAD_FILTERS),
    **dict.fromkeys((-4006, -4007, -4210, -4211), _R.BAD_FILTERS),
    **dict.fromkeys((-4047, -4048, -4067, -4068, -4161, -4167, -4168, -4169, -4170, -4172), _R.REJECTED),
    **dict.fromkeys((-4050, -4051, -4054, -4055), _R.REJECTED),
    **dict.fromkeys(range(-4209, -4201), _R.REJECTED),
    **dict.fromkeys((-4402, -4403), _R.REJECTED),
    **dict.fromkeys((-4517, -4518, -4519), _R.REJECTED),
    **dict.fromkeys((-5024, -5025, -5026, -5029), _R.REJECTED),
    **dict.fromkeys((-5037, -5038, -5039, -5040), _R.BUG),
}

# Texts that decide before the code does; the first match counts (venue sheet 5.2, 5.3).
TEXTS: Final[tuple[tuple[re.Pattern[str], Reaction], ...]] = (
    (re.compile(r"banned until", re.I), _R.STOP_ALL),
    (re.compile(r"unknown error", re.I), _R.IN_DOUBT),
    (re.compile(r"throttled by system-level protection", re.I), _R.NOT_EXECUTED),
    (re.compile(r"internal error; unable to process your request", re.I), _R.NOT_EXECUTED),
    # The venue's own words and nothing around them: a page of something in between does not know what the venue did.
    (re.compile(r"^\s*service unavailable\.?\s*$", re.I), _R.NOT_EXECUTED),
    (re.compile(r"duplicate order sent", re.I), _R.ALREADY_EXISTS),
)

# Statuses of answers without a code we know.
STATUSES: Final[dict[int, Reaction]] = {
    401: _R.FATAL,
    403: _R.PAUSE,  # web application firewall: an HTML body, nothing was executed
    408: _R.IN_DOUBT,
    418: _R.STOP_ALL,
    429: _R.STOP_ALL,
}

_BANNED: Final = re.compile(r"banned until (\d{13})")
_INTERVAL: Final = re.compile(r"per (\d+) (SECOND|MINUTE)", re.I)
_UNIT_MS: Final = {"SECOND": 1_000, "MINUTE": 60_000}
WINDOW_MS: Final = 60_000
SHORTEST_STOP_MS: Final = 1_000
LONGEST_BAN_MS: Final = 3 * 86_400_000  # venue sheet 5.2


class ErrorBody(msgspec.Struct, frozen=True):
    """``{"code":…,"msg":…}``; the cancel reply of the conditional book has its code as a string (venue sheet 4.4)."""

    code: int | str = 0
    msg: str = ""


class Classified(msgspec.Struct, frozen=True):
    """The meaning of one answer; ``known`` is False when the table had no row for its code."""

    reaction: Reaction
    code: int = 0
    message: str = ""
    known: bool = True


_body_decoder: Final = msgspec.json.Decoder(ErrorBody, strict=True)


def classify(status: int, body: bytes) -> Classified:
    """Say what an answer means; a success is ACCEPTED whatever its body holds."""
    if 200 <= status < 300:
        return _classify_success(body)
    code, message = _read(body)
    for pattern, reaction in TEXTS:
        if pattern.search(message):
            return Classified(reaction, code, message)
    if status in (418, 429) and code in (0, -1003):
        return Classified(_R.STOP_ALL, code, message)
    known = CODES.get(code)
    if known is not None:
        return Classified(known, code, message)
    by_status = STATUSES.get(status)
    if by_status is not None and code == 0:
        return Classified(by_status, code, message or f"HTTP {status}")
    return Classified(_R.IN_DOUBT, code, message or f"HTTP {status}", known=False)


def _classify_success(body: bytes) -> Classified:
    """A 200 whose body is an error object happens in maintenance (venue sheet 5.3, last row)."""
    if body[:9] == b'{"code":-':
        code, message = _read(body)
        return Classified(CODES.get(code, _R.IN_DOUBT), code, message, known=code in CODES)
    return Classified(_R.ACCEPTED)


def _read(body: bytes) -> tuple[int, str]:
    try:
        error = _body_decoder.decode(body)
        return int(error.code), error.msg
    except (msgspec.DecodeError, ValueError):  # an HTML page or plain text
        return 0, body[:200].decode("utf-8", "replace")


def stop_until(
    *, now_ms: int, status: int, message: str, retry_after: str | None, server_ahead_ms: int = 0
) -> Milliseconds:
    """
    When requests may go on after STOP_ALL or STOP_ORDERS, in our clock.

    A ban names its end in the venue's clock, which is *server_ahead_ms* ahead of ours; else Retry-After in seconds;
    else the interval in the text; else a minute. A 418 without any figure lasts two minutes at least (venue sheet 5.2).
    Whatever is said, it is at least a second and at most the three days of the longest ban.
    """
    said = _said_until(now_ms, status, message, retry_after, server_ahead_ms)
    return Milliseconds(min(max(said, now_ms + SHORTEST_STOP_MS), now_ms + LONGEST_BAN_MS))


def _said_until(now_ms: int, status: int, message: str, retry_after: str | None, server_ahead_ms: int) -> int:
    banned = _BANNED.search(message)
    if banned:
        return int(banned.group(1)) - server_ahead_ms
    if retry_after is not None and retry_after.isdigit():
        return now_ms + int(retry_after[:9]) * 1_000
    interval = _INTERVAL.search(message)
    if interval:
        return now_ms + int(interval.group(1)[:9]) * _UNIT_MS[interval.group(2).upper()]
    return now_ms + (2 * WINDOW_MS if status == 418 else WINDOW_MS)
