"""The only source of randomness in the simulator: a seeded splitmix64, so that the same seed gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from struct import Struct
from typing import Final

_MASK: Final = (1 << 64) - 1
_GAMMA: Final = 0x9E3779B97F4A7C15
# Numbers are made by the block: one integer of 128-bit lanes, in each of which a product of 64 by 64 bits has room.
# That is a third of the price of making them one by one, and a market draws ten a step.
_BLOCK: Final = 32
_ONES: Final = sum(1 << 128 * lane for lane in range(_BLOCK))
_LOW: Final = _ONES * _MASK
_STEPS: Final = sum(((lane + 1) * _GAMMA & _MASK) << 128 * lane for lane in range(_BLOCK))
_LANES: Final = Struct("<" + "Q8x" * _BLOCK)


def _blocks(state: int) -> Iterator[tuple[int, ...]]:
    """The numbers after *state*, a block at a time; lane by lane what splitmix64 does with one number."""
    while True:
        lanes = _ONES * state + _STEPS & _LOW
        lanes = (lanes ^ (lanes >> 30 & _LOW)) * 0xBF58476D1CE4E5B9 & _LOW
        lanes = (lanes ^ (lanes >> 27 & _LOW)) * 0x94D049BB133111EB & _LOW
        lanes ^= lanes >> 31 & _LOW
        yield _LANES.unpack(lanes.to_bytes(16 * _BLOCK, "little"))
        state = (state + _BLOCK * _GAMMA) & _MASK


class Prng:
    """
    A stream of reproducible numbers; independent streams come from (seed, stream) pairs.

    `bits()` is the next 64 random bits; the other methods make one number of it.
    """

    __slots__ = ("bits",)

    def __init__(self, seed: int, stream: int = 0) -> None:
        state = (seed * _GAMMA + stream * 0xD1B54A32D192ED03 + 0x632BE59BD9B4E019) & _MASK
        self.bits = chain.from_iterable(_blocks(state)).__next__

    def below(self, bound: int) -> int:
        """An integer in [0, bound)."""
        return self.bits() % bound

    def between(self, low: int, high: int) -> int:
        """An integer in [low, high], both ends included."""
        return low + self.bits() % (high - low + 1)

    def bell(self) -> int:
        """A roughly normal integer of mean 0 and standard deviation 1000 (sum of four uniforms)."""
        bits = self.bits()
        total = (bits & 0xFFFF) + (bits >> 16 & 0xFFFF) + (bits >> 32 & 0xFFFF) + (bits >> 48)
        # Four uniforms on [0, 65535] have mean 131070 and standard deviation 37837.
        return (total - 131_070) * 1000 // 37_837
