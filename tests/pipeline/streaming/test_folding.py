"""Both roles and the counting fold are what the runner asks for."""

from __future__ import annotations

import inspect

import pytest

from pipeline.agents.account import AccountFolding
from pipeline.agents.decide import DecideFolding
from pipeline.streaming.folding import Folding
from tests.integration.counting import CountingFold


@pytest.mark.parametrize("kind", [AccountFolding, DecideFolding, CountingFold])
def test_fold_has_every_method_with_the_same_parameters(kind: type) -> None:
    """A method that is missing or called otherwise would show only when a worker runs."""
    for name, method in inspect.getmembers(Folding, inspect.isfunction):
        if not name.startswith("_"):
            wanted = list(inspect.signature(method).parameters)
            assert wanted == list(inspect.signature(getattr(kind, name)).parameters), name
