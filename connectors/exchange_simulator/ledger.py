"""The only judge of what happened: every order, fill, stop, request with exchange time, and the promises seen in it.

Naked time: milliseconds in which an open quantity was not covered by live stops on the right side (a closePosition
stop covers everything, reduceOnly stops their quantity), judged after every operation of the venue.
"""

from __future__ import annotations

from typing import Any

from connectors.exchange_simulator.account import Position
from connectors.exchange_simulator.conditional import AlgoOrder
from connectors.exchange_simulator.instruments import Instrument

Payload = dict[str, Any]  # Any: JSON lines
# What covers: all stops together, only the closePosition rail, only the reduceOnly rail.
RAILS = ("any", "close_position", "reduce_only")


class Episode:
    """One position from first fill to flat; times in exchange ms, triggers in ticks."""

    def __init__(self, row: Instrument, *, lots: int, now_ms: int) -> None:
        self.row = row
        self.long = lots > 0
        self.opened_ms = now_ms
        self.closed_ms: int | None = None
        self.max_lots = abs(lots)
        self.naked_since: dict[str, int | None] = dict.fromkeys(RAILS, now_ms)
        self.naked: dict[str, list[tuple[int, int]]] = {rail: [] for rail in RAILS}
        self.first_covered: dict[str, int | None] = dict.fromkeys(RAILS, None)
        self.tightest: int | None = None
        self.triggers: list[tuple[int, int | None, str]] = []
        self.loosened: list[tuple[int, int, int | None, str]] = []
        self.realised_e8 = self.fees_e8 = self.fills = 0

    def observe(self, *, covered: dict[str, bool], tightest: int | None, cause: str, now_ms: int) -> None:
        """Take the protection after an operation."""
        for rail in RAILS:
            since = self.naked_since[rail]
            if covered[rail]:
                if since is not None:
                    self._end_naked(rail, since, now_ms)
                if self.first_covered[rail] is None:
                    self.first_covered[rail] = now_ms
            elif since is None:
                self.naked_since[rail] = now_ms
        if tightest != self.tightest:
            old = self.tightest
            self.triggers.append((now_ms, tightest, cause))
            if old is not None and (tightest is None or (tightest < old if self.long else tightest > old)):
                self.loosened.append((now_ms, old, tightest, cause))
            self.tightest = tightest

    def close(self, now_ms: int) -> None:
        """The position is flat."""
        for rail in RAILS:
            since = self.naked_since[rail]
            if since is not None:
                self._end_naked(rail, since, now_ms)
        self.closed_ms = now_ms

    def _end_naked(self, rail: str, since: int, now_ms: int) -> None:
        self.naked_since[rail] = None
        if now_ms > since:
            self.naked[rail].append((since, now_ms))

    def summary(self, now_ms: int) -> Payload:
        """JSON view; an episode still open is measured up to *now_ms*."""
        price = self.row.price_text
        rails: Payload = {}
        for rail in RAILS:
            spans = list(self.naked[rail])
            since = self.naked_since[rail]
            if since is not None and self.closed_ms is None and now_ms > since:
                spans.append((since, now_ms))
            first = self.first_covered[rail]
            rails[rail] = {
                "naked_ms": sum(end - start for start, end in spans),
                "longest_ms": max((end - start for start, end in spans), default=0),
                "intervals": [list(span) for span in spans],
                "first_covered_after_ms": None if first is None else first - self.opened_ms,
            }
        return {
            "symbol": self.row.symbol,
            "side": "LONG" if self.long else "SHORT",
            "opened_ms": self.opened_ms,
            "closed_ms": self.closed_ms,
            "max_quantity": self.row.quantity_text(self.max_lots),
            "fills": self.fills,
            "realised_e8": self.realised_e8,
            "fees_e8": self.fees_e8,
            "naked": rails,
            "tightest": [[at, None if ticks is None else price(ticks), cause] for at, ticks, cause in self.triggers],
            "loosened": [
                {"ms": at, "from": price(old), "to": None if new is None else price(new), "cause": cause}
                for at, old, new, cause in self.loosened
            ],
        }


class Ledger:
    """Append-only truth in memory; *write* gets every line (the shell puts it into a file)."""

    def __init__(self, write: Any = None, *, keep: int = 100_000) -> None:  # Any: optional callable sink
        self.lines: list[Payload] = []
        self.first_kept = 0
        self._write = write
        self._keep = keep
        self._next = 0
        self.episodes: list[Episode] = []
        self._open: dict[tuple[str, str], Episode] = {}
        self.client_ids: dict[str, dict[str, int]] = {}
        self.requests_by_minute: dict[int, list[int]] = {}
        self.requests_by_path: dict[str, int] = {}
        self.statuses: dict[str, int] = {}
        self.orders_accepted = self.algos_accepted = 0
        # Faults that bit, by action.
        self.faults: dict[str, int] = {}

    @property
    def count(self) -> int:
        """How many lines were written so far, kept or not."""
        return self._next

    def record(self, kind: str, body: Payload, *, now_ms: int) -> None:
        """Append one line `{"n", "at", "kind", …}`."""
        line = {"n": self._next, "at": now_ms, "kind": kind} | body
        self._next += 1
        self.lines.append(line)
        if self._write is not None:
            self._write(line)
        if len(self.lines) > self._keep:
            del self.lines[: self._keep // 10]
            self.first_kept = self.lines[0]["n"]
        if kind == "order" and body["status"] == "NEW" and body["algo_id"] is None:
            self.orders_accepted += 1
            self._count_client_id("order", body["client_id"])
        elif kind == "algo" and body["state"] == "NEW":
            self.algos_accepted += 1
            self._count_client_id("algo", body["client_id"])
        elif kind == "fill":
            episode = self._open.get((body["symbol"], body["position_side"]))
            if episode is not None:
                self._book_fill(episode, body)
        elif kind == "request":
            self._count_request(body, now_ms)
        elif kind == "fault":
            self.faults[body["action"]] = self.faults.get(body["action"], 0) + 1

    @staticmethod
    def _book_fill(episode: Episode, body: Payload) -> None:
        episode.fills += 1
        episode.realised_e8 += body["realised_e8"]
        episode.fees_e8 += body["fee_e8"]

    def _count_client_id(self, kind: str, client_id: str) -> None:
        counts = self.client_ids.setdefault(kind, {})
        counts[client_id] = counts.get(client_id, 0) + 1

    def _count_request(self, body: Payload, now_ms: int) -> None:
        minute = self.requests_by_minute.setdefault(now_ms // 60_000, [0, 0])
        minute[0] += 1
        minute[1] += body["weight"]
        name = f"{body['method']} {body['path']}"
        self.requests_by_path[name] = self.requests_by_path.get(name, 0) + 1
        status = f"{body['status']}" if body["code"] is None else f"{body['status']} {body['code']}"
        self.statuses[status] = self.statuses.get(status, 0) + 1

    def in_episode(self, position: Position) -> bool:
        """Whether an episode of this position is running."""
        return (position.row.symbol, position.side) in self._open

    def position_opened(self, position: Position, now_ms: int) -> Episode:
        """Start an episode at the first fill (called before the fill is recorded)."""
        row = position.row
        episode = self._open[row.symbol, position.side] = Episode(row, lots=position.lots, now_ms=now_ms)
        self.episodes.append(episode)
        side = "LONG" if position.lots > 0 else "SHORT"
        self.record("position_opened", {"symbol": row.symbol, "side": side}, now_ms=now_ms)
        return episode

    def judge(self, position: Position, stops: list[AlgoOrder], *, cause: str, now_ms: int) -> None:
        """Look at one symbol's position and live stops after an operation."""
        symbol = position.row.symbol
        episode = self._open.get((symbol, position.side))
        if episode is not None and (position.lots == 0 or (position.lots > 0) != episode.long):
            episode.close(now_ms)
            del self._open[symbol, position.side]
            self.record("position_closed", episode.summary(now_ms), now_ms=now_ms)
            episode = None
        if position.lots == 0:
            return
        if episode is None:
            episode = self.position_opened(position, now_ms)
        episode.max_lots = max(episode.max_lots, abs(position.lots))
        live = [
            stop
            for stop in stops
            if stop.is_stop and stop.state == "NEW" and stop.buy != episode.long
            and stop.position_side == position.side and stop.closes
        ]  # fmt: skip
        closing = any(stop.close_position for stop in live)
        quantity = sum(stop.lots for stop in live if not stop.close_position)
        covered = {
            "any": closing or quantity >= abs(position.lots),
            "close_position": closing,
            "reduce_only": quantity >= abs(position.lots),
        }
        triggers = [stop.trigger for stop in live]
        tightest = None if not triggers else max(triggers) if episode.long else min(triggers)
        episode.observe(covered=covered, tightest=tightest, cause=cause, now_ms=now_ms)
        row = position.row
        self.record(
            "protection",
            {
                "symbol": symbol,
                "position": row.quantity_text(position.lots),
                "cause": cause,
                "covered": covered,
                "tightest": None if tightest is None else row.price_text(tightest),
                "stops": [
                    {"client_id": stop.client_id, "trigger": row.price_text(stop.trigger), "close": stop.close_position}
                    for stop in live
                ],
            },
            now_ms=now_ms,
        )

    def summary(self, now_ms: int) -> Payload:
        """What GET /admin/summary answers."""
        duplicates = {
            kind: {name: count for name, count in counts.items() if count > 1}
            for kind, counts in self.client_ids.items()
        }
        symbols: Payload = {}
        for episode in self.episodes:
            view = episode.summary(now_ms)
            row = symbols.setdefault(
                view["symbol"], {"episodes": 0, "naked_ms": dict.fromkeys(RAILS, 0), "longest_ms": 0, "loosened": 0}
            )
            row["episodes"] += 1
            row["loosened"] += len(view["loosened"])
            row["longest_ms"] = max(row["longest_ms"], view["naked"]["any"]["longest_ms"])
            for rail in RAILS:
                row["naked_ms"][rail] += view["naked"][rail]["naked_ms"]
        return {
            "now": now_ms,
            "symbols": symbols,
            "episodes": [episode.summary(now_ms) for episode in self.episodes],
            "duplicates": {kind: found for kind, found in duplicates.items() if found},
            "orders": {"accepted": self.orders_accepted, "algo_accepted": self.algos_accepted},
            "minutes": [
                {"minute_ms": minute * 60_000, "requests": counts[0], "weight": counts[1]}
                for minute, counts in self.requests_by_minute.items()
            ],
            "requests": self.requests_by_path,
            "answers": self.statuses,
            "faults": self.faults,
        }
