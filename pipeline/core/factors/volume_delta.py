"""
The only place for factor C, cumulative volume delta (domain 4.5, weight 20), and for the tape between two bars.

delta = 2Q − q of a bar (Q: quote volume of taker buys, q: of all, USDT). D = sum12(delta) / sum12(q) ∈ [−1, 1];
z = exponentially weighted score of D, n = 288, floor 0.01; R² of the cumulated delta over 12 bars.
**C = 100·tanh(z/2)·(0.7 + 0.3·min(1, R²/0.7))**, −100 … 100; × 0.7 and the flag ``absorption`` when D and the price
change of 12 bars differ in sign with |z| > 1 and |x_p| > 1. No volume in 12 bars: missing.

Between two bars aggTrades are counted (``seller_aggressed`` true = a sell); at the close the kline's own numbers take
their place, and if a tape without a hole differs from them by more than 0.5 % of the volume, the quality is 0.8.
Source: trade-flow imbalance; the kline's taker-buy field.
"""

from __future__ import annotations

from itertools import accumulate

import msgspec

from pipeline.core.bars import BAR_MS
from pipeline.core.factors.factor import Age, Factor, give, missing, steady_until
from pipeline.core.factors.price import HOUR_BARS, Prices
from pipeline.core.numerics import sign, tanh, total
from pipeline.core.statistics import Decayed, Moments, Window, determination, moments


class VolumeDeltaParameters(msgspec.Struct, frozen=True):
    """Numbers of domain 4.5."""

    weight: float = 20.0
    score_bars: int = 288
    score_floor: float = 0.01
    score_scale: float = 2.0
    line_base: float = 0.7
    line_part: float = 0.3
    line_full: float = 0.7
    absorption_z: float = 1.0
    absorption_price: float = 1.0
    absorption_factor: float = 0.7
    tape_tolerance: float = 0.005
    tape_quality: float = 0.8


class Tape(msgspec.Struct):
    """
    aggTrades of the bar that is forming, in USDT, and their signed flow fading over 10 s and 60 s.

    ``whole`` is True while the trade ids are unbroken since a trade of an earlier bar.
    """

    last_id: int = -1
    open_ms: int = 0
    whole: bool = False
    bought: float = 0.0
    sold: float = 0.0
    flow_10s: Decayed = msgspec.field(default_factory=lambda: Decayed(tau_ms=10_000))
    flow_60s: Decayed = msgspec.field(default_factory=lambda: Decayed(tau_ms=60_000))

    def add(self, *, trade_id: int, quote: float, seller_aggressed: bool, trade_ms: int, now_ms: int) -> None:
        """Count one trade; a repeated or older id is dropped, a skipped one makes the tape of this bar incomplete."""
        if trade_id <= self.last_id:
            return
        follows = trade_id == self.last_id + 1
        open_ms = trade_ms - trade_ms % BAR_MS
        if open_ms > self.open_ms:
            self.open_ms = open_ms
            self.whole = follows
            self.bought = self.sold = 0.0
        elif not follows:
            self.whole = False
        self.last_id = trade_id
        if seller_aggressed:
            self.sold += quote
        else:
            self.bought += quote
        signed = -quote if seller_aggressed else quote
        self.flow_10s.add(signed, now_ms)
        self.flow_60s.add(signed, now_ms)

    def differs(self, *, open_ms: int, quote: float, bought: float, tolerance: float) -> bool:
        """True when this tape saw the whole bar and says something else than the kline."""
        if not self.whole or self.open_ms != open_ms:
            return False
        allowed = tolerance * quote
        return abs(self.bought + self.sold - quote) > allowed or abs(self.bought - bought) > allowed


class VolumeDelta(msgspec.Struct):
    """
    What C remembers; ``imbalance`` is D, ``determination`` is R².

    The sums of the 12 bars are taken anew at each bar: volumes jump by many digits, and 12 is not many.
    """

    moments: Moments
    deltas: Window
    quotes: Window
    imbalance: float = 0.0
    z: float = 0.0
    determination: float = 0.0
    empty: bool = True
    absorbed: bool = False
    tape_differs: bool = False

    def add(
        self,
        prices: Prices,
        *,
        quote: float,
        delta: float,
        tape_differs: bool,
        parameters: VolumeDeltaParameters,
    ) -> None:
        """Fold the newest closed bar of *prices*: its quote volume and 2Q − q in USDT."""
        self.quotes.push(quote)
        self.deltas.push(delta)
        self.tape_differs = tape_differs
        volume = total(self.quotes.values)
        self.empty = not self.quotes.full or volume <= 0.0
        if self.empty:
            return
        cumulated = list(accumulate(self.deltas.in_order()))
        self.imbalance = cumulated[-1] / volume
        self.z = self.moments.score(self.imbalance)
        self.moments.add(self.imbalance)
        self.determination = determination(cumulated)
        self.absorbed = (
            prices.change_known
            and sign(self.imbalance) != sign(prices.change)
            and abs(self.z) > parameters.absorption_z
            and abs(prices.change_score) > parameters.absorption_price
        )


def new(parameters: VolumeDeltaParameters) -> VolumeDelta:
    """Before the first bar."""
    return VolumeDelta(
        moments=moments(parameters.score_bars, floor=parameters.score_floor),
        deltas=Window(size=HOUR_BARS),
        quotes=Window(size=HOUR_BARS),
    )


def score(*, z: float, determination: float, absorbed: bool, parameters: VolumeDeltaParameters) -> float:
    """C from z and R²."""
    straight = min(1.0, determination / parameters.line_full)
    value = 100.0 * tanh(z / parameters.score_scale) * (parameters.line_base + parameters.line_part * straight)
    return value * parameters.absorption_factor if absorbed else value


def factor(
    state: VolumeDelta, parameters: VolumeDeltaParameters, age: Age, *, version: int, asof_ms: int, now_ms: int
) -> Factor:
    """C as of the last closed bar."""
    quality = state.moments.quality
    if state.empty or quality <= 0.0:
        reason = "no volume in 12 bars" if state.empty else f"{state.moments.count} values are too few"
        return missing(reason, asof_ms=asof_ms, version=(version,))
    if state.tape_differs:
        quality *= parameters.tape_quality
    return give(
        score(z=state.z, determination=state.determination, absorbed=state.absorbed, parameters=parameters),
        quality * age.quality(now_ms - asof_ms),
        asof_ms,
        (version,),
        {
            "d": state.imbalance,
            "z": state.z,
            "r2": state.determination,
            "absorption": state.absorbed,
            "tape_differs": state.tape_differs,
        },
        steady_until(asof_ms, age, now_ms),
    )
