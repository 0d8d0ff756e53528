"""Tests of what importing the package does and does not load."""

from __future__ import annotations

import subprocess
import sys

import pytest

import pipeline


def test_importing_the_core_loads_neither_faust_nor_a_kafka_client() -> None:
    """The pure core can be imported where no Faust, Kafka client or HTTP client is wanted."""
    program = (
        "import sys, pipeline.core.events, pipeline.wire.topics\n"
        "print([name for name in ('faust', 'mode', 'aiokafka', 'httpx', 'asyncio') if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "[]" == done.stdout.strip()


def test_app_is_answered_by_the_worker_module() -> None:
    """``faust -A pipeline`` finds the app of ``pipeline.worker``, which is imported only then."""
    program = (
        "import sys, types, pipeline\n"
        "assert 'pipeline.worker' not in sys.modules\n"
        "worker = types.ModuleType('pipeline.worker'); worker.app = 'the app'\n"
        "sys.modules['pipeline.worker'] = worker\n"
        "print(pipeline.app)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "the app" == done.stdout.strip()


def test_other_names_are_unknown() -> None:
    """A typing error in an attribute is an AttributeError, not an import."""
    with pytest.raises(AttributeError, match="ap"):
        _ = pipeline.ap
