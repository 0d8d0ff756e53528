"""Tests of ``perpguard override``."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from pipeline.commands.override import override
from pipeline.embedded_kafka import EmbeddedKafka
from tests.account_desk import environment
from tests.desk_thread import desk_thread


def test_a_wish_needs_a_position(kafka: EmbeddedKafka) -> None:
    """The account knows of none: refused, and nothing is written for decide."""
    runner = CliRunner(env=environment(kafka.bootstrap, "override."))
    with desk_thread(kafka.bootstrap, "override."):
        result = runner.invoke(override, ["BTCUSDT", "--pin"])

    assert 1 == result.exit_code
    assert "no position on BTCUSDT" in result.output


@pytest.mark.parametrize(
    "arguments", [["BTCUSDT"], ["BTCUSDT", "--off", "X8", "--all-on"], ["BTCUSDT", "--off", "X3"], ["--pin"]]
)
def test_what_makes_no_sense_is_wrong_use(arguments: list[str]) -> None:
    """Nothing wished, a contradiction, a rule that protects, no symbol."""
    assert 2 == CliRunner().invoke(override, arguments).exit_code
