"""The account's fold, driven as the runner drives it: one state, its words as records."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from pipeline.agents.account import KEY, AccountFolding, register
from pipeline.settings import Settings, load
from pipeline.streaming.app import make_app
from pipeline.wire import records
from pipeline.wire.records import AccountTick, encode
from pipeline.wire.topics import ALERTS, INPUTS


def settings(directory: Path) -> Settings:
    """Defaults."""
    return load({"PERPGUARD_PREFIX": "test.", "PERPGUARD_DATA_DIRECTORY": str(directory)})


def folding(directory: Path) -> AccountFolding:
    """An empty account."""
    return AccountFolding("LOG0001", fold="f1", settings=settings(directory))


def test_state_is_stored_once_it_has_applied_something(tmp_path: Path) -> None:
    """Before the first record there is no state; behind it the state stands at its offset."""
    fold = folding(tmp_path)
    assert {} == fold.applied()
    fold.apply(offset=4, append_ms=1_000, value=encode(AccountTick(at_ms=1_000)))

    assert {KEY: (4, 0)} == fold.applied()


def test_restored_account_speaks_as_the_one_that_never_stopped(tmp_path: Path) -> None:
    """Folding on from the stored state gives the same records."""
    ticks = [encode(AccountTick(at_ms=1_000 * n)) for n in range(1, 30)]
    whole, first, second = folding(tmp_path), folding(tmp_path), folding(tmp_path)
    expected = [whole.apply(offset=n, append_ms=1_000 * n, value=tick) for n, tick in enumerate(ticks)]
    found = [first.apply(offset=n, append_ms=1_000 * n, value=tick) for n, tick in enumerate(ticks[:15])]
    assert (14, 0) == second.restore(KEY, first.image(KEY))
    found += [second.apply(offset=n, append_ms=1_000 * n, value=ticks[n]) for n in range(15, len(ticks))]

    assert expected == found
    assert any(outgoing.topic is INPUTS for outputs in expected for outgoing in outputs)


def test_unreadable_command_is_answered(tmp_path: Path) -> None:
    """A command that cannot be read is quarantined, and whoever waits for it is told."""
    outputs = folding(tmp_path).apply(offset=0, append_ms=1, value=b'{"type":"open","command":"c1"}')

    assert ["tiers", "quarantine", "alerts"] == [outgoing.topic.name for outgoing in outputs]
    answer = records.decode_alert(outputs[-1].value)
    assert outputs[-1].topic is ALERTS and "c1" in answer.text


def test_other_bytes_are_no_state(tmp_path: Path) -> None:
    """A state of another version is refused, not guessed at."""
    with pytest.raises(msgspec.DecodeError):
        folding(tmp_path).restore(KEY, b"?")


def test_role_is_put_together(tmp_path: Path) -> None:
    """One agent on ``account``, one table; producer and ranges start before it and stop behind its clean manifest."""
    app = make_app(settings(tmp_path), "account")
    agent = register(app, settings(tmp_path), fold="f1", log_identity=lambda: "LOG0001")

    assert ["account"] == list(app.tables)
    assert 2 == len(app.before_start)
    assert agent._close == app.before_stop[0]
