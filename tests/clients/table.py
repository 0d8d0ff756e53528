"""The only place where a driven client's calls are carried out one after another and noted; standard library only."""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from collections.abc import Callable
from typing import Any

SECONDS = 20.0


class Table:
    """Rows of (call, passed, note), in the order of the calls; later calls may use what earlier ones answered."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, bool, str]] = []

    async def call(
        self,
        name: str,
        act: Callable[[], Any],
        check: Callable[[Any], Any] = lambda answer: True,
        *,
        refused: str | None = None,
    ) -> Any:
        """
        One call of the client's own public interface.

        It passes when *check* holds for its answer; with *refused*, when the client raises an error whose text has that
        (the venue's code). "not simulated" never passes.
        """
        try:
            answer = act()
            if inspect.isawaitable(answer):
                async with asyncio.timeout(SECONDS):
                    answer = await answer
        except Exception as error:  # noqa: BLE001 - whatever a client raises is the finding, written into its row
            text = f"{type(error).__name__}: {error}"
            passed = refused is not None and refused in text and "not simulated" not in text
            self.rows.append((name, passed, f"refused {refused}" if passed else text[:300]))
            return None
        try:
            passed = refused is None and bool(check(answer))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            self.rows.append((name, False, f"unexpected answer ({error!r}): {str(answer)[:200]}"))
            return answer
        self.rows.append((name, passed, "" if passed else f"unexpected answer: {str(answer)[:300]}"))
        return answer

    def print(self) -> None:
        """The rows as one line of JSON on standard output."""
        sys.stdout.write(json.dumps(self.rows) + "\n")
        sys.stdout.flush()


def run(drive: Callable[[Table, str, str], Any]) -> None:
    """Run a driver with the REST and WebSocket URLs of the command line and print its table."""
    table = Table()
    try:
        asyncio.run(drive(table, sys.argv[1], sys.argv[2]))
    finally:
        table.print()
