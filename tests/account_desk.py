"""The only place where tests run an account without a worker: its fold between two real topics."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from pipeline.binance.account_fold import AccountFold, rules_of
from pipeline.console.log_access import open_log, send
from pipeline.core.units import Milliseconds
from pipeline.settings import Settings, load
from pipeline.wire import records
from pipeline.wire.topics import ACCOUNT, ALERTS

SYMBOL_OBJECT = {
    "symbol": "BTCUSDT",
    "status": "TRADING",
    "contractType": "PERPETUAL",
    "deliveryDate": 4133404800000,
    "baseAsset": "BTC",
    "quoteAsset": "USDT",
    "marginAsset": "USDT",
    "filters": [
        {"filterType": "PRICE_FILTER", "minPrice": "556.80", "maxPrice": "4529764", "tickSize": "0.10"},
        {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "1000", "stepSize": "0.001"},
        {"filterType": "MARKET_LOT_SIZE", "minQty": "0.001", "maxQty": "120", "stepSize": "0.001"},
        {"filterType": "MIN_NOTIONAL", "notional": "50"},
    ],
}


def environment(brokers: str, prefix: str) -> dict[str, str]:
    """The environment of a command line that talks to the test's own topics."""
    return {"PERPGUARD_BROKERS": brokers, "PERPGUARD_PREFIX": prefix, "PERPGUARD_SYMBOLS": "BTCUSDT"}


def instruments_known() -> records.InstrumentsKnown:
    """What the executor writes when it has read exchangeInfo."""
    return records.InstrumentsKnown(Milliseconds(1), {"BTCUSDT": msgspec.Raw(msgspec.json.encode(SYMBOL_OBJECT))})


def balance_read() -> records.BalanceRead:
    """What the executor writes when it has read the balance."""
    body = b'[{"asset":"USDT","balance":"10000","availableBalance":"10000"}]'
    return records.BalanceRead(Milliseconds(1), msgspec.Raw(body))


@asynccontextmanager
async def account_desk(brokers: str, prefix: str, log_identity: str) -> AsyncIterator[Settings]:
    """Answer commands as the account worker would, while the body runs."""
    settings = load(environment(brokers, prefix))
    await send(settings, ACCOUNT, records.encode(instruments_known()))
    await send(settings, ACCOUNT, records.encode(balance_read()))

    async def work() -> None:
        fold = AccountFold(log_identity=log_identity, fold="", rules=rules_of(settings), policy=settings.policy)
        async with open_log(settings) as log:
            async for _, record in log.follow([ACCOUNT], since_ms=0):
                applied = fold.apply_record(offset=record.offset, append_ms=record.append_ms, value=record.value)
                for alert in applied.alerts:
                    await send(settings, ALERTS, records.encode(alert))

    task = asyncio.create_task(work())
    try:
        yield settings
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
