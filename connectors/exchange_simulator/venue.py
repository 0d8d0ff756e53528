"""The one place that composes the simulated exchange: requests, market events and time in; replies and frames out.

Pure: no clock, no sockets, no randomness of its own. Same inputs with the same times give the same outputs, in order.
Outputs gather in `frames` (stream name, payload) and `user_events`; the shell drains both after every call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from connectors.exchange_simulator.account import Account
from connectors.exchange_simulator.cadences import Cadences
from connectors.exchange_simulator.conditional_trading import ConditionalTrading
from connectors.exchange_simulator.errors import VenueError
from connectors.exchange_simulator.fixed_point import E8, divide_rounded
from connectors.exchange_simulator.instruments import Instrument
from connectors.exchange_simulator.ledger import Ledger
from connectors.exchange_simulator.liquidation import Liquidation, strangers_force_order
from connectors.exchange_simulator.market import Market
from connectors.exchange_simulator.market_events import (
    BookChange,
    BookLost,
    ContractChange,
    FundingRate,
    MarketEvent,
    MarketTrade,
    MarkGiven,
    RecordedDiff,
    RecordedFrame,
    RecordedSnapshot,
    StrangerLiquidated,
    TickChange,
)
from connectors.exchange_simulator.prng import Prng
from connectors.exchange_simulator.rate_limits import POOL_MS, Limits, RateLimiter
from connectors.exchange_simulator.signing import DEFAULT_KEY, DEFAULT_SECRET, KeyRing, check_signature, check_time
from connectors.exchange_simulator.trading import Trading

Payload = dict[str, Any]  # Any: the venue's JSON
LISTEN_KEY_LIFE: Final = 3_600_000
SETTLED_EARLY_MS: Final = 15_000


class VenueSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a simulated exchange is started with; money in e8 USDT, fees in parts per million."""

    api_key: str = DEFAULT_KEY
    api_secret: str = DEFAULT_SECRET
    wallet_e8: int = 10_000 * E8
    insurance_e8: int = 1_000_000 * E8
    maker_ppm: int = 200
    taker_ppm: int = 500
    leverage: int = 20
    seed: int = 1
    limits: Limits = Limits()
    mark_interval_ms: int = 1_000
    # Each symbol's mark price frame at an instant of its own in the second; the venue sends all of them in one.
    spread_marks: bool = False
    # How far the index strays from the middle; 0: there is no index of its own and the mark is the middle.
    mark_noise_ppm: int = 20
    kline_close_delay_ms: int = 0
    queue_share: int = 1_000
    # How many symbols have an entry of the COIN-M venue (st 2) in the all-market streams, as they are sent together.
    coin_margined: int = 0
    recorded: bool = False
    # Mark, index and funding come with the market (a live proxy); nothing is sampled here.
    marks_given: bool = False


class Request(msgspec.Struct, frozen=True):
    """One REST request as it arrived: raw query and body, because the signature covers the bytes sent."""

    method: str
    path: str
    query: str = ""
    body: str = ""
    api_key: str | None = None
    address: str = "127.0.0.1"


class Reply(msgspec.Struct, frozen=True):
    """Status, JSON body and rate headers."""

    status: int
    body: Any  # Any: the venue's JSON
    headers: dict[str, str]


class Outcome(msgspec.Struct, frozen=True):
    """What a handler came to: *code* and *retry_after* (seconds) only for refusals."""

    status: int
    body: Any  # Any: the venue's JSON
    code: int | None = None
    retry_after: int | None = None


class Endpoint(msgspec.Struct, frozen=True):
    """A row of the route table: weight (a number or a function of the parameters), security, handler."""

    handler: Callable[[Venue, dict[str, str], int], Any]  # Any: the venue's JSON
    weight: int | Callable[[dict[str, str]], int] = 1
    security: str = "NONE"  # NONE | KEY | SIGNED
    counts_order: bool = False
    # What a batch adds to the ten-second counter; it is one on the minute's (sheet 4.3).
    orders_10s: int = 1
    # "funding" or "data": a limit of its own per five minutes (sheet 5.1).
    pool: str = ""


class Venue:
    """The exchange. Every public method takes exchange time in milliseconds."""

    def __init__(
        self,
        instruments: Sequence[Instrument],
        settings: VenueSettings,
        *,
        routes: dict[tuple[str, str], Endpoint],
        start_ms: int,
        ledger: Ledger | None = None,
        wanted: Callable[[str], bool] = lambda stream: True,
    ) -> None:
        self.settings = settings
        self.routes = routes
        self.now_ms = start_ms
        self.start_ms = start_ms
        self.frames: list[tuple[str, Payload]] = []
        self.user_events: list[Payload] = []
        self.ledger = Ledger() if ledger is None else ledger
        self.wanted = wanted
        self.account = Account(
            wallet=settings.wallet_e8,
            maker_ppm=settings.maker_ppm,
            taker_ppm=settings.taker_ppm,
            leverage=settings.leverage,
            insurance=settings.insurance_e8,
        )
        # The deposit was the first change; clients take an updateTime of 0 for an asset that was never used.
        self.account.updated_ms = start_ms
        self.limiter = RateLimiter(settings.limits)
        # How far the clock that judges timestamps and answers /time is off the engine's; only faults move it.
        self.gateway_skew_ms = 0
        self.keys = KeyRing(settings.api_key, settings.api_secret)
        self.markets = {
            row.symbol: Market(row, seed=settings.seed, stream=index, start_ms=start_ms, wanted=wanted, emit=self.emit)
            for index, row in enumerate(instruments)
        }
        for market in self.markets.values():
            market.recorded = settings.recorded
        self.trading = Trading(
            self.account,
            markets=self.markets,
            start_ms=start_ms,
            emit=self.user_events.append,
            record=self._record,
            queue_share=settings.queue_share,
        )
        self.conditional = ConditionalTrading(
            self.trading, start_ms=start_ms, emit=self.user_events.append, record=self._record
        )
        self.cadences = Cadences(self)
        self.liquidation = Liquidation(
            self.trading, self.conditional, record=self._record, publish=self.cadences.note_liquidation
        )
        # Ids are global over all symbols, so one symbol's are not consecutive; start time keeps them growing.
        self._update_id = start_ms * 8
        self.random = Prng(settings.seed, 999_331)
        self._unmarked = dict.fromkeys(self.markets)
        self.listen_key: str | None = None
        self.listen_key_until = 0
        self._listen_keys_made = 0

    def emit(self, stream: str, payload: Payload) -> None:
        """Put a public frame into the outbox."""
        self.frames.append((stream, payload))

    def _record(self, kind: str, body: Payload) -> None:
        if kind == "fill":
            position = self.account.position(self.markets[body["symbol"]].row, body["position_side"])
            if not self.ledger.in_episode(position):
                self.ledger.position_opened(position, self.now_ms)
        self.ledger.record(kind, body, now_ms=self.now_ms)

    def next_update_id(self) -> int:
        """A new id of the global book sequence; the step is irregular as on the venue."""
        self._update_id += 1 + self.random.bits() % 7
        return self._update_id

    def market(self, symbol: str) -> Market:
        """The market of a symbol; -1121 for an unknown one."""
        found = self.markets.get(symbol)
        if found is None:
            raise VenueError(-1121)
        return found

    # ---- market side --------------------------------------------------------------------------------------------

    def apply(self, event: MarketEvent, now_ms: int) -> None:
        """Take one market event: books, trades, resting orders and last-price triggers."""
        self.now_ms = now_ms
        market = self.markets[event.symbol]
        trading = self.trading
        match event:
            case BookChange():
                market.change_book(event, update_id=self.next_update_id(), now_ms=now_ms)
                if trading.open_orders:
                    trading.on_book(market, now_ms=now_ms)
            case MarketTrade():
                market.trade(event, now_ms=now_ms)
                trading.on_trade(market, event, now_ms=now_ms)
                self.conditional.check_triggers(market, now_ms=now_ms)
            case RecordedDiff():
                market.apply_recorded(event)
                trading.on_book(market, now_ms=now_ms)
            case RecordedFrame():
                self.emit(event.stream, event.payload)
            case RecordedSnapshot():
                market.book.set_levels(event.bids, event.asks)
                market.update_id, market.transaction_ms = event.last_update_id, event.transaction_ms
                if not self.settings.marks_given:
                    market.first_snapshot = market.depth_snapshot(1_000, now_ms=event.event_ms)
            case ContractChange():
                self.change_contract(event.symbol, status=event.status, delivery_ms=event.delivery_ms, now_ms=now_ms)
            case TickChange():
                self.change_tick(event.symbol, event.tick_e8)
            case FundingRate():
                market.funding.forced_e8 = event.rate_e8
            case StrangerLiquidated():
                self.apply(MarketTrade(event.symbol, event.ticks, event.lots, event.long), now_ms)
                payload = strangers_force_order(
                    market.row, long=event.long, ticks=event.ticks, lots=event.lots, now_ms=now_ms
                )
                self.cadences.note_liquidation(event.symbol, event.lots, payload)
            case MarkGiven():
                self._take_mark(market, event)
            case BookLost():
                market.book.clear()
        if self._unmarked and event.symbol in self._unmarked:
            self._first_mark(market)
        if trading.touched:
            self.judge(now_ms)

    def _take_mark(self, market: Market, event: MarkGiven) -> None:
        """Another venue's mark: it triggers, liquidates, and tells the next settlement (which may have moved)."""
        self._unmarked.pop(market.row.symbol, None)
        funding = market.funding
        if event.next_ms > funding.next_ms and self.now_ms >= funding.next_ms - SETTLED_EARLY_MS:
            # The venue has settled already; our clock is a little behind it.
            self.settle_funding(market, self.now_ms)
        market.take_mark(event)
        self.conditional.check_triggers(market, now_ms=self.now_ms)
        self.liquidation.check(self.now_ms)

    def _first_mark(self, market: Market) -> None:
        middle = market.middle_e8
        if middle is not None:
            del self._unmarked[market.row.symbol]
            market.set_mark(middle, middle)
            market.mark_average_e8 = middle

    def next_due(self) -> int:
        """When `tick` has something to do, exchange ms."""
        return self.cadences.next_due()

    def tick(self, now_ms: int) -> None:
        """Send everything that is due by cadence up to *now_ms*; a long pause is not replayed step by step."""
        self.cadences.tick(now_ms)

    def settle_funding(self, market: Market, now_ms: int) -> None:
        """Positive rate: longs pay shorts, on the mark's value. No P in a cross position's event (3.5, 7.2)."""
        settlement = market.funding.settle(mark_e8=market.mark_e8)
        for position in self.account.of_symbol(market.row):
            amount = -divide_rounded(position.notional(market.mark_e8) * settlement.rate_e8, E8)
            if amount == 0:
                continue
            if position.isolated:
                position.isolated_wallet += amount
            self.account.book("FUNDING_FEE", market.row.symbol, amount, now_ms=now_ms)
            self._record(
                "funding",
                {
                    "symbol": market.row.symbol, "position_side": position.side, "rate_e8": settlement.rate_e8,
                    "amount_e8": amount, "wallet_e8": self.account.wallet,
                },
            )  # fmt: skip
            self.trading.tell_account(
                [position] if position.isolated else [],
                reason="FUNDING_FEE",
                now_ms=now_ms,
                change=amount,
                symbol=market.row.symbol,
            )

    def vanish(self, client_ids: list[str], *, now_ms: int) -> bool:
        """Forget open orders with these client ids without any event: accepted, then gone. True if one was."""
        regular = self.trading.vanish(client_ids, now_ms=now_ms)
        return self.conditional.vanish(client_ids, now_ms=now_ms) or regular

    def change_contract(self, symbol: str, *, status: str | None, delivery_ms: int | None, now_ms: int) -> Instrument:
        """Change what exchangeInfo says of a symbol and tell it on !contractInfo (sheet 2.10)."""
        market = self.market(symbol)
        row = msgspec.structs.replace(
            market.row,
            status=market.row.status if status is None else status,
            delivery_ms=market.row.delivery_ms if delivery_ms is None else delivery_ms,
        )
        market.use(row)
        if self.wanted("!contractInfo"):
            self.emit(
                "!contractInfo",
                {
                    "e": "contractInfo",
                    "E": now_ms,
                    "s": symbol,
                    "ct": "PERPETUAL",
                    "dt": row.delivery_ms,
                    "ot": row.onboard_ms,
                    "cs": row.status,
                    "st": 1,
                },
            )
        return row

    def change_tick(self, symbol: str, tick_e8: int) -> Instrument:
        """
        Change a symbol's tickSize: exchangeInfo tells, !contractInfo does not (sheet 2.10 knows no such push).

        Orders that rest off the new grid stay until they end; new and modified ones must meet it (-4014).
        """
        market = self.market(symbol)
        row = market.row.with_tick(tick_e8)
        market.use(row)
        return row

    def judge(self, now_ms: int) -> None:
        """Have the ledger judge the protection of every position that the running operation touched."""
        touched = self.trading.touched
        if touched:
            for symbol, cause in touched.items():
                for position in self.account.of_symbol(self.markets[symbol].row):
                    self.ledger.judge(position, self.conditional.opened(symbol), cause=cause, now_ms=now_ms)
            touched.clear()

    # ---- user stream --------------------------------------------------------------------------------------------

    def start_listen_key(self, now_ms: int) -> str:
        """The account's key: the same while one is active, extended by an hour (sheet 3.1)."""
        if self.listen_key is None:
            self._listen_keys_made += 1
            random = Prng(self.start_ms, self._listen_keys_made)
            self.listen_key = "".join(f"{random.bits():016x}" for _ in range(4))
        self.listen_key_until = now_ms + LISTEN_KEY_LIFE
        return self.listen_key

    def expire_listen_key(self, now_ms: int) -> None:
        """End the key with its event; no more events until a new key is used."""
        key, self.listen_key = self.listen_key, None
        if key is not None:
            self.user_events.append({"e": "listenKeyExpired", "E": now_ms, "listenKey": key})

    # ---- requests -----------------------------------------------------------------------------------------------

    def request(self, request: Request, now_ms: int) -> Reply:
        """Answer one REST request; everything it causes is in `user_events` before the reply is returned."""
        endpoint = self.routes.get((request.method, request.path))
        if endpoint is None:
            return Reply(404, None, {})
        params = dict(reversed(parse_qsl(request.query + "&" + request.body, keep_blank_values=True)))
        outcome = self.carry_out(
            endpoint,
            params,
            address=request.address,
            label=(request.method, request.path),
            authorize=lambda: self._authorize(endpoint, request, params, now_ms),
            now_ms=now_ms,
        )
        headers = {"X-MBX-USED-WEIGHT-1M": str(self.limiter.used_weight(request.address, now_ms))}
        if endpoint.counts_order and (outcome.code is None or outcome.code == -1015):
            ten, minute = self.limiter.order_counts(now_ms)
            headers |= {"X-MBX-ORDER-COUNT-10S": str(ten), "X-MBX-ORDER-COUNT-1M": str(minute)}
        if outcome.retry_after is not None:
            headers["Retry-After"] = str(outcome.retry_after)
        return Reply(outcome.status, outcome.body, headers)

    def carry_out(
        self,
        endpoint: Endpoint,
        params: dict[str, str],
        *,
        address: str,
        label: tuple[str, str],
        authorize: Callable[[], None],
        now_ms: int,
    ) -> Outcome:
        """Charge, authorize and handle one request of either interface, and note it in the ledger as *label*."""
        self.now_ms = now_ms
        weight = endpoint.weight if isinstance(endpoint.weight, int) else endpoint.weight(params)
        outcome = Outcome(200, None)
        try:
            self.limiter.charge_weight(address, weight, now_ms)
            if endpoint.pool:
                self.limiter.charge_pool(address, endpoint.pool, now_ms)
            authorize()
            if endpoint.counts_order:
                self.limiter.charge_order(now_ms, address=address, ten_seconds=endpoint.orders_10s)
            outcome = Outcome(200, endpoint.handler(self, params, now_ms))
        except VenueError as refusal:
            retry_after = None
            if refusal.status in (418, 429):
                retry_after = self._retry_after(address, refusal.code, endpoint.pool, now_ms)
            outcome = Outcome(refusal.status, refusal.body(), refusal.code, retry_after)
        self._record_request(label, params, weight=weight, status=outcome.status, code=outcome.code)
        self.judge(now_ms)
        return outcome

    def _record_request(
        self, label: tuple[str, str], params: dict[str, str], *, weight: int, status: int, code: int | None
    ) -> None:
        client_id = next(
            (params[name] for name in ("newClientOrderId", "clientAlgoId", "origClientOrderId") if name in params),
            None,
        )
        self._record(
            "request",
            {
                "method": label[0], "path": label[1], "weight": weight, "status": status, "code": code,
                "symbol": params.get("symbol"), "client_id": client_id, "type": params.get("type"),
                "side": params.get("side"),
            },
        )  # fmt: skip

    def _retry_after(self, address: str, code: int, pool: str, now_ms: int) -> int:
        until = self.limiter.banned_until(address, now_ms)
        if until is None:
            span = 10_000 if code == -1015 else POOL_MS if pool else 60_000
            until = (now_ms // span + 1) * span
        return (until - now_ms + 999) // 1_000

    def _authorize(self, endpoint: Endpoint, request: Request, params: dict[str, str], now_ms: int) -> None:
        if endpoint.security == "NONE":
            return
        key = self.keys.find(request.api_key)
        if endpoint.security == "SIGNED":
            check_time(
                timestamp=params.get("timestamp"),
                recv_window=params.get("recvWindow"),
                now_ms=now_ms + self.gateway_skew_ms,
            )
            check_signature(key, query=request.query, body=request.body)
