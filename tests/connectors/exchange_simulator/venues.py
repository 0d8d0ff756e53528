"""The only place where the simulator's own tests build a venue with a hand-written book and speak to it in requests."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from connectors.exchange_simulator.endpoints import ROUTES
from connectors.exchange_simulator.instruments import Instrument, default_instrument
from connectors.exchange_simulator.market_events import BookChange, MarketTrade
from connectors.exchange_simulator.signing import DEFAULT_KEY, DEFAULT_SECRET, sign
from connectors.exchange_simulator.venue import Reply, Request, Venue, VenueSettings

START = 1_790_771_372_000
BTC: Instrument = default_instrument("BTCUSDT")
ETH: Instrument = default_instrument("ETHUSDT")
# Around 83,860.00: ticks of 0.10.
MIDDLE = 838_600


class Bench:
    """A venue with quiet, hand-set books; time moves only when told."""

    def __init__(self, settings: VenueSettings | None = None, rows: tuple[Instrument, ...] = (BTC,)) -> None:
        used = VenueSettings(mark_noise_ppm=0) if settings is None else settings
        self.now = START
        self.venue = Venue(rows, used, routes=ROUTES, start_ms=START)
        self.book(MIDDLE)

    def book(self, middle: int, lots: int = 5_000, symbol: str = "BTCUSDT") -> None:
        """Five levels a side around *middle* ticks (best bid middle − 1, best ask middle + 1), everything else gone."""
        book = self.venue.markets[symbol].book
        bids = dict.fromkeys(book.bids, 0) | {middle - 1 - index: lots for index in range(5)}
        asks = dict.fromkeys(book.asks, 0) | {middle + 1 + index: lots for index in range(5)}
        self.venue.apply(BookChange(symbol, list(bids.items()), list(asks.items())), self.now)

    def trade(self, ticks: int, lots: int, *, buyer_is_maker: bool) -> None:
        """A public trade."""
        self.venue.apply(MarketTrade("BTCUSDT", ticks, lots, buyer_is_maker), self.now)

    def wait(self, milliseconds: int) -> None:
        """Let time pass."""
        self.now += milliseconds
        self.venue.tick(self.now)

    def call(self, method: str, path: str, **params: Any) -> Reply:
        """One signed request."""
        stamped = {name: str(value) for name, value in params.items()} | {"timestamp": str(self.now)}
        query = urlencode(stamped)
        query = f"{query}&signature={sign(DEFAULT_SECRET, query)}"
        return self.venue.request(Request(method, path, query, "", DEFAULT_KEY), self.now)

    def order(self, **params: Any) -> Reply:
        """POST order on BTCUSDT."""
        return self.call("POST", "/fapi/v1/order", symbol="BTCUSDT", **params)

    def market(self, side: str, quantity: str, **params: Any) -> Reply:
        """A MARKET order."""
        return self.order(side=side, type="MARKET", quantity=quantity, **params)

    def limit(self, side: str, quantity: str, price: str, **params: Any) -> Reply:
        """A LIMIT order, GTC unless told otherwise."""
        return self.order(
            **({"side": side, "type": "LIMIT", "quantity": quantity, "price": price, "timeInForce": "GTC"} | params)
        )

    def stop(self, side: str, trigger: str, **params: Any) -> Reply:
        """A STOP_MARKET by mark price."""
        defaults = {"algoType": "CONDITIONAL", "type": "STOP_MARKET", "workingType": "MARK_PRICE"}
        return self.call(
            "POST",
            "/fapi/v1/algoOrder",
            **(defaults | {"symbol": "BTCUSDT", "side": side, "triggerPrice": trigger} | params),
        )

    def events(self) -> list[tuple[str, str]]:
        """The user events since the last call as (name, state), oldest first."""
        found = []
        for event in self.venue.user_events:
            order = event.get("o", {})
            found.append((event["e"], order.get("X", "") if isinstance(order, dict) else ""))
        self.venue.user_events.clear()
        return found

    @property
    def lots(self) -> int:
        """The BTCUSDT position."""
        return self.venue.account.position(self.venue.markets["BTCUSDT"].row).lots
