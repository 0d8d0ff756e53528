"""Every row of the venue sheet's error table through the executor's own road, against the simulated exchange."""

from __future__ import annotations

import asyncio
from typing import Any

from pipeline.binance import requests
from pipeline.binance.errors import CODES, Reaction
from pipeline.core.events import Leg, Side, Verdict
from pipeline.core.rate_limits import Lane
from pipeline.execution.executor import Executor
from pipeline.execution.sender import NOT_EXECUTED, Purpose
from tests.integration.test_executor import BTC, Bench, bench
from tests.pipeline.binance.test_errors import SHEET

STATUSES = {-1003: 429, -1007: 408, -1008: 503, -1001: 503, -1016: 503, -2014: 401, -2015: 401}
UNKNOWN = -9_999
STOPS = (Reaction.STOP_ALL, Reaction.STOP_ORDERS)
DOUBTS = (Reaction.IN_DOUBT, Reaction.ALREADY_EXISTS)
ALERTED = (Reaction.FATAL, Reaction.BUG, Reaction.PAUSE)


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
