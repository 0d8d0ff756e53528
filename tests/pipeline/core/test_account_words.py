"""Tests of the account's words: every kind is told apart by its tag."""

from __future__ import annotations

from typing import get_args

from pipeline.core.account_words import AccountEvent, AccountOutput


def test_every_word_has_a_tag_of_its_own() -> None:
    """The chain hashes outputs by their tags: two kinds may not look alike."""
    for union in (AccountEvent, AccountOutput):
        tags = [kind.__struct_config__.tag for kind in get_args(union)]
        assert all(tags)
        assert len(tags) == len(set(tags))
