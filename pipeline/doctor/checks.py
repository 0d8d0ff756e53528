"""
The only place for the checks of ``perpguard doctor``: what was found, what is wanted, how to mend it. They only read.

Every check gives one row or more and none raises: what cannot be read is a row that fails. The venue is asked through
the emergency client, so that a doctor works beside a running executor without its governor (quota from the headers).
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from pipeline.core.events import TradingMode
from pipeline.emergency.venue import Call, PlainVenue, Reply
from pipeline.execution.cover import ReadIncomplete, algo_rows, cover, position_rows
from pipeline.execution.switch import Switch
from pipeline.settings import Settings

Shape = TypeVar("Shape")
OK, WARN, FAIL = "ok", "warn", "fail"
CLOCK_MS: Final = 500  # the venue refuses stamps 1,000 ms ahead of it; half of that is left for the road
SKEW_MS: Final = 100
ROUND_TRIP_MS: Final = 500
DISK_FREE: Final = 2 * 1024**3
CONNECT_SECONDS: Final = 2.0
WALLET_URL: Final = "https://api.binance.com"  # the rights of a key are asked there, not on fapi


class Row(msgspec.Struct, frozen=True):
    """One finding; ``mend`` is empty when nothing is to be mended."""

    name: str
    verdict: str
    found: str
    wanted: str
    mend: str = ""


class _AccountConfig(msgspec.Struct):
    canTrade: bool = False
    dualSidePosition: bool = False
    multiAssetsMargin: bool = False


class _SymbolConfig(msgspec.Struct):
    symbol: str
    marginType: str
    leverage: int


class _Rights(msgspec.Struct):
    enableWithdrawals: bool
    enableFutures: bool = False
    ipRestrict: bool = False


class _Limit(msgspec.Struct):
    rateLimitType: str
    interval: str
    intervalNum: int
    limit: int


class _Info(msgspec.Struct):
    rateLimits: list[_Limit] = []


def everything(settings: Settings, venue: PlainVenue, *, wallet: PlainVenue | None) -> Iterator[Row]:
    """All rows in the order in which they are worth mending; *wallet* is asked for the key's rights (None: nowhere)."""
    yield from reachable(venue)
    yield from clock(venue)
    yield from keys(venue)
    yield from rights(settings, wallet)
    yield from symbols(settings, venue)
    yield from limits(venue)
    yield from positions(venue)
    yield from broker(settings)
    yield disk(settings.data_directory)
    yield switch(settings.data_directory)


def reachable(venue: PlainVenue) -> Iterator[Row]:
    """The address answers."""
    reply = venue.call(Call("GET", "/fapi/v1/ping", signed=False))
    mend = "check PERPGUARD_REST_URL and the way out of this machine"
    yield _row("venue", reply.accepted, f"{venue.url}: {_said(reply)}", "an answer to /fapi/v1/ping", mend)


def clock(venue: PlainVenue) -> Iterator[Row]:
    """Offset, and how far three readings disagree."""
    offsets = []
    for _ in range(3):
        trouble = venue.synchronise()
        if trouble:
            yield Row("clock offset", FAIL, trouble, "the venue's time", "see venue")
            return
        offsets.append(venue.ahead_ms)
    offset, skew = sorted(offsets)[1], max(offsets) - min(offsets)
    mend = "let chrony or systemd-timesyncd set this machine's clock"
    yield _row("clock offset", abs(offset) <= CLOCK_MS, f"{offset} ms", f"within {CLOCK_MS} ms", mend)
    text = "readings disagree: the road to the venue is slow or uneven"
    yield _row("time skew", skew <= SKEW_MS, f"{skew} ms over 3 readings", f"within {SKEW_MS} ms", text, bad=WARN)


def keys(venue: PlainVenue) -> Iterator[Row]:
    """The key signs, may trade, and the account is one-way and single-asset (domain 6)."""
    reply = venue.call(Call("GET", "/fapi/v1/accountConfig"))
    found = _decoded(reply, _AccountConfig)
    if found is None:
        mend = "PERPGUARD_API_KEY and PERPGUARD_API_SECRET (or _FILE): right pair, right venue, this address allowed"
        yield Row("keys", FAIL, _said(reply), "a signed answer", mend)
        return
    yield Row("keys", OK, "a signed request was answered", "a signed answer")
    yield _row("trading", found.canTrade, f"canTrade {found.canTrade}", "canTrade", "allow futures trading for the key")
    one_way = "hedge" if found.dualSidePosition else "one-way"
    mend = "flat and without orders: POST /fapi/v1/positionSide/dual dualSidePosition=false"
    yield _row("position mode", not found.dualSidePosition, one_way, "one-way", mend)
    assets = "multi-asset" if found.multiAssetsMargin else "single-asset"
    mend = "POST /fapi/v1/multiAssetsMargin multiAssetsMargin=false"
    yield _row("asset mode", not found.multiAssetsMargin, assets, "single-asset", mend)


def rights(settings: Settings, wallet: PlainVenue | None) -> Iterator[Row]:
    """A key that can withdraw is refused: a leak would cost more than the positions."""
    if wallet is None:
        yield Row("withdrawals", OK, f"venue {settings.venue}: nothing can be withdrawn", "a key that cannot withdraw")
        return
    reply = wallet.call(Call("GET", "/sapi/v1/account/apiRestrictions"))
    found = _decoded(reply, _Rights)
    if found is None:
        yield Row("withdrawals", FAIL, _said(reply), "a key that cannot withdraw", "the key's rights must be readable")
        return
    mend = "make another key without the right to withdraw and delete this one"
    said = "it can withdraw" if found.enableWithdrawals else "it cannot withdraw"
    yield _row("withdrawals", not found.enableWithdrawals, said, "a key that cannot withdraw", mend)
    mend = "restrict the key to the address of this machine"
    bound = "bound to addresses" if found.ipRestrict else "usable from anywhere"
    yield _row("key address", found.ipRestrict, bound, "bound to addresses", mend, bad=WARN)


def symbols(settings: Settings, venue: PlainVenue) -> Iterator[Row]:
    """Isolated margin and a leverage that is not above the limit, for each symbol that may be traded."""
    reply = venue.call(Call("GET", "/fapi/v1/symbolConfig"))
    found = _decoded(reply, list[_SymbolConfig])
    if found is None:
        yield Row("symbols", FAIL, _said(reply), "margin type and leverage of each symbol", "see keys")
        return
    by_name = {row.symbol: row for row in found}
    for symbol in settings.limits.symbols:
        row = by_name.get(symbol)
        if row is None:
            yield Row(f"{symbol}", FAIL, "the venue does not list it", "a listed symbol", "take it out of the symbols")
            continue
        mend = f"flat: POST /fapi/v1/marginType symbol={symbol} marginType=ISOLATED"
        yield _row(f"{symbol} margin", row.marginType.upper() == "ISOLATED", row.marginType, "ISOLATED", mend)
        most = settings.limits.max_leverage
        mend = f"POST /fapi/v1/leverage symbol={symbol} leverage={most}"
        yield _row(f"{symbol} leverage", row.leverage <= most, f"{row.leverage}", f"at most {most}", mend)


def limits(venue: PlainVenue) -> Iterator[Row]:
    """The venue's limits, and what of them is used."""
    reply = venue.call(Call("GET", "/fapi/v1/exchangeInfo", signed=False), seconds=10.0)
    found = _decoded(reply, _Info)
    if found is None:
        yield Row("limits", FAIL, _said(reply), "rateLimits in exchangeInfo", "see venue")
        return
    said = ", ".join(f"{row.rateLimitType} {row.limit}/{row.intervalNum} {row.interval}" for row in found.rateLimits)
    yield _row(
        "limits", bool(found.rateLimits), said or "none", "REQUEST_WEIGHT and ORDERS", "read again later", bad=WARN
    )
    mend = "something else on this address or account uses the quota up"
    yield _row("quota", not venue.quota.reads_should_wait, venue.quota.words(), "below nine tenths", mend, bad=WARN)


def positions(venue: PlainVenue) -> Iterator[Row]:
    """Every open position is covered, by the venue's own rows."""
    replies = [venue.call(Call("GET", path)) for path in ("/fapi/v3/positionRisk", "/fapi/v1/openAlgoOrders")]
    try:
        if not all(reply.accepted for reply in replies):
            raise ReadIncomplete("; ".join(_said(reply) for reply in replies))
        found = cover(position_rows(replies[0].body), algo_rows(replies[1].body))
    except ReadIncomplete as error:
        yield Row("cover", FAIL, f"cannot be proven: {error}", "a stop for each position", "see keys")
        return
    if not found:
        yield Row("cover", OK, "no position is open", "a stop for each position")
    for verdict in found:
        mend = "start the executor (it adopts), or perpguard kill; docs/runbooks/unprotected.md"
        yield _row(f"{verdict.symbol} cover", verdict.proven, verdict.words(), "a stop for each position", mend)


def broker(settings: Settings) -> Iterator[Row]:
    """Each broker takes a connection; whether it is our log is asked by ``log_identity`` of the command."""
    for address in settings.brokers.split(","):
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
        except OSError as error:
            yield Row("broker", FAIL, f"{address}: {error}", "a connection", "start Kafka, or mend PERPGUARD_BROKERS")
        else:
            yield Row("broker", OK, f"{address} answers", "a connection")


def log_identity(read: Callable[[], str | None]) -> Row:
    """The identity drawn when the topics were made; *read* raises OSError when Kafka does not give it."""
    try:
        found = read()
    except OSError as error:
        return Row("log identity", FAIL, str(error)[:120], "one identity", "see broker; perpguard topics")
    return _row("log identity", bool(found), found or "none was drawn", "one identity", "perpguard topics")


def disk(directory: Path) -> Row:
    """Space for the journal's spill, the switch file and RocksDB."""
    place = directory
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free
    found = f"{free / 1024**3:.1f} GiB free at {directory}"
    mend = "make room: docs/runbooks/disk-full.md"
    return _row("disk", free >= DISK_FREE, found, f"{DISK_FREE / 1024**3:.0f} GiB free", mend)


def switch(directory: Path) -> Row:
    """The kill switch of this machine."""
    state = Switch(directory, "doctor").look()
    found = state.mode.value + (f" ({state.reason})" if state.reason else "")
    mend = "perpguard resume, once the reason is gone: docs/runbooks/kill-and-resume.md"
    return _row("switch", state.mode is TradingMode.ACTIVE, found, "active", mend, bad=WARN)


def _row(name: str, good: bool, found: str, wanted: str, mend: str, *, bad: str = FAIL) -> Row:
    return Row(name, OK if good else bad, found, wanted, "" if good else mend)


def _said(reply: Reply) -> str:
    return "answers" if reply.accepted else reply.words()


def _decoded(reply: Reply, shape: type[Shape]) -> Shape | None:
    if not reply.accepted:
        return None
    try:
        return msgspec.json.decode(reply.body, type=shape)
    except msgspec.DecodeError:
        return None
