"""The only place where the account role is put together: the fold of ``account`` as a guarded agent, and its ticks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from pipeline.binance.account_fold import AccountFold, rules_of
from pipeline.core.units import Milliseconds
from pipeline.settings import Settings
from pipeline.streaming.agent import GuardedAgent
from pipeline.streaming.app import WorkerApp
from pipeline.streaming.folding import View
from pipeline.streaming.guard import Position
from pipeline.streaming.log_ranges import LogRanges
from pipeline.streaming.producer import OutputProducer
from pipeline.streaming.tables import BytesTable
from pipeline.wire.outputs import Outgoing
from pipeline.wire.records import AccountTick, Manifest, encode
from pipeline.wire.topics import ACCOUNT

TICK_SECONDS: Final = 1.0
KEY: Final = "account"  # the one state of the role


class AccountFolding:
    """``AccountFold`` as the runner drives it (``streaming.folding.Folding``): one state, whose lines are records."""

    def __init__(self, log_identity: str, *, fold: str, settings: Settings) -> None:
        self.fold = fold
        self._fold = AccountFold(log_identity=log_identity, fold=fold, rules=rules_of(settings), policy=settings.policy)

    def restore(self, key: str, image: bytes) -> Position:
        """Take over the stored state."""
        assert key == KEY, key
        self._fold.restore(image)
        return (self._fold.state.applied, 0)

    def presses(self, value: bytes) -> bool:
        """One state: nothing overtakes."""
        return False

    def start(self, offset: int) -> None:
        """The fold keeps its own position."""

    def apply(self, *, offset: int, append_ms: int, value: bytes) -> list[Outgoing]:
        """Fold one record."""
        return self._fold.apply_record(offset=offset, append_ms=append_ms, value=value).outgoing()

    def declare_gap(self, *, offset: int, lost: int) -> list[Outgoing]:
        """Lost messages are answered by the next reads and reports; what waits for an answer is asked again."""
        return []

    def applied(self) -> Mapping[str, Position]:
        """The position of the state; none before the first record."""
        offset = self._fold.state.applied
        return {} if offset < 0 else {KEY: (offset, 0)}

    def image(self, key: str) -> bytes:
        """The stored form."""
        return self._fold.image()

    def seal(self) -> list[Outgoing]:
        """``account`` is not sealed."""
        return []

    def anchor(self, manifest: Manifest, *, at_ms: int) -> list[Outgoing]:
        """``account`` is kept for as long as its replay needs it."""
        return []

    def views(self, *, now_ms: int) -> Iterable[View]:
        """People read the account by its topic."""
        return ()


def register(app: WorkerApp, settings: Settings, *, fold: str, log_identity: Callable[[], str]) -> GuardedAgent:
    """Put account on *app*: its producer, table, agent, ticks. *fold* names the code and configuration that decide."""
    producer = OutputProducer(settings, role="account")
    ranges = LogRanges(settings)

    async def tick(partition: int, now_ms: int) -> Any:  # Any: a future nobody reads
        message = AccountTick(at_ms=Milliseconds(time.time_ns() // 1_000_000))
        return await producer.send(ACCOUNT, value=encode(message), partition=partition)

    app.before_start += [producer.start, ranges.start]
    agent = GuardedAgent(
        app,
        topic=ACCOUNT,
        checkpoints=BytesTable(app, "account"),
        views={},
        producer=producer,
        ranges=ranges,
        make_folding=lambda _, identity: AccountFolding(identity, fold=fold, settings=settings),
        log_identity=log_identity,
        tick=tick,
        tick_seconds=TICK_SECONDS,
    )
    app.before_stop += [producer.stop, ranges.stop]
    return agent
