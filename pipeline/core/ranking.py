"""
The only place that ranks all symbols after a closed bar and keeps the shortlist (domain section 7): no REST, one pass.

Decide reports every symbol's score once a closed bar; the newest words stand in the state, and with the tick after the
last of them they are ranked by |E|. The best ``rules.shortlist`` are shortlisted (they get aggTrade, depth and a faster
open interest); who is in leaves only when another is better by more than a tenth (hysteresis). Ties go by name, so that
the same words give the same list. A symbol that decide no longer speaks of, or with too little coverage, is not ranked.
"""

from __future__ import annotations

from typing import Final

from pipeline.core.account_state import AccountState, Ranked, RiskRules
from pipeline.core.account_words import AccountOutput, SignalSeen, TierChosen
from pipeline.core.bars import BAR_MS

STAY_PERMILLE: Final = 900  # domain section 7: hysteresis to leave 10 %
SILENT_MS: Final = 2 * BAR_MS + BAR_MS // 5  # decide has missed two bars of the symbol
COVERAGE_PERMILLE: Final = 600  # domain 4.12: below it a symbol is not tradable


def hear(state: AccountState, seen: SignalSeen) -> None:
    """Keep the newest word of a symbol; the next tick ranks."""
    state.ranking.symbols[seen.symbol] = Ranked(seen.report, state.log_ms)
    state.ranking.due = True


def rank(state: AccountState, rules: RiskRules, outputs: list[AccountOutput]) -> None:
    """Choose the shortlist anew when words have come since the last time, and tell what changed."""
    ranking = state.ranking
    if not ranking.due:
        return
    ranking.due = False
    for symbol in [s for s, r in ranking.symbols.items() if state.log_ms - r.heard_ms > SILENT_MS]:
        del ranking.symbols[symbol]
    before = ranking.shortlisted
    scored: list[tuple[int, str]] = []
    for symbol, ranked in ranking.symbols.items():
        report = ranked.report
        if report.coverage >= COVERAGE_PERMILLE and report.score:
            strength = abs(report.score) * 1_000
            scored.append((-(strength // STAY_PERMILLE if symbol in before else strength // 1_000), symbol))
    scored.sort()
    chosen = [symbol for _, symbol in scored[: rules.shortlist]]
    ranking.shortlisted = chosen
    outputs.extend(TierChosen(symbol, False) for symbol in before if symbol not in chosen)
    outputs.extend(TierChosen(symbol, True) for symbol in chosen if symbol not in before)
