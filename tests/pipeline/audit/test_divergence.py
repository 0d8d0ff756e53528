"""The witness holds what was said against what is folded, and the first difference is the first in the log."""

from __future__ import annotations

from pipeline.audit.divergence import Witness
from pipeline.core.commands import Decision
from pipeline.core.units import Milliseconds
from pipeline.wire.records import SegmentSealed

AA, BB, CC, DD, EE = (letter * 16 for letter in "abcde")  # digests


def decision(offset: int, *, line: int = 0, symbol: str = "A", chain: str = "00", fold: str = "f") -> Decision:
    return Decision(
        symbol=symbol,
        partition=1,
        offset=offset,
        line=line,
        log_ms=Milliseconds(5),
        fold=fold,
        rules=[],
        causes=[],
        ids=[],
        outputs=[],
        chain=chain,
    )


def witness() -> Witness:
    return Witness(partition=1, log_identity="l", fold="f")


def kinds(found: Witness) -> list[tuple[str, int]]:
    return [(row.kind, row.offset) for row in found.differences]


def test_what_was_said_and_is_folded_again_agrees() -> None:
    """Two symbols of one line are two places."""
    found = witness()
    for symbol in ("A", "B"):
        found.learn_decision(decision(3, symbol=symbol))
    for symbol in ("A", "B"):
        found.check_decision(decision(3, symbol=symbol))
    found.finish(first_offset=0, next_offset=4)

    assert ([], 2, None) == (found.differences, found.compared, found.first)


def test_the_first_difference_is_the_first_in_the_log_and_bytes_come_before_what_they_led_to() -> None:
    """The record is the cause; the decisions behind it are consequences."""
    found = witness()
    found.learn_seal(SegmentSealed(log_identity="l", partition=1, first_offset=3, digests=[AA, BB]))
    found.learn_decision(decision(4, chain="01"))
    found.learn_decision(decision(9, chain="01"))
    found.check_decision(decision(9))
    found.check_decision(decision(4))
    found.check_record(offset=4, digest=CC)

    assert [("decision", 9), ("decision", 4), ("record", 4)] == kinds(found)
    assert found.first is not None
    assert ("record", 4, BB, CC) == (found.first.kind, found.first.offset, found.first.expected, found.first.found)


def test_unsealed_records_pass() -> None:
    """The last moment before a crash was read by nobody who lived to say so."""
    found = witness()
    found.check_record(offset=7, digest=CC)

    assert found.first is None


def test_a_decision_beyond_everything_said_is_not_decided_yet() -> None:
    """Beyond the last word nothing is missing; before it, or under a seal, something is."""
    found = witness()
    found.learn_decision(decision(5))
    found.learn_seal(SegmentSealed(log_identity="l", partition=1, first_offset=6, digests=[AA]))
    for offset in (4, 6, 7):
        found.check_decision(decision(offset))

    assert [("missing", 4), ("missing", 6)] == kinds(found)


def test_only_what_was_folded_again_can_be_unfounded() -> None:
    """A decision outside of the folded span, or of another fold, is not held against it."""
    found = witness()
    found.learn_decision(decision(2))
    found.learn_decision(decision(5))
    found.learn_decision(decision(6, fold="g"))
    found.learn_decision(decision(9))
    found.finish(first_offset=3, next_offset=9)

    assert [("unfounded", 5)] == kinds(found)


def test_a_later_fold_may_say_the_same_place_anew() -> None:
    """After a clean change of the version the newer word counts."""
    found = witness()
    found.learn_decision(decision(2, fold="old", chain="11"))
    found.learn_decision(decision(2))
    found.check_decision(decision(2))

    assert ([], {}) == (found.differences, found.other_folds)


def test_seals_that_overlap_must_agree() -> None:
    """A restarted worker seals again what it reads again."""
    found = witness()
    found.learn_seal(SegmentSealed(log_identity="l", partition=1, first_offset=1, digests=[AA, BB]))
    found.learn_seal(SegmentSealed(log_identity="l", partition=1, first_offset=2, digests=[BB, CC]))
    assert [] == found.differences
    found.learn_seal(SegmentSealed(log_identity="l", partition=1, first_offset=3, digests=[DD]))
    found.learn_seal(SegmentSealed(log_identity="other", partition=1, first_offset=1, digests=[EE]))
    assert [("contradiction", 3)] == kinds(found)


def test_another_symbols_words_are_left_out() -> None:
    """A replay of one symbol knows nothing of the others."""
    found = Witness(partition=1, log_identity="l", fold="f", symbol="A")
    found.learn_decision(decision(2, symbol="B"))
    found.finish(first_offset=0, next_offset=9)

    assert [] == found.differences
