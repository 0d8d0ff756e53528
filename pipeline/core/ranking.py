"""
The only place that ranks all symbols after a closed bar and keeps the shortlist (domain section 7): no REST, one pass.

Decide reports every symbol's score once a closed bar; the newest words stand in the state. They are ranked by |E| with
the last word of a bar (every symbol that was known has spoken of it), else with the next tick. The best
``rules.shortlist`` are shortlisted (they get aggTrade, depth and a faster open interest); who is in leaves only when
another is better by more than a tenth (hysteresis). Ties go by name, so that the same words give the same list. A
symbol that decide no longer speaks of, with too little coverage, or outside the universe (a gate) is not ranked.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pipeline.core.account_state import AccountState, Ranked, RiskRules
from pipeline.core.account_words import AccountOutput, SignalSeen, TiersTold
from pipeline.core.bars import BAR_MS
from pipeline.core.gates import UNIVERSE

STAY_PERMILLE: Final = 900  # domain section 7: hysteresis to leave 10 %
SILENT_MS: Final = 2 * BAR_MS + BAR_MS // 5  # decide has missed two bars of the symbol
TOLD_MS: Final = 60_000  # tiers are told again after this, so that a reader of a compacted topic can tell they live
COVERAGE_PERMILLE: Final = 600  # domain 4.12: below it a symbol is not tradable


def hear(state: AccountState, seen: SignalSeen, rules: RiskRules) -> None:
    """Keep the newest word of a symbol, without its gates (people read them in the topic); the last of a bar ranks."""
    ranking = state.ranking
    report = msgspec.structs.replace(seen.report, gates=[])
    known = ranking.symbols.get(seen.symbol)
    if report.bar_ms > ranking.bar_ms:
        ranking.bar_ms, ranking.waiting = report.bar_ms, len(ranking.symbols)
    ranking.symbols[seen.symbol] = Ranked(report, state.log_ms)
    ranking.due = True
    if known is not None and known.report.bar_ms < report.bar_ms == ranking.bar_ms:
        ranking.waiting -= 1
        if not ranking.waiting:
            rank(state, rules)


def rank(state: AccountState, rules: RiskRules) -> None:
    """Choose the shortlist anew when words have come since the last time."""
    ranking = state.ranking
    if not ranking.due:
        return
    ranking.due = False
    for symbol in [s for s, r in ranking.symbols.items() if state.log_ms - r.heard_ms > SILENT_MS]:
        ranking.waiting -= ranking.symbols.pop(symbol).report.bar_ms < ranking.bar_ms
    before = ranking.shortlisted
    scored: list[tuple[int, str]] = []
    for symbol, ranked in ranking.symbols.items():
        report = ranked.report
        if report.coverage >= COVERAGE_PERMILLE and report.score and UNIVERSE not in report.refused:
            strength = abs(report.score) * 1_000
            scored.append((-(strength // STAY_PERMILLE if symbol in before else strength // 1_000), symbol))
    scored.sort()
    ranking.shortlisted = [symbol for _, symbol in scored[: rules.shortlist]]


def tell(state: AccountState, outputs: list[AccountOutput]) -> None:
    """Tell who is held and who is shortlisted when that has changed, and once a minute."""
    ranking = state.ranking
    held = sorted(state.slots)
    same = held == ranking.held and ranking.shortlisted == ranking.told
    if ranking.told_ms >= 0 and same and state.log_ms - ranking.told_ms < TOLD_MS:
        return
    ranking.held, ranking.told, ranking.told_ms = held, list(ranking.shortlisted), state.log_ms
    ranking.number += 1
    outputs.append(TiersTold(ranking.number, held, list(ranking.shortlisted)))
