"""Intents that begin their road early: never out of turn, and nothing is left out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.commands import ClosePosition
from pipeline.core.events import Side
from pipeline.core.units import Lots, Milliseconds
from pipeline.execution.early import Early
from pipeline.wire.records import IntentRecord, decode_intent, encode

RUBBISH = b"{"


def intent(number: int) -> IntentRecord:
    """Some intent."""
    return IntentRecord(
        id=f"7QvKk07.0{number}.0.N1lA0",
        symbol="BTCUSDT",
        cause=f"0/{number}/0",
        at_ms=Milliseconds(number),
        fold="x",
        intent=ClosePosition(position="p", side=Side.BUY, lots=Lots(1), reason="X1"),
    )


class Agent:
    """Reads records, and hands them to the agent when the test says so; an intent counts the first time only."""

    def __init__(self) -> None:
        self.ready = False
        self.taken: dict[str, None] = {}
        self.early = Early(self.take, lambda: self.ready)
        self.queue: list[tuple[int, bytes]] = []
        self.ahead: set[int] = set()

    def take(self, record: IntentRecord) -> None:
        """Idempotent, as the executor is."""
        self.taken.setdefault(record.id)

    def read(self, offset: int, value: bytes) -> None:
        """The consumer."""
        before = len(self.taken)
        self.early.read(offset, value)
        if len(self.taken) > before:
            self.ahead.add(offset)
        self.queue.append((offset, value))

    def step(self) -> None:
        """The agent's turn with one record."""
        if self.queue and self.ready:
            offset, value = self.queue.pop(0)
            if value != RUBBISH:
                self.take(decode_intent(value))
            self.early.handled(offset)


@given(st.lists(st.sampled_from(["read", "rubbish", "step", "ready", "again"]), max_size=40))
def test_whatever_is_read_is_taken_in_once_in_the_order_of_the_log(steps: list[str]) -> None:
    """Late readiness, rubbish between, redeliveries of what the agent had not seen yet."""
    agent = Agent()
    log: list[bytes] = []
    for step in steps:
        if step in ("read", "rubbish"):
            log.append(RUBBISH if step == "rubbish" else encode(intent(len(log))))
            agent.read(len(log) - 1, log[-1])
        elif step == "step":
            agent.step()
        elif step == "ready":
            agent.ready = True
        elif agent.queue:  # a rebalance: what is queued is dropped and read again from there
            first, agent.queue = agent.queue[0][0], []
            for offset in range(first, len(log)):
                agent.read(offset, log[offset])
    agent.ready = True
    while agent.queue:
        agent.step()

    assert [decode_intent(value).id for value in log if value != RUBBISH] == list(agent.taken)


def test_it_is_early_while_the_agent_keeps_up() -> None:
    """From readiness on, and again once the agent has dealt with what was left to it."""
    agent = Agent()
    agent.read(0, encode(intent(0)))
    agent.ready = True
    agent.read(1, encode(intent(1)))
    agent.step()
    agent.read(2, encode(intent(2)))
    agent.step()
    agent.step()
    agent.read(3, encode(intent(3)))
    agent.read(4, RUBBISH)
    agent.read(5, encode(intent(5)))
    for _ in range(3):
        agent.step()
    agent.read(6, encode(intent(6)))

    assert {3, 6} == agent.ahead
