"""Tests of ``perpguard signal``."""

from __future__ import annotations

from click.testing import CliRunner

from pipeline.commands.signal import signal
from pipeline.embedded_kafka import EmbeddedKafka
from tests.account_desk import environment
from tests.desk_thread import desk_thread


def test_a_signal_is_admitted_once_and_void_after_its_time(kafka: EmbeddedKafka) -> None:
    """The road of an entry: admitted with a slot; a repeated id opens nothing more, an old one is void."""
    runner = CliRunner(env=environment(kafka.bootstrap, "signal."))
    with desk_thread(kafka.bootstrap, "signal."):
        old = runner.invoke(signal, ["BTCUSDT", "short", "--valid", "-1000", "--source", "model"])
        first = runner.invoke(signal, ["BTCUSDT", "long", "--id", "7", "--notional", "500"])
        again = runner.invoke(signal, ["BTCUSDT", "long", "--id", "7", "--notional", "500"])

    assert (1, 0) == (old.exit_code, first.exit_code)
    assert "the signal of model is void since" in old.output
    assert "slot 1 of 5" in first.output
    assert again.output == first.output or "duplicate command id signal-7" in again.output
