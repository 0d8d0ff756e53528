"""
The only place that drives one client on the feed of ``beside``: counts its frames, their age, its processor and memory.

Run by ``beside`` with the interpreter of the client's own environment, so nothing is imported here that it may lack.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import re
import sys
import time
from collections.abc import Callable
from typing import Any

SYMBOLS = 20
LIFE_MS = 1  # event time of frames that only keep streams alive: they do not count
IDLE_SECONDS = 4.0  # nothing more comes
PATIENCE_SECONDS = 30.0  # until the first one
PREFIX = "beside."


class Counted:
    """Frames that came: when the first and the last, how old, what they cost."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.frames = 0
        self.ages: list[float] = []
        self.began = self.ended = self.began_cpu = self.ended_cpu = 0.0
        self.done = asyncio.Event()

    def saw(self, event_ms: float, count: int = 1) -> None:
        """*count* frames of that event time were handed over now."""
        if event_ms <= LIFE_MS:
            return
        now = time.time()
        if not self.frames:
            self.began, self.began_cpu = now, time.process_time()
        self.frames += count
        self.ages += [now * 1_000 - event_ms] * count
        self.ended = now
        if self.frames >= self.expected:
            self.ended_cpu = time.process_time()
            self.done.set()

    async def wait(self) -> None:
        """Until all have come, or nothing comes for a while."""
        begun = time.time()
        while not self.done.is_set():
            await asyncio.sleep(0.05)
            if time.time() - (self.ended or begun + PATIENCE_SECONDS) > IDLE_SECONDS:
                self.ended_cpu = time.process_time()
                return

    def told(self, package: str) -> dict[str, Any]:
        """As JSON."""
        assert self.frames, "no frame came"
        ages = sorted(self.ages)
        return {
            "version": importlib.metadata.version(package) if package else "",
            "frames": self.frames,
            "frames_per_second": self.frames / max(1e-9, self.ended - self.began),
            "cpu_us": (self.ended_cpu - self.began_cpu) * 1e6 / self.frames,
            "p50_ms": round(ages[len(ages) // 2], 1),
            "p99_ms": round(ages[len(ages) * 99 // 100], 1),
            "rss_mb": _peak_kb() / 1024,
        }


def _peak_kb() -> int:
    """Peak memory of this program alone: ru_maxrss would be at least that of the process it was started from."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def _names(rest: str) -> list[str]:
    """The exchange's symbols."""
    from urllib.request import ProxyHandler, build_opener  # noqa: PLC0415

    with build_opener(ProxyHandler({})).open(f"{rest}/fapi/v1/exchangeInfo") as answer:
        return [row["symbol"] for row in json.load(answer)["symbols"]][:SYMBOLS]


async def ccxt_pro(rest: str, ws: str, brokers: str, counted: Counted) -> None:
    """``watch_bids_asks`` of all symbols; every message counts when its handler is done."""
    import ccxt.pro  # noqa: PLC0415

    class Client(ccxt.pro.binanceusdm):  # type: ignore[misc]
        """Counts; handles as the original."""

        def handle_message(self, client: Any, message: Any) -> Any:
            handled = super().handle_message(client, message)
            if isinstance(message, dict) and message.get("e") == "bookTicker":
                counted.saw(message["E"])
            return handled

    client = Client({"options": {"fetchMarkets": {"types": ["linear"]}, "fetchCurrencies": False}})
    for name in client.urls["api"]:
        if name.startswith("fapi"):
            client.urls["api"][name] = f"{rest}/fapi/v{name[-1] if name[-1] in '23' else '1'}"
    client.urls["api"]["ws"]["linear"] = f"{ws}/ws"
    await client.load_markets()
    symbols = [market["symbol"] for market in client.markets.values() if market["swap"]][:SYMBOLS]

    async def watch() -> None:
        while True:
            await client.watch_bids_asks(symbols)

    watching = asyncio.create_task(watch())
    await counted.wait()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await client.close()


async def official_sdk(rest: str, ws: str, brokers: str, counted: Counted) -> None:
    """``individual_symbol_book_ticker_streams`` of each symbol; the parsed model counts in the callback."""
    from binance_common.configuration import ConfigurationWebSocketStreams  # noqa: PLC0415
    from binance_sdk_derivatives_trading_usds_futures.derivatives_trading_usds_futures import (  # noqa: PLC0415
        DerivativesTradingUsdsFutures,
    )

    client = DerivativesTradingUsdsFutures(config_ws_streams=ConfigurationWebSocketStreams(stream_url=ws))
    connection = await client.websocket_streams.create_connection()
    for symbol in _names(rest):
        stream = await connection.individual_symbol_book_ticker_streams(symbol=symbol)
        stream.on("message", lambda data: counted.saw(data.E))
    await counted.wait()
    await connection.close_connection(close_session=True)


async def cryptofeed(rest: str, ws: str, brokers: str, counted: Counted) -> None:
    """``BinanceFutures`` with the ticker of each symbol; the ``Ticker`` object counts in the callback."""
    from cryptofeed import FeedHandler  # noqa: PLC0415
    from cryptofeed.connection import RestEndpoint, Routes, WebsocketEndpoint  # noqa: PLC0415
    from cryptofeed.defines import TICKER  # noqa: PLC0415
    from cryptofeed.exchanges import BinanceFutures  # noqa: PLC0415

    async def ticker(data: Any, _: float) -> None:
        counted.saw(data.timestamp * 1_000)

    BinanceFutures.websocket_endpoints = [WebsocketEndpoint(ws, options={"compression": None})]
    BinanceFutures.rest_endpoints = [RestEndpoint(rest, routes=Routes("/fapi/v1/exchangeInfo"))]
    names = [name for name in BinanceFutures.symbols() if name.endswith("-PERP")][:SYMBOLS]
    handler = FeedHandler(config={"log": {"disabled": True}})
    handler.add_feed(BinanceFutures(symbols=names, channels=[TICKER], callbacks={TICKER: ticker}))
    handler.run(start_loop=False, install_signal_handlers=False)
    await counted.wait()
    await handler.stop_async(loop=asyncio.get_running_loop())


async def perpguard(rest: str, ws: str, brokers: str, counted: Counted) -> None:
    """The connector with every stream of every symbol; a frame counts when Kafka has acknowledged its record."""
    from connectors.binance_futures.client import Connector  # noqa: PLC0415
    from connectors.binance_futures.publisher import Publisher  # noqa: PLC0415
    from connectors.binance_futures.subscriptions import Subscriptions  # noqa: PLC0415
    from pipeline.wire.topics import INPUTS  # noqa: PLC0415

    event_time = re.compile(rb'"E":(\d{13})')

    class Counting(Publisher):
        """Counts what is acknowledged."""

        async def _produce(self, topic: Any, values: list[bytes], partition: int) -> None:
            await super()._produce(topic, values, partition)
            if topic is INPUTS:
                for value in values:  # of a record the oldest frame tells the age
                    oldest = event_time.search(value)
                    if oldest is not None:
                        counted.saw(float(oldest[1]), value.count(b'"e":"bookTicker"') - value.count(b'"E":1,'))

    publisher = Counting(arguments={"bootstrap_servers": brokers}, prefix=PREFIX, incarnation="beside")
    await publisher.start()
    connector = Connector(
        ws_url=ws,
        subscriptions=Subscriptions(_names(rest)),
        publisher=publisher,
        incarnation=f"{time.time_ns():x}",
        draw=lambda: 0.5,
    )
    running = asyncio.create_task(connector.run())
    await counted.wait()
    connector.stop()
    await running
    await publisher.flush(5)
    await publisher.stop()


Drive = Callable[[str, str, str, Counted], Any]
DRIVES: dict[str, tuple[Drive, str]] = {
    "perpguard": (perpguard, ""),
    "ccxt.pro": (ccxt_pro, "ccxt"),
    "official SDK": (official_sdk, "binance-sdk-derivatives-trading-usds-futures"),
    "cryptofeed": (cryptofeed, "cryptofeed"),
}


async def _main(name: str, rest: str, ws: str, expected: str, brokers: str) -> dict[str, Any]:
    drive, package = DRIVES[name]
    counted = Counted(int(expected))
    await drive(rest, ws, brokers, counted)
    return counted.told(package)


if __name__ == "__main__":
    import uvloop

    print(json.dumps(uvloop.run(_main(*sys.argv[1:]))))
