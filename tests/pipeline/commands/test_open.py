"""Tests of ``perpguard open``, on a real Kafka with the account's own fold behind it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from pipeline.commands.open import open_
from pipeline.embedded_kafka import EmbeddedKafka
from tests.account_desk import environment
from tests.desk_thread import desk_thread


def test_answers_become_words_json_and_exit_codes(kafka: EmbeddedKafka) -> None:
    """Admitted is 0, refused is 1 with the account's words; a second entry on the symbol is refused."""
    runner = CliRunner(env=environment(kafka.bootstrap, "open."))
    with desk_thread(kafka.bootstrap, "open."):
        refused = runner.invoke(open_, ["BTCUSDT", "short", "--quantity", "0.0005"])
        admitted = runner.invoke(open_, ["BTCUSDT", "long", "--notional", "500", "--json"])
        again = runner.invoke(open_, ["BTCUSDT", "long", "--notional", "500"])

    assert (1, 0, 1) == (refused.exit_code, admitted.exit_code, again.exit_code)
    assert "refused: quantity 0.0005 is off the grid of 0.001: 0.001 would be allowed" in refused.output
    assert json.loads(admitted.output)["accepted"] is True
    assert "has a pending entry already" in again.output


@pytest.mark.parametrize("arguments", [[], ["BTCUSDT"], ["BTCUSDT", "sideways"]])
def test_wrong_use_is_code_two(arguments: list[str]) -> None:
    """A missing or unknown side is refused before anything is sent."""
    assert 2 == CliRunner().invoke(open_, arguments).exit_code


def test_no_kafka_is_code_three() -> None:
    """Without a broker the command says what to start."""
    answer = CliRunner(env={"PERPGUARD_BROKERS": "127.0.0.1:1"}).invoke(open_, ["BTCUSDT", "long", "--notional", "9"])

    assert 3 == answer.exit_code
    assert "perpguard kafka" in answer.output
