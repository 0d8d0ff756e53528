"""
The only place for factor O, the regime of open interest (domain 4.6, weight 20).

Open interest in contracts (lots), polled; the last value known is sampled at each bar's close.
x_p = (c − c₋₁₂) / (0.68·a·sqrt(12)); x_o = (OI/OI₋₁₂ − 1) / max(exponentially weighted deviation n = 288, 0.002).
**O = 100·tanh(x_p/2)·(0.3 + 0.7·max(0, tanh(x_o/2)))**, −100 … 100; × 0.85 when OI > 1.3 × its 7-day average
before this bar (``crowded``; above 1.5 entries are blocked). Regime with a dead band of 0.25 on both, price first:
up_up, up_dn, dn_up, dn_dn, flat. Without open interest the factor is missing; nothing stands in for it. A jump of more
than 30 % in one poll is held for one poll: taken when the next one lies within 30 % of it, else judged anew.
Quality: 1 → 0 from 2 to 5 polls of age. Source: four-quadrant reading; the origin's weights 1.0 / 0.3.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pipeline.core.bars import BAR_MS
from pipeline.core.factors.factor import Age, Detail, Factor, give, missing, steady_until
from pipeline.core.factors.price import HOUR_BARS, Prices
from pipeline.core.numerics import tanh
from pipeline.core.statistics import Moments, Window, moments

POLL_HELD_MS = 75_000  # clarifications 3; 600 s for shortlisted symbols


class OpenInterestParameters(msgspec.Struct, frozen=True):
    """Numbers of domain 4.6."""

    weight: float = 20.0
    deviation_bars: int = 288
    deviation_floor: float = 0.002
    price_scale: float = 2.0
    interest_scale: float = 2.0
    base: float = 0.3
    part: float = 0.7
    week_bars: int = 2_016
    crowded_at: float = 1.3
    crowded_factor: float = 0.85
    blocked_at: float = 1.5
    dead_band: float = 0.25
    jump: float = 0.30


class Interest(msgspec.Struct):
    """
    What O remembers. A sample of 0 in ``past`` is a bar for which nothing fresh was known.

    ``moments`` is of the relative change over 12 bars, ``week`` of the level.
    """

    moments: Moments
    week: Moments
    past: Window
    lots: float = 0.0
    at_ms: int = 0
    poll_ms: int = POLL_HELD_MS
    held_back: float = 0.0  # a jump that waits for its confirmation
    change: float = 0.0
    change_score: float = 0.0  # x_o
    crowding: float = 0.0  # the newest sample as a multiple of the 7-day average before it, 0: not known
    known: bool = False

    def poll(self, lots: float, *, now_ms: int, poll_ms: int, parameters: OpenInterestParameters) -> None:
        """Take one answer of the venue; *poll_ms* is the interval at which this symbol is asked for at present."""
        self.poll_ms = poll_ms
        jumps = self.lots > 0.0 and abs(lots / self.lots - 1.0) > parameters.jump
        confirmed = self.held_back > 0.0 and abs(lots / self.held_back - 1.0) <= parameters.jump
        if jumps and not confirmed:
            self.held_back = lots
            return
        self.held_back = 0.0
        self.lots = lots
        self.at_ms = now_ms

    def add(self, *, now_ms: int, age: Age) -> None:
        """Sample at a bar's close; a value older than the hard age counts as none."""
        fresh = self.lots > 0.0 and now_ms - self.at_ms < age.hard_ms
        sample = self.lots if fresh else 0.0
        self.past.push(sample)
        before = self.past.back(HOUR_BARS) if self.past.full else 0.0
        self.known = sample > 0.0 and before > 0.0
        if self.known:
            self.change = sample / before - 1.0
            self.change_score = self.change / self.moments.deviation
            self.moments.add(self.change)
        if sample > 0.0:
            self.crowding = sample / self.week.mean if self.week.count else 0.0
            self.week.add(sample)

    def backfill(
        self, rows: Sequence[tuple[int, float]], *, close_ms: int, age: Age, parameters: OpenInterestParameters
    ) -> int:
        """
        Begin anew from the past: *rows* are (end of a 5m period, lots), oldest first; returns the bars sampled.

        A row counts from one period after its end on: until then it may not have been published (domain 4.6). Each bar
        up to the newest one, closed at *close_ms*, samples what was known at its close; a poll that is newer stays.
        """
        past = new(parameters)
        sampled = 0
        if rows:
            known, index = (0, 0.0), 0
            bars = min((close_ms - rows[0][0]) // BAR_MS - 1, parameters.week_bars)
            for bar_ms in range(close_ms - bars * BAR_MS, close_ms + 1, BAR_MS):
                while index < len(rows) and rows[index][0] + BAR_MS <= bar_ms:
                    known = rows[index]
                    index += 1
                past.lots, past.at_ms = known[1], known[0] + BAR_MS
                past.add(now_ms=bar_ms, age=age)
                sampled += 1
        self.moments, self.week, self.past = past.moments, past.week, past.past
        self.change, self.change_score = past.change, past.change_score
        self.crowding, self.known = past.crowding, past.known
        if past.at_ms > self.at_ms:
            self.lots, self.at_ms, self.held_back = past.lots, past.at_ms, 0.0
        return sampled

    def skip(self) -> None:
        """A bar has passed unseen (the history was filled afterwards): nothing was sampled."""
        self.past.push(0.0)
        self.known = False


def new(parameters: OpenInterestParameters) -> Interest:
    """Before the first poll."""
    return Interest(
        moments=moments(parameters.deviation_bars, floor=parameters.deviation_floor),
        week=moments(parameters.week_bars, floor=1.0),
        past=Window(size=HOUR_BARS + 1),
    )


def age_of(interest: Interest, polls: Age) -> Age:
    """The ages in ms of a symbol polled at its interval."""
    return Age(polls.soft_ms * interest.poll_ms, polls.hard_ms * interest.poll_ms)


def score(*, price: float, interest: float, crowded: bool, parameters: OpenInterestParameters) -> float:
    """O from x_p and x_o."""
    agreement = parameters.base + parameters.part * max(0.0, tanh(interest / parameters.interest_scale))
    value = 100.0 * tanh(price / parameters.price_scale) * agreement
    return value * parameters.crowded_factor if crowded else value


def label(*, price: float, interest: float, parameters: OpenInterestParameters) -> str:
    """Long build-up up_up, short covering up_dn, short build-up dn_up, long unwinding dn_dn, else flat."""
    band = parameters.dead_band
    if abs(price) <= band or abs(interest) <= band:
        return "flat"
    return f"{'up' if price > 0 else 'dn'}_{'up' if interest > 0 else 'dn'}"


def factor(
    interest: Interest,
    prices: Prices,
    parameters: OpenInterestParameters,
    polls: Age,
    *,
    version: tuple[int, ...],
    now_ms: int,
) -> Factor:
    """O as of the last closed bar; its age is that of the last poll."""
    quality = interest.moments.quality
    if not interest.known or quality <= 0.0 or not prices.change_known:
        reason = "no open interest now and 12 bars ago" if not interest.known else "not seen often enough"
        return missing(reason, asof_ms=interest.at_ms, version=version)
    age = age_of(interest, polls)
    crowd = interest.crowding
    detail: Detail = {
        "x_p": prices.change_score,
        "x_o": interest.change_score,
        "label": label(price=prices.change_score, interest=interest.change_score, parameters=parameters),
        "crowded": crowd > parameters.crowded_at,
        "blocks_entries": crowd > parameters.blocked_at,
        "crowding": crowd,
        "jump_held": interest.held_back > 0.0,
    }
    return give(
        score(
            price=prices.change_score,
            interest=interest.change_score,
            crowded=crowd > parameters.crowded_at,
            parameters=parameters,
        ),
        quality * age.quality(now_ms - interest.at_ms),
        interest.at_ms,
        version,
        detail,
        steady_until(interest.at_ms, age, now_ms),
    )
