"""Unmodified real clients pass: at least sixty calls each, and the document tells exactly these."""

from __future__ import annotations

import pytest

from tests.clients.report import CLIENTS, DOCUMENT, Row, drive_all, interpreter, rendered


@pytest.fixture(scope="module")
def found() -> dict[str, list[Row]]:
    """The rows of every client."""
    if not interpreter().exists():
        pytest.skip(f"no {interpreter()}: run make clients")
    return drive_all()


@pytest.mark.parametrize("client", list(CLIENTS))
def test_every_call_of_a_client_passes(found: dict[str, list[Row]], client: str) -> None:
    """Load markets, books, trades, candles, user data, orders, batches, conditional orders, positions, error paths."""
    assert [] == [row for row in found[client] if not row[1]]
    assert len(found[client]) >= 60


def test_the_document_tells_what_was_tried(found: dict[str, list[Row]]) -> None:
    """docs/simulator-clients.md is what `python -m tests.clients.report` writes."""
    assert rendered(found) == DOCUMENT.read_text()
