"""
The only place that says how Python's collector of cyclic garbage works in a long-running process.

What the imports made lives as long as the process: half a million objects, and walking them all took 120 ms in the
middle of deciding. They are taken out of its sight; what comes later is walked in small young generations, and wholly
only after many of them.
"""

from __future__ import annotations

import gc
from typing import Final

YOUNG: Final = 20_000  # objects born before a young collection: half a millisecond
MIDDLE: Final = 20
OLD: Final = 100  # a walk of everything that was made since the start is rare; its length is that of the states alone


def settle() -> None:
    """Call once, when everything is imported and before work begins."""
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
