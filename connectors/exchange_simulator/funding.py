"""The only place with funding: the premium's average, the rate, settlements and the interval of a symbol (sheet 7.2).

F = [P + clamp(I − P, ±0.05 %)] / (8 / N) for N hours, limited to cap and floor; P is the time-weighted average of
one-second premium samples, I = 0.01 % per 8 h. A rate that ends at its limit switches the symbol to one hour; sixteen
quiet hours in a row switch it to four.
"""

from __future__ import annotations

from typing import Final

import msgspec

from connectors.exchange_simulator.fixed_point import E8

HOUR: Final = 3_600_000
INTEREST_E8: Final = 10_000
CLAMP_E8: Final = 50_000
# ±0.3 % for the deep market, ±2 % for the others (sheet 7.2).
DEEP_CAP_E8: Final = 300_000
OTHER_CAP_E8: Final = 2_000_000
QUIET_E8: Final = 25_000
QUIET_HOURS: Final = 16


class Settlement(msgspec.Struct, frozen=True):
    """One past settlement: when, at which rate (e8 of the notional) and mark (e8)."""

    at_ms: int
    rate_e8: int
    mark_e8: int


class Funding:
    """The funding of one symbol."""

    def __init__(self, *, hours: int, cap_e8: int, start_ms: int) -> None:
        self.hours = hours
        self.cap_e8 = cap_e8
        self.changed_ms = start_ms
        self.settlements: list[Settlement] = []
        # A rate set by hand stands until its settlement.
        self.forced_e8: int | None = None
        self._quiet = 0
        self._begin(start_ms)

    def _begin(self, now_ms: int) -> None:
        span = self.hours * HOUR
        self.next_ms = (now_ms // span + 1) * span
        self._weighted = self._weights = self._samples = 0

    def sample(self, *, impact_bid_e8: int, impact_ask_e8: int, index_e8: int) -> None:
        """Take one premium sample; later samples of an interval weigh more."""
        premium = max(0, impact_bid_e8 - index_e8) - max(0, index_e8 - impact_ask_e8)
        self._samples += 1
        self._weighted += self._samples * (premium * E8 // index_e8)
        self._weights += self._samples

    @property
    def premium_e8(self) -> int:
        """The average premium of the running interval."""
        return self._weighted // self._weights if self._weights else 0

    @property
    def rate_e8(self) -> int:
        """The rate the next settlement would have, e8."""
        if self.forced_e8 is not None:
            return self.forced_e8
        premium = self.premium_e8
        rate = premium + max(-CLAMP_E8, min(CLAMP_E8, INTEREST_E8 - premium))
        return max(-self.cap_e8, min(self.cap_e8, rate * self.hours // 8))

    def settle(self, *, mark_e8: int) -> Settlement:
        """End the interval that is due: the settlement to pay by; the next interval may have another length."""
        done = Settlement(self.next_ms, self.rate_e8, mark_e8)
        self.settlements.append(done)
        self.forced_e8 = None
        hours = self.hours
        self._quiet = self._quiet + 1 if hours == 1 and abs(done.rate_e8) <= QUIET_E8 else 0
        if abs(done.rate_e8) >= self.cap_e8:
            self.hours = 1
        elif self._quiet >= QUIET_HOURS:
            self.hours = 4
        if self.hours != hours:
            self.changed_ms = done.at_ms
        self._begin(done.at_ms)
        return done


def mark_price(*, index_e8: int, basis_e8: int, last_e8: int, rate_e8: int, funding: Funding, now_ms: int) -> int:
    """median(index × (1 + rate × time left / interval), index + average basis, last price), sheet 7.3."""
    left = max(0, funding.next_ms - now_ms)
    first = index_e8 + index_e8 * rate_e8 * left // (funding.hours * HOUR * E8)
    return sorted((first, index_e8 + basis_e8, last_e8))[1]
