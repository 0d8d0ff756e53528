"""The same seed gives the same numbers; streams are independent; the bell is centred."""

from __future__ import annotations

from connectors.exchange_simulator.prng import Prng


def test_the_same_seed_gives_the_same_numbers() -> None:
    """Two generators of one seed and stream never differ, other streams do."""
    first, again, other = Prng(7, 1), Prng(7, 1), Prng(7, 2)
    numbers = [first.bits() for _ in range(100)]

    assert numbers == [again.bits() for _ in range(100)]
    assert numbers != [other.bits() for _ in range(100)]


def test_the_bell_is_centred_and_of_unit_width() -> None:
    """Mean 0 and standard deviation 1000 within a few percent over 20,000 draws."""
    random = Prng(1)
    draws = [random.bell() for _ in range(20_000)]
    mean = sum(draws) / len(draws)

    assert abs(mean) < 30
    assert 950 < (sum(draw * draw for draw in draws) / len(draws)) ** 0.5 < 1_050


def test_ranges_include_their_ends() -> None:
    """`between` reaches both ends, `below` never its bound."""
    random = Prng(3)
    drawn = [random.between(2, 4) for _ in range(200)]

    assert (2, 4) == (min(drawn), max(drawn))
    assert all(random.below(5) < 5 for _ in range(200))


def test_the_numbers_are_those_of_splitmix64() -> None:
    """Made by the block, each number is the reference's; 1234567 is the test vector of its author's code."""
    mask = (1 << 64) - 1

    def reference(state: int, count: int) -> list[int]:
        found = []
        for _ in range(count):
            state = (state + 0x9E3779B97F4A7C15) & mask
            mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
            mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & mask
            found.append(mixed ^ (mixed >> 31))
        return found

    assert [6457827717110365317, 3203168211198807973, 9817491932198370423] == reference(1234567, 3)
    for seed, stream in ((0, 0), (7, 1), (2**70, 424_243)):
        state = (seed * 0x9E3779B97F4A7C15 + stream * 0xD1B54A32D192ED03 + 0x632BE59BD9B4E019) & mask
        random = Prng(seed, stream)
        assert reference(state, 200) == [random.bits() for _ in range(200)]
