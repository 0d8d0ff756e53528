"""
The only place for what follows from one quote after another: microprice and order-flow imbalance (domain 4.7).

microprice = (bid·askQty + ask·bidQty) / (bidQty + askQty); lean = 1e4·(micro/mid − 1) bps (Stoikov 2018).
OFI event e = 1{Pb ≥ Pb'}qb − 1{Pb ≤ Pb'}qb' − 1{Pa ≤ Pa'}qa + 1{Pa ≥ Pa'}qa' (primes: the quote before), summed with a
decay of 10 s and divided by the average depth of the touch, (qb + qa)/2 of the quotes with the same decay; z:
exponentially weighted, n = 600 samples of 1 s (Cont, Kukanov, Stoikov, arXiv 1011.6402). These are companions for
gates and exits, no factors of the composite.

Seconds are those of log time; a second without a quote is sampled as it had decayed. Beyond 5 s of silence quotes are
stale (domain 3.3) and the seconds in between are no samples.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pipeline.core.numerics import decay
from pipeline.core.statistics import Moments, moments

SAMPLE_MS: Final = 1_000
MOST_SAMPLES: Final = 5


class OrderFlowParameters(msgspec.Struct, frozen=True):
    """Numbers of domain 4.7 for OFI."""

    tau_ms: int = 10_000
    samples: int = 600
    floor: float = 0.1  # in units of the touch's depth; the domain names none


class OrderFlow(msgspec.Struct):
    """
    The last quote (ticks, lots) and the flow that led to it.

    ``faded`` is the sum of events as of ``at_ms``, ``depth`` that of the touches, ``quotes`` how many there were: all
    three fade together, so one decay a quote is enough (quotes are the most frequent input there is).
    """

    tau_ms: int
    moments: Moments
    faded: float = 0.0
    depth: float = 0.0
    quotes: float = 0.0
    bid: int = 0
    bid_lots: int = 0
    ask: int = 0
    ask_lots: int = 0
    at_ms: int = 0
    z: float = 0.0

    def add(self, bid: int, bid_lots: int, ask: int, ask_lots: int, now_ms: int) -> None:
        """Take the next quote; one that cannot be (empty, crossed) is not taken."""
        if not 0 < bid < ask or bid_lots <= 0 or ask_lots <= 0:
            return
        before = self.at_ms
        if before:
            if now_ms > before:
                if -now_ms // SAMPLE_MS != -before // SAMPLE_MS:
                    self._sample(now_ms)
                fade = decay(now_ms - before, self.tau_ms)
                self.faded *= fade
                self.depth *= fade
                self.quotes *= fade
                self.at_ms = now_ms
            self.faded += event(self.bid, self.bid_lots, self.ask, self.ask_lots, bid, bid_lots, ask, ask_lots)
        else:
            self.at_ms = now_ms
        self.depth += (bid_lots + ask_lots) / 2
        self.quotes += 1.0
        self.bid, self.bid_lots, self.ask, self.ask_lots = bid, bid_lots, ask, ask_lots

    def _sample(self, now_ms: int) -> None:
        """Score and add the flow at each full second from the last quote on and before this one."""
        second = -(-self.at_ms // SAMPLE_MS)
        passed = -(-now_ms // SAMPLE_MS) - second
        for step in range(min(passed, MOST_SAMPLES)):
            value = self.flow((second + step) * SAMPLE_MS)
            self.z = self.moments.score(value)
            self.moments.add(value)

    def flow(self, now_ms: int) -> float:
        """Decayed flow in units of the touch's average depth; 0 before the second quote."""
        if not self.at_ms:
            return 0.0
        return self.faded * decay(now_ms - self.at_ms, self.tau_ms) / (self.depth / self.quotes)

    @property
    def mid(self) -> float:
        """Middle of bid and ask in ticks, 0 before the first quote."""
        return (self.bid + self.ask) / 2

    @property
    def lean_bps(self) -> float:
        """How far the microprice stands above the mid, in bps; 0 before the first quote."""
        if not self.at_ms:
            return 0.0
        micro = microprice(bid=self.bid, bid_lots=self.bid_lots, ask=self.ask, ask_lots=self.ask_lots)
        return 1e4 * (micro / self.mid - 1.0)


def new(parameters: OrderFlowParameters) -> OrderFlow:
    """Before the first quote."""
    return OrderFlow(
        tau_ms=parameters.tau_ms,
        moments=moments(parameters.samples, floor=parameters.floor),
    )


def event(  # noqa: PLR0917  two quotes, in the order of the formula; it runs at every quote
    old_bid: int,
    old_bid_lots: int,
    old_ask: int,
    old_ask_lots: int,
    bid: int,
    bid_lots: int,
    ask: int,
    ask_lots: int,
) -> int:
    """OFI of one change of the quote, in lots."""
    flow = 0
    if bid >= old_bid:
        flow += bid_lots
    if bid <= old_bid:
        flow -= old_bid_lots
    if ask <= old_ask:
        flow -= ask_lots
    if ask >= old_ask:
        flow += old_ask_lots
    return flow


def microprice(*, bid: float, bid_lots: float, ask: float, ask_lots: float) -> float:
    """The mid weighted towards the thinner side."""
    return (bid * ask_lots + ask * bid_lots) / (bid_lots + ask_lots)
