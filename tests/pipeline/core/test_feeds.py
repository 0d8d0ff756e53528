"""The only place for tests of freshness and wholeness: every reason that closes entries, and how each ends (P5)."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.core.events import (
    DepthDiff,
    DepthSnapshot,
    FeedLost,
    InstrumentChanged,
    Malformed,
    SourceGap,
    TradingMode,
    TradingStateSet,
)
from pipeline.core.feeds import BARS, DEPTH, MARK, QUOTE, USER, entry_blocks, feeds_of, mark_fresh, quote_fresh
from pipeline.core.units import Milliseconds
from tests.sessions.script import INSTRUMENT, Session, bars
from tests.sessions.test_targets import opened
from tests.sessions.venue import Venue


def ready() -> Session:
    """A session whose entries are open."""
    session = Session()
    session.ready()
    assert [] == entry_blocks(session.state)
    return session


def blocks(session: Session) -> str:
    """All reasons in one text."""
    return "; ".join(entry_blocks(session.state))


def test_a_new_symbol_says_everything_it_lacks() -> None:
    """Nothing is assumed about a symbol nobody has told about."""
    text = blocks(Session())

    for word in ("instrument", "trading state", "no quote", "no mark", "bars"):
        assert word in text


@pytest.mark.parametrize(
    ("stream", "feeds"),
    [
        ("btcusdt@depth@100ms", (DEPTH,)),
        ("btcusdt@bookTicker", (QUOTE,)),
        ("btcusdt@markPrice@1s", (MARK,)),
        ("btcusdt@kline_5m", (BARS,)),
        ("btcusdt@aggTrade", ()),
        ("!forceOrder@arr", ()),
        ("connector/public-0", (QUOTE, DEPTH)),
        ("connector/market-1", (MARK, BARS)),
        ("connector/private-0", (USER,)),
        ("execute/main", (USER,)),
        ("account/main", ()),
        ("decide/0", ()),
        ("something new", (QUOTE, DEPTH, MARK, BARS, USER)),
    ],
)
def test_what_a_stream_or_writer_carries(stream: str, feeds: tuple[str, ...]) -> None:
    """An unknown name casts doubt on everything."""
    assert feeds == feeds_of(stream)


def test_a_lost_quote_stream_closes_entries_until_the_next_quote() -> None:
    """Absolute values heal themselves."""
    session = ready()
    session.say(FeedLost(stream="btcusdt@bookTicker", reason="socket lost"))
    assert "quote is not whole: socket lost" in blocks(session)

    session.quote(49_999, 50_001)

    assert "" == blocks(session)


def test_a_lost_mark_stream_closes_entries_until_the_next_mark() -> None:
    """The mark is a value of its own each second."""
    session = ready()
    session.say(Malformed(stream="btcusdt@markPrice@1s", reason="off the grid"))
    assert "mark is not whole" in blocks(session)
    session.wait(10)

    session.mark(50_000)

    assert "" == blocks(session)


def test_a_gap_of_a_connection_breaks_all_it_carries() -> None:
    """Missing lines of ``public`` may have been quotes or diffs; a symbol without a book has none to lose."""
    session = ready()
    session.say(SourceGap(source="connector/public-0", missing=3))
    assert {QUOTE} == set(session.state.feeds)
    session.say(DepthDiff(5, 10, 4, [], [], Milliseconds(0)))
    session.say(SourceGap(source="connector/public-0", missing=3))

    assert {QUOTE, DEPTH} == set(session.state.feeds)
    assert "3 lines missing" in blocks(session)


def test_a_lost_user_stream_closes_entries_until_a_complete_read() -> None:
    """What became of our orders is read from the venue (pain 13), also without a position."""
    session = ready()
    outputs = session.say(FeedLost(stream="private-0", reason="listen key expired"))
    assert "user is not whole" in blocks(session)
    assert ["audit"] == [output.kind for output in outputs if hasattr(output, "kind")]

    session.say(Venue(session).read())

    assert "" == blocks(session)


def test_lost_bars_close_entries_until_the_history_is_whole_again() -> None:
    """A lost kline may be the closed one; an explicit stop needs no bars."""
    session = ready()
    session.say(FeedLost(stream="btcusdt@kline_5m", reason="socket lost"))
    assert "bars" in blocks(session)
    assert [] == entry_blocks(session.state, needs_bars=False)

    from pipeline.core.events import Bars  # noqa: PLC0415

    session.say(Bars(bars=bars(200, price=50_000, span=100)))

    assert "" == blocks(session)


def test_a_gap_in_the_book_closes_entries_until_it_is_whole_again() -> None:
    """Only for symbols that have a book: the others never had one to lose."""
    session = ready()
    session.say(DepthDiff(5, 10, 4, [], [], Milliseconds(0)))
    assert "order book is not whole" in blocks(session)
    session.say(DepthSnapshot(10, [(49_999, 1)], [(50_001, 1)], Milliseconds(0)))
    assert "" == blocks(session)
    session.say(DepthDiff(15, 20, 13, [], [], Milliseconds(0)))
    assert "depth is not whole: book gap" in blocks(session)

    session.say(DepthSnapshot(17, [(49_999, 1)], [(50_001, 1)], Milliseconds(0)))

    assert "" == blocks(session)


def test_a_crossed_book_closes_entries() -> None:
    """It is dropped and a snapshot asked for."""
    session = ready()
    session.say(DepthDiff(5, 10, 4, [], [], Milliseconds(0)))
    session.say(DepthSnapshot(10, [(49_999, 1)], [(50_001, 1)], Milliseconds(0)))

    session.say(DepthDiff(11, 12, 10, [(50_001, 5)], [], Milliseconds(0)))

    assert "depth is not whole: book crossed" in blocks(session)


def test_old_values_close_entries() -> None:
    """Quote beyond 5 s, mark beyond 15 s, trading state beyond 30 s."""
    session = ready()
    session.wait(5_250)
    assert "quote is too old" in blocks(session)
    assert "mark price is too old" not in blocks(session)
    session.wait(10_000)
    assert "mark price is too old" in blocks(session)
    assert not mark_fresh(session.state)
    session.wait(15_000)

    assert "trading state is too old" in blocks(session)


def test_frames_held_up_in_an_outage_stay_old() -> None:
    """Freshness is append time − receive time: a burst of buffered quotes opens nothing."""
    session = ready()
    received = session.now
    session.now += 60_000
    session.active()
    session.mark(50_000)
    quote = session.state.quote
    assert quote is not None
    session.say(msgspec.structs.replace(quote, update_id=quote.update_id + 1), at_ms=received)

    assert "quote is too old" in blocks(session)
    assert not quote_fresh(session.state)


def test_a_trading_state_other_than_active_closes_entries_with_its_reason() -> None:
    """REDUCE_ONLY and HALTED."""
    session = ready()
    session.say(TradingStateSet(mode=TradingMode.REDUCE_ONLY, reason="margin ratio"))

    assert "trading state is reduce_only: margin ratio" in blocks(session)


def test_an_instrument_that_does_not_trade_closes_entries() -> None:
    """X17's first half: entries off."""
    session = ready()
    session.say(InstrumentChanged(instrument=msgspec.structs.replace(INSTRUMENT, status="SETTLING")))

    assert "status SETTLING" in blocks(session)


def test_exits_go_on_with_what_is_good() -> None:
    """Everything but the mark is lost: the rails are still judged by the mark."""
    session, _ = opened()
    session.say(FeedLost(stream="something new", reason="everything"))
    session.mark(session.position.stop - 5)
    session.wait(1_000)

    assert "CLOSING" == session.position.stage.value
