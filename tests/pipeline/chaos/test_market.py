"""Tests of the market of a chaos run: what it draws, and how it knows what is open."""

from __future__ import annotations

import random
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from pipeline.chaos.market import SHAPES, SYMBOLS, Tail, draw
from pipeline.demo.exchange import Exchange
from pipeline.demo.scenario import levels


class Ledger:
    """A ledger that grows, as the exchange's admin door shows it."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def add(self, kind: str, symbol: str) -> None:
        """One more line."""
        self.lines.append({"n": len(self.lines), "at": 100 + len(self.lines), "kind": kind, "symbol": symbol})

    async def ledger_since(self, kind: str, after: int) -> tuple[list[dict[str, Any]], int]:
        """What is behind *after*."""
        found = [line for line in self.lines if line["kind"] == kind and line["n"] > after]
        return found, len(self.lines) - 1


async def test_what_is_open_is_what_the_ledger_says() -> None:
    """Opened, closed and opened again between two looks; an empty look changes nothing."""
    ledger = Ledger()
    tail = Tail(cast(Exchange, ledger))
    await tail.look()
    ledger.add("position_opened", "BTCUSDT")
    ledger.add("order", "BTCUSDT")
    await tail.look()
    assert {"BTCUSDT": 100} == tail.open
    for kind in ("position_closed", "position_opened"):
        ledger.add(kind, "BTCUSDT")
    ledger.add("position_opened", "ETHUSDT")
    await tail.look()
    await tail.look()

    assert ({"BTCUSDT": 103, "ETHUSDT": 104}, 3) == (tail.open, tail.opened)
    ledger.add("position_closed", "ETHUSDT")
    await tail.look()
    assert {"BTCUSDT": 103} == tail.open


@given(seed=st.integers(0, 10_000))
def test_every_position_has_its_levels_on_the_right_sides(seed: int) -> None:
    """Stop behind the entry, targets before it, the last one further away: for both sides of every shape."""
    plan = draw(SYMBOLS[0], random.Random(seed))
    found = {name: float(text) for name, text in levels(plan, middle=50_000.0, tick=0.1).items()}
    sign = 1 if plan.side == "long" else -1

    assert plan.outcome in SHAPES
    assert found["stop"] * sign < 50_000 * sign < found["target"] * sign < found["last_target"] * sign
