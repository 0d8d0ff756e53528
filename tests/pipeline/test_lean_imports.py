"""Lean imports: what a worker never uses is not loaded, and is there again for whoever asks afterwards."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pipeline.lean_imports import without


def test_a_hidden_module_is_missing_inside_and_there_outside() -> None:
    """The body cannot import it; behind it everybody can, and a module that is loaded stays."""
    sys.modules.pop("this", None)
    with without("this", "sys"):
        with pytest.raises(ImportError):
            import this  # noqa: F401, PLC0415
        import sys as still  # noqa: PLC0415

        assert still is sys

    assert "this" not in sys.modules


def test_the_http_client_and_the_logs_load_no_terminal_library() -> None:
    """Neither httpx nor structlog bring rich and pygments into a worker."""
    program = (
        "import sys, pipeline.telemetry, pipeline.binance.rest\n"
        "print([name for name in ('rich', 'pygments', 'httpx._main') if name in sys.modules])\n"
        "import rich; print(rich.__name__)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert ["[]", "rich"] == done.stdout.split()
