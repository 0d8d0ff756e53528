"""
The only place that makes the ranking for people: every symbol by |E| with its factors, qualities, stage and gates.

Two topics tell it, no REST: ``factors`` (values and scores) and ``account`` (what each closed bar said, gate by gate).
It shows what was decided on; the shortlist itself is account's (``core.ranking``, topic ``tiers``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from pipeline.core.commands import GateRow, SignalPlan
from pipeline.core.events import Side
from pipeline.core.units import format_e8
from pipeline.reporting import words
from pipeline.wire import records

LETTERS: Final = ("T", "M", "S", "V", "C", "O", "B", "Q", "L", "I", "F")


class FactorCell(msgspec.Struct, frozen=True):
    """One factor: points, quality 0 to 1, and what is missing ("" when it is ready)."""

    value: float
    quality: float
    missing: str


class RankRow(msgspec.Struct, frozen=True):
    """One symbol; points as people read them. ``refused`` are ids of gates, ``gates`` all of them."""

    rank: int
    symbol: str
    side: str
    score: float
    strength: float
    odds: float
    coverage: float
    stage: str
    fresh: bool
    shortlisted: bool
    held: bool
    price_e8: int
    bar_ms: int
    at_ms: int
    factors: dict[str, FactorCell]
    refused: list[str]
    gates: list[GateRow]
    plan: SignalPlan | None = None


class RankingView:
    """Takes records of three topics in any order; ``rows`` ranks what was taken."""

    def __init__(self) -> None:
        self._factors: dict[str, records.FactorsRecord] = {}
        self._signals: dict[str, records.SignalReported] = {}
        self._tiers: records.Tiers | None = None
        self.unreadable = 0

    def take_factors(self, value: bytes) -> None:
        """The newest values of a symbol stand."""
        try:
            record = records.decode_factors(value)
        except msgspec.DecodeError:
            self.unreadable += 1
            return
        known = self._factors.get(record.symbol)
        if known is None or known.at_ms <= record.at_ms:
            self._factors[record.symbol] = record

    def take_account(self, value: bytes) -> None:
        """What the newest bar of a symbol said."""
        try:
            message = records.decode_account(value)
        except msgspec.DecodeError:
            self.unreadable += 1
            return
        if isinstance(message, records.SignalReported):
            known = self._signals.get(message.symbol)
            if known is None or known.report.bar_ms <= message.report.bar_ms:
                self._signals[message.symbol] = message

    def take_tiers(self, value: bytes) -> None:
        """Who is held and who is shortlisted."""
        try:
            self._tiers = records.decode_tiers(value)
        except msgspec.DecodeError:
            self.unreadable += 1

    def rows(self) -> list[RankRow]:
        """Every symbol that spoke, the strongest first; equal ones by name."""
        symbols = sorted({*self._factors, *self._signals}, key=lambda symbol: (-abs(self._score(symbol)), symbol))
        return [self._row(rank, symbol) for rank, symbol in enumerate(symbols, start=1)]

    def _score(self, symbol: str) -> int:
        """E in 1/1000: of the newest values, else of the last bar."""
        found = self._factors.get(symbol)
        return found.scores.score if found is not None else self._signals[symbol].report.score

    def _row(self, rank: int, symbol: str) -> RankRow:
        found, said = self._factors.get(symbol), self._signals.get(symbol)
        report = said.report if said is not None else None
        score = self._score(symbol)
        side = Side.BUY if score >= 0 else Side.SELL
        odds = 0
        if found is not None:
            odds = found.scores.odds_long if side is Side.BUY else found.scores.odds_short
        elif report is not None:
            odds = report.odds
        return RankRow(
            rank=rank,
            symbol=symbol,
            side="long" if side is Side.BUY else "short",
            score=score / 1_000,
            strength=report.strength / 1_000 if report is not None else 0.0,
            odds=odds / 1_000_000,
            coverage=(found.scores.coverage if found is not None else report.coverage if report is not None else 0)
            / 1_000,
            stage=report.stage if report is not None else "",
            fresh=report.fresh if report is not None else False,
            shortlisted=self._tiers is not None and symbol in self._tiers.shortlisted,
            held=self._tiers is not None and symbol in self._tiers.held,
            price_e8=found.price if found is not None else report.price if report is not None else 0,
            bar_ms=report.bar_ms if report is not None else 0,
            at_ms=found.at_ms if found is not None else report.bar_ms if report is not None else 0,
            factors=_cells(found),
            refused=list(report.refused) if report is not None else [],
            gates=list(report.gates) if report is not None else [],
            plan=report.plan if report is not None else None,
        )


def _cells(found: records.FactorsRecord | None) -> dict[str, FactorCell]:
    if found is None:
        return {}
    return {
        letter: FactorCell(
            round(row.value, 3), round(row.quality, 3), "" if row.ready else str(row.detail.get("missing", "not ready"))
        )
        for letter, row in found.factors.items()
    }


def why_not(row: RankRow) -> str:
    """What the last closed bar said about an entry, in plain words: the stage, and each gate that does not pass."""
    if not row.stage:
        return "no closed bar has been judged in the last 11 minutes"
    lines = [f"last closed bar: {row.stage} {row.side}, E {row.score:+.1f}, strength {row.strength:.0f}"]
    lines += [
        f"  gate {gate.id} {'refuses' if gate.verdict == 'refuse' else 'cannot see'}: found {gate.value}, "
        f"allowed {gate.limit} ({gate.reason})"
        for gate in row.gates
        if gate.verdict != "pass"
    ]
    if not row.refused:
        lines.append("  no gate refuses")
    if row.plan is not None:
        lines.append(f"  proposed: {plan_told(row.plan)}")
    return "\n".join(lines)


def plan_told(plan: SignalPlan) -> str:
    """Entry, stop and targets of a prime signal in one line."""
    return (
        f"enter {format_e8(plan.low)}–{format_e8(plan.high)}, stop {format_e8(plan.stop)}, targets "
        f"{format_e8(plan.target)} ({plan.first_share / 10:g} %) and {format_e8(plan.last_target)}, "
        f"{plan.ratio / 1_000:.2f} R to the first, until {words.moment(plan.valid_until_ms)}"
    )


def payload(rows: Iterable[RankRow], *, now_ms: int) -> dict[str, Any]:
    """The ranking as one JSON object; ``rest`` is how many REST requests it took: none."""
    ranking = [plain(row) for row in rows]
    return {"at_ms": now_ms, "rest": 0, "symbols": len(ranking), "ranking": ranking}


def plain(row: RankRow) -> dict[str, Any]:
    """One row for programs, gates by name."""
    found: dict[str, Any] = msgspec.to_builtins(row)
    return found | {"gates": [_gate(gate) for gate in row.gates]}


def _gate(gate: GateRow) -> dict[str, str]:
    names = ("id", "value", "limit", "verdict", "reason")
    return {name: getattr(gate, name) for name in names}
