"""The only place for tests of our own exp, ln and tanh: as good as the library, odd, bounded, never not a number."""

from __future__ import annotations

import ast
import inspect
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import numerics
from pipeline.core.numerics import clip, decay, exp, ln, sign, tanh, total

CLOSE = 1e-12


@given(st.floats(-700, 700))
def test_exp_agrees_with_the_library(x: float) -> None:
    """Within 1e-12 of math.exp over everything that has a normal double as its result."""
    assert exp(x) == pytest.approx(math.exp(x), rel=CLOSE, abs=0)


@given(st.floats(5e-324, 1e308))
def test_ln_agrees_with_the_library(x: float) -> None:
    """Within 1e-12 of math.log over all positive doubles, the smallest included."""
    assert ln(x) == pytest.approx(math.log(x), rel=CLOSE, abs=0)


@given(st.floats(-1e-3, 1e-3))
def test_ln_keeps_its_digits_around_one(x: float) -> None:
    """Log returns are small: the relative error stays small with them."""
    assert ln(1.0 + x) == pytest.approx(math.log(1.0 + x), rel=CLOSE, abs=0)


@given(st.floats(-30, 30))
def test_tanh_agrees_with_the_library_and_is_odd(x: float) -> None:
    """Within 1e-12 of math.tanh, and tanh(−x) is −tanh(x) to the bit: mirrored markets give mirrored scores."""
    assert tanh(x) == pytest.approx(math.tanh(x), rel=CLOSE, abs=0)
    assert -tanh(x) == tanh(-x)


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ("0x1.0000000000000p+0", exp(0.0)),
        ("0x1.5bf0a8b14576ap+1", exp(1.0)),
        ("0x1.40004c1c6668cp-1", exp(-0.47)),
        ("0x1.26bb1bbb55516p+1", ln(10.0)),
        ("0x1.a7a7bcd09aed0p-1", tanh(1.18)),
        ("-0x1.9974e7de4b095p-4", tanh(-0.1003)),
    ],
)
def test_bits_are_fixed(expected: str, actual: float) -> None:
    """The very bits, so that a change of the formulas or of an interpreter's arithmetic is seen."""
    assert expected == actual.hex()


def test_only_the_four_operations_are_used() -> None:
    """Nothing is imported that computes, and no power operator stands in the source: libm has no way in."""
    tree = ast.parse(inspect.getsource(numerics))

    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    powers = [node for node in ast.walk(tree) if isinstance(node, ast.Pow)]

    assert {"__future__", "collections.abc", "typing"} == imported
    assert [] == [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
    assert [] == powers


def test_what_has_no_value_is_refused() -> None:
    """Not a number never passes through, and ln has no answer for zero, negative and infinite numbers."""
    for x in (math.nan, 0.0, -1.0, math.inf):
        with pytest.raises(ValueError, match="ln"):
            ln(x)
    for function in (exp, tanh):
        with pytest.raises(ValueError, match="no number"):
            function(math.nan)


def test_exp_ends_in_zero_and_in_a_finite_number() -> None:
    """Beyond the doubles exp is 0 or held at its largest value; never infinite."""
    assert 0.0 == exp(-709.0) == exp(-math.inf)
    assert exp(709.0) == exp(1e300) == exp(math.inf)
    assert math.isfinite(exp(math.inf))
    assert [1.0, -1.0] == [tanh(math.inf), tanh(-math.inf)]


@given(st.integers(-10, 10_000_000), st.sampled_from([3_000, 60_000, 300_000]))
def test_decay_is_exp_of_the_elapsed_share(elapsed_ms: int, tau_ms: int) -> None:
    """A decay of whole milliseconds is exp(−elapsed/tau), asked once or twice; time that runs back decays nothing."""
    expected = math.exp(-max(elapsed_ms, 0) / tau_ms)

    assert decay(elapsed_ms, tau_ms) == pytest.approx(expected, rel=CLOSE, abs=1e-300)
    assert decay(elapsed_ms, tau_ms) == decay(elapsed_ms, tau_ms)


def test_the_memory_of_decays_is_bounded() -> None:
    """However many different times are asked for, the memory stays small."""
    for elapsed_ms in range(1, numerics._KEPT_DECAYS + 10):
        decay(elapsed_ms, 7)

    assert len(numerics._decays) <= numerics._KEPT_DECAYS


def test_a_total_rounds_at_each_step() -> None:
    """From left to right, as Python 3.11's sum did and 3.12's does not."""
    assert 0.0 == total([1.0, 1e17, -1e17])
    assert 0.0 == total([])


def test_sign_and_clip() -> None:
    """A sign is −1, 0 or 1; a clip holds at its bounds."""
    assert [-1, 0, 1] == [sign(-0.1), sign(0.0), sign(7.0)]
    assert [-1.0, 0.5, 1.0] == [clip(-3.0, -1.0, 1.0), clip(0.5, -1.0, 1.0), clip(1.1, -1.0, 1.0)]
