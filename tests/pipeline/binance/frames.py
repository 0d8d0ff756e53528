"""The only place for the frames and the instrument that the tests of this package share: the venue sheet's examples."""

from __future__ import annotations

from typing import Any

import msgspec

from pipeline.core.instruments import Instrument

BTCUSDT = Instrument(
    symbol="BTCUSDT",
    status="TRADING",
    tick_e8=10_000_000,
    step_e8=100_000,
    min_price_ticks=5_568,
    max_price_ticks=45_297_640,
    min_lots=1,
    max_lots=1_000_000,
    max_market_lots=120_000,
    min_notional_e8=5_000_000_000,
)

BOOK_TICKER: dict[str, Any] = {
    "e": "bookTicker", "u": 9912345678901, "E": 1790771372110, "T": 1790771372108, "s": "BTCUSDT", "ps": "BTCUSDT",
    "st": 1, "b": "83860.10", "B": "4.217", "a": "83860.20", "A": "1.903",
}  # fmt: skip
DEPTH: dict[str, Any] = {
    "e": "depthUpdate", "E": 1790771372203, "T": 1790771372199, "s": "BTCUSDT", "ps": "BTCUSDT", "st": 1,
    "U": 9912345678700, "u": 9912345678901, "pu": 9912345678655,
    "b": [["83860.10", "4.217"], ["83860.00", "0"]], "a": [["83860.20", "1.903"], ["83860.30", "0.044"]],
}  # fmt: skip
AGG_TRADE: dict[str, Any] = {
    "e": "aggTrade", "E": 1790771372151, "a": 3312456789, "s": "BTCUSDT", "p": "83860.20", "q": "0.012", "nq": "0.012",
    "f": 8132505630, "l": 8132505633, "T": 1790771372049, "m": False, "st": 1,
}  # fmt: skip
TRADE: dict[str, Any] = {
    "e": "trade", "E": 1723161256322, "T": 1723161256322, "s": "BTCUSDT", "t": 5266583935, "p": "61800.30",
    "q": "0.006", "X": "MARKET", "m": False,
}  # fmt: skip
MARK: dict[str, Any] = {
    "e": "markPriceUpdate", "E": 1790771372000, "s": "BTCUSDT", "st": 1, "p": "83858.41000000",
    "ap": "83857.93120000", "i": "83869.55021739", "P": "83871.10335412", "r": "-0.00004127", "T": 1790784000000,
}  # fmt: skip
KLINE: dict[str, Any] = {
    "e": "kline", "E": 1790771371858, "s": "BTCUSDT",
    "k": {
        "t": 1790771100000, "T": 1790771399999, "s": "BTCUSDT", "i": "5m", "f": 8132499021, "L": 8132505633,
        "o": "83902.10", "c": "83860.20", "h": "83951.00", "l": "83844.70", "v": "512.733", "n": 6613, "x": True,
        "q": "43009114.60210", "V": "241.118", "Q": "20224870.11020", "B": "0",
    },
}  # fmt: skip
TICKER: dict[str, Any] = {
    "e": "24hrTicker", "E": 1790771372105, "s": "BTCUSDT", "ps": "BTCUSDT", "st": 1, "p": "512.30", "P": "0.615",
    "w": "83512.44", "c": "83860.20", "Q": "0.012", "o": "83347.90", "h": "84410.00", "l": "82655.10",
    "v": "148302.517", "q": "12385105052.81", "O": 1790684940000, "C": 1790771372090, "F": 8130011202,
    "L": 8132505633, "n": 2494432,
}  # fmt: skip
MINI_TICKER: dict[str, Any] = {
    "e": "24hrMiniTicker", "E": 1790771372105, "s": "BTCUSDT", "c": "83860.20", "o": "83347.90", "h": "84410.00",
    "l": "82655.10", "v": "148302.517", "q": "12385105052.81",
}  # fmt: skip
FORCE_ORDER: dict[str, Any] = {
    "e": "forceOrder", "E": 1790771380412, "ps": "BTCUSDT", "st": 1,
    "o": {"s": "BTCUSDT", "S": "SELL", "o": "LIMIT", "f": "IOC", "q": "0.214", "p": "83102.40", "ap": "83190.72",
          "X": "FILLED", "l": "0.031", "z": "0.214", "T": 1790771380405},
}  # fmt: skip
CONTRACT_INFO: dict[str, Any] = {
    "e": "contractInfo", "E": 1790771400001, "s": "BTCUSDT", "ct": "PERPETUAL", "dt": 4133404800000,
    "ot": 1569398400000, "cs": "SETTLING", "st": 1,
}  # fmt: skip
ORDER: dict[str, Any] = {
    "e": "ORDER_TRADE_UPDATE", "E": 1790771372036, "T": 1790771372031,
    "o": {
        "s": "BTCUSDT", "c": "exec-000001", "S": "BUY", "o": "LIMIT", "f": "GTC", "q": "0.010", "p": "83800.00",
        "ap": "83800.00", "sp": "0", "x": "TRADE", "X": "PARTIALLY_FILLED", "i": 812345678901, "l": "0.004",
        "z": "0.004", "L": "83800.00", "N": "USDT", "n": "0.06704000", "T": 1790771372031, "t": 8132505701,
        "b": "502.80000", "a": "0", "m": True, "R": False, "wt": "CONTRACT_PRICE", "ot": "LIMIT", "ps": "BOTH",
        "cp": False, "rp": "-1.5", "pP": False, "si": 0, "ss": 0, "V": "EXPIRE_MAKER", "pm": "NONE", "gtd": 0,
        "er": "0",
    },
}  # fmt: skip
TRADE_LITE: dict[str, Any] = {
    "e": "TRADE_LITE", "E": 1788231624647, "T": 1788231624647, "s": "BTCUSDT", "q": "0.473", "p": "2463.20", "m": True,
    "c": "…", "S": "SELL", "L": "2463.20", "l": "0.473", "t": 871685788, "i": 81873278124,
}  # fmt: skip
ACCOUNT: dict[str, Any] = {
    "e": "ACCOUNT_UPDATE", "E": 1790771372036, "T": 1790771372031,
    "a": {
        "m": "ORDER", "B": [{"a": "USDT", "wb": "9999.93296000", "cw": "9999.93296000", "bc": "0"}],
        "P": [
            {"s": "ETHUSDT", "pa": "1.5", "ep": "2000", "ps": "BOTH"},
            {"s": "BTCUSDT", "pa": "-0.004", "ep": "83800.05", "bep": "83816.76", "cr": "0", "up": "0.23364",
             "mt": "cross", "iw": "0", "ps": "BOTH", "ma": "USDT"},
        ],
    },
}  # fmt: skip
ALGO: dict[str, Any] = {
    "e": "ALGO_UPDATE", "T": 1765431097030, "E": 1765431097037,
    "o": {
        "caid": "O-1", "aid": 1000000033225453, "at": "CONDITIONAL", "o": "STOP_MARKET", "s": "BTCUSDT", "S": "BUY",
        "ps": "BOTH", "f": "GTC", "q": "0.038", "X": "TRIGGERED", "ai": "88937381063", "ap": "0", "aq": "0",
        "act": "MARKET", "tp": "83900.50", "p": "0", "V": "EXPIRE_MAKER", "wt": "MARK_PRICE", "pm": "NONE", "cp": False,
        "pP": False, "R": True, "tt": 1765431097019, "gtd": 0,
    },
}  # fmt: skip
CONFIG: dict[str, Any] = {
    "e": "ACCOUNT_CONFIG_UPDATE", "E": 1790771372036, "T": 1790771372031, "ac": {"s": "BTCUSDT", "l": 25},
}  # fmt: skip
MARGIN_CALL: dict[str, Any] = {
    "e": "MARGIN_CALL", "E": 1790771372036, "cw": "3.16812045",
    "p": [{"s": "BTCUSDT", "ps": "LONG", "pa": "1.327", "mt": "CROSSED", "iw": "0", "mp": "2187.1", "up": "-1.1",
           "mm": "1.6"}],
}  # fmt: skip
LISTEN_KEY_EXPIRED: dict[str, Any] = {"e": "listenKeyExpired", "E": "1790771372036", "listenKey": "WsCMN0a4"}

# Stream of the symbol → data: every market frame that may stand in a line.
MARKET: dict[str, dict[str, Any]] = {
    "bookTicker": BOOK_TICKER,
    "depth@100ms": DEPTH,
    "depth20@100ms": DEPTH,
    "aggTrade": AGG_TRADE,
    "trade": TRADE,
    "markPrice@1s": MARK,
    "kline_5m": KLINE,
    "ticker": TICKER,
    "miniTicker": MINI_TICKER,
    "forceOrder": FORCE_ORDER,
}
USER: list[dict[str, Any]] = [ORDER, TRADE_LITE, ACCOUNT, ALGO, CONFIG, MARGIN_CALL, LISTEN_KEY_EXPIRED]

EXCHANGE_INFO: dict[str, Any] = {
    "symbol": "BTCUSDT", "pair": "BTCUSDT", "contractType": "PERPETUAL", "deliveryDate": 4133404800000,
    "status": "TRADING", "quoteAsset": "USDT", "marginAsset": "USDT", "pricePrecision": 2,
    "filters": [
        {"filterType": "PRICE_FILTER", "minPrice": "556.80", "maxPrice": "4529764", "tickSize": "0.10"},
        {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "1000", "stepSize": "0.001"},
        {"filterType": "MARKET_LOT_SIZE", "minQty": "0.001", "maxQty": "120", "stepSize": "0.001"},
        {"filterType": "MAX_NUM_ORDERS", "limit": 200},
        {"filterType": "MIN_NOTIONAL", "notional": "50"},
    ],
}  # fmt: skip


def combined(stream: str, data: dict[str, Any], *, symbol: str = "BTCUSDT") -> bytes:
    """A frame of the combined endpoint."""
    return msgspec.json.encode({"stream": f"{symbol.lower()}@{stream}", "data": data})


def bare(data: dict[str, Any]) -> bytes:
    """A frame of the raw endpoint."""
    return msgspec.json.encode(data)
