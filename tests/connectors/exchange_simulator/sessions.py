"""The only place that plays seeded random sessions and malformed requests against a venue and judges them.

`python -m tests.connectors.exchange_simulator.sessions play --seeds 0:10000` and `… fuzz --seeds 0:100000` are the long
versions of what test_venue.py holds small; both print how far they are, and a finding names its seed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from connectors.exchange_simulator.endpoints import ROUTES
from connectors.exchange_simulator.errors import VenueError
from connectors.exchange_simulator.faults import FaultPlan
from connectors.exchange_simulator.fixed_point import E8
from connectors.exchange_simulator.hub import Client, Hub
from connectors.exchange_simulator.prng import Prng
from connectors.exchange_simulator.rate_limits import Limits
from connectors.exchange_simulator.signing import DEFAULT_KEY, DEFAULT_SECRET, sign
from connectors.exchange_simulator.socket_api import METHODS, Session, answer, failure, id_of, read
from connectors.exchange_simulator.streams import ControlError, control_reply
from connectors.exchange_simulator.venue import Request, VenueSettings
from tests.connectors.exchange_simulator.venues import BTC, MIDDLE, Bench

MODES = ("NONE", "EXPIRE_MAKER", "EXPIRE_TAKER", "EXPIRE_BOTH")


class Play:
    """One session of one seed: hedge or one-way, cross or isolated, and forty things that happen."""

    def __init__(self, seed: int) -> None:
        self.random = Prng(seed, 77)
        below = self.random.below
        self.bench = Bench(
            VenueSettings(
                wallet_e8=(500 + below(5_000)) * E8,
                leverage=(5, 20, 50)[below(3)],
                insurance_e8=below(3) * 400 * E8,
                queue_share=below(1_001),
                mark_noise_ppm=0,
            )
        )
        self.middle = MIDDLE
        self.dual = below(2) == 1
        if self.dual:
            self.bench.call("POST", "/fapi/v1/positionSide/dual", dualSidePosition="true")
        if below(3) == 0:
            self.bench.call("POST", "/fapi/v1/marginType", symbol="BTCUSDT", marginType="ISOLATED")
        self.bench.wait(1_000)
        self.bench.venue.user_events.clear()
        self.bench.venue.frames.clear()
        shown = self.bench.call("GET", "/fapi/v1/depth", symbol="BTCUSDT", limit="1000").body
        self.bids, self.asks = dict(shown["bids"]), dict(shown["asks"])
        self.diffs, self.last_id = 0, shown["lastUpdateId"]

    def run(self, steps: int = 40) -> None:
        """Play, then judge."""
        acts: tuple[Callable[[], Any], ...] = (
            self.order, self.order, self.order, self.stop, self.move, self.move, self.trade, self.cancel, self.modify,
            self.batch, self.settle,
        )  # fmt: skip
        for _ in range(steps):
            self.bench.now += 50
            acts[self.random.below(len(acts))]()
            self.check_open_orders()
        self.bench.wait(1_000)
        self.check_open_orders()
        self.judge()

    def side(self) -> dict[str, str]:
        """Side and, in hedge mode, position side."""
        side = ("BUY", "SELL")[self.random.below(2)]
        return {"side": side} | ({"positionSide": ("LONG", "SHORT")[self.random.below(2)]} if self.dual else {})

    def parameters(self) -> dict[str, str]:
        """A regular order."""
        below = self.random.below
        found = self.side() | {
            "symbol": "BTCUSDT",
            "quantity": f"0.{1 + below(60):03d}",
            "selfTradePreventionMode": MODES[below(4)],
            "type": "MARKET",
        }
        if not self.dual and below(3) == 0:
            found["reduceOnly"] = "true"
        if below(2):
            found["type"] = "LIMIT"
            found["timeInForce"] = ("GTC", "GTC", "IOC", "FOK", "GTX")[below(5)]
            if below(5) == 0:
                found["priceMatch"] = ("OPPONENT", "QUEUE", "QUEUE_5")[below(3)]
            else:
                found["price"] = f"{(self.middle + below(61) - 30) / 10:.1f}"
        return found

    def order(self) -> None:
        """Place one order."""
        self.bench.call("POST", "/fapi/v1/order", **self.parameters())

    def batch(self) -> None:
        """Place two to five."""
        many = [self.parameters() for _ in range(2 + self.random.below(4))]
        self.bench.call("POST", "/fapi/v1/batchOrders", batchOrders=json.dumps(many))

    def stop(self) -> None:
        """A conditional order of any type."""
        below = self.random.below
        params = self.side() | {"symbol": "BTCUSDT", "algoType": "CONDITIONAL"}
        kind = ("STOP_MARKET", "TAKE_PROFIT_MARKET", "STOP", "TRAILING_STOP_MARKET")[below(4)]
        trigger = f"{(self.middle + below(121) - 60) / 10:.1f}"
        if kind == "TRAILING_STOP_MARKET":
            params |= {"callbackRate": "0.1", "quantity": "0.010"}
        else:
            params |= {"triggerPrice": trigger}
            if kind != "STOP" and below(2):
                params |= {"closePosition": "true", "timeInForce": ("GTC", "GTE_GTC")[below(2)]}
            else:
                params |= {"quantity": f"0.{1 + below(40):03d}"}
                if not self.dual and below(2):
                    params["reduceOnly"] = "true"
            if kind == "STOP":
                params["price"] = trigger
        self.bench.call("POST", "/fapi/v1/algoOrder", type=kind, **params)

    def move(self) -> None:
        """The market goes somewhere, sometimes far."""
        below = self.random.below
        reach = 4_000 if below(12) == 0 else 60
        self.middle = max(600_000, self.middle + below(2 * reach + 1) - reach)
        self.bench.book(self.middle, lots=5 + below(60))
        self.bench.wait(1_000)

    def trade(self) -> None:
        """Strangers trade."""
        below = self.random.below
        self.bench.trade(self.middle + below(41) - 20, 1 + below(50), buyer_is_maker=below(2) == 1)

    def cancel(self) -> None:
        """Cancel some open order."""
        opened = self.bench.venue.trading.opened("BTCUSDT")
        if opened:
            chosen = opened[self.random.below(len(opened))]
            self.bench.call("DELETE", "/fapi/v1/order", symbol="BTCUSDT", orderId=chosen.order_id)

    def modify(self) -> None:
        """Change some open order."""
        opened = self.bench.venue.trading.opened("BTCUSDT")
        if opened:
            chosen = opened[self.random.below(len(opened))]
            price = f"{(self.middle + self.random.below(41) - 20) / 10:.1f}"
            self.bench.call("PUT", "/fapi/v1/order", symbol="BTCUSDT", orderId=chosen.order_id, side=chosen.side,
                            quantity=f"0.{1 + self.random.below(60):03d}", price=price)  # fmt: skip

    def settle(self) -> None:
        """A funding settlement at any rate."""
        market = self.bench.venue.markets["BTCUSDT"]
        market.funding.forced_e8 = self.random.below(400_001) - 200_000
        self.bench.venue.settle_funding(market, self.bench.now)

    def check_open_orders(self) -> None:
        """No order beyond its quantity; what is open is what is listed; neither the book nor a frame of it crosses."""
        trading = self.bench.venue.trading
        for order in trading.opened("BTCUSDT"):
            assert order.is_open and 0 <= order.filled < order.lots
        book = self.bench.venue.markets["BTCUSDT"].book
        assert book.best_bid is None or book.best_ask is None or book.best_bid < book.best_ask
        for stream, frame in self.bench.venue.frames:
            if stream == "btcusdt@bookTicker":
                assert float(frame["b"]) < float(frame["a"]), "a bookTicker frame crosses"
            elif stream == "btcusdt@depth@100ms":
                self.follow(frame)
        self.bench.venue.frames.clear()

    def follow(self, frame: dict[str, Any]) -> None:
        """Apply one served diff to a client's book: the chain has no hole, and the book never crosses."""
        assert frame["U"] <= self.last_id + 1 if self.diffs == 0 else frame["pu"] == self.last_id
        self.last_id = frame["u"]
        for side, levels in ((self.bids, frame["b"]), (self.asks, frame["a"])):
            for price, quantity in levels:
                if float(quantity):
                    side[price] = quantity
                else:
                    side.pop(price, None)
        if self.bids and self.asks:
            assert max(map(float, self.bids)) < min(map(float, self.asks)), "the client's book crosses"
        self.diffs += 1

    def judge(self) -> None:
        """Money, positions, closing orders, and the account that the events tell."""
        venue, account = self.bench.venue, self.bench.venue.account
        fills = venue.trading.fills
        signed = [fill.lots if fill.order.buy else -fill.lots for fill in fills]
        rows: dict[str, int] = {}
        for row in account.incomes:
            rows[row.kind] = rows.get(row.kind, 0) + row.amount
        paid = sum(BTC.notional(fill.ticks, lots) for fill, lots in zip(fills, signed, strict=True))
        taken = sum(line["fund_gain_e8"] for line in venue.ledger.lines if line["kind"] == "takeover")
        assert account.wallet == account.deposited + sum(rows.values())
        assert rows.get("REALIZED_PNL", 0) == sum(position.cost for position in account.positions) - paid
        assert rows.get("COMMISSION", 0) == -sum(fill.fee for fill in fills)
        assert account.insurance == account.insurance_at_start - rows.get("INSURANCE_CLEAR", 0) + taken
        self.judge_orders()
        running = dict.fromkeys(account.sides, 0)
        for fill, lots in zip(fills, signed, strict=True):
            held = running[fill.order.position_side]
            if fill.order.closes:
                assert held * lots < 0 and abs(lots) <= abs(held), "a closing order opened or flipped"
            running[fill.order.position_side] += lots
        assert running == {position.side: position.lots for position in account.of_symbol(BTC)}
        if self.dual:
            assert running["LONG"] >= 0 >= running["SHORT"]
        self.replay()

    def judge_orders(self) -> None:
        """What was filled of an order is the sum of its fills and never beyond its quantity, however it ended."""
        sums: Counter[int] = Counter()
        told: Counter[int] = Counter()
        for fill in self.bench.venue.trading.fills:
            sums[fill.order.order_id] += fill.lots
            assert fill.lots > 0
        for event in self.bench.venue.user_events:
            if event["e"] == "ORDER_TRADE_UPDATE" and event["o"]["x"] == "TRADE":
                told[event["o"]["i"]] += round(float(event["o"]["l"]) * 1_000)
        for order in self.bench.venue.trading.orders.values():
            assert sums[order.order_id] == order.filled == told[order.order_id]
            assert order.filled <= order.lots, "filled beyond its quantity"
            assert (order.status == "FILLED") == (order.filled == order.lots), (order.status, order.filled, order.lots)

    def replay(self) -> None:
        """The user events alone lead to the wallet, positions and orders of both services that REST shows."""
        money, positions, opened, stops = None, {}, {}, {}
        for event in self.bench.venue.user_events:
            if event["e"] == "ACCOUNT_UPDATE":
                money = (event["a"]["B"][0]["wb"], event["a"]["B"][0]["cw"])
                for row in event["a"].get("P", []):
                    positions[row["ps"]] = (row["pa"], float(row["ep"]), row["mt"], float(row["iw"]))
            elif event["e"] == "ORDER_TRADE_UPDATE":
                order = event["o"]
                if order["X"] in ("NEW", "PARTIALLY_FILLED"):
                    opened[order["i"]] = (order["q"], float(order["z"]), order["p"])
                else:
                    opened.pop(order["i"], None)
            elif event["e"] == "ALGO_UPDATE":
                if event["o"]["X"] == "NEW":
                    stops[event["o"]["aid"]] = (event["o"]["q"], float(event["o"]["tp"]), event["o"]["S"])
                else:
                    stops.pop(event["o"]["aid"], None)
        call = self.bench.call
        if money is not None:
            shown = call("GET", "/fapi/v3/balance").body[0]
            assert money == (shown["balance"], shown["crossWalletBalance"])
        for row in call("GET", "/fapi/v2/positionRisk", symbol="BTCUSDT").body:
            held = positions.get(row["positionSide"])
            if held is None:
                assert "0.000" == row["positionAmt"]
            elif row["marginType"] != "isolated" or float(row["positionAmt"]):
                side = (row["positionAmt"], float(row["entryPrice"]), row["marginType"], float(row["isolatedWallet"]))
                assert held == side
        listed = {
            row["orderId"]: (row["origQty"], float(row["executedQty"]), row["price"])
            for row in call("GET", "/fapi/v1/openOrders", symbol="BTCUSDT").body
        }
        assert opened == listed
        waiting = {
            row["algoId"]: (row["quantity"], float(row["triggerPrice"]), row["side"])
            for row in call("GET", "/fapi/v1/openAlgoOrders", symbol="BTCUSDT").body
        }
        assert stops == waiting
        snapshot = call("GET", "/fapi/v1/depth", symbol="BTCUSDT", limit="1000").body
        assert (self.bids, self.asks) == (dict(snapshot["bids"]), dict(snapshot["asks"])), "diffs lead elsewhere"
        assert self.diffs > 0


def play(first: int, count: int) -> int:
    """Play sessions of consecutive seeds; an AssertionError names the seed."""
    for seed in range(first, first + count):
        try:
            Play(seed).run()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    return count


class _Pipe:
    """Takes the bytes of a hub's client."""

    def write(self, data: bytes) -> None:
        """Nowhere."""

    def is_closing(self) -> bool:
        """Never."""
        return False

    def get_write_buffer_size(self) -> int:
        """Empty."""
        return 0


_ORDER = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "quantity": "0.010", "price": "83000.00",
          "timeInForce": "GTC"}  # fmt: skip
_ALGO = {"symbol": "BTCUSDT", "side": "SELL", "type": "STOP", "quantity": "0.010", "price": "82000.00",
         "triggerPrice": "83000.00", "algoType": "CONDITIONAL"}  # fmt: skip
_TRAIL = {"symbol": "BTCUSDT", "side": "SELL", "type": "TRAILING_STOP_MARKET", "quantity": "0.010",
          "callbackRate": "1", "algoType": "CONDITIONAL"}  # fmt: skip
# Whole requests of which one field is changed: method, path, name on the WebSocket API, parameters.
WHOLE: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    ("POST", "/fapi/v1/order", "order.place", _ORDER),
    (
        "POST",
        "/fapi/v1/order",
        "order.place",
        {"symbol": "BTCUSDT", "side": "SELL", "type": "MARKET", "quantity": "0.001"},
    ),
    ("POST", "/fapi/v1/order/test", "order.place", _ORDER),
    ("PUT", "/fapi/v1/order", "order.modify", _ORDER | {"orderId": "1"}),
    ("DELETE", "/fapi/v1/order", "order.cancel", {"symbol": "BTCUSDT", "orderId": "1"}),
    ("POST", "/fapi/v1/algoOrder", "algoOrder.place", _ALGO),
    ("POST", "/fapi/v1/algoOrder", "algoOrder.place", _TRAIL),
    ("POST", "/fapi/v1/batchOrders", "order.status", {"batchOrders": json.dumps([_ORDER])}),
    ("POST", "/fapi/v1/leverage", "account.status", {"symbol": "BTCUSDT", "leverage": "10"}),
    ("POST", "/fapi/v1/positionMargin", "account.balance", {"symbol": "BTCUSDT", "amount": "1", "type": "1"}),
    ("GET", "/fapi/v1/klines", "depth", {"symbol": "BTCUSDT", "interval": "5m", "limit": "5"}),
    ("GET", "/futures/data/openInterestHist", "ticker.book", {"symbol": "BTCUSDT", "period": "5m", "limit": "5"}),
    ("GET", "/fapi/v1/userTrades", "ticker.price", {"symbol": "BTCUSDT", "limit": "5"}),
    ("GET", "/fapi/v1/income", "account.position", {"incomeType": "COMMISSION", "limit": "5"}),
)
WORDS = (
    "BTCUSDT", "BUY", "SELL", "LIMIT", "MARKET", "STOP_MARKET", "TRAILING_STOP_MARKET", "CONDITIONAL", "GTC", "GTD",
    "5m", "true", "false", "-1", "0", "1", "1000", "0.010", "83000.00", "²", "1e5", "NaN", "[]", "[1]", "{}",
    '[{"symbol":3}]', "9" * 30, "", "LONG", "QUEUE", "%", "\x00", "é",
)  # fmt: skip
NAMES = (
    "symbol", "side", "type", "quantity", "price", "timeInForce", "limit", "interval", "orderId", "algoId", "leverage",
    "startTime", "endTime", "triggerPrice", "algoType", "reduceOnly", "closePosition", "marginType", "fromId", "period",
    "origClientOrderId", "clientAlgoId", "newClientOrderId", "workingType", "incomeType", "batchOrders", "orderIdList",
    "callbackRate", "activatePrice", "priceMatch", "goodTillDate", "positionSide", "amount", "countdownTime", "pair",
    "contractType", "dualSidePosition", "page", "modifyId", "recvWindow",
)  # fmt: skip


def fuzz(first: int, count: int) -> int:
    """Malformed REST requests, WebSocket API requests and control messages: never an exception, never a 5xx."""
    # No limits: a refusal by the limiter would hide what lies behind it.
    limits = Limits(weight_per_minute=10**9, orders_per_10_seconds=10**9, orders_per_minute=10**9)
    bench = Bench(VenueSettings(mark_noise_ppm=0, limits=limits))
    bench.market("BUY", "0.010")
    hub = Hub(FaultPlan())
    client = Client("market", combined=False, transport=_Pipe())  # type: ignore[arg-type]
    routes, methods = sorted(ROUTES), sorted(METHODS)
    random = Prng(first + 1, 5)
    for number in range(count):
        bench.now += 1
        params = {NAMES[random.below(len(NAMES))]: WORDS[random.below(len(WORDS))] for _ in range(random.below(9))}
        method, path = routes[random.below(len(routes))]
        socket_method = methods[random.below(len(methods))]
        if random.below(3):
            method, path, socket_method, whole = WHOLE[random.below(len(WHOLE))]
            changed = (*whole, *NAMES)[random.below(len(whole) * 2 + 1)]
            params = whole | {changed: WORDS[random.below(len(WORDS))]}
        kind = random.below(3)
        if kind == 0:
            query = "&".join(f"{name}={value}" for name, value in params.items()) + f"&timestamp={bench.now}"
            if random.below(4) == 0:
                query = query[: random.below(len(query))] + WORDS[random.below(len(WORDS))]
            query = f"{query}&signature={sign(DEFAULT_SECRET, query)}"
            status = bench.venue.request(Request(method, path, query, "", DEFAULT_KEY), bench.now).status
        elif kind == 1:
            text = json.dumps({"id": number, "method": socket_method,
                               "params": params | {"apiKey": DEFAULT_KEY, "timestamp": bench.now}})  # fmt: skip
            text = text if random.below(2) else text[: random.below(len(text))] + WORDS[random.below(len(WORDS))]
            session = Session(address="127.0.0.1", now_ms=bench.now)
            try:
                status = answer(bench.venue, session, read(text), bench.now)["status"]
            except VenueError as refusal:
                status = failure(bench.venue, session, id_of(text), refusal, bench.now)["status"]
        else:
            text = json.dumps({"method": ("SUBSCRIBE", "SET_PROPERTY", "x")[random.below(3)],
                               "params": list(params.values()), "id": number})  # fmt: skip
            text = text if random.below(2) else text[: random.below(len(text))]
            try:
                msgspec.json.encode(control_reply(hub, client, text))
            except ControlError as refusal:
                assert refusal.message
            for stream in list(client.streams):
                hub.unsubscribe(client, stream)
            status = 200
        assert status < 500, (number, params)
        bench.venue.frames.clear()
        bench.venue.user_events.clear()
    return count


def main() -> None:
    """`play` or `fuzz` over a range of seeds, in one process, with progress; the exit code is 1 after a finding."""
    parser = argparse.ArgumentParser(description="Seeded sessions, or malformed requests, against the venue")
    parser.add_argument("act", choices=("play", "fuzz"))
    parser.add_argument("--seeds", default="0:10000", help="FIRST:END")
    arguments = parser.parse_args()
    first, end = (int(part) for part in arguments.seeds.split(":"))
    act, part = {"play": (play, 500), "fuzz": (fuzz, 5_000)}[arguments.act]
    began, done = time.monotonic(), 0
    for start in range(first, end, part):
        done += act(start, min(part, end - start))
        sys.stdout.write(f"{arguments.act}: {done} of {end - first} in {time.monotonic() - began:.0f} s\n")
        sys.stdout.flush()
    sys.stdout.write(f"{arguments.act}: {done} without a finding\n")


if __name__ == "__main__":
    main()
