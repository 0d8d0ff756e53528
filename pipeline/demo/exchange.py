"""The only place where the demo talks to the exchange's admin door: paths, holds, and the ledger that judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import httpx

Json: TypeAlias = Any  # the admin door's JSON

# A stop that fires or a position that ends takes its triggers away by itself; only what we asked for can loosen.
OURS: Final = ("place", "cancel")
# The demo itself asks for prices; nobody else uses this path, so its requests can be told apart.
PRICE_REQUEST: Final = "GET /fapi/v1/ticker/bookTicker"
PRICE_WEIGHT: Final = 2


class ExchangeGone(Exception):
    """The simulated exchange does not answer."""


class Exchange:
    """The admin door of one simulator."""

    def __init__(self, rest_url: str) -> None:
        self.rest_url = rest_url
        self._client = httpx.AsyncClient(base_url=rest_url, timeout=30.0)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _ask(self, method: str, path: str, body: Json = None, **params: str) -> Json:
        try:
            answer = await self._client.request(method, path, json=body, params=params)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise ExchangeGone(f"{method} {path}: {error!r}") from error
        return answer.json()

    async def status(self) -> Json:
        """Clock, source, sockets."""
        return await self._ask("GET", "/admin/status")

    async def start_market(self) -> None:
        """Let a waiting market begin."""
        await self._ask("POST", "/admin/start", {})

    async def mid_price(self, symbol: str) -> float:
        """The middle of the book, for people's numbers."""
        quote = await self._ask("GET", "/fapi/v1/ticker/bookTicker", symbol=symbol)
        return (float(quote["bidPrice"]) + float(quote["askPrice"])) / 2

    async def mid_prices(self) -> dict[str, float]:
        """The middle of every book in one call: one call a symbol would spend the address's weight."""
        quotes = await self._ask("GET", "/fapi/v1/ticker/bookTicker")
        return {row["symbol"]: (float(row["bidPrice"]) + float(row["askPrice"])) / 2 for row in quotes}

    async def tick_sizes(self) -> dict[str, float]:
        """Tick size by symbol, from exchangeInfo."""
        rows = (await self._ask("GET", "/fapi/v1/exchangeInfo"))["symbols"]
        return {
            row["symbol"]: float(one["tickSize"])
            for row in rows
            for one in row["filters"]
            if one["filterType"] == "PRICE_FILTER"
        }

    async def run_path(self, symbol: str, segments: Sequence[Json]) -> None:
        """Start a price path now; the market holds at its end."""
        await self._ask("POST", "/admin/path", {"symbol": symbol, "segments": list(segments), "at_end": "hold"})

    async def spread_marks(self, spread: bool, phases: Mapping[str, int] | None = None) -> None:
        """Mark prices evenly over the second from now on, those of *phases* at their millisecond, or all at once."""
        await self._ask("POST", "/admin/marks", {"spread": spread, "phases": dict(phases or {})})

    async def end_bars(self, *, phase_ms: int) -> int:
        """End the running 5m candle of every symbol at that millisecond of a second; returns when (exchange ms)."""
        return int((await self._ask("POST", "/admin/bars", {"phase_ms": phase_ms}))["at_ms"])

    async def hold(self, rules: Sequence[Json]) -> None:
        """Put fault rules in force, in place of all others."""
        await self._ask("POST", "/admin/faults", {"rules": list(rules), "replace": True})

    async def forget_faults(self) -> None:
        """Withdraw every rule; what is held stays held."""
        await self._ask("DELETE", "/admin/faults")

    async def wait_held(self, *, wait_ms: int) -> list[Json]:
        """The requests that are being held, waiting up to *wait_ms* for the first."""
        return list((await self._ask("GET", "/admin/holds", wait_ms=str(wait_ms)))["holds"])

    async def release(self, number: int) -> None:
        """Let one held request go on."""
        await self._ask("POST", "/admin/release", {"id": number})

    async def send_frame(self, stream: str, payload: Json) -> int:
        """Send a public frame as given; returns how many sockets got it."""
        return int((await self._ask("POST", "/admin/frame", {"stream": stream, "payload": payload}))["sent"])

    async def summary(self) -> Json:
        """What the ledger says: episodes with naked time, duplicates, requests."""
        return await self._ask("GET", "/admin/summary")

    async def ledger_since(self, kind: str, after: int) -> tuple[list[Json], int]:
        """The lines of one kind behind line *after* (−1: from the start), and the number of the ledger's last line."""
        answer = await self._ask("GET", "/admin/ledger", kind=kind, limit="10000", after=str(after))
        return answer["lines"], int(answer["last"])

    async def ledger(self, kind: str) -> list[Json]:
        """Every line of one kind."""
        lines: list[Json] = []
        while True:
            after = str(lines[-1]["n"]) if lines else "-1"
            batch = (await self._ask("GET", "/admin/ledger", kind=kind, limit="10000", after=after))["lines"]
            if not batch:
                return lines
            lines += batch


def open_episodes(summary: Json) -> list[Json]:
    """Positions that are not flat."""
    return [episode for episode in summary["episodes"] if episode["closed_ms"] is None]


def loosened_by_us(episode: Json) -> list[Json]:
    """Moments in which the tightest live trigger became looser by something that we asked for."""
    return [moment for moment in episode["loosened"] if moment["cause"] in OURS]


def requests_per_minute(summary: Json) -> dict[str, float]:
    """Requests and weight a minute of the pipeline, over the minutes in which the exchange ran (at least one)."""
    minutes = summary["minutes"]
    if not minutes:
        return {"requests_per_minute": 0.0, "weight_per_minute": 0.0}
    elapsed = max(1.0, (summary["now"] - minutes[0]["minute_ms"]) / 60_000)
    own = summary["requests"].get(PRICE_REQUEST, 0)
    return {
        "requests_per_minute": round((sum(minute["requests"] for minute in minutes) - own) / elapsed, 1),
        "weight_per_minute": round((sum(minute["weight"] for minute in minutes) - own * PRICE_WEIGHT) / elapsed, 1),
    }
