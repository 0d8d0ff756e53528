"""
The only place that turns a real venue's frames into market events: what moves the matching, what is only passed on.

Every frame goes on unchanged under the name it came with. Diffs also make the book against which orders match (sheet
2.8: snapshot, `U`/`u`/`pu`; a gap empties the book until a new snapshot bridges it), aggregate trades fill resting
orders and trigger by last price, mark prices trigger, liquidate and settle funding. Pure: frames in, events out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from connectors.exchange_simulator.fixed_point import E8, decimals_of, parse_e8
from connectors.exchange_simulator.instruments import Instrument
from connectors.exchange_simulator.market_events import (
    BookLost,
    ContractChange,
    Levels,
    MarketEvent,
    MarketTrade,
    MarkGiven,
    RecordedDiff,
    RecordedFrame,
    RecordedSnapshot,
    recorded_diff,
)

Payload = dict[str, Any]  # Any: the venue's JSON
# Diffs kept while a snapshot is on its way: more than a minute of 100 ms.
KEPT_DIFFS: Final = 1_000
PERPETUALS: Final = ("PERPETUAL", "TRADIFI_PERPETUAL")


class LiveError(Exception):
    """A real venue that cannot be served from; the text says what is missing."""


def base_streams(symbol: str) -> tuple[str, str, str]:
    """What is always read of a symbol, because the matching needs it."""
    name = symbol.lower()
    return f"{name}@depth@100ms", f"{name}@aggTrade", f"{name}@markPrice@1s"


def instruments_from(exchange_info: Payload, symbols: Sequence[str]) -> list[Instrument]:
    """The instruments of *symbols* as exchangeInfo states them; LiveError names what cannot be simulated."""
    listed = {row["symbol"]: row for row in exchange_info["symbols"]}
    missing = [symbol for symbol in symbols if symbol not in listed]
    if missing:
        raise LiveError(f"the venue lists no {', '.join(missing)}")
    return [instrument_from(listed[symbol]) for symbol in symbols]


def instrument_from(row: Payload) -> Instrument:
    """One row of exchangeInfo; LiveError when its grid is finer than 1e-8 USDT or it is no perpetual in USDT."""
    symbol = row["symbol"]
    if row["contractType"] not in PERPETUALS or row["marginAsset"] != "USDT":
        raise LiveError(f"{symbol}: only perpetuals margined in USDT are simulated")
    filters = {one["filterType"]: one for one in row["filters"]}
    price, lot, market_lot = filters["PRICE_FILTER"], filters["LOT_SIZE"], filters["MARKET_LOT_SIZE"]
    tick, step = _whole(price["tickSize"]), _whole(lot["stepSize"])
    if tick * step % E8:
        raise LiveError(f"{symbol}: tick {price['tickSize']} × step {lot['stepSize']} is finer than 1e-8 USDT")
    percent = filters["PERCENT_PRICE"]
    return Instrument(
        symbol=symbol,
        base=row["baseAsset"],
        tick_e8=tick,
        step_e8=step,
        price_decimals=max(int(row["pricePrecision"]), decimals_of(price["tickSize"])),
        quantity_decimals=max(int(row["quantityPrecision"]), decimals_of(lot["stepSize"])),
        min_price=-(-_whole(price["minPrice"]) // tick),
        max_price=_whole(price["maxPrice"]) // tick,
        min_lots=-(-_whole(lot["minQty"]) // step),
        max_lots=_whole(lot["maxQty"]) // step,
        max_market_lots=_whole(market_lot["maxQty"]) // step,
        min_notional_e8=_whole(filters["MIN_NOTIONAL"]["notional"]),
        percent_up=_whole(percent["multiplierUp"]) // 10_000,
        percent_down=_whole(percent["multiplierDown"]) // 10_000,
        market_take_bound=_whole(row["marketTakeBound"]) // 10_000,
        trigger_protect=_whole(row["triggerProtect"]) // 10_000,
        max_orders=int(filters["MAX_NUM_ORDERS"]["limit"]),
        status=row["status"],
        onboard_ms=row["onboardDate"],
        delivery_ms=row["deliveryDate"],
    )


def _whole(text: str) -> int:
    value = parse_e8(text)
    if value is None:
        raise LiveError(f"{text!r} is no plain decimal of at most 8 places")
    return value


class LiveBook:
    """How one symbol's diffs are bridged with a snapshot."""

    def __init__(self) -> None:
        self.synced = False
        self._waiting: deque[Payload] = deque(maxlen=KEPT_DIFFS)
        self._last_id = 0
        self._bridged = False

    def lose(self) -> None:
        """Forget everything: the stream broke."""
        self.synced = self._bridged = False
        self._waiting.clear()

    def diff(self, payload: Payload) -> list[Payload] | None:
        """The diffs to apply now (none while a snapshot is awaited); None when this one shows a gap."""
        if not self.synced:
            self._waiting.append(payload)
            return []
        if not self._bridged and payload["u"] < self._last_id:
            return []
        follows = payload["pu"] == self._last_id if self._bridged else payload["U"] <= self._last_id
        if not follows:
            self.lose()
            self._waiting.append(payload)
            return None
        self._bridged, self._last_id = True, payload["u"]
        return [payload]

    def snapshot(self, last_id: int) -> list[Payload] | None:
        """Take a snapshot: the waiting diffs that follow it, or None when it is too old for them (2.8 step 6)."""
        self._last_id, self.synced, self._bridged = last_id, True, False
        waiting = list(self._waiting)
        self._waiting.clear()
        following: list[Payload] = []
        for index, payload in enumerate(waiting):
            applied = self.diff(payload)
            if applied is None:
                self._waiting.extend(waiting[index + 1 :])
                return None
            following += applied
        return following


class LiveMarket:
    """A Source (synthetic.Source) fed from outside; events wait here until the exchange takes them."""

    def __init__(self, rows: Sequence[Instrument], *, name: str) -> None:
        self.name = name
        self._rows = {row.symbol: row for row in rows}
        self._books = {row.symbol: LiveBook() for row in rows}
        self._base = {name: row.symbol for row in rows for name in base_streams(row.symbol)}
        self._waiting: deque[MarketEvent] = deque()
        self.frames = self.gaps = self.off_grid = self.malformed = 0
        self.connected: dict[str, bool] = {"public": False, "market": False}

    # ---- Source -------------------------------------------------------------------------------------------------

    def initial(self, now_ms: int) -> list[MarketEvent]:
        """Nothing is known before the venue tells it."""
        return []

    def next_due(self) -> int | None:
        """0 while something waits, else None: when the next frame comes nobody knows."""
        return 0 if self._waiting else None

    def take(self, now_ms: int) -> list[MarketEvent]:
        """The next waiting event."""
        return [self._waiting.popleft()] if self._waiting else []

    def status(self) -> dict[str, object]:
        """What the admin door shows."""
        return {
            "source": "live",
            "name": self.name,
            "connected": dict(self.connected),
            "books": {symbol: "synced" if book.synced else "waiting" for symbol, book in self._books.items()},
            "frames": self.frames,
            "gaps": self.gaps,
            "levels_off_the_grid": self.off_grid,
            "malformed_frames": self.malformed,
            "finished": False,
            "passed_on": "every public stream and every public GET, unchanged",
            "simulated": ["orders", "positions", "wallet", "fees", "leverage brackets", "liquidation", "user streams"],
        }

    # ---- feeding ------------------------------------------------------------------------------------------------

    def unsynced(self) -> list[str]:
        """Symbols whose book waits for a snapshot."""
        return [symbol for symbol, book in self._books.items() if not book.synced]

    def lost(self) -> None:
        """The socket with the diffs is gone: every book is empty until it is known again."""
        for symbol, book in self._books.items():
            book.lose()
            self._waiting.append(BookLost(symbol))

    def feed(self, stream: str, payload: Any) -> None:  # Any: the venue's JSON
        """Take one frame of the venue under its stream name."""
        self.frames += 1
        symbol = self._base.get(stream)
        self._waiting.append(RecordedFrame(symbol or next(iter(self._rows)), stream, payload))
        if symbol is not None:
            kind = payload["e"]
            if kind == "depthUpdate":
                self._diff(symbol, payload)
            elif kind == "aggTrade":
                self._trade(symbol, payload)
            elif kind == "markPriceUpdate":
                self._mark(symbol, payload)
        elif stream == "!contractInfo" and payload.get("st", 1) == 1 and payload.get("s") in self._rows:
            self._waiting.append(ContractChange(payload["s"], status=payload["cs"], delivery_ms=payload["dt"]))

    def snapshot(self, symbol: str, answer: Payload) -> bool:
        """Take a REST depth answer; False when it is older than the diffs that wait."""
        following = self._books[symbol].snapshot(answer["lastUpdateId"])
        if following is None:
            return False
        row = self._rows[symbol]
        self._waiting.append(BookLost(symbol))
        self._waiting.append(
            RecordedSnapshot(
                symbol=symbol,
                last_update_id=answer["lastUpdateId"],
                event_ms=answer["E"],
                transaction_ms=answer["T"],
                bids=self._levels(row, answer["bids"]),
                asks=self._levels(row, answer["asks"]),
            )
        )
        self._waiting.extend(self._event(row, payload) for payload in following)
        return True

    def _diff(self, symbol: str, payload: Payload) -> None:
        applied = self._books[symbol].diff(payload)
        if applied is None:
            self.gaps += 1
            self._waiting.append(BookLost(symbol))
            return
        self._waiting.extend(self._event(self._rows[symbol], one) for one in applied)

    def _event(self, row: Instrument, payload: Payload) -> RecordedDiff:
        return recorded_diff(
            row.symbol, payload, bids=self._levels(row, payload["b"]), asks=self._levels(row, payload["a"])
        )

    def _levels(self, row: Instrument, levels: list[list[str]]) -> Levels:
        """Levels on the symbol's grid; one that lies off it (an order older than a raised tick) is left out."""
        found: Levels = []
        for price_text, quantity_text in levels:
            price, quantity = parse_e8(price_text), parse_e8(quantity_text)
            if price is None or quantity is None or price % row.tick_e8 or quantity % row.step_e8:
                self.off_grid += 1
                continue
            found.append((price // row.tick_e8, quantity // row.step_e8))
        return found

    def _trade(self, symbol: str, payload: Payload) -> None:
        row = self._rows[symbol]
        price, quantity = parse_e8(payload["p"]), parse_e8(payload["q"])
        if price is None or quantity is None or quantity < row.step_e8:
            return
        self._waiting.append(
            MarketTrade(
                symbol, row.nearest_tick(price), quantity // row.step_e8, payload["m"], payload["l"], payload["T"]
            )
        )

    def _mark(self, symbol: str, payload: Payload) -> None:
        mark, index, rate = parse_e8(payload["p"]), parse_e8(payload["i"]), payload["r"]
        negative = rate.startswith("-")
        rate_e8 = parse_e8(rate.removeprefix("-"))
        if not mark or not index or rate_e8 is None:
            return
        average = parse_e8(str(payload.get("ap", ""))) or mark
        self._waiting.append(
            MarkGiven(symbol, mark, average, index, rate_e8=-rate_e8 if negative else rate_e8, next_ms=payload["T"])
        )
