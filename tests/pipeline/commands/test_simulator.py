"""`perpguard simulator` starts, prints its addresses, ends cleanly, and refuses wrong options in words."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from pipeline.commands.simulator import simulator
from tests.simulator import simulator_process


def test_the_process_prints_its_addresses_answers_and_ends_cleanly(tmp_path: Path) -> None:
    """One JSON line when ready; SIGTERM ends it with code 0 and a complete ledger file."""
    ledger = tmp_path / "ledger.jsonl"
    with simulator_process("--port", "0", "--symbols", "BTCUSDT,DOGEUSDT", "--ledger", str(ledger)) as running:
        assert ["BTCUSDT", "DOGEUSDT"] == running.admin("GET", "status")["symbols"]
        running.admin("POST", "disconnect", {"route": None})
    assert 0 == running.process.returncode
    assert ["fault"] == [json.loads(line)["kind"] for line in ledger.read_text().splitlines()]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--symbols", "0"], "--symbols"),
        (["--symbols", "bitcoin"], "--symbols"),
        (["--speed", "fast"], "neither a number nor 'max'"),
        (["--speed", "-1"], "above 0"),
        (["--wallet", "much"], "no positive amount"),
        (["--scenario", "storm"], "neither a file nor one of"),
        (["--rate", "0"], "rate 0"),
        (["--recording", "/does/not/exist"], "does not exist"),
        (["--klines", "/does/not/exist"], "does not exist"),
        (["--klines", str(Path(__file__).parent)], "no file SYMBOL.csv"),
        (["--klines", str(Path(__file__).parent), "--live", "http://x", "ws://x"], "choose one"),
        (["--live", "http://127.0.0.1:9", "ws://127.0.0.1:9"], "does not answer as the venue does"),
        (["--live", "http://127.0.0.1:9"], "2 arguments"),
        (["--coin-margined", "-1"], "--coin-margined"),
    ],
)
def test_wrong_options_are_refused_in_words(options: list[str], words: str) -> None:
    """A usage error names the option or the value and what is allowed."""
    result = CliRunner().invoke(simulator, ["--port", "0", *options])

    assert 0 != result.exit_code
    assert words in result.output


def test_a_scenario_file_with_a_mistake_names_it(tmp_path: Path) -> None:
    """The text of the scenario error reaches the user."""
    file = tmp_path / "mine.json"
    file.write_text('{"name": "mine", "idle": "sleep"}')

    assert "idle: 'sleep'" in CliRunner().invoke(simulator, ["--scenario", str(file)]).output


def test_a_fault_plan_is_read_judged_and_closed(tmp_path: Path) -> None:
    """A mistake names its line; a plan that never bit says so, last of all in the ledger."""
    plan, ledger = tmp_path / "plan.json", tmp_path / "ledger.jsonl"
    plan.write_text('[\n{"action": "429"},\n{"action": "boom"}]')
    result = CliRunner().invoke(simulator, ["--port", "0", "--faults", str(plan)])
    assert (2, True) == (result.exit_code, "line 3: faults[1].action: 'boom'" in result.output)

    plan.write_text('{"seed": 9, "rules": [{"action": "429", "match": {"path": "/nothing"}}]}')
    with simulator_process("--port", "0", "--faults", str(plan), "--ledger", str(ledger)) as running:
        assert 9 == running.admin("GET", "faults")["seed"]
    last = json.loads(ledger.read_text().splitlines()[-1])
    assert ("fault_plan", {"429": 0}) == (last["kind"], last["bites"])
    assert ["fault rule 1: 429 never bit (0 things matched)"] == last["never_bit"]


def test_candles_and_a_live_proxy_of_them(tmp_path: Path) -> None:
    """One simulator plays a file of candles, another re-serves it: the proxy answers with the first one's candles."""
    rows = [f"{minute * 60_000},100,101,99,100.5,50" for minute in range(30)]
    (tmp_path / "ABCUSDT.csv").write_text("\n".join(["open_time_ms,open,high,low,close,volume", *rows]) + "\n")
    options = ("--port", "0", "--klines", str(tmp_path), "--history-minutes", "20", "--speed", "60")
    with simulator_process(*options) as candles:
        assert ("klines", ["ABCUSDT"]) == (
            candles.admin("GET", "status")["source"]["source"],
            candles.admin("GET", "status")["symbols"],
        )
        with simulator_process("--port", "0", "--symbols", "ABCUSDT", "--live", candles.rest, candles.ws) as proxy:
            assert "live" == proxy.admin("GET", "status")["source"]["source"]
            asked = {"symbol": "ABCUSDT", "interval": "5m", "limit": 3, "endTime": 1}
            first, second = (
                httpx.get(f"{one.rest}/fapi/v1/klines", params=asked, timeout=10).json() for one in (candles, proxy)
            )
            assert first == second


def test_a_tick_finer_than_money_is_refused(tmp_path: Path) -> None:
    """A scenario whose new tick cannot be counted names the symbol."""
    file = tmp_path / "mine.json"
    change = {"at": 1, "symbol": "BTCUSDT", "kind": "tick", "tick": "0.00000001"}
    file.write_text(json.dumps({"name": "mine", "happenings": [change]}))

    assert "finer than 1e-8" in CliRunner().invoke(simulator, ["--port", "0", "--scenario", str(file)]).output
