"""The only place for tests of market data in the state: newer wins, gaps are noted and asked about."""

from __future__ import annotations

import msgspec

from pipeline.core.commands import Note, RequestData
from pipeline.core.events import Bars, DepthDiff, DepthSnapshot, FeedLost, InstrumentChanged, OpenInterest
from pipeline.core.feeds import QUOTE
from pipeline.core.units import ONE_E8, Lots, Milliseconds
from tests.sessions.script import INSTRUMENT, Session, bars
from tests.sessions.test_endings import closed_bar


def ready() -> Session:
    """A session with everything an entry needs."""
    session = Session()
    session.ready()
    return session


def notes(session: Session) -> list[str]:
    """The codes of all notes."""
    return [note.code for note in session.all(Note)]


def test_an_older_quote_of_a_second_connection_is_dropped() -> None:
    """The update id tells."""
    session = ready()
    session.quote(50_009, 50_011)
    newest = session.state.quote
    assert newest is not None

    session.say(msgspec.structs.replace(newest, update_id=newest.update_id - 5, bid=newest.bid - 50))

    assert newest == session.state.quote


def test_after_a_lost_stream_any_quote_counts() -> None:
    """Ids may have started again."""
    session = ready()
    known = session.state.quote
    assert known is not None
    session.say(FeedLost(stream="public-0", reason="cut"))

    session.say(msgspec.structs.replace(known, update_id=1, event_ms=known.event_ms + 1))

    assert session.state.quote is not None
    assert 1 == session.state.quote.update_id


def test_after_a_lost_stream_what_a_slow_connection_still_had_is_not_believed() -> None:
    """The same quote again, or an older one, heals nothing: only after a minute of nothing else is it the venue's."""
    session = ready()
    known = session.state.quote
    assert known is not None
    session.say(FeedLost(stream="public-0", reason="cut"))
    older = msgspec.structs.replace(known, update_id=known.update_id - 1, event_ms=known.event_ms - 5)

    for late in (known, older):
        session.say(late)
        assert (known, True) == (session.state.quote, QUOTE in session.state.feeds)
    session.wait(60_001)
    session.say(older)

    assert (older, False) == (session.state.quote, QUOTE in session.state.feeds)


def test_the_same_mark_again_is_no_news() -> None:
    """Two connections bring each mark twice: the rules are asked once."""
    session = ready()
    known, stamp = session.state.mark, session.state.mark_stamp
    assert known is not None
    session.wait(1)

    assert [] == session.say(known)
    assert stamp is session.state.mark_stamp


def test_an_older_mark_is_dropped() -> None:
    """Venue time tells."""
    session = ready()
    session.now += 1_000
    session.mark(50_010)
    session.now -= 500
    session.mark(49_000)

    assert session.state.mark is not None
    assert 50_010 * ONE_E8 == session.state.mark.mark


def test_a_diff_without_a_book_asks_for_a_snapshot_and_the_snapshot_makes_it_whole() -> None:
    """The first diff of a symbol is what asks."""
    session = ready()

    outputs = session.say(DepthDiff(5, 10, 4, [], [], Milliseconds(0)))
    assert ["depth"] == [output.kind for output in outputs if isinstance(output, RequestData)]
    session.say(DepthSnapshot(10, [(49_999, 1)], [(50_001, 1)], Milliseconds(0)))

    assert session.state.book.whole
    assert "book_whole" in notes(session)


def test_a_snapshot_too_old_is_asked_for_again_with_back_off() -> None:
    """Rule 6; the wait has begun with the first question."""
    session = ready()
    session.say(DepthDiff(50, 60, 40, [], [], Milliseconds(0)))
    session.say(DepthSnapshot(10, [(49_999, 1)], [(50_001, 1)], Milliseconds(0)))
    assert "book_snapshot_too_old" in notes(session)
    assert [] == [o for o in session.wait(1_750) if isinstance(o, RequestData)]

    assert ["depth"] == [o.kind for o in session.wait(250) if isinstance(o, RequestData)]


def test_a_gap_of_the_bars_is_noted_once_and_asked_about() -> None:
    """The bar behind the hole waits for the answer."""
    session = ready()
    session.say(closed_bar(2))
    session.say(closed_bar(3))
    assert 1 == notes(session).count("bars_gap")

    session.say(Bars(bars=[closed_bar(1)]))

    assert session.state.bars.ready
    assert 203 == len(session.state.bars.bars)


def test_open_interest_is_kept_with_its_time() -> None:
    """In lots, at log time."""
    session = ready()
    session.say(OpenInterest(lots=Lots(77), event_ms=Milliseconds(0)))

    assert (77, session.now) == (session.state.open_interest_lots, session.state.open_interest_ms)


def test_the_same_instrument_again_is_silent_and_another_status_is_told() -> None:
    """exchangeInfo is read every ten minutes."""
    session = ready()
    assert [] == session.say(InstrumentChanged(instrument=INSTRUMENT))

    session.say(InstrumentChanged(instrument=msgspec.structs.replace(INSTRUMENT, status="SETTLING")))

    assert ["instrument_status"] == session.codes()


def test_a_broken_feed_is_noted_once() -> None:
    """A flood of malformed frames is one note until the feed is whole again."""
    session = ready()
    for _ in range(5):
        session.say(FeedLost(stream="btcusdt@bookTicker", reason="cut"))

    assert 1 == notes(session).count("feed_broken")


def test_bars_that_are_too_few_say_so() -> None:
    """A new listing: the history is whole but the averages are not known."""
    session = Session()
    session.say(InstrumentChanged(instrument=INSTRUMENT))
    session.say(Bars(bars=bars(20, price=50_000, span=100)))

    assert "bars_short" in notes(session)
    assert not session.state.bars.ready
