"""The only place that holds the final book of a recording against the state that the worker left in ``checkpoints``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from pipeline.core.state import SymbolState

Json: TypeAlias = Any  # the expectation's JSON

EXPECTATION: Final = "expected_final_book.json"


def expectation_beside(recording: Path, symbol: str) -> Json | None:
    """What the final book of *symbol* must be, from the file beside the recording; None when it says nothing of it."""
    folder = recording if recording.is_dir() else recording.parent
    file = folder / EXPECTATION
    if not file.exists():
        return None
    return msgspec.json.decode(file.read_bytes())["books"].get(symbol)


def _fixed(value_e8: int, decimals: int) -> str:
    whole, fraction = divmod(value_e8, 10**8)
    return f"{whole}.{fraction:08d}"[: -(8 - decimals)] if decimals else str(whole)


def _decimals(levels: Iterable[tuple[str, str]], place: int) -> int:
    return max(len(level[place].partition(".")[2]) for level in levels)


def differences(state: SymbolState, expected: Mapping[str, Json]) -> list[str]:
    """What differs between the state's book and the expectation; empty: they are equal to the last level."""
    instrument, book = state.instrument, state.book
    if instrument is None:
        return ["the state has no instrument"]
    prices, quantities = _decimals(expected["top20_bids"], 0), _decimals(expected["top20_bids"], 1)

    def text(price: int, lots: int) -> tuple[str, str]:
        return _fixed(price * instrument.tick_e8, prices), _fixed(lots * instrument.step_e8, quantities)

    bids = [text(price, book.bids[price]) for price in sorted(book.bids, reverse=True)]
    asks = [text(price, book.asks[price]) for price in sorted(book.asks)]
    found = {"bid_levels": len(bids), "ask_levels": len(asks), "last_applied_u": book.last_update_id}
    broken = [
        f"{name}: found {value}, expected {expected[name]}" for name, value in found.items() if value != expected[name]
    ]
    for name, side in (("top20_bids", bids), ("top20_asks", asks)):
        wanted = [tuple(level) for level in expected[name]]
        if side[: len(wanted)] != wanted:
            place = next(i for i, (a, b) in enumerate(zip(side, wanted, strict=False)) if a != b)
            broken.append(f"{name}[{place}]: found {side[place]}, expected {wanted[place]}")
    digest = sha256()
    for letter, side in (("b", bids), ("a", asks)):
        for price, quantity in side:
            digest.update(f"{letter},{price},{quantity}\n".encode())
    if not broken and digest.hexdigest() != expected["sha256_full_book"]:
        broken.append(f"sha256 of the full book: found {digest.hexdigest()}, expected {expected['sha256_full_book']}")
    return broken
