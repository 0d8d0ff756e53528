"""The only source of randomness in the simulator: a seeded splitmix64, so that the same seed gives the same bytes."""

from __future__ import annotations

_MASK = (1 << 64) - 1


class Prng:
    """A stream of reproducible numbers; independent streams come from (seed, stream) pairs."""

    __slots__ = ("_state",)

    def __init__(self, seed: int, stream: int = 0) -> None:
        self._state = (seed * 0x9E3779B97F4A7C15 + stream * 0xD1B54A32D192ED03 + 0x632BE59BD9B4E019) & _MASK

    def bits(self) -> int:
        """The next 64 random bits."""
        self._state = state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        return state ^ (state >> 31)

    def below(self, bound: int) -> int:
        """An integer in [0, bound)."""
        # `bits` written out: a market draws ten of these a step, and a call costs as much as the drawing.
        self._state = state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        return (state ^ (state >> 31)) % bound

    def between(self, low: int, high: int) -> int:
        """An integer in [low, high], both ends included."""
        self._state = state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        return low + (state ^ (state >> 31)) % (high - low + 1)

    def bell(self) -> int:
        """A roughly normal integer of mean 0 and standard deviation 1000 (sum of four uniforms)."""
        bits = self.bits()
        total = (bits & 0xFFFF) + (bits >> 16 & 0xFFFF) + (bits >> 32 & 0xFFFF) + (bits >> 48)
        # Four uniforms on [0, 65535] have mean 131070 and standard deviation 37837.
        return (total - 131_070) * 1000 // 37_837
