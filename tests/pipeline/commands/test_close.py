"""Tests of ``perpguard close``."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from pipeline.commands.close import close
from pipeline.embedded_kafka import EmbeddedKafka
from tests.account_desk import environment
from tests.desk_thread import desk_thread


def test_close_one_or_all(kafka: EmbeddedKafka) -> None:
    """A known symbol and --all are asked for whatever the account knows; an unknown symbol is refused."""
    runner = CliRunner(env=environment(kafka.bootstrap, "close."))
    with desk_thread(kafka.bootstrap, "close."):
        one = runner.invoke(close, ["BTCUSDT"])
        everything = runner.invoke(close, ["--all"])
        unknown = runner.invoke(close, ["NOPEUSDT"])

    assert (0, 0, 1) == (one.exit_code, everything.exit_code, unknown.exit_code)
    assert "decide was asked all the same" in one.output
    assert "every position" in everything.output
    assert "unknown symbol 'NOPEUSDT'" in unknown.output


@pytest.mark.parametrize("arguments", [[], ["BTCUSDT", "--all"]])
def test_one_or_all_must_be_said(arguments: list[str]) -> None:
    """Neither and both are wrong use."""
    assert 2 == CliRunner().invoke(close, arguments).exit_code
