"""The only place for what the depth streams of one speed need: their names and the changes since the last frame."""

from __future__ import annotations

from typing import Final

PARTIAL_DEPTHS: Final = (5, 10, 20)


class DepthWindow:
    """Changes gathered for one diff stream speed; keeps that stream's own U/u/pu chain (sheet 2.8)."""

    __slots__ = ("asks", "bids", "first_id", "previous_id")

    def __init__(self, previous_id: int) -> None:
        self.previous_id = previous_id
        self.first_id: int | None = None
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}

    def open(self, update_id: int) -> None:
        """Note the first update id of the window."""
        if self.first_id is None:
            self.first_id = update_id


def depth_names(symbol: str, speed: int) -> tuple[str, list[tuple[int, str]]]:
    """The diff stream of a speed, and the partial books with their level counts."""
    suffix = "" if speed == 250 else f"@{speed}ms"
    return f"{symbol}@depth{suffix}", [(count, f"{symbol}@depth{count}{suffix}") for count in PARTIAL_DEPTHS]
