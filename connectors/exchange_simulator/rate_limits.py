"""The only place that counts request weight per address and orders per account (sheet 5.1, 5.2).

The windows are fixed minutes and fixed ten seconds (the sheet leaves fixed or rolling open). 429 answers that are
ignored *patience* times become a 418 ban of *ban_ms*.
"""

from __future__ import annotations

from typing import Final, NoReturn

import msgspec

from connectors.exchange_simulator.errors import VenueError

POOL_MS: Final = 300_000


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The venue's figures of 2026; the demo venue has 6000 weight."""

    weight_per_minute: int = 2_400
    orders_per_10_seconds: int = 300
    orders_per_minute: int = 1_200
    funding_per_5_minutes: int = 500
    data_per_5_minutes: int = 1_000
    patience: int = 20
    ban_ms: int = 120_000


class RateLimiter:
    """Counters of one venue; *now_ms* is exchange time."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._weights: dict[tuple[str, int], int] = {}
        self._refusals: dict[tuple[str, int], int] = {}
        self._banned_until: dict[str, int] = {}
        self._pools: dict[tuple[str, str, int], int] = {}
        self._orders_10s = self._orders_1m = (0, 0)

    def used_weight(self, address: str, now_ms: int) -> int:
        """Weight used by an address in the running minute."""
        return self._weights.get((address, now_ms // 60_000), 0)

    def order_counts(self, now_ms: int) -> tuple[int, int]:
        """Orders in the running ten seconds and minute."""
        ten, minute = now_ms // 10_000, now_ms // 60_000
        return (
            self._orders_10s[1] if self._orders_10s[0] == ten else 0,
            self._orders_1m[1] if self._orders_1m[0] == minute else 0,
        )

    def banned_until(self, address: str, now_ms: int) -> int | None:
        """End of a running ban, ms; None without one."""
        until = self._banned_until.get(address, 0)
        return until if until > now_ms else None

    def charge_weight(self, address: str, weight: int, now_ms: int) -> None:
        """Count a request; raises 429 over the limit, 418 for one who goes on."""
        until = self.banned_until(address, now_ms)
        if until is not None:
            raise ban_error(until)
        key = (address, now_ms // 60_000)
        if key not in self._weights:
            self._weights = {old: used for old, used in self._weights.items() if old[1] >= key[1]}
        used = self._weights[key] = self._weights.get(key, 0) + weight
        if used <= self.limits.weight_per_minute:
            return
        self._refuse(address, now_ms, VenueError(-1003, limit=self.limits.weight_per_minute))

    def _refuse(self, address: str, now_ms: int, refusal: VenueError) -> NoReturn:
        """429 of any limiter; who goes on within the minute is banned, whichever it was (sheet 5.2)."""
        key = (address, now_ms // 60_000)
        if key not in self._refusals:
            self._refusals = {old: count for old, count in self._refusals.items() if old[1] >= key[1]}
        refusals = self._refusals[key] = self._refusals.get(key, 0) + 1
        if refusals > self.limits.patience:
            self._banned_until[address] = now_ms + self.limits.ban_ms
            raise ban_error(now_ms + self.limits.ban_ms)
        raise refusal

    def charge_pool(self, address: str, pool: str, now_ms: int) -> None:
        """Count a request of the pool "funding" or "data", whose limits are apart from the weight (sheet 5.1); 429."""
        key = (address, pool, now_ms // POOL_MS)
        if key not in self._pools:
            self._pools = {old: count for old, count in self._pools.items() if old[2] >= key[2]}
        used = self._pools[key] = self._pools.get(key, 0) + 1
        limit = self.limits.funding_per_5_minutes if pool == "funding" else self.limits.data_per_5_minutes
        if used > limit:
            self._refuse(address, now_ms, VenueError(-1003, limit=limit))

    def charge_order(self, now_ms: int, *, address: str = "", ten_seconds: int = 1) -> None:
        """Count an order attempt (a batch as *ten_seconds* of them on the short window); raises -1015 over either."""
        ten, minute = self.order_counts(now_ms)
        self._orders_10s = (now_ms // 10_000, ten + ten_seconds)
        self._orders_1m = (now_ms // 60_000, minute + 1)
        if ten + ten_seconds > self.limits.orders_per_10_seconds:
            self._refuse(
                address, now_ms, VenueError(-1015, limit=self.limits.orders_per_10_seconds, interval="10 SECOND")
            )
        if minute + 1 > self.limits.orders_per_minute:
            self._refuse(address, now_ms, VenueError(-1015, limit=self.limits.orders_per_minute, interval="1 MINUTE"))


def ban_error(until_ms: int) -> VenueError:
    """The 418 answer."""
    text = (
        f"Way too many requests; IP banned until {until_ms}. Please use the websocket for live updates to avoid bans."
    )
    return VenueError(-1003, status=418, message=text)
