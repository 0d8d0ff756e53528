"""
The only place for the acts of the demo on a recording: positions are opened and managed on it while it plays.

The exchange's clock keeps the recorded skew (1.27 s ahead in the hftbacktest file). Positions are opened by the default
tables of the policy, one after the other, long and short in turn; one that the market has not ended in time is closed
by hand.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from pathlib import Path
from typing import Any, Final, TypeAlias

from pipeline.console.asking import ask
from pipeline.console.log_access import open_log
from pipeline.core.account import EVERY_SYMBOL
from pipeline.core.events import Side
from pipeline.core.state import SymbolState
from pipeline.core.state import decode as decode_state
from pipeline.demo import figures
from pipeline.demo.acts import until_flat
from pipeline.demo.exchange import open_episodes
from pipeline.demo.final_book import differences, expectation_beside
from pipeline.demo.promises import Promise
from pipeline.demo.stage import Stage
from pipeline.demo.verdict import Evidence
from pipeline.streaming.topics_admin import changelog_name
from pipeline.wire import records
from pipeline.wire.topics import INPUT_PARTITIONS, Topic, partition_of

Json: TypeAlias = Any  # the expectation's JSON

NOTIONAL: Final = "1000"
ASK_SECONDS: Final = 8.0
HOLD_SECONDS: Final = 10.0  # of wall time; a position that the market has not ended by then is closed by hand


async def play(stage: Stage) -> None:
    """Play the recording to its end, with positions on it; closes what is open."""
    symbol = stage.settings.symbols[0]
    await stage.exchange.start_market()
    stage.view.step(f"the recording plays at ×{stage.options.speed:g}")
    opened, reason, side, opened_at = 0, "", Side.BUY, 0.0
    while not (await stage.exchange.status())["source"]["finished"]:
        stage.fleet.check()
        if open_episodes(await stage.exchange.summary()):
            if time.monotonic() - opened_at > HOLD_SECONDS:
                await _close(stage)
                opened_at = time.monotonic()
            await asyncio.sleep(0.5)
            continue
        command = records.OpenCommand(
            command=f"demo-{secrets.token_hex(8)}", symbol=symbol, side=side, notional=NOTIONAL
        )
        answer = await ask(stage.settings, command, wait=True, seconds=ASK_SECONDS)
        if answer["accepted"]:
            opened, side, opened_at = opened + 1, side.opposite, time.monotonic()
            stage.view.step(f"{symbol} is open: {answer['reason']}")
        elif answer["reason"] != reason:
            reason = answer["reason"]
            stage.view.step(f"{symbol}: {reason}; asking again")
            await asyncio.sleep(0.5)
    stage.view.step("the recording is at its end: closing what is open")
    await _close(stage)
    await until_flat(stage, opened)


async def _close(stage: Stage) -> None:
    await ask(stage.settings, records.CloseCommand(command=f"demo-{secrets.token_hex(8)}", symbol=EVERY_SYMBOL))


async def judge(stage: Stage, evidence: Evidence, recording: Path) -> list[Promise]:
    """The promises of a recording: positions were managed, the final books are as expected, the skew did no harm."""
    rows = evidence.report.rows
    managed = [] if rows else ["no position was opened and closed on the recording"]
    places = [(record.partition, record.offset, record.value) for record in evidence.inputs]
    skew = figures.clock_skew_ms(places)
    refused = {code: n for code, n in evidence.summary["answers"].items() if "-1021" in code}
    harm = [f"{n} requests refused as {code}: their timestamp was outside recvWindow" for code, n in refused.items()]
    promises = [
        Promise("demo", "positions were opened and managed on the recording", managed, f"{len(rows)} positions"),
        Promise("demo", "the clock skew does no harm", harm, f"the exchange's clock is {skew} ms ahead of ours"),
    ]
    for symbol in stage.settings.symbols:
        expected = expectation_beside(recording, symbol)
        if expected is None:
            stage.view.step(f"nothing beside the recording says how the book of {symbol} must end: not compared")
            continue
        state = await stored_state(stage, symbol)
        broken = ["checkpoints hold no state of it"] if state is None else differences(state, expected)
        levels = f"{expected['bid_levels']} + {expected['ask_levels']} levels"
        promises.append(Promise("P1", f"the final book of {symbol} in checkpoints is the expected one", broken, levels))
    return promises


async def stored_state(stage: Stage, symbol: str) -> SymbolState | None:
    """The newest state of *symbol* in the changelog of the table ``checkpoints``."""
    changelog = Topic(
        name=changelog_name("", "checkpoints"),
        partitions=INPUT_PARTITIONS,
        retention_ms=-1,
        compacted=True,
        log_append_time=False,
        compression="producer",
        writers=("decide",),
        readers=("decide",),
        purpose="the durable image of the states",
    )
    async with open_log(stage.settings) as log:
        rows = await log.read(changelog, partitions=[partition_of(symbol)])
    images = [row.value for row in rows if row.key == symbol.encode() and row.value]
    return decode_state(images[-1]) if images else None
