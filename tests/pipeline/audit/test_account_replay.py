"""Account's lines are its decisions: the same topic folded again gives the same bytes, and a changed one is named."""

from __future__ import annotations

import msgspec

from pipeline.audit.account_replay import AccountReplay
from pipeline.audit.sources import Entry
from pipeline.binance.account_fold import AccountFold
from pipeline.core.account_state import AccountRules
from pipeline.core.policies import Policy
from pipeline.core.units import Milliseconds
from pipeline.wire import lines, records
from pipeline.wire.topics import ACCOUNT, INPUTS

START_MS = 1_790_771_372_000
RULES = AccountRules(symbols=("BTCUSDT",), slots=5, max_notional_e8=10**14, entries_per_minute=10)


def fold() -> AccountFold:
    return AccountFold(log_identity="abcdefg", fold="f", rules=RULES, policy=Policy())


def log(count: int = 40) -> tuple[list[Entry], list[Entry]]:
    """Ticks and commands of half a minute, and the lines that account wrote for them, one a record."""
    told: list[Entry] = []
    written: list[Entry] = []
    live = fold()
    offsets: dict[int, int] = {}
    for number in range(count):
        at_ms = START_MS + 1_000 * number
        message: msgspec.Struct = records.AccountTick(at_ms=Milliseconds(at_ms))
        if number == 20:
            message = records.ModeCommand(command="c", mode="reduce_only", reason="by hand")
        entry = Entry(ACCOUNT.name, 0, number, at_ms, b"", records.encode(message))
        told.append(entry)
        for partition, line in live.apply_record(offset=number, append_ms=at_ms, value=entry.value).lines:
            offset = offsets[partition] = offsets.get(partition, -1) + 1
            written.append(Entry(INPUTS.name, partition, offset, at_ms, None, line))
    assert written
    return told, written


def replayed(told: list[Entry], written: list[Entry]) -> AccountReplay:
    run = AccountReplay(fold())
    for entry in told:
        run.feed_account(entry)
    for entry in written:
        run.check_record(entry)
    return run


def test_an_untouched_log_agrees_and_repeats_count_once() -> None:
    """A restarted account writes its last lines again under their numbers."""
    told, written = log()

    run = replayed(told, [*written, *written[-5:]])

    assert ([], len(written)) == (run.differences, run.compared)


def test_a_changed_line_is_named() -> None:
    """Another trading state than account's own fold gives: who wrote that?"""
    told, written = log()
    number = next(index for index, entry in enumerate(written) if b'"reduce_only"' in entry.value)
    forged = written[number].value.replace(b'"reduce_only"', b'"active"')
    written[number] = msgspec.structs.replace(written[number], value=forged)

    (difference,) = replayed(told, written).differences

    assert ("account", written[number].partition, written[number].offset, 0) == (
        difference.kind,
        difference.partition,
        difference.offset,
        difference.line,
    )
    assert "reduce_only" in difference.words()


def test_lines_of_others_and_of_the_future_do_not_matter() -> None:
    """Frames, other incarnations, damaged bytes, and what account wrote after this replay had read the topic."""
    told, written = log()
    others = [
        lines.encode(lines.Line(at=1, src="decide/0", inc="1", n=1, sym="*", tick=1)),
        lines.encode(lines.Line(at=1, src="account/main", inc="zzzzzzz", n=1, sym="*", tick=1)),
        b'{"src":"account/main"',
        b'{"at":1,"src":"decide/0","inc":"\\"src\\":\\"account/main\\"","n":1,"sym":"*","tick":1}',
    ]
    extra = [Entry(INPUTS.name, 0, 1_000 + number, START_MS, None, line) for number, line in enumerate(others)]

    run = replayed(told[:20], [*extra, *written])

    assert [] == run.differences
    assert 0 < run.compared < len(written)


def test_a_topic_that_begins_later_proves_nothing() -> None:
    """Its state is not known, so its lines are not compared."""
    told, written = log()

    run = replayed(told[5:], written)

    assert (False, [], 0) == (run.reaches_back, run.differences, run.compared)
