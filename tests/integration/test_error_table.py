"""Every row of the venue sheet's error table through the executor's own road, against the simulated exchange."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

from pipeline.binance import requests
from pipeline.binance.errors import CODES, Reaction
from pipeline.core.commands import ClosePosition, MoveStop, OpenBracket, PlaceTarget, Sweep
from pipeline.core.events import Leg, Side, Verdict
from pipeline.core.rate_limits import Lane
from pipeline.core.units import Lots, Ticks
from pipeline.execution.executor import Executor
from pipeline.execution.sender import NOT_EXECUTED, Purpose
from tests.clients.report import ROOT, interpreter
from tests.integration.test_executor import BTC, Bench, bench
from tests.pipeline.binance.test_errors import SHEET

STATUSES = {-1003: 429, -1007: 408, -1008: 503, -1001: 503, -1016: 503, -2014: 401, -2015: 401}
UNKNOWN = -9_999
STOPS = (Reaction.STOP_ALL, Reaction.STOP_ORDERS)
DOUBTS = (Reaction.IN_DOUBT, Reaction.ALREADY_EXISTS)
ALERTED = (Reaction.FATAL, Reaction.BUG, Reaction.PAUSE)


RAIL_CODES = (-1001, -1007, -1008, -1021, -1111, -2021, -2022, -4005, -4045, -4116, -4130, -4131, -4164, -5028)
VENUE_SHEET = ROOT.parent / "shared" / "docs" / "binance-usdm.md"


def rows_of_the_sheet() -> set[int]:
    """Every code of the table in section 5.4, ranges written out where our table has them."""
    section = VENUE_SHEET.read_text().partition("### 5.4")[2].partition("### 5.5")[0]
    found: set[int] = set()
    for line in section.splitlines():
        cells = line.split("|")
        if len(cells) > 2 and (codes := [int(code) for code in re.findall(r"-\d{4}", cells[1])]):
            found |= set(codes)
            for first, last in re.findall(r"(-\d{4})\s*…\s*(-\d{4})", cells[1]):
                found |= set(range(int(last), int(first) + 1)) & set(CODES)
    return found


def test_the_table_is_the_sheets() -> None:
    """No row of the sheet is missing here, and none here is made up (-4130 is of domain 6.7)."""
    if not VENUE_SHEET.exists():
        pytest.skip(f"no {VENUE_SHEET}")
    rows = rows_of_the_sheet()

    assert len(rows) > 100
    assert set() == rows - set(SHEET)
    assert set() == set(SHEET) - rows - {-4130}
    assert {200} == set(CODES) - set(SHEET)


async def answered(desk: Bench, executor: Executor, number: int, code: int) -> tuple[str, int, list[str]]:
    """One order that the venue answers with *code* once: (how it ended, requests written, alerts)."""
    body = {"code": code, "msg": "as the sheet says"}
    rule = {"action": "status", "status": STATUSES.get(code, 400), "body": body, "match": {"method": "POST"}}
    await desk.admin.admin("POST", "faults", [rule])
    inner = executor.desk
    inner._alerted.clear()
    desk.outbox.alerts.clear()
    name = f"abcdefg.0{number}.1.tagg0"
    inner.know_symbol(name, BTC)
    before = len(desk.journal.records)
    limit = inner.instruments[BTC].min_price_ticks * 2 + 700_000  # an IOC far below the market fills nothing
    sending = asyncio.create_task(
        executor._sender.place(
            Purpose(intent=name, position=name, symbol=BTC, leg=Leg.CLOSE, lane=Lane.CLOSE, lots=10),
            lambda client: requests.entry(
                inner.instruments[BTC], client_id=client, side=Side.BUY, lots=10, limit=limit
            ),
            wanted=lambda: "",
        )
    )
    window = inner.lanes.window
    while not sending.done():
        await asyncio.wait({sending}, timeout=0.005)
        if max(window.stopped_until, window.orders_stopped_until) > desk.clock.now_ms():
            window.stopped_until = window.orders_stopped_until = 0
            sending.cancel()
            await asyncio.wait({sending})
            return "stopped", 1, [alert for alert, _ in desk.outbox.alerts]
    outcome = sending.result().outcome
    await inner.idle()
    written = [r for r in desk.journal.records[before:] if getattr(r, "action", "") == "place" and r.intent == name]
    return outcome.verdict.value, len(written), [alert for alert, _ in desk.outbox.alerts]


def expected(code: int) -> tuple[str, int, str]:
    """What must come of a code: the end, how many requests, the alert ("" for none)."""
    reaction = CODES.get(code)
    if reaction is None:
        return Verdict.IN_DOUBT.value, 1, "unknown_code"
    alert = "venue_refuses" if reaction in ALERTED else ""
    if reaction in STOPS:
        return "stopped", 1, "venue_limit"
    if reaction in NOT_EXECUTED:
        return Verdict.ACCEPTED.value, 2, alert
    if reaction in DOUBTS:
        return Verdict.IN_DOUBT.value, 1, alert
    return Verdict.REJECTED.value, 1, alert


async def test_each_code_of_the_sheet_has_its_reaction_on_the_road() -> None:
    """Refused for good: once and told; not executed: again under a new id; in doubt: never again; limits: all stops."""
    wrong: list[Any] = []
    async with bench() as desk:
        executor = await desk.executor()
        # 200 is no refusal; its meaning in a body of success is the cancel's business.
        for number, code in enumerate((*SHEET, -4130, UNKNOWN)):
            end, written, alerts = await answered(desk, executor, number, code)
            wanted_end, wanted_written, alert = expected(code)
            if (end, written) != (wanted_end, wanted_written) or (alert and alert not in alerts):
                wrong.append((code, (end, written, alerts), (wanted_end, wanted_written, alert)))

    assert [] == wrong
    assert [] == desk.faults


async def seen_by_ccxt(desk: Bench) -> dict[str, Any]:
    """The account through the eyes of a client that knows nothing of us."""
    command = (str(interpreter()), "-m", "tests.clients.look_ccxt", desk.urls["rest"], desk.urls["ws"])
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors[-2_000:]
    found: dict[str, Any] = json.loads(out)
    return found


async def test_a_second_pair_of_eyes_sees_the_account_that_we_believe_in() -> None:
    """Stop moves and targets that the venue refused in every way: unmodified ccxt and the executor see one account."""
    if not interpreter().exists():
        pytest.skip(f"no {interpreter()}: run make clients")
    async with bench() as desk:
        executor = await desk.executor()
        record = await desk.bracket()
        assert isinstance(record.intent, OpenBracket)
        await executor.submit(record)
        await executor.desk.idle()
        working = record.intent.working_trigger
        for number, code in enumerate(RAIL_CODES):
            body = {"code": code, "msg": "as the sheet says"}
            path = "/fapi/v1/algoOrder" if number % 3 else "/fapi/v1/order"
            rule = {"action": "status", "status": STATUSES.get(code, 400), "body": body}
            await desk.admin.admin("POST", "faults", [rule | {"match": {"method": "POST", "path": path}}])
            executor.desk.entries_ms.clear()
            if number % 3:
                stop = MoveStop(record.id, Leg.WORKING, Side.BUY, Ticks(working + 100 * (number + 1)), Lots(10))
                executor.submit(desk.intent(stop))
            else:
                limit = Ticks(record.intent.limit * 103 // 100 + number)
                executor.submit(desk.intent(PlaceTarget(record.id, Leg.TARGET, Side.BUY, limit, Lots(5))))
            await executor.desk.idle()
        held = executor.desk.positions.get(record.id)
        assert held is not None
        believed = sorted(
            ["sell", float(order.trigger) / 10, order.lots == 0]
            for order in held.orders.values()
            if order.book == "algoOrder"
        )
        targets = [order for order in held.orders.values() if order.book == "order"]
        open_ = await seen_by_ccxt(desk)
        executor.submit(desk.intent(ClosePosition(record.id, Side.BUY, Lots(10), "X15")))
        await executor.desk.idle()
        executor.submit(desk.intent(Sweep(record.id)))
        await executor.desk.idle()
        over = await seen_by_ccxt(desk)
        executor.die()

    assert [["long", 0.01]] == open_["positions"]
    assert believed == open_["stops"]
    assert len(believed) >= 2
    assert len(targets) == len(open_["orders"])
    assert {"positions": [], "orders": [], "stops": []} == over
    assert [] == desk.faults
