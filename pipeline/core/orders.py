"""
The only place for the life of one order, regular or conditional: what each piece of evidence makes of each status.

A conditional order and the regular order it becomes share one client id (venue sheet 6.5), hence one life. Evidence
comes from three roads that race each other, the executor's outcomes, the user stream and complete reads, so nearly
every pair can happen; the rows that only reality forces on us are told apart below the table. ``=`` keeps the status.
``!`` cannot be: the status stays, and the pair is reported (a contradiction between sources is a thing people must
see, never a thing that moves an order).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from pipeline.core.events import Verdict


class OrderStatus(StrEnum):
    """What is known of an order. ``LIVE``: proven to rest (a conditional one untriggered)."""

    ASKED = "asked"
    DOUBT = "doubt"
    LIVE = "live"
    PARTIAL = "partial"
    TRIGGERING = "triggering"
    TRIGGERED = "triggered"
    FILLED = "filled"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    ABSENT = "absent"
    REFUSED = "refused"


class Evidence(StrEnum):
    """What one line says about one order; the prefix tells the road it came by."""

    OUTCOME_ACCEPTED = "outcome_accepted"
    OUTCOME_REJECTED = "outcome_rejected"
    OUTCOME_REFUSED = "outcome_refused"
    OUTCOME_IN_DOUBT = "outcome_in_doubt"
    OUTCOME_ABSENT = "outcome_absent"
    OUTCOME_CANCELLED = "outcome_cancelled"
    OUTCOME_GONE = "outcome_gone"
    ORDER_NEW = "order_new"
    ORDER_PARTIAL = "order_partial"
    ORDER_FILLED = "order_filled"
    ORDER_CANCELLED = "order_cancelled"
    ORDER_EXPIRED = "order_expired"
    ORDER_AMENDED = "order_amended"
    ALGO_NEW = "algo_new"
    ALGO_TRIGGERING = "algo_triggering"
    ALGO_TRIGGERED = "algo_triggered"
    ALGO_FINISHED = "algo_finished"
    ALGO_CANCELLED = "algo_cancelled"
    ALGO_REJECTED = "algo_rejected"
    ALGO_EXPIRED = "algo_expired"
    READ_OPEN = "read_open"
    READ_MISSING = "read_missing"


# Columns: the status before. as asked, do doubt, li live, pa partial, tg triggering, td triggered, fi filled,
# fn finished, ca cancelled, ex expired, re rejected, ab absent, rf refused.
_TABLE: Final = """
                     as  do  li  pa  tg  td  fi  fn  ca  ex  re  ab  rf
outcome_accepted     li  li  =   =   =   =   =   =   =   =   li  li  li
outcome_rejected     re  re  =   =   =   =   =   =   =   =   =   =   =
outcome_refused      rf  rf  !   !   !   !   !   !   !   !   =   =   =
outcome_in_doubt     do  =   =   =   =   =   =   =   =   =   =   =   =
outcome_absent       ab  ab  !   !   !   !   !   !   =   =   =   =   =
outcome_cancelled    ca  ca  ca  ca  =   ca  =   =   =   =   =   =   =
outcome_gone         do  =   =   =   =   =   =   =   =   =   =   =   =
order_new            li  li  =   =   td  =   =   =   =   =   li  li  li
order_partial        pa  pa  pa  =   pa  pa  =   =   =   =   pa  pa  pa
order_filled         fi  fi  fi  fi  fi  fi  =   fi  fi  fi  fi  fi  fi
order_cancelled      ca  ca  ca  ca  ca  ca  =   =   =   =   ca  ca  ca
order_expired        ex  ex  ex  ex  ex  ex  =   =   =   =   ex  ex  ex
order_amended        li  li  =   =   =   =   =   =   =   =   !   !   !
algo_new             li  li  =   =   =   =   =   =   =   =   li  li  li
algo_triggering      tg  tg  tg  =   =   =   =   =   tg  =   tg  tg  tg
algo_triggered       td  td  td  =   td  =   =   =   td  =   td  td  td
algo_finished        fn  fn  fn  fn  fn  fn  =   =   =   =   fn  fn  fn
algo_cancelled       ca  ca  ca  =   ca  ca  =   =   =   =   ca  ca  ca
algo_rejected        re  re  re  =   re  re  =   =   =   =   =   re  re
algo_expired         ex  ex  ex  =   ex  ex  =   =   =   =   ex  ex  ex
read_open            li  li  =   =   =   =   =   =   =   =   li  li  li
read_missing         =   =   ab  do  =   =   =   =   =   =   =   =   =
"""

_SHORT: Final = {
    "as": OrderStatus.ASKED,
    "do": OrderStatus.DOUBT,
    "li": OrderStatus.LIVE,
    "pa": OrderStatus.PARTIAL,
    "tg": OrderStatus.TRIGGERING,
    "td": OrderStatus.TRIGGERED,
    "fi": OrderStatus.FILLED,
    "fn": OrderStatus.FINISHED,
    "ca": OrderStatus.CANCELLED,
    "ex": OrderStatus.EXPIRED,
    "re": OrderStatus.REJECTED,
    "ab": OrderStatus.ABSENT,
    "rf": OrderStatus.REFUSED,
}

# Real-world rows of the table, by the race that makes them needed:
#   fill before the acknowledgement            (asked, order_filled), (asked, order_partial)
#   fill before TRIGGERED                      (live | triggering, order_filled)
#   FINISHED before TRIGGERED, or before fills (live, algo_finished), (finished, order_filled)
#   cancel and fill crossed                    (cancelled | expired, order_filled)
#   cancel and trigger crossed                 (cancelled, algo_triggering | algo_triggered)
#   cancel answered with "gone"                (asked, outcome_gone) = doubt: it was filled or triggered, not absent
#   accepted, then vanished without a word     (live, read_missing) = absent (pain 2)
#   declared dead, then seen alive             (rejected | absent | refused, order_new | algo_new | read_open) (pain 9)
#   a partly filled order gone from the book   (partial, read_missing) = doubt: filled, cancelled or expired
#   an old read                                (cancelled | filled, read_open): a read may be older than the event


def _parse(table: str) -> dict[tuple[OrderStatus, Evidence], OrderStatus | None]:
    header, *rows = [line.split() for line in table.strip().splitlines()]
    before = [_SHORT[name] for name in header]
    cells: dict[tuple[OrderStatus, Evidence], OrderStatus | None] = {}
    for name, *after in rows:
        assert len(after) == len(before), name
        for status, cell in zip(before, after, strict=True):
            cells[status, Evidence(name)] = None if cell == "!" else status if cell == "=" else _SHORT[cell]
    return cells


TRANSITIONS: Final = _parse(_TABLE)  # None marks a pair that contradicts itself

ENDED: Final = frozenset(
    {
        OrderStatus.FILLED,
        OrderStatus.FINISHED,
        OrderStatus.CANCELLED,
        OrderStatus.EXPIRED,
        OrderStatus.REJECTED,
        OrderStatus.ABSENT,
        OrderStatus.REFUSED,
    }
)
RESTING: Final = frozenset({OrderStatus.LIVE, OrderStatus.PARTIAL})
FIRING: Final = frozenset({OrderStatus.TRIGGERING, OrderStatus.TRIGGERED})
UNANSWERED: Final = frozenset({OrderStatus.ASKED, OrderStatus.DOUBT})


def advance(status: OrderStatus, evidence: Evidence) -> OrderStatus | None:
    """The status after *evidence*, None when the two contradict each other (the caller keeps the status, reports)."""
    return TRANSITIONS[status, evidence]


# What the venue's own words say. An unknown word is no evidence (None): it is reported, never guessed at.
_ORDER_STATUS: Final = {
    "NEW": Evidence.ORDER_NEW,
    "PARTIALLY_FILLED": Evidence.ORDER_PARTIAL,
    "FILLED": Evidence.ORDER_FILLED,
    "CANCELED": Evidence.ORDER_CANCELLED,
    "EXPIRED": Evidence.ORDER_EXPIRED,
    "EXPIRED_IN_MATCH": Evidence.ORDER_EXPIRED,
}
_ALGO_STATUS: Final = {
    "NEW": Evidence.ALGO_NEW,
    "TRIGGERING": Evidence.ALGO_TRIGGERING,
    "TRIGGERED": Evidence.ALGO_TRIGGERED,
    "FINISHED": Evidence.ALGO_FINISHED,
    "CANCELED": Evidence.ALGO_CANCELLED,
    "REJECTED": Evidence.ALGO_REJECTED,
    "EXPIRED": Evidence.ALGO_EXPIRED,
}
_VERDICT: Final = {
    Verdict.ACCEPTED: Evidence.OUTCOME_ACCEPTED,
    Verdict.REJECTED: Evidence.OUTCOME_REJECTED,
    Verdict.REFUSED: Evidence.OUTCOME_REFUSED,
    Verdict.IN_DOUBT: Evidence.OUTCOME_IN_DOUBT,
    Verdict.ABSENT: Evidence.OUTCOME_ABSENT,
    Verdict.CANCELLED: Evidence.OUTCOME_CANCELLED,
    Verdict.GONE: Evidence.OUTCOME_GONE,
}


def evidence_of_order(*, execution: str, status: str) -> Evidence | None:
    """Evidence of an ORDER_TRADE_UPDATE (venue sheet 3.3: x and X)."""
    if execution == "AMENDMENT":
        return Evidence.ORDER_AMENDED
    return _ORDER_STATUS.get(status)


def evidence_of_algo(status: str) -> Evidence | None:
    """Evidence of an ALGO_UPDATE (venue sheet 3.6: X)."""
    return _ALGO_STATUS.get(status)


def evidence_of_outcome(verdict: Verdict, *, status: str) -> Evidence:
    """
    Evidence of an executor's outcome. An accepting reply that already tells a later status (a LIMIT IOC with RESULT,
    a conditional order found triggered by a query) says more than "accepted".
    """
    if verdict is Verdict.ACCEPTED and status != "NEW":
        told = _ORDER_STATUS.get(status, _ALGO_STATUS.get(status))
        if told is not None:
            return told
    return _VERDICT[verdict]
