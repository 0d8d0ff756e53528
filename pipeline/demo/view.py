"""
The only place for what a person sees while the demo runs: a live table on a terminal, a line per step elsewhere.

The view reads what the demo has gathered; it asks nobody and decides nothing.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Final, TypeAlias

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from pipeline.demo.exchange import requests_per_minute
from pipeline.reporting import words
from pipeline.reporting.account_view import AccountView

Json: TypeAlias = Any  # the ledger's JSON

STEPS_SHOWN: Final = 8
WIDTH: Final = 130


class View:
    """Steps as they happen; on a terminal positions, stops, latency and rate budget too. A context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._steps: deque[str] = deque(maxlen=STEPS_SHOWN)
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self.positions = AccountView()
        self.summary: Json = {"episodes": [], "minutes": [], "now": 0, "requests": {}}
        self.latency: dict[str, float] = {}

    def __enter__(self) -> View:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    @property
    def live(self) -> bool:
        """True when somebody watches: then the demo gathers what the tables show."""
        return self._live is not None

    def step(self, text: str) -> None:
        """Say what happens now."""
        line = f"{time.monotonic() - self._began:5.1f} s  {text}"
        self._steps.append(line)
        if self._live is None:
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)
        else:
            self.refresh()

    def refresh(self) -> None:
        """Draw what is known now."""
        if self._live is not None:
            self._live.update(
                Group(self._positions(), self._budget(), Panel(Text("\n".join(self._steps)), title="steps"))
            )

    def _positions(self) -> Table:
        table = Table(title="positions", title_justify="left", expand=True)
        for name in ("symbol", "state", "quantity", "entry", "stop", "open PnL", "stops on the exchange", "naked"):
            table.add_column(name, no_wrap=True)
        episodes = {episode["symbol"]: episode for episode in self.summary["episodes"]}
        for symbol in dict.fromkeys([*self.positions.rows, *episodes]):
            row, episode = self.positions.rows.get(symbol), episodes.get(symbol)
            live = "–"
            naked = "–"
            if episode is not None:
                last = episode["tightest"][-1][1] if episode["tightest"] else None
                live = "flat" if episode["closed_ms"] is not None else f"tightest {last}" if last else "none"
                naked = words.duration(episode["naked"]["any"]["longest_ms"])
            if row is None:
                table.add_row(symbol, "closed" if live == "flat" else "–", "", "", "", "", live, naked)
            else:
                pnl = words.money(row.open_pnl_e8)
                table.add_row(symbol, row.state, row.quantity, row.entry_price, row.stop, pnl, live, naked)
        return table

    def _budget(self) -> Text:
        rate = requests_per_minute(self.summary)
        median = self.latency.get("frame_to_intent_p50_ms")
        latency = f"frame → intent p50 {median} ms" if median is not None else "frame → intent: nothing measured yet"
        budget = f"REST {rate['requests_per_minute']} requests/min, weight {rate['weight_per_minute']} of 2400/min"
        return Text(f"{latency}   {budget}")
