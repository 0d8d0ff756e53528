"""The only place for fixtures that every test may use: one real Kafka for the whole session."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from pipeline.embedded_kafka import EmbeddedKafka

# No test asserts a wall time: a property that is slow on a busy machine is still a property.
# The same examples every time: a suite that fails by chance is no judge. PERPGUARD_EXPLORE=1 draws new ones, and prints
# how to repeat what fails; what it finds becomes an example of its test.
settings.register_profile("perpguard", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile("explore" if os.environ.get("PERPGUARD_EXPLORE") else "perpguard")


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """
    Run one broker for the whole session; its address is ``kafka.bootstrap``.

    Tests share it: each uses topics with a prefix of its own, and none stops or freezes it (a test of that starts its
    own ``EmbeddedKafka``). It is started synchronously, so it belongs to no test's event loop.
    """
    directory: Path = tmp_path_factory.mktemp("kafka")
    with EmbeddedKafka(directory=directory) as broker:
        yield broker
