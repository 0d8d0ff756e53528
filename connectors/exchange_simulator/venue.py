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
from connectors.exchange_simulator.conditional_trading import ConditionalTrading
from connectors.exchange_simulator.errors import VenueError
from connectors.exchange_simulator.fixed_point import E8, divide_rounded
from connectors.exchange_simulator.instruments import Instrument
from connectors.exchange_simulator.ledger import Ledger
from connectors.exchange_simulator.liquidation import Liquidation, strangers_force_order
from connectors.exchange_simulator.market import Market
from connectors.exchange_simulator.market_events import (
    BookChange,
    ContractChange,
    FundingRate,
    MarketEvent,
    MarketTrade,
    RecordedDiff,
    RecordedFrame,
    RecordedSnapshot,
    StrangerLiquidated,
)
from connectors.exchange_simulator.prng import Prng
from connectors.exchange_simulator.rate_limits import Limits, RateLimiter
from connectors.exchange_simulator.signing import DEFAULT_KEY, DEFAULT_SECRET, KeyRing, check_signature, check_time
from connectors.exchange_simulator.trading import Trading

Payload = dict[str, Any]  # Any: the venue's JSON
LISTEN_KEY_LIFE: Final = 3_600_000


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
    # How far the index strays from the middle; 0: there is no index of its own and the mark is the middle.
    mark_noise_ppm: int = 20
    kline_close_delay_ms: int = 0
    queue_share: int = 1_000
    recorded: bool = False


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


def following_step(now_ms: int) -> int:
    """The next instant at which some cadence is due: a multiple of 100 or of 250 ms."""
    return min(now_ms // 100 * 100 + 100, now_ms // 250 * 250 + 250)


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
            row.symbol: Market(row, seed=settings.seed, stream=index, start_ms=start_ms, wanted=wanted, emit=self._emit)
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
        # symbol → the largest liquidation of the running second (sheet 2.9).
        self._liquidations: dict[str, tuple[int, Payload]] = {}
        self.liquidation = Liquidation(
            self.trading, self.conditional, record=self._record, publish=self._note_liquidation
        )
        # Ids are global over all symbols, so one symbol's are not consecutive; start time keeps them growing.
        self._update_id = start_ms * 8
        self._random = Prng(settings.seed, 999_331)
        self._last_step, self._next_step = start_ms, following_step(start_ms)
        self._next_mark = start_ms // settings.mark_interval_ms * settings.mark_interval_ms + settings.mark_interval_ms
        self._unmarked = dict.fromkeys(self.markets)
        self.listen_key: str | None = None
        self.listen_key_until = 0
        self._listen_keys_made = 0

    def _emit(self, stream: str, payload: Payload) -> None:
        self.frames.append((stream, payload))

    def _record(self, kind: str, body: Payload) -> None:
        if kind == "fill":
            position = self.account.position(self.markets[body["symbol"]].row, body["position_side"])
            if not self.ledger.in_episode(position):
                self.ledger.position_opened(position, self.now_ms)
        self.ledger.record(kind, body, now_ms=self.now_ms)

    def next_update_id(self) -> int:
        """A new id of the global book sequence; the step is irregular as on the venue."""
        self._update_id += 1 + self._random.below(7)
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
                self._emit(event.stream, event.payload)
            case RecordedSnapshot():
                market.book.set_levels(event.bids, event.asks)
                market.update_id, market.transaction_ms = event.last_update_id, event.transaction_ms
                market.first_snapshot = market.depth_snapshot(1_000, now_ms=event.event_ms)
            case ContractChange():
                self.change_contract(event.symbol, status=event.status, delivery_ms=event.delivery_ms, now_ms=now_ms)
            case FundingRate():
                market.funding.forced_e8 = event.rate_e8
            case StrangerLiquidated():
                self.apply(MarketTrade(event.symbol, event.ticks, event.lots, event.long), now_ms)
                payload = strangers_force_order(
                    market.row, long=event.long, ticks=event.ticks, lots=event.lots, now_ms=now_ms
                )
                self._note_liquidation(event.symbol, event.lots, payload)
        if self._unmarked and event.symbol in self._unmarked:
            self._first_mark(market)
        if trading.touched:
            self._judge(now_ms)

    def _first_mark(self, market: Market) -> None:
        middle = market.middle_e8
        if middle is not None:
            del self._unmarked[market.row.symbol]
            market.set_mark(middle, middle)
            market.mark_average_e8 = middle

    def next_due(self) -> int:
        """When `tick` has something to do, exchange ms."""
        return self._next_step

    def tick(self, now_ms: int) -> None:
        """Send everything that is due by cadence up to *now_ms*; a long pause is not replayed step by step."""
        if now_ms < self._next_step:
            return
        self.now_ms = now_ms
        previous = self._last_step
        self._last_step, self._next_step = now_ms, following_step(now_ms)

        def crossed(span: int) -> bool:
            """Whether a multiple of *span* lies since the step before."""
            return now_ms // span > previous // span

        markets = self.markets.values()
        for market in markets:
            market.close_candles(now_ms, delay_ms=self.settings.kline_close_delay_ms)
        for span in (100, 250, 500):
            if crossed(span):
                for market in markets:
                    market.flush_depth(span, now_ms)
                    if span == 100:
                        market.flush_aggregate(now_ms)
                    elif span == 250:
                        market.flush_klines(now_ms)
        self.trading.end_what_is_due(now_ms)
        self.conditional.end_what_is_due(now_ms)
        if now_ms >= self._next_mark:
            interval = self.settings.mark_interval_ms
            self._next_mark = now_ms // interval * interval + interval
            self._move_marks(now_ms)
        if crossed(1_000):
            self._each_second(now_ms, crossed)
        self._judge(now_ms)

    def _move_marks(self, now_ms: int) -> None:
        noise = self.settings.mark_noise_ppm
        for market in self.markets.values():
            middle = market.middle_e8
            if middle is None:
                continue
            wobble = middle * (self._random.below(2 * noise + 1) - noise) // 1_000_000 if noise else 0
            market.move_mark(middle, index_e8=middle + wobble, now_ms=now_ms, formula=noise > 0)
            # Open interest walks by up to 0.02 % a second.
            market.open_interest_lots += market.open_interest_lots * (self._random.below(401) - 200) // 1_000_000
            self.conditional.check_triggers(market, now_ms=now_ms)
        self.liquidation.check(now_ms)

    def _each_second(self, now_ms: int, crossed: Callable[[int], bool]) -> None:
        markets = list(self.markets.values())
        for market in markets:
            market.sample_premium()
            while now_ms >= market.funding.next_ms:
                self.settle_funding(market, now_ms)
        self._send_liquidations()
        for market in markets:
            for stream, builder, span in (
                ("markPrice@1s", market.mark_price, 1_000),
                ("ticker", market.ticker, 2_000),
                ("miniTicker", market.mini_ticker, 2_000),
                ("markPrice", market.mark_price, 3_000),
            ):
                name = f"{market.name}@{stream}"
                if crossed(span) and self.wanted(name):
                    self._emit(name, builder(now_ms))
        self._all_market("!markPrice@arr@1s", [market.mark_price for market in markets], now_ms)
        if crossed(3_000):
            self._all_market("!markPrice@arr", [market.mark_price for market in markets], now_ms)
        changed = [market for market in markets if market.take_day_changed()]
        self._all_market("!ticker@arr", [market.ticker for market in changed], now_ms)
        self._all_market("!miniTicker@arr", [market.mini_ticker for market in changed], now_ms)
        if crossed(5_000) and self.wanted("!bookTicker"):
            for market in markets:
                self._emit("!bookTicker", market.book_ticker(now_ms))
        if self.listen_key is not None and now_ms >= self.listen_key_until:
            self.expire_listen_key(now_ms)

    def _all_market(self, stream: str, builders: list[Callable[[int], Payload]], now_ms: int) -> None:
        if builders and self.wanted(stream):
            # An array frame is one payload; the hub encodes lists as it does objects.
            self.frames.append((stream, [builder(now_ms) for builder in builders]))  # type: ignore[arg-type]

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

    def _note_liquidation(self, symbol: str, lots: int, payload: Payload) -> None:
        if lots > self._liquidations.get(symbol, (0, {}))[0]:
            self._liquidations[symbol] = (lots, payload)

    def _send_liquidations(self) -> None:
        """At most one forceOrder per symbol and second: the largest."""
        found, self._liquidations = self._liquidations, {}
        for symbol, (_, payload) in found.items():
            for stream in (f"{symbol.lower()}@forceOrder", "!forceOrder@arr"):
                if self.wanted(stream):
                    self._emit(stream, payload)

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
            self._emit(
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

    def _judge(self, now_ms: int) -> None:
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
            authorize()
            if endpoint.counts_order:
                self.limiter.charge_order(now_ms, ten_seconds=endpoint.orders_10s)
            outcome = Outcome(200, endpoint.handler(self, params, now_ms))
        except VenueError as refusal:
            retry_after = None
            if refusal.status in (418, 429):
                retry_after = self._retry_after(address, refusal.code, now_ms)
            outcome = Outcome(refusal.status, refusal.body(), refusal.code, retry_after)
        self._record_request(label, params, weight=weight, status=outcome.status, code=outcome.code)
        self._judge(now_ms)
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

    def _retry_after(self, address: str, code: int, now_ms: int) -> int:
        until = self.limiter.banned_until(address, now_ms)
        if until is None:
            span = 10_000 if code == -1015 else 60_000
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
