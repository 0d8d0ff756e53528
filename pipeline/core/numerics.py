"""
The only place for exp, ln, tanh and what follows from them, built of + − × ÷ alone in a fixed order.

The C library's own functions differ in the last bit between CPUs (architecture 2.3), and a fold must give the same
bytes everywhere. IEEE 754 fixes + − × ÷ and sqrt to the bit; CPython evaluates each of them by itself, so no compiler
can fuse two. The approximations are those of fdlibm (Sun Microsystems, freely granted: ``e_exp.c``, ``e_log.c``,
``s_tanh.c``), good to about 1 unit in the last place; the tests hold 1e-12 against the library's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

# ln 2 in two parts: the first has so few bits that a whole multiple of it up to 2**11 is exact.
_LN2_HIGH: Final = 6.93147180369123816490e-01
_LN2_LOW: Final = 1.90821492927058770002e-10
_HALF_LN2: Final = 0.34657359027997264
_INVERSE_LN2: Final = 1.44269504088896338700

_E1: Final = 1.66666666666666019037e-01
_E2: Final = -2.77777777770155933842e-03
_E3: Final = 6.61375632143793436117e-05
_E4: Final = -1.65339022054652515390e-06
_E5: Final = 4.13813679705723846039e-08

_L1: Final = 6.666666666666735130e-01
_L2: Final = 3.999999999940941908e-01
_L3: Final = 2.857142874366239149e-01
_L4: Final = 2.222219843214978396e-01
_L5: Final = 1.818357216161805012e-01
_L6: Final = 1.531383769920937332e-01
_L7: Final = 1.479819860511658591e-01

_SQRT_HALF: Final = 0.7071067811865476
_EXP_HIGHEST: Final = 709.0  # beyond it the result leaves the doubles; nothing that we estimate comes near
_EXP_LOWEST: Final = -708.0  # below it the result is no normal double any more
_SMALLEST_NORMAL: Final = 2.2250738585072014e-308
_TANH_ONE: Final = 22.0  # from here on tanh is 1 in doubles
_KEPT_DECAYS: Final = 16_384


def _powers_of_two() -> tuple[float, ...]:
    up, down = [1.0], [1.0]
    for _ in range(1_023):
        up.append(up[-1] * 2.0)
        down.append(down[-1] * 0.5)
    return (*reversed(down[1:]), *up)


_POWERS: Final = _powers_of_two()  # 2**k at index k + 1023, for k from −1023 to 1023
_STEPS: Final = (512, 256, 128, 64, 32, 16, 8, 4, 2, 1)


def _reduced(x: float) -> tuple[float, float, int]:
    """*x* as high − low + k·ln 2 with |high − low| ≤ ln 2 / 2."""
    k = int(_INVERSE_LN2 * x + (0.5 if x >= 0.0 else -0.5))
    return x - k * _LN2_HIGH, k * _LN2_LOW, k


def _correction(r: float) -> float:
    """r·c/(2 − c) of fdlibm: exp(r) = 1 + r + this, to the last place for |r| ≤ ln 2 / 2."""
    t = r * r
    c = r - t * (_E1 + t * (_E2 + t * (_E3 + t * (_E4 + t * _E5))))
    return (r * c) / (2.0 - c)


def exp(x: float) -> float:
    """e to the power *x*; 0.0 below −708, and never infinite: *x* is held at 709."""
    if x > _EXP_HIGHEST:
        x = _EXP_HIGHEST
    elif not x >= _EXP_LOWEST:
        if x < _EXP_LOWEST:
            return 0.0
        raise ValueError("exp of something that is no number")
    high, low, k = _reduced(x)
    y = 1.0 - ((low - _correction(high - low)) - high)
    return y * _POWERS[k + 1_023]


def ln(x: float) -> float:
    """Natural logarithm of a positive finite *x*; raises ValueError for anything else (there is no value to give)."""
    if not 0.0 < x <= 1.7976931348623157e308:
        raise ValueError(f"ln of {x!r}")
    k = 0
    if x < _SMALLEST_NORMAL:
        x *= _POWERS[1_023 + 54]
        k = -54
    if x >= 2.0:
        for step in _STEPS:
            if x >= _POWERS[step + 1_023]:
                x *= _POWERS[1_023 - step]
                k += step
    elif x < 1.0:
        for step in _STEPS:
            if x < _POWERS[1_024 - step]:
                x *= _POWERS[step + 1_023]
                k -= step
    # here 1 ≤ x < 2; bring it around 1 so that the series is short on both sides
    if x > 2.0 * _SQRT_HALF:
        x *= 0.5
        k += 1
    f = x - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    r = z * (_L1 + w * (_L3 + w * (_L5 + w * _L7))) + w * (_L2 + w * (_L4 + w * _L6))
    half = 0.5 * f * f
    return k * _LN2_HIGH - ((half - (s * (half + r) + k * _LN2_LOW)) - f)


def tanh(x: float) -> float:
    """Hyperbolic tangent; exactly odd: tanh(−x) = −tanh(x) to the bit."""
    size = x if x >= 0.0 else -x
    if size >= _TANH_ONE:
        value = 1.0
    elif size + size <= _HALF_LN2:
        less_one = _correction(size + size) + (size + size)  # e**(2·size) − 1 without losing its small digits
        value = less_one / (less_one + 2.0)
    else:
        value = 1.0 - 2.0 / (exp(size + size) + 1.0)  # exp raises for what is no number
    return value if x >= 0.0 else -value


def sign(x: float) -> int:
    """−1, 0 or 1."""
    return (x > 0.0) - (x < 0.0)


def clip(x: float, low: float, high: float) -> float:
    """*x* held between *low* and *high*."""
    return low if x < low else high if x > high else x


def total(values: Iterable[float]) -> float:
    """
    Sum from left to right, rounding at each step.

    The built-in ``sum`` compensates floats from Python 3.12 on and gives other bits than before: it is not used.
    """
    value = 0.0
    for x in values:
        value += x
    return value


_decays: dict[tuple[int, int], float] = {}  # a memory of results only: whether one is found changes no value


def decay(elapsed_ms: int, tau_ms: int) -> float:
    """exp(−elapsed/tau) for whole milliseconds (domain 3.2, irregular time); 1 when no time has passed."""
    if elapsed_ms <= 0:
        return 1.0
    key = (elapsed_ms, tau_ms)
    known = _decays.get(key)
    if known is None:
        if len(_decays) >= _KEPT_DECAYS:
            _decays.clear()
        known = _decays[key] = exp(-(elapsed_ms / tau_ms))
    return known
