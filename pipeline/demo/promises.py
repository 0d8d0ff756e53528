"""
The only place that judges a demo: which promise each check proves, whether it held, and what broke it.

The judges are the exchange's own ledger and the log, read after everything has stopped; no process judges itself.
Promises that a demo cannot show are not claimed: P4 needs a saturated limiter, P5 a fault matrix; they have tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, TypeAlias

import msgspec

from pipeline.core.commands import OpenBracket
from pipeline.core.events import Leg, Verdict
from pipeline.core.identity import intent_of, leg_of
from pipeline.demo.exchange import loosened_by_us, open_episodes
from pipeline.reporting.trades_report import ReportRow
from pipeline.wire import records

Json: TypeAlias = Any  # the ledger's JSON

OPEN: Final = ("NEW", "PARTIALLY_FILLED", "TRIGGERING")
NAKED_MS: Final = 2_000  # P3: from the first fill, while executor and exchange live
NAKED_KILLED_MS: Final = 5_000  # P3: the executor itself died between a fill and its stop


class Promise(msgspec.Struct, frozen=True):
    """One check: ``number`` is the promise of architecture section 1, ``broken`` what was found (empty: it held)."""

    number: str
    what: str
    broken: list[str]
    seen: str = ""

    @property
    def held(self) -> bool:
        """True when nothing was found."""
        return not self.broken


def replay_is_equal(result: Json | None) -> Promise:
    """P1: folding ``inputs`` again, from raw bytes in a fresh process, gives byte-equal decisions."""
    what = "the log, folded again in a fresh process, gives the same decisions"
    if result is None:
        return Promise("P1", what, ["the replay did not finish"])
    seen = f"{result['lines']} lines, {result['decisions']} decisions"
    broken = [] if result["equal"] else [f"first difference: {result['first_difference'] or 'see replay.log'}"]
    return Promise("P1", what, broken, seen)


def account_is_equal(folded_again: list[bytes], written: list[bytes]) -> Promise:
    """P1 for the account: folding its topic again gives the lines that it wrote into ``inputs``, repeats dropped."""
    what = "the account topic, folded again, gives the lines that account wrote"
    broken = []
    if folded_again != written:
        place = next((i for i, (a, b) in enumerate(zip(folded_again, written, strict=False)) if a != b), None)
        where = f"first at line {place}" if place is not None else "one is longer"
        broken = [f"{len(folded_again)} lines folded, {len(written)} found, {where}"]
    return Promise("P1", what, broken, f"{len(written)} lines")


def sent_once(
    intents: Sequence[records.IntentRecord], attempts: Sequence[records.AttemptRecord], ledger: Mapping[str, list[Json]]
) -> Promise:
    """P2: no order of the venue is without an intent, no entry took effect twice, no intent is without an end."""
    broken: list[str] = []
    known = {intent.id: intent for intent in intents}
    accepted = [line for line in (*ledger["order"], *ledger["algo"]) if line.get("status", line.get("state")) == "NEW"]
    own = [line["client_id"] for line in accepted if line.get("algo_id") is None or "state" in line]
    entries: dict[str, list[str]] = {}
    for client in own:
        intent = intent_of(client)
        if intent is None or intent not in known:
            broken.append(f"the exchange took {client}, which no intent asked for")
        elif leg_of(client) is Leg.ENTRY:
            entries.setdefault(intent, []).append(client)
    filled = {line["client_id"] for line in ledger["fill"]}
    for intent, clients in entries.items():
        if len([client for client in dict.fromkeys(clients) if client in filled]) > 1 or len(clients) > 1:
            broken.append(f"entry {intent} reached the exchange more than once: {', '.join(clients)}")
    ended = {entry.intent for entry in attempts if isinstance(entry, records.IntentSettled)}
    ended |= {
        entry.outcome.intent
        for entry in attempts
        if isinstance(entry, records.AttemptEnded) and entry.outcome.verdict is not Verdict.IN_DOUBT
    }
    lost = [identity for identity in known if identity not in ended]
    broken += [f"intent {identity} ({type(known[identity].intent).__name__}) has no end" for identity in lost]
    brackets = sum(isinstance(intent.intent, OpenBracket) for intent in known.values())
    return Promise(
        "P2",
        "every intent ended, entries reached the exchange once, nothing reached it unasked",
        broken,
        f"{len(known)} intents ({brackets} entries), {len(own)} orders at the exchange",
    )


def never_naked(episodes: Sequence[Json], *, killed: str | None) -> Promise:
    """P3: live stops cover the open quantity ≤ 2 s after the first fill (≤ 5 s where the executor was killed there)."""
    broken = []
    worst: dict[str, int] = {}
    for episode in episodes:
        symbol, longest = episode["symbol"], episode["naked"]["any"]["longest_ms"]
        allowed = NAKED_KILLED_MS if symbol == killed else NAKED_MS
        worst[symbol] = max(worst.get(symbol, 0), longest)
        if longest > allowed:
            broken.append(f"{symbol} was without a covering stop for {longest} ms, allowed are {allowed}")
    seen = ", ".join(f"{symbol} {longest} ms" for symbol, longest in worst.items())
    return Promise("P3", "no open quantity without a covering stop", broken, f"longest naked time: {seen or 'none'}")


def never_looser(episodes: Sequence[Json]) -> Promise:
    """P3: at no instant of a stop move is the tightest live trigger looser than the old stop."""
    broken = [
        f"{episode['symbol']}: {moment['from']} → {moment['to']} by {moment['cause']} at {moment['ms']}"
        for episode in episodes
        for moment in loosened_by_us(episode)
    ]
    moves = sum(max(0, len(episode["tightest"]) - 1) for episode in episodes)
    return Promise("P3", "no move ever loosened the tightest stop", broken, f"{moves} changes of the tightest trigger")


def nothing_left(summary: Json, resting: Sequence[str]) -> Promise:
    """P3: in the end no position is open, and no order of ours is left on the venue."""
    broken = [f"{episode['symbol']} is still open" for episode in open_episodes(summary)]
    broken += [f"{client} still rests on the exchange" for client in resting]
    return Promise("P3", "everything is flat and swept", broken, f"{len(summary['episodes'])} positions came and went")


def bad_input_is_answered(answer: Json, quarantined: int) -> Promise:
    """P6: a command for a symbol that nobody knows is refused with words; a frame that is no event is quarantined."""
    broken = []
    if answer["accepted"] is not False or "unknown symbol" not in answer["reason"]:
        broken.append(f"the command for an unknown symbol got {answer['accepted']}: {answer['reason']}")
    if not quarantined:
        broken.append("the broken frame is not in quarantine")
    return Promise("P6", "bad input is answered and kept", broken, f"{answer['reason']}; {quarantined} quarantined")


def ended_as_planned(rows: Sequence[ReportRow], wanted: Mapping[str, str]) -> Promise:
    """The demo's own: each position ended in the way that the market was made for."""
    found = {row.symbol: row.outcome for row in rows}
    broken = [
        f"{symbol} should end by {outcome}, but {found.get(symbol, 'has no trade')}"
        for symbol, outcome in wanted.items()
        if found.get(symbol) != outcome
    ]
    return Promise(
        "demo", "each position ended in the way that its market was made for", broken, ", ".join(found.values())
    )


def came_back(recovered_ms: Mapping[str, int]) -> Promise:
    """The demo's own: both kills happened in their windows, and the executor spoke again within ten seconds."""
    broken = [f"the kill {name} did not happen" for name, ms in recovered_ms.items() if ms < 0]
    broken += [] if recovered_ms else ["no kill happened"]
    broken += [f"after the kill {name} it took {ms} ms" for name, ms in recovered_ms.items() if ms > 10_000]
    seen = ", ".join(f"{name}: back after {ms} ms" for name, ms in recovered_ms.items())
    return Promise("demo", "the killed worker came back", broken, seen)


def resting_orders(ledger: Mapping[str, list[Json]]) -> list[str]:
    """Client ids whose last word in the ledger is that they are open."""
    left: dict[str, Decimal] = {}
    for line in ledger["order"]:
        name = f"order {line['client_id']}"
        left[name] = Decimal(line["quantity"]) if line["status"] in OPEN else Decimal(0)
    for line in ledger["fill"]:  # a fill changes the status without a line of its own
        name = f"order {line['client_id']}"
        if left.get(name):
            left[name] -= Decimal(line["quantity"])
    for line in ledger["algo"]:
        left[f"conditional order {line['client_id']}"] = Decimal(line["state"] in OPEN)
    return [name for name, open_part in left.items() if open_part > 0]
