"""The only place where the simulator's tests compare names and JSON types of two messages, whatever their values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

_ACK: Final = "`avgPrice` and `cumQuote` are **gone** from POST/PUT/DELETE/batch"
_TRAILING: Final = "Trailing orders add `activatePrice`, `priceRate`."
_PLACED: Final = '"goodTillDate":0,"updateTime":1790771372031}'
_ALGO: Final = '"priceProtect":false,"reduceOnly":true,"activatePrice":"","callbackRate":"",'
_TIMES: Final = '"createTime":1790771373000,"updateTime":1790771373000,"triggerTime":0,"goodTillDate":0}'
_SYMBOL: Final = '"maxMoveOrderLimit":10000'
_ORDER: Final = '"V":"EXPIRE_MAKER","pm":"NONE","gtd":0,"er":"0"}}'
_FEE: Final = '(`n` may be "0" and `N` present even for x=NEW)'
# Difference from a recorded message → the words of the venue sheet that explain it; nothing else may differ.
CITED: Final[dict[str, str]] = {
    "ps is extra": "many payloads carry `st` (int: 1 = UM, 2 = CM) and `ps` (pair symbol, string)",
    "st is extra": "many payloads carry `st` (int: 1 = UM, 2 = CM) and `ps` (pair symbol, string)",
    "ap is extra": "| 2026-03-16 | markPrice stream field `ap` |",
    "nq is extra": "aggTrade `nq`",
    "rateType is extra": "| 2026-07-23 | fundingRate `rateType` |",
    "markPrice is extra": '"fundingRate":"0.00005210","markPrice":"83411.20000000","rateType":"Regular"',
    "lastUpdateId is extra": "has `lastUpdateId` too",
    "isRPITrade is extra": "| 2025-11-18 | TIF RPI; isRPITrade;",
    "CMCCirculatingSupply is extra": "openInterestHist gains CMCCirculatingSupply",
    "timestamp is int, expected str": "openInterestHist `timestamp` is a string in old docs, int in [SDK]",
    "autoAssetExchange is str, expected int": '"autoAssetExchange":"-10000"',
    "futuresType is extra": '"futuresType":"U_MARGINED"',
    "maxMoveOrderLimit is extra": _SYMBOL,
    "permissionSets is extra": '"permissionSets":["GRID","COPY"]',
    "settlePlan is missing": _SYMBOL,  # the symbol's fields of 4.2 hold none
    "activatePrice is missing": _TRAILING,
    "priceRate is missing": _TRAILING,
    "avgPrice is missing": _ACK,
    "cumQuote is missing": _ACK,
    "closePosition is extra": _PLACED,  # the acknowledgement of 4.3 holds closePosition …
    "cumBase is missing": _PLACED,  # … and no cumBase
    "cumBase is extra": "allOrders also lists `cumBase`, `pair` since 2026-08.",
    "pair is extra": "allOrders also lists `cumBase`, `pair` since 2026-08.",
    "actualQty is missing": 'after a trigger "actualType", "actualQty"',
    "actualType is missing": 'after a trigger "actualType", "actualQty"',
    "activatePrice is extra": _ALGO,
    "callbackRate is extra": _ALGO,
    "algoId is int, expected str": '{"algoId":1000000033225453,"clientAlgoId"',
    "createTime is int, expected str": _TIMES,
    "goodTillDate is int, expected str": _TIMES,
    "triggerTime is int, expected str": _TIMES,
    "updateTime is int, expected str": _TIMES,
    "N is extra": _FEE,
    "n is extra": _FEE,
    "V is extra": _ORDER,
    "er is extra": "| 2025-10-20 / 10-23 | `er` (expiry reason) in ORDER_TRADE_UPDATE |",
    "gtd is extra": _ORDER,
    "pm is extra": _ORDER,
    # Two forms of one event: leverage changed, or the multi-assets mode, which is not simulated.
    "ac is extra": '"ac":{"s":"BTCUSDT","l":25}',
    "ai is missing": '"ai":{"j":true}',
}  # fmt: skip


def shape(value: Any) -> Any:
    """The type of a scalar, the shapes of an object's fields, the shape of a list's first element."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def differences(expected: Any, actual: Any, at: str = "") -> list[str]:
    """Field names and types that differ, as sentences; empty when both have the same shape."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        found = [f"{at}.{name} is missing" for name in expected if name not in actual]
        found += [f"{at}.{name} is extra" for name in actual if name not in expected]
        for name in expected:
            if name in actual:
                found += differences(expected[name], actual[name], f"{at}.{name}")
        return found
    if isinstance(expected, list) and isinstance(actual, list):
        return differences(expected[0], actual[0], f"{at}[]") if expected and actual else []
    return [] if shape(expected) == shape(actual) else [f"{at} is {shape(actual)}, expected {shape(expected)}"]


def documented(path: Path) -> Any:
    """The JSON of a documentation-style sample: the event of a subscription file, the answer of an endpoint file."""
    text = path.read_text()
    if path.parent.name == "Subscriptions":
        text = text[text.index("\n=") + 2 :]
    starts = [position for position in (text.find("{"), text.find("[")) if position >= 0]
    body = json.JSONDecoder().raw_decode(text[min(starts) :])[0]
    return body["data"] if isinstance(body, dict) and "stream" in body else body
