"""Each check of the doctor: found, wanted, mend; a venue that is away, an account that is not ours to use."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from connectors.exchange_simulator.signing import DEFAULT_KEY, DEFAULT_SECRET
from pipeline.binance.errors import Classified, Reaction
from pipeline.core.events import TradingMode
from pipeline.doctor import checks
from pipeline.doctor.checks import FAIL, OK, WARN, Row
from pipeline.emergency.venue import Call, PlainVenue, Reply
from pipeline.execution.switch import Switch
from pipeline.settings import Settings, load
from tests.simulator import SignedClient, simulator_inside


def settings_at(url: str, directory: Path, *, brokers: str = "127.0.0.1:1") -> Settings:
    return load(
        {"PERPGUARD_REST_URL": url, "PERPGUARD_DATA_DIRECTORY": str(directory), "PERPGUARD_BROKERS": brokers,
         "PERPGUARD_SYMBOLS": "BTCUSDT,ETHUSDT"}
    )  # fmt: skip


class Says(PlainVenue):
    """Answers every call with one body, or not at all."""

    def __init__(self, body: Any = None) -> None:
        super().__init__("http://127.0.0.1:9", key="", secret="")
        self._body = body

    def call(self, call: Call, **_: Any) -> Reply:
        if self._body is None:
            return Reply(Classified(Reaction.FATAL, -2015, "Invalid API-key, IP, or permissions for action."))
        return Reply(Classified(Reaction.ACCEPTED), json.dumps(self._body).encode())


def verdicts(rows: Any) -> dict[str, str]:
    return {row.name: row.verdict for row in rows}


async def test_an_account_as_it_must_be_and_as_it_must_not(tmp_path: Path) -> None:
    """The simulator's account: cross margin and its leverage fail with a mend until they are set; hedge mode fails."""
    async with simulator_inside(symbols=2) as simulator, SignedClient(simulator.urls()["rest"]) as client:
        venue = PlainVenue(simulator.urls()["rest"], key=DEFAULT_KEY, secret=DEFAULT_SECRET)
        settings = settings_at(simulator.urls()["rest"], tmp_path)

        def look() -> list[Row]:
            return list(checks.everything(settings, venue, wallet=None))

        before = await asyncio.to_thread(look)
        assert all(row.mend for row in before if row.verdict != OK)
        assert OK == verdicts(before)["keys"] == verdicts(before)["clock offset"]
        for symbol in ("BTCUSDT", "ETHUSDT"):
            await client.call("POST", "/fapi/v1/marginType", symbol=symbol, marginType="ISOLATED")
            await client.call("POST", "/fapi/v1/leverage", symbol=symbol, leverage=settings.limits.max_leverage)
        after = verdicts(await asyncio.to_thread(look))
        assert ["broker"] == [name for name, verdict in after.items() if verdict == FAIL]

        await client.call("POST", "/fapi/v1/positionSide/dual", dualSidePosition=True)
        assert FAIL == verdicts(await asyncio.to_thread(look))["position mode"]


async def test_an_uncovered_position_fails(tmp_path: Path) -> None:
    """A position without a stop is a row that names it."""
    async with simulator_inside(symbols=2) as simulator, SignedClient(simulator.urls()["rest"]) as client:
        venue = PlainVenue(simulator.urls()["rest"], key=DEFAULT_KEY, secret=DEFAULT_SECRET)
        order = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.010"}
        assert 200 == (await client.call("POST", "/fapi/v1/order", **order))[0]

        assert {"BTCUSDT cover": FAIL} == verdicts(await asyncio.to_thread(lambda: list(checks.positions(venue))))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"enableWithdrawals": True, "ipRestrict": True}, FAIL),
        ({"enableWithdrawals": False, "ipRestrict": True}, OK),
        ({"something": "else"}, FAIL),
        (None, FAIL),
    ],
)
def test_a_key_that_can_withdraw_is_refused(body: Any, expected: str, tmp_path: Path) -> None:
    """And so is one whose rights cannot be read."""
    settings = settings_at("http://127.0.0.1:9", tmp_path)

    assert expected == verdicts(checks.rights(settings, Says(body)))["withdrawals"]


def test_a_venue_that_is_away_gives_rows_and_no_exception(tmp_path: Path) -> None:
    """Nothing answers: every row that needs the venue fails with a mend."""
    settings = settings_at("http://127.0.0.1:9", tmp_path)
    venue = PlainVenue("http://127.0.0.1:9", key="k", secret="s")
    rows = verdicts(checks.everything(settings, venue, wallet=None))

    assert {FAIL} == {rows[name] for name in ("venue", "clock offset", "keys", "symbols", "limits", "cover", "broker")}


def test_the_switch_and_the_log_have_rows(tmp_path: Path) -> None:
    """A halted machine warns; a log without identity, or none at all, fails."""
    kill = Switch(tmp_path, "kill-1")
    kill.seize(TradingMode.HALTED, "drill")
    kill.release()

    def away() -> str | None:
        raise OSError("no broker")

    assert (WARN, "halted (drill)") == (checks.switch(tmp_path).verdict, checks.switch(tmp_path).found)
    found = [checks.log_identity(read).verdict for read in (lambda: "abcdefg", lambda: None, away)]
    assert [OK, FAIL, FAIL] == found
    assert msgspec.json.encode(checks.disk(tmp_path / "not" / "there"))
