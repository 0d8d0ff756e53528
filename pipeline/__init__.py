"""The only place where Faust finds the app: ``faust -A pipeline`` asks this package for ``app`` and gets the worker's.

Nothing is imported here before that question, so ``import pipeline.core`` loads neither Faust nor a Kafka client.
"""

from __future__ import annotations

import importlib
from typing import Any


def __getattr__(name: str) -> Any:  # Any: the Faust app, whose library has no types
    """Answer ``app`` by importing the composition root; every other name is unknown."""
    if name == "app":
        return importlib.import_module("pipeline.worker").app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
