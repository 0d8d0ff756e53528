"""
The only place for what a row of the table of exit rules is, and for how long its condition must have held.

A rule is data: its id, the domain's words, a pure function that says whether its condition holds now and why, its
confirmation, and what happens when it has won (closing) or fired (tightening). What a confirmation must remember lives
in the position (``Holding``: integers in log time), so that a restart changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, IntEnum
from typing import Final

import msgspec

from pipeline.core.policies import Policy
from pipeline.core.positions import Holding, Position, Stage
from pipeline.core.turn import Turn


class Fired(msgspec.Struct, frozen=True):
    """A condition holds: why (for people), and the outcome of the trade if it closes (``reporting.words.OUTCOMES``)."""

    why: str
    outcome: str = ""


class Unit(Enum):
    """What a confirmation counts: milliseconds of log time, closed 5m bars that were scored, mark prices."""

    TIME = "ms"
    BARS = "bars"
    MARKS = "marks"


class Confirmation(msgspec.Struct, frozen=True):
    """
    The condition must have held without a break for ``Policy.<amount>`` of ``unit`` (no amount: at once; the first bar
    or mark counts).

    ``once``: it fires once for each unbroken stretch, not on every event of it.
    """

    unit: Unit
    amount: str = ""
    once: bool = False


class Phase(IntEnum):
    """
    What a position is, for the walk through the table: nothing open (not yet, or no more), open, being closed.

    A row is asked only in the phases it is for; in the others its condition cannot hold.
    """

    EMPTY = 0
    OPEN = 1
    CLOSING = 2


ANY: Final = frozenset(Phase)
HELD: Final = frozenset({Phase.OPEN, Phase.CLOSING})
OPEN: Final = frozenset({Phase.OPEN})
EMPTY: Final = frozenset({Phase.EMPTY})


def phase_of(position: Position) -> Phase:
    """The phase of *position* now."""
    if position.lots <= 0:
        return Phase.EMPTY
    return Phase.CLOSING if position.stage is Stage.CLOSING else Phase.OPEN


class ExitRule(msgspec.Struct, frozen=True):
    """
    One row. ``act`` is what happens when the rule has won (closing) or fired (tightening).

    ``key`` names the row within the position's memory (two rows may share an id). ``text`` is what people read
    (``explain``, ``perpguard config check``). ``fires`` must change nothing. ``vital`` rules protect: no configuration
    switches them off. A row that is not ``blind`` waits while the symbol is degraded and until the rails are proven
    again (X4). ``suppressed_early`` keeps it silent for the first closed bars (domain 6.3: X8 to X15).
    A row that does not ``pre_empt`` waits while a gentle leave (X8) is under way. ``phases``: when it is asked at all.
    ``parameters`` are the fields of ``Policy`` that it reads, ``since`` the version that brought it.
    """

    id: str
    text: str
    closes: bool
    fires: Callable[[Turn], Fired | None]
    act: Callable[[Turn, str, Fired], None]
    key: str = ""
    confirmation: Confirmation | None = None
    suppressed_early: bool = False
    vital: bool = True
    blind: bool = True
    pre_empts: bool = True
    phases: frozenset[Phase] = OPEN
    parameters: tuple[str, ...] = ()
    since: str = "0.1"


NOTHING: Final = Holding()


def confirm(turn: Turn, rule: ExitRule, *, bar_ms: int) -> Fired | None:
    """
    Ask a rule that wants a confirmation, advance what it must remember, and return what it fires: None until the
    confirmation is complete.

    *bar_ms* is the close of the newest scored bar, 0 when that bar has been judged before (then a rule that counts bars
    is not asked at all).
    """
    wanted = rule.confirmation
    assert wanted is not None, rule.id
    position = turn.position
    key = rule.key or rule.id
    known = position.holdings.get(key)
    if wanted.unit is Unit.BARS:
        if not bar_ms:
            return None
        at = bar_ms
    elif wanted.unit is Unit.MARKS:
        mark = turn.state.mark
        at = mark.event_ms if mark is not None else 0
        if not at or (known is not None and at <= known.last_ms):
            return None
    else:
        at = turn.now
    return confirm_for(turn, rule, rule.fires(turn), at=at)


def confirm_for(turn: Turn, rule: ExitRule, fired: Fired | None, *, at: int) -> Fired | None:
    """What the rule fires now that its condition was asked at *at* and said *fired*; its memory is brought up to it."""
    wanted = rule.confirmation
    assert wanted is not None, rule.id
    position = turn.position
    key = rule.key or rule.id
    known = position.holdings.get(key)
    if fired is None:
        if known is not None:
            del position.holdings[key]
        return None
    if known is None:
        known = position.holdings[key] = Holding(since_ms=at)
    known.last_ms = at
    known.count += 1
    held = at - known.since_ms if wanted.unit is Unit.TIME else known.count
    if held < amount_of(turn.state.policy, wanted) or (wanted.once and known.told):
        return None
    known.told = True
    return fired


def amount_of(policy: Policy, confirmation: Confirmation) -> int:
    """How much of its unit a confirmation wants under *policy*."""
    value = getattr(policy, confirmation.amount) if confirmation.amount else 0
    assert isinstance(value, int), confirmation.amount
    return value


def closable(turn: Turn) -> bool:
    """True when a close may be asked for: something is open, no close is under way, the venue trades the contract."""
    position = turn.position
    return position.lots > 0 and position.stage is not Stage.CLOSING


def judged(position: Position) -> bool:
    """True once e and R are frozen and something is open: before that no rule that counts in R may speak."""
    return position.frozen and position.lots > 0 and position.stage is not Stage.CLOSING and position.risk_e8 > 0
