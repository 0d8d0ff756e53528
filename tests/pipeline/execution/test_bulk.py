"""The only place for the tests of reads that one request answers for every symbol."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.binance.errors import ReadFailed
from pipeline.binance.requests import Read
from pipeline.core.commands import RequestData
from pipeline.core.units import Milliseconds
from pipeline.execution.bulk import KEPT_MS, BulkReads
from pipeline.wire.records import DataIntentRecord

ROWS = b'[{"symbol":"BTCUSDT","bidPrice":"1.0"}, {"symbol":"ETHUSDT","bidPrice":"2.0"}]'


def wish(symbol: str, kind: str = "book_ticker", *, held: bool = False) -> DataIntentRecord:
    return DataIntentRecord(f"{kind} {symbol}", symbol, Milliseconds(0), RequestData(kind, held=held))


async def asked(*wishes: DataIntentRecord, body: bytes | Exception) -> tuple[list[Read], list[tuple[str, bytes, str]]]:
    """What was read and what was said when these ask in one moment."""
    reads: list[Read] = []
    said: list[tuple[str, bytes, str]] = []

    async def read(request: Read, _: DataIntentRecord) -> bytes:
        reads.append(request)
        if isinstance(body, Exception):
            raise body
        return body

    bulk = BulkReads(
        read=read, say=lambda record, row, error: said.append((record.symbol, row, error)), now_ms=lambda: 0
    )
    await asyncio.gather(*[bulk.serve(one.request.kind) for one in wishes if bulk.gather(one)])
    return reads, said


async def test_who_asks_within_a_moment_shares_one_request() -> None:
    """Five positions without a stream cost one request of each kind, not five; each gets its own bytes."""
    reads, said = await asked(wish("BTCUSDT"), wish("ETHUSDT"), wish("GONEUSDT"), body=ROWS)

    assert [("/fapi/v1/ticker/bookTicker", (), 5)] == [(read.path, read.query, read.weight) for read in reads]
    assert [
        ("BTCUSDT", b'{"symbol":"BTCUSDT","bidPrice":"1.0"}', ""),
        ("ETHUSDT", b'{"symbol":"ETHUSDT","bidPrice":"2.0"}', ""),
        ("GONEUSDT", b"", "the venue does not know the symbol"),
    ] == said


async def test_one_symbol_is_read_alone_and_kinds_apart() -> None:
    """At a lower weight; its answer is the venue's bytes as they came."""
    reads, said = await asked(wish("BTCUSDT"), wish("BTCUSDT"), wish("BTCUSDT", "premium_index"), body=b'{"x":1}')

    assert [(2, (("symbol", "BTCUSDT"),)), (1, (("symbol", "BTCUSDT"),))] == [(r.weight, r.query) for r in reads]
    assert 3 == len(said)
    assert {b'{"x":1}'} == {row for _, row, _ in said}


async def test_what_is_read_whole_is_one_request_even_for_one_symbol_and_absence_is_an_answer() -> None:
    """fundingInfo lists only what differs from the default: a symbol that it does not list settles every 8 hours."""
    wishes = (wish("ETHUSDT", "funding_info"), wish("GONEUSDT", "funding_info"))
    reads, said = await asked(*wishes, body=b'[{"symbol":"ETHUSDT","fundingIntervalHours":4}]')

    assert [("/fapi/v1/fundingInfo", (), 0)] == [(read.path, read.query, read.weight) for read in reads]
    assert [
        ("ETHUSDT", b'{"symbol":"ETHUSDT","fundingIntervalHours":4}', ""),
        ("GONEUSDT", b'{"symbol":"GONEUSDT"}', ""),
    ] == said
    reads, said = await asked(wish("ETHUSDT", "leverage_brackets"), body=b'[{"symbol":"ETHUSDT","brackets":[]}]')
    assert [()] == [read.query for read in reads]
    assert [("ETHUSDT", b'{"symbol":"ETHUSDT","brackets":[]}', "")] == said


@pytest.mark.parametrize("failure", [ReadFailed("429", -1003), TimeoutError(), b"no rows", b'[{"s":1}]'])
async def test_a_failed_read_is_told_to_everybody(failure: bytes | Exception) -> None:
    """Nobody waits for an answer that does not come."""
    _, said = await asked(wish("BTCUSDT"), wish("ETHUSDT"), body=failure)

    assert ["BTCUSDT", "ETHUSDT"] == [symbol for symbol, _, _ in said]
    assert all(error and not row for _, row, error in said)


async def test_a_whole_answer_that_hardly_changes_serves_for_an_hour_and_no_longer() -> None:
    """Newly shortlisted symbols ask at every closed bar: one request an hour serves them; quotes are never kept."""
    reads: list[str] = []
    said: list[tuple[str, bytes, str]] = []
    now = [0]
    broken = [True]

    async def read(request: Read, _: DataIntentRecord) -> bytes:
        reads.append(request.path)
        if broken[0]:
            raise ReadFailed("429", -1003)
        return b'[{"symbol":"ETHUSDT","brackets":[%d]}]' % len(reads)

    bulk = BulkReads(
        read=read, say=lambda record, row, error: said.append((record.symbol, row, error)), now_ms=lambda: now[0]
    )

    async def ask(symbol: str, kind: str = "leverage_brackets") -> None:
        assert bulk.gather(wish(symbol, kind))
        await bulk.serve(kind)

    await ask("ETHUSDT")  # a failure is not kept
    broken[0] = False
    for at, symbol in ((0, "ETHUSDT"), (KEPT_MS - 1, "ETHUSDT"), (KEPT_MS - 1, "GONEUSDT"), (KEPT_MS, "ETHUSDT")):
        now[0] = at
        await ask(symbol)
    assert 3 == len(reads)
    assert [
        ("ETHUSDT", b"", "('429', -1003)"),
        ("ETHUSDT", b'{"symbol":"ETHUSDT","brackets":[2]}', ""),
        ("ETHUSDT", b'{"symbol":"ETHUSDT","brackets":[2]}', ""),
        ("GONEUSDT", b"", "the venue does not know the symbol"),
        ("ETHUSDT", b'{"symbol":"ETHUSDT","brackets":[3]}', ""),
    ] == said
    await ask("ETHUSDT", "book_ticker")
    await ask("ETHUSDT", "book_ticker")
    assert 5 == len(reads)
