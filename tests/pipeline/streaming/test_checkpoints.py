"""A round says of every symbol where it stands, and where folding must start again so that nothing is missing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.streaming.checkpoints import (
    ORDER_OF_DURABILITY,
    ROUND_MS,
    ROUND_RECORDS,
    STATES_PER_ROUND,
    Ledger,
    Plan,
    Step,
)


def plan(ledger: Ledger, applied: dict[str, tuple[int, int]], next_offset: int, *, clean: bool = False) -> Plan:
    """Take a round now."""
    return ledger.plan(
        applied=applied,
        next_offset=next_offset,
        log_identity="LOG0001",
        fold="f1",
        partition=0,
        now_ms=0,
        clean=clean,
    )


def test_outputs_come_first_and_acknowledgements_last() -> None:
    """Architecture section 3, point 4, as data."""
    assert (Step.OUTPUTS, Step.STATES, Step.MANIFEST, Step.CHANGELOG, Step.ACKNOWLEDGE) == ORDER_OF_DURABILITY


def test_round_is_due_by_time_or_by_records() -> None:
    """A second with at least one record, or 2,000 records; never without any."""
    ledger = Ledger({}, now_ms=0)

    assert not ledger.due(now_ms=10 * ROUND_MS)
    ledger.count()
    assert not ledger.due(now_ms=ROUND_MS - 1)
    assert ledger.due(now_ms=ROUND_MS)
    for _ in range(ROUND_RECORDS):
        ledger.count()
    assert ledger.due(now_ms=1)


def test_rounds_of_two_partitions_never_drift_together() -> None:
    """A late round does not move the next ones: partitions keep the distance of their phases."""
    first, second = Ledger({}, now_ms=0), Ledger({}, now_ms=0, phase_ms=ROUND_MS // 2)
    taken: dict[int, list[int]] = {0: [], 1: []}
    for now_ms in range(0, 20 * ROUND_MS, 70):  # records come in bursts that fit neither
        for number, ledger in enumerate((first, second)):
            ledger.count()
            if ledger.due(now_ms=now_ms):
                taken[number].append(now_ms)
                ledger.plan(
                    applied={}, next_offset=0, log_identity="LOG0001", fold="f1", partition=number, now_ms=now_ms
                )

    assert [ROUND_MS] * 18 == [round(b - a, -3) for a, b in zip(taken[0], taken[0][1:], strict=False)]
    assert all(ROUND_MS // 2 - 70 <= b - a <= ROUND_MS // 2 + 70 for a, b in zip(taken[0], taken[1], strict=False))


def test_a_round_that_was_missed_is_not_made_up_for() -> None:
    """After a pause one round is due, and the next on the grid again."""
    ledger = Ledger({}, now_ms=0)
    ledger.count()
    plan_at = 5 * ROUND_MS + 300
    assert ledger.due(now_ms=plan_at)
    ledger.plan(applied={}, next_offset=0, log_identity="LOG0001", fold="f1", partition=0, now_ms=plan_at)
    ledger.count()
    assert not ledger.due(now_ms=6 * ROUND_MS - 1)
    assert ledger.due(now_ms=6 * ROUND_MS)


def test_symbol_never_written_is_written_at_once() -> None:
    """A manifest without a symbol would lose it, so new symbols do not wait."""
    applied = {f"S{number}": (number, 0) for number in range(3 * STATES_PER_ROUND)}
    round_ = plan(Ledger({}, now_ms=0), applied, 100)

    assert tuple(applied) == round_.keys
    assert (100, applied) == (round_.manifest.next_offset, round_.manifest.applied)


def test_waiting_states_hold_the_start_back() -> None:
    """More changed states than a round holds: the oldest are written, the start is behind the oldest that waits."""
    stored = {f"S{number:02}": (number, 0) for number in range(STATES_PER_ROUND + 2)}
    applied = dict.fromkeys(stored, (90, 1))
    round_ = plan(Ledger(stored, now_ms=0), applied, 100)

    assert tuple(stored)[:STATES_PER_ROUND] == round_.keys
    assert STATES_PER_ROUND + 1 == round_.manifest.next_offset
    assert (STATES_PER_ROUND, 0) == round_.manifest.applied[f"S{STATES_PER_ROUND:02}"]


def test_clean_round_writes_everything() -> None:
    """A clean stop leaves no state behind, however many changed."""
    stored = {f"S{number:02}": (number, 0) for number in range(3 * STATES_PER_ROUND)}
    round_ = plan(Ledger(stored, now_ms=0), dict.fromkeys(stored, (90, 1)), 100, clean=True)

    assert (len(stored), 100, True) == (len(round_.keys), round_.manifest.next_offset, round_.manifest.clean)


@given(st.lists(st.lists(st.integers(0, 59), max_size=40), min_size=1, max_size=12))
def test_start_never_passes_a_line_that_no_stored_state_has(rounds: list[list[int]]) -> None:
    """For every symbol, all its records from the manifest's next offset on are beyond its stored position."""
    ledger = Ledger({}, now_ms=0)
    applied: dict[str, tuple[int, int]] = {}
    history: dict[str, list[int]] = {}
    offset = 0
    for records in rounds:
        for symbol in (f"S{number:02}" for number in records):
            applied[symbol] = (offset, 0)
            history.setdefault(symbol, []).append(offset)
            offset += 1
        found = plan(ledger, dict(applied), offset).manifest
        for symbol, (stored, _) in found.applied.items():
            missed = [place for place in history[symbol] if stored < place < found.next_offset]
            assert [] == missed
