"""The guard folds each offset once and in order, and starts only where the manifest fits the log."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.streaming.guard import (
    PATIENCE_MS,
    Apply,
    Continuity,
    Drop,
    Refused,
    SeekTo,
    Skip,
    StartAt,
    where_to_start,
)
from pipeline.wire.records import Manifest


def manifest(**changes: object) -> Manifest:
    """A manifest of symbol AUSDT at 40/3, next 50."""
    values: dict[str, object] = {
        "log_identity": "LOG0001",
        "fold": "f1",
        "partition": 0,
        "next_offset": 50,
        "applied": {"AUSDT": (40, 3)},
    }
    return Manifest(**(values | changes))  # type: ignore[arg-type]  # literals of the right types


def start(found: Manifest | None, stored: dict[str, tuple[int, int] | None], **changes: object) -> StartAt | Refused:
    """``where_to_start`` in a log of offsets 0 to 99."""
    values: dict[str, object] = {"log_identity": "LOG0001", "fold": "f1", "begin": 0, "end": 100}
    return where_to_start(found, stored, **(values | changes))  # type: ignore[arg-type]  # literals of the right types


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2_000)), max_size=200))
def test_offsets_are_applied_once_and_in_order(deliveries: list[tuple[int, int]]) -> None:
    """Whatever is delivered, what is applied counts up from the start without a hole; a seek asks for the next one."""
    guard = Continuity(3)
    applied, now_ms = [], 0
    for offset, passed in deliveries:
        now_ms += passed
        next_offset = guard.next_offset
        match guard.judge(offset, now_ms=now_ms):
            case Apply():
                applied.append(offset)
            case Skip():
                assert offset < next_offset
            case Drop():
                assert offset > next_offset
            case SeekTo(offset=wanted):
                assert offset > next_offset == wanted

    assert list(range(3, 3 + len(applied))) == applied


def test_records_already_fetched_do_not_ask_again() -> None:
    """After a hole is asked for, the records behind it that were fetched before are dropped in silence."""
    guard = Continuity(5)

    assert SeekTo(5) == guard.judge(7, now_ms=0)
    assert Drop() == guard.judge(8, now_ms=10)
    assert Apply() == guard.judge(5, now_ms=20)


def test_silence_after_asking_ends() -> None:
    """An answer that does not come is asked for once more."""
    guard = Continuity(5)
    guard.judge(7, now_ms=0)

    assert Drop() == guard.judge(8, now_ms=PATIENCE_MS - 1)
    assert SeekTo(5) == guard.judge(9, now_ms=PATIENCE_MS)


def test_no_manifest_means_the_start_of_the_log() -> None:
    """A partition nobody has folded begins at the first record there is."""
    assert StartAt(7) == start(None, {}, begin=7)


def test_manifest_says_where_to_start() -> None:
    """With all states as the manifest says, or newer, folding starts at its next offset."""
    assert StartAt(50) == start(manifest(), {"AUSDT": (40, 3)})
    assert StartAt(50) == start(manifest(), {"AUSDT": (77, 0)})


def test_older_state_moves_the_start_back() -> None:
    """A frozen worker that woke up and wrote an older state is answered by folding again from it."""
    assert StartAt(31) == start(manifest(), {"AUSDT": (30, 9)})


def test_missing_state_starts_from_the_first_record() -> None:
    """A state that is gone is built again from the whole log."""
    assert StartAt(0) == start(manifest(), {"AUSDT": None})


@pytest.mark.parametrize(
    ("found", "changes", "code"),
    [
        (manifest(log_identity="OTHER01"), {}, "log_identity_changed"),
        (manifest(), {"end": 49}, "log_truncated"),
        (manifest(fold="f0"), {}, "fold_changed_unclean"),
    ],
)
def test_manifest_that_does_not_fit_is_refused(found: Manifest, changes: dict[str, object], code: str) -> None:
    """A recreated or truncated log, or an old fold that crashed, would look healthy and guard nothing."""
    verdict = start(found, {"AUSDT": (40, 3)}, **changes)

    assert isinstance(verdict, Refused) and code == verdict.code


def test_clean_manifest_of_another_fold_is_taken_over_only_whole() -> None:
    """A clean stop of an old fold may be taken over, unless one of its states is older than it says."""
    clean = manifest(fold="f0", clean=True)

    assert StartAt(50) == start(clean, {"AUSDT": (40, 3)})
    assert isinstance(start(clean, {"AUSDT": (39, 0)}), Refused)


def test_start_before_the_log_is_a_declared_gap() -> None:
    """Records that the log no longer has are counted as lost; asking for them would loop for ever."""
    assert StartAt(60, lost=10) == start(manifest(), {"AUSDT": (40, 3)}, begin=60)
