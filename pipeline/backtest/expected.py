"""
The only place for what each market situation must lead to, and which golden session tells the same story.

The rows are held against three things: the run in virtual time, the run on real processes, and the golden sessions in
``tests/sessions`` (``docs/golden-sessions.md``): the session named here must fire the same rule with the same words.
"""

from __future__ import annotations

from typing import Final

import msgspec


class Expected(msgspec.Struct, frozen=True):
    """
    What a situation must lead to.

    *seconds*: the market's length, at most. *reason* and *outcome* of the trade; the *rules* that must have acted on
    the way; a text *noticed* among the notes and alerts of the decisions. *cause* is a part of an input line that must
    stand among the causes of a rule that acted, *words* what ``explain`` must say of it besides. *sessions* are the
    golden sessions that tell the same, (rule, name): their story must say those rules and words too. For a situation in
    which no position may open, *refused_by* names the gates of which one must refuse.
    """

    seconds: int
    reason: str
    outcome: str
    rules: tuple[str, ...]
    noticed: str = ""
    cause: str = ""
    words: tuple[str, ...] = ()
    sessions: tuple[tuple[str, str], ...] = ()
    refused_by: tuple[str, ...] = ()


_STOPPED: Final = ("STOP", "the_stop_fills")

EXPECTED: Final[dict[str, Expected]] = {
    "trend": Expected(
        640,
        "S_ch",
        "trailing_stop",
        ("S_be", "S_ch", "STOP"),
        cause="markPriceUpdate",
        sessions=(("STOP", "a_trailed_stop_fills"),),
    ),
    "cascade": Expected(
        3_800,
        "X5",
        "cascade",
        ("X5",),
        cause="markPriceUpdate",
        words=("liquidations cascade against the position and the mark runs with them",),
        sessions=(("X5", "liquidations_run_against_it_and_the_mark_with_them"),),
    ),
    "wall-eaten": Expected(
        850,
        "S_w",
        "tightened_stop",
        ("S_w", "X12", "STOP"),
        noticed="the wall was eaten",
        words=("the wall was eaten",),
        sessions=(("X12", "the_wall_behind_the_stop_is_eaten_and_the_price_stands_beyond_it"), _STOPPED),
    ),
    "wall-pulled": Expected(
        850,
        "S_w",
        "tightened_stop",
        ("S_w", "X12", "STOP"),
        noticed="the wall was pulled",
        words=("the wall was pulled",),
        sessions=(("X12", "the_wall_behind_the_stop_is_pulled"), _STOPPED),
    ),
    "funding": Expected(
        1_750,
        "X13",
        "funding",
        ("X13",),
        cause="markPriceUpdate",
        words=("by X13: ",),
        sessions=(("X13", "dear_funding_is_left_to_others"),),
    ),
    "thin": Expected(
        800,
        "S0",
        "hard_stop",
        ("X11", "STOP"),
        noticed="X11",
        words=("by X11",),
        sessions=(("X11", "liquidity_collapses_for_ten_seconds_and_half_goes_in_slices"), _STOPPED),
    ),
    "halt": Expected(
        600,
        "X17",
        "instrument",
        ("X17",),
        noticed="TRADING_HALT",
        words=("by X17: ",),
        sessions=(("X17", "an_hour_before_delivery_it_is_closed"),),
    ),
    "thin-start": Expected(120, "", "", (), refused_by=("liquidity", "impact", "spread")),
}
