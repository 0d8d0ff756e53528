"""
The only place for factor I, independence of Bitcoin and Ether (domain 4.10, weight 10, a quality of 0 … 100).

r = ln(c/c₋₁) of the symbol, BTC and ETH over the same bar; exponentially weighted covariances, n = 288. The symbol's
return is regressed on both (2 × 2 with a ridge of 1e−3·trace on the diagonal), on BTC alone when ETH is missing.
**I = 100·(1 − R²)**, with the betas in the detail: a high beta with a low R² is still idiosyncratic. R² is the share
of variance that the betas explain. For BTC itself it is omitted, for ETH the only regressor is BTC. No variance, or
fewer than 100 aligned bars: omitted.

Bars of the references come in their own order (another symbol's lines): whatever arrives last completes the bar, and a
bar of which a reference never comes is left out of that regression.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from pipeline.core.bars import BAR_MS
from pipeline.core.factors.factor import Age, Detail, Factor, give, missing, steady_until
from pipeline.core.numerics import clip, ln
from pipeline.core.statistics import Comoments

BITCOIN: Final = "BTCUSDT"
ETHER: Final = "ETHUSDT"
KEPT: Final = 4  # returns of each series that may wait for the others
HISTORY: Final = 288  # of a history that comes in one piece; they wait for the other series until the next bar


class IndependenceParameters(msgspec.Struct, frozen=True):
    """Numbers of domain 4.10."""

    weight: float = 10.0
    bars: int = 288
    ridge: float = 1e-3
    least_bars: int = 100


class Series(msgspec.Struct):
    """Log return of the last few closed bars of one symbol, by open time."""

    open_ms: int = 0
    close: float = 0.0
    returns: dict[int, float] = msgspec.field(default_factory=dict)

    def add(self, open_ms: int, close: float) -> bool:
        """Take one close; returns True when it gives a return (the bar before it was the last one)."""
        if open_ms <= self.open_ms or close <= 0.0:
            return False
        follows = open_ms - self.open_ms == BAR_MS and self.close > 0.0
        if follows:
            self.returns[open_ms] = ln(close / self.close)
            self.trim(KEPT)
        self.open_ms, self.close = open_ms, close
        return follows

    def extend(self, open_ms: int, closes: Sequence[float]) -> list[int]:
        """
        Take unbroken *closes*, oldest first, the newest opened at *open_ms*; returns the bars whose return is new.

        The unit of the closes may differ from one call to the next: a return is taken of two closes of one call.
        """
        before, found = self.open_ms, []
        first_ms = open_ms - (len(closes) - 1) * BAR_MS
        start = max(1, (before - first_ms) // BAR_MS + 1, len(closes) - HISTORY)
        for index in range(start, len(closes)):
            at_ms = first_ms + index * BAR_MS
            self.returns[at_ms] = ln(closes[index] / closes[index - 1])
            found.append(at_ms)
        if open_ms > before:
            self.open_ms, self.close = open_ms, float(closes[-1])
        self.trim(KEPT if len(found) <= 1 else HISTORY)
        return found

    def trim(self, count: int) -> None:
        """Keep the newest *count* returns."""
        while len(self.returns) > count:
            del self.returns[next(iter(self.returns))]


class Independence(msgspec.Struct):
    """What I remembers: the series, and the covariances of (symbol, BTC) and of (symbol, BTC, ETH)."""

    single: Comoments
    double: Comoments
    own: Series = msgspec.field(default_factory=Series)
    bitcoin: Series = msgspec.field(default_factory=Series)
    ether: Series = msgspec.field(default_factory=Series)
    single_ms: int = 0  # open time of the last bar in each
    double_ms: int = 0
    market_trend: str = ""  # Bitcoin's label, of the bar it was shared with
    market_trend_ms: int = 0

    def add(self, series: Series, open_ms: int, close: float) -> None:
        """Take one closed bar of one of this state's series and fold what it completes."""
        if series.add(open_ms, close):
            self._complete(open_ms)

    def share(self, series: Series, open_ms: int, closes: Sequence[float], own: Sequence[tuple[int, float]]) -> None:
        """
        Take shared closes of a reference and fold what they complete; *own* are (open time, close) of this symbol's
        own bars, unbroken and oldest first: they stand in for returns that were dropped before the reference came.
        """
        found = series.extend(open_ms, closes)
        if len(found) > 1 and len(own) > 1:
            known = self.own.returns
            past = {own[i][0]: ln(own[i][1] / own[i - 1][1]) for i in range(1, len(own)) if own[i][0] not in known}
            self.own.returns = dict(sorted({**past, **known}.items()))
            self.own.trim(HISTORY)
        for at_ms in found:
            self._complete(at_ms)

    def _complete(self, open_ms: int) -> None:
        own = self.own.returns.get(open_ms)
        bitcoin = self.bitcoin.returns.get(open_ms)
        if own is None or bitcoin is None:
            return
        if open_ms > self.single_ms:
            self.single_ms = open_ms
            self.single.add((own, bitcoin))
        ether = self.ether.returns.get(open_ms)
        if ether is not None and open_ms > self.double_ms:
            self.double_ms = open_ms
            self.double.add((own, bitcoin, ether))


def new(parameters: IndependenceParameters) -> Independence:
    """Before the first bar."""
    weight = 2.0 / (parameters.bars + 1)
    return Independence(single=Comoments(weight=weight), double=Comoments(weight=weight))


def one_regressor(c: Comoments) -> tuple[float, float] | None:
    """(R², beta) on BTC alone; None without variance."""
    yy, xx, xy = c.between(0, 0), c.between(1, 1), c.between(0, 1)
    if yy <= 0.0 or xx <= 0.0:
        return None
    return clip(xy * xy / (xx * yy), 0.0, 1.0), xy / xx


def two_regressors(c: Comoments, ridge: float) -> tuple[float, float, float] | None:
    """(R², beta of BTC, beta of ETH); None without variance."""
    yy = c.between(0, 0)
    bb, ee, be = c.between(1, 1), c.between(2, 2), c.between(1, 2)
    yb, ye = c.between(0, 1), c.between(0, 2)
    if yy <= 0.0 or bb + ee <= 0.0:
        return None
    extra = ridge * (bb + ee)
    determinant = (bb + extra) * (ee + extra) - be * be
    if determinant <= 0.0:
        return None
    beta_b = (yb * (ee + extra) - ye * be) / determinant
    beta_e = (ye * (bb + extra) - yb * be) / determinant
    left = yy - 2.0 * (beta_b * yb + beta_e * ye) + beta_b * beta_b * bb + 2.0 * beta_b * beta_e * be
    left += beta_e * beta_e * ee
    return clip(1.0 - left / yy, 0.0, 1.0), beta_b, beta_e


def factor(
    state: Independence,
    symbol: str,
    parameters: IndependenceParameters,
    age: Age,
    *,
    version: tuple[int, ...],
    now_ms: int,
) -> Factor:
    """I as of the last bar that was seen of the symbol and of Bitcoin."""
    asof_ms = state.single_ms + BAR_MS if state.single_ms else 0
    if symbol == BITCOIN:
        return missing("omitted for BTC itself", asof_ms=asof_ms, version=version)
    detail: Detail = {}
    both = (
        symbol != ETHER
        and state.double.count >= parameters.least_bars
        and state.double_ms >= state.single_ms - BAR_MS  # its bar may still be on its way
    )
    explained: float | None = None
    if both:
        found = two_regressors(state.double, parameters.ridge)
        if found is not None:
            explained, detail["beta_btc"], detail["beta_eth"] = found
    elif state.single.count >= parameters.least_bars:
        alone = one_regressor(state.single)
        if alone is not None:
            explained, detail["beta_btc"] = alone
    else:
        reason = f"{state.single.count} of {parameters.least_bars} aligned bars"
        return missing(reason, asof_ms=asof_ms, version=version)
    if explained is None:
        return missing("no variance", asof_ms=asof_ms, version=version)
    detail["r2"] = explained
    return give(
        100.0 * (1.0 - explained),
        age.quality(now_ms - asof_ms),
        asof_ms,
        version,
        detail,
        steady_until(asof_ms, age, now_ms),
        lowest=0.0,
    )
