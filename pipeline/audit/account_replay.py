"""
The only place where the topic ``account`` is folded again and held against the lines that account wrote to ``inputs``.

Account's decisions are lines (admissions, closes, trading state): each carries a running number out of the account's
own state, so the same fold of the same topic gives the same bytes under the same number. Lines beyond what was folded,
or not yet written, are no difference; nothing can be compared when the topic no longer reaches back to its start.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pipeline.audit.divergence import Difference
from pipeline.audit.sources import Entry
from pipeline.binance.account_fold import SOURCE, AccountFold
from pipeline.wire import lines

LineName = tuple[int, str, int]  # (partition of inputs, symbol or *, running number)
_MARK: Final = b'"src":"%b"' % SOURCE.encode()  # a cheap look before a line is decoded


class AccountReplay:
    """``feed_account`` with the whole topic first, then ``check_record`` with each record of ``inputs``."""

    def __init__(self, fold: AccountFold) -> None:
        self.differences: list[Difference] = []
        self.compared = 0
        self.reaches_back = True
        self._fold = fold
        self._written: dict[LineName, tuple[int, bytes]] = {}  # → (offset in account, the line)
        self._last: dict[tuple[int, str], int] = {}
        self._seen: set[LineName] = set()

    def feed_account(self, entry: Entry) -> None:
        """Fold one record of ``account``."""
        if self._fold.state.applied < 0 and entry.offset > 0:
            self.reaches_back = False
        applied = self._fold.apply_record(offset=entry.offset, append_ms=entry.append_ms, value=entry.value)
        for partition, raw in applied.lines:
            line = lines.decode(raw)
            self._written[partition, line.sym, line.n] = (entry.offset, raw)
            self._last[partition, line.sym] = line.n

    def check_record(self, entry: Entry) -> None:
        """Hold every line of account in one record of ``inputs`` against its fold."""
        if not self.reaches_back or _MARK not in entry.value:
            return
        for number, raw in enumerate(lines.split(entry.value)):
            if _MARK not in raw:
                continue
            try:
                line = lines.decode(raw)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue  # the partition's own fold quarantines it
            if line.src == SOURCE and line.inc == self._fold.log_identity:
                self._check_line(entry, number, raw, line)

    def _check_line(self, entry: Entry, number: int, raw: bytes, line: lines.Line) -> None:
        name = (entry.partition, line.sym, line.n)
        if line.n > self._last.get((entry.partition, line.sym), 0):
            return  # account had read further than this replay
        folded = self._written.get(name)
        if name not in self._seen:
            self._seen.add(name)
            self.compared += 1
        if folded is None or folded[1] != raw:
            self.differences.append(
                Difference(
                    kind="account",
                    partition=entry.partition,
                    offset=entry.offset,
                    line=number,
                    symbol=line.sym,
                    field=f"line {line.n} of account",
                    expected=raw.decode(errors="replace"),
                    found="" if folded is None else folded[1].decode(errors="replace"),
                )
            )
