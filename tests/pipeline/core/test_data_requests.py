"""The only place for tests of the questions to the venue: what is asked, how often, and when it stops."""

from __future__ import annotations

from itertools import pairwise

import msgspec

from pipeline.core.book import BookStatus
from pipeline.core.commands import RequestData
from pipeline.core.data_requests import HISTORY_FIRST_MS
from pipeline.core.events import (
    BasisHistory,
    DataFailed,
    DepthDiff,
    FeedLost,
    FundingHistory,
    InstrumentChanged,
    LeverageBrackets,
    OpenInterest,
    OpenInterestHistory,
    Ticked,
    TradingMode,
    TradingStateSet,
)
from pipeline.core.liquidation_map import Bracket
from pipeline.core.units import Lots, Milliseconds
from tests.sessions.script import BAR_MS, INSTRUMENT, START_MS, Session
from tests.sessions.test_endings import closed_bar
from tests.sessions.test_targets import opened


def asked(session: Session, kind: str) -> list[RequestData]:
    """Every question of a kind so far."""
    return [request for request in session.all(RequestData) if request.kind == kind]


def test_an_unknown_instrument_is_asked_for_at_most_every_ten_seconds() -> None:
    """Longer each time it is asked in vain."""
    session = Session()

    session.wait(9_750)
    assert 1 == len(asked(session, "exchange_info"))
    session.wait(500)
    assert 2 == len(asked(session, "exchange_info"))
    session.wait(19_500)
    assert 2 == len(asked(session, "exchange_info"))


def test_a_known_instrument_asks_for_its_bars_once_and_again_when_the_answer_fails() -> None:
    """300 closed klines of 5m and the open one; the wait grows with each try in vain."""
    session = Session()
    session.say(InstrumentChanged(instrument=INSTRUMENT))
    assert [301] == [request.limit for request in asked(session, "klines")]

    session.say(DataFailed(request="x", kind="klines", reason="shed"))
    session.wait(9_000)
    assert 1 == len(asked(session, "klines"))
    session.wait(1_500)

    assert 2 == len(asked(session, "klines"))


def test_a_whole_history_asks_nothing_until_a_bar_is_late() -> None:
    """No closed bar five seconds after its close: the row is asked for (venue sheet 2.6)."""
    session = Session()
    session.ready()
    before = len(asked(session, "klines"))
    session.now = START_MS + BAR_MS + 4_000
    session.say(Ticked())
    assert before == len(asked(session, "klines"))

    session.wait(1_500)
    assert before + 1 == len(asked(session, "klines"))
    session.say(closed_bar(1))
    session.wait(60_000)

    assert before + 1 == len(asked(session, "klines"))


def test_depth_is_asked_for_only_where_diffs_come_and_again_with_back_off() -> None:
    """Each try weighs 20: 2 s, then 4 s, then 8 s."""
    session = Session()
    session.ready()
    session.wait(2_000)
    assert [] == asked(session, "depth")

    at = []
    for number in range(100):
        session.now += 250
        if session.say(DepthDiff(number + 1, number + 1, number, [], [], Milliseconds(0))):
            at.append(session.now)

    assert [2_000, 4_000, 8_000] == [later - earlier for earlier, later in pairwise(at)]
    assert {1_000} == {request.limit for request in asked(session, "depth")}


def test_a_held_symbol_is_audited_every_minute_and_an_unheld_one_never() -> None:
    """Domain 6.7: reconcile every 60 s while positions are open."""
    idle = Session()
    idle.ready()
    idle.wait(130_000)
    session, venue = opened()
    for _ in range(130):
        venue.run(session.wait(1_000))

    assert [] == asked(idle, "audit")
    assert 2 == len(asked(session, "audit"))
    assert all(request.held for request in asked(session, "audit"))


def test_open_interest_is_asked_for_every_75_seconds_while_held() -> None:
    """Clarifications 3."""
    session, venue = opened()
    for _ in range(160):
        outputs = session.wait(1_000)
        venue.run(outputs)
        if any(isinstance(o, RequestData) and o.kind == "open_interest" for o in outputs):
            session.say(OpenInterest(lots=Lots(5), event_ms=Milliseconds(session.now)))

    assert 3 == len(asked(session, "open_interest"))


def test_the_past_of_open_interest_is_asked_for_once_when_a_symbol_begins_to_be_read() -> None:
    """A held or shortlisted symbol; one that is neither costs no request. Shortlisted ones are polled every 600 s."""
    idle, listed = Session(), Session()
    for session in (idle, listed):
        session.ready()
    listed.state.shortlisted = True
    listed.state.wake_ms = 0
    held, venue = opened()
    for session in (idle, listed):
        session.wait(1_500_000)
    venue.run(held.wait(60_000))

    assert ([], []) == (asked(idle, "open_interest"), asked(idle, "open_interest_history"))
    assert [500] == [request.limit for request in asked(listed, "open_interest_history")]
    assert [500] == [request.limit for request in asked(held, "open_interest_history")]
    assert 2 <= len(asked(listed, "open_interest")) <= 6  # unanswered here: the wait doubles up to 600 s


def test_a_newly_shortlisted_symbol_is_read_at_once_and_states_its_interest_by_its_past() -> None:
    """One request says past and present: it is polled one interval after the newest row counts (domain 4.6)."""
    listed = Session()
    listed.ready()
    listed.state.open_interest_ms = 0
    listed.say(TradingStateSet(TradingMode.ACTIVE, "", shortlisted=("BTCUSDT",)))
    listed.wait(500)
    every = ("funding_info", "leverage_brackets", "open_interest_history", "open_interest")
    assert [1, 1, 1, 0] == [len(asked(listed, kind)) for kind in every]

    end_ms = listed.now - BAR_MS - 200_000
    past = [(end_ms - BAR_MS * back, 700) for back in reversed(range(500))]
    listed.say(OpenInterestHistory(rows=past))
    assert (700, listed.now - 200_000) == (listed.state.open_interest_lots, listed.state.open_interest_ms)
    listed.wait(399_000)
    assert [] == asked(listed, "open_interest")
    listed.wait(1_500)
    assert 1 == len(asked(listed, "open_interest"))


def test_a_row_that_may_not_yet_be_published_states_the_present_and_no_later_time() -> None:
    """Its publication lies ahead: what was read now is of now."""
    session = Session()
    session.ready()
    session.state.open_interest_ms = 0
    session.say(OpenInterestHistory(rows=[(session.now - 1_000, 700)]))

    assert (700, session.now) == (session.state.open_interest_lots, session.state.open_interest_ms)


def test_a_symbol_that_comes_back_after_its_samples_have_gone_asks_for_its_past_again() -> None:
    """Else O, which compares with an hour ago, would say nothing for an hour; one that never left asks no more."""
    session = Session()
    session.ready()
    session.say(TradingStateSet(TradingMode.ACTIVE, "", shortlisted=("BTCUSDT",)))
    session.wait(500)
    close_ms = session.state.bars.last_close_ms
    rows = [(close_ms - BAR_MS * back, 700) for back in reversed(range(500))]
    session.say(OpenInterestHistory(rows=rows))
    factors = session.state.factors
    assert factors is not None and factors.interest.known and factors.interest.moments.ready
    session.wait(3_700_000, tick_ms=10_000)
    assert 1 == len(asked(session, "open_interest_history"))

    session.say(TradingStateSet(TradingMode.ACTIVE, "", shortlisted=()))
    factors.interest.known = False  # fifty minutes unread: an hour ago nothing was sampled
    session.say(TradingStateSet(TradingMode.ACTIVE, "", shortlisted=("BTCUSDT",)))
    before = len(asked(session, "open_interest"))
    session.wait(1_000)
    assert (2, before) == (len(asked(session, "open_interest_history")), len(asked(session, "open_interest")))


def test_a_past_that_does_not_come_or_lies_ahead_leaves_the_present_to_the_poll() -> None:
    """After two minutes it is polled; rows of tomorrow or without a quantity say nothing of now."""
    session = Session()
    session.ready()
    session.state.open_interest_ms = 0
    session.say(TradingStateSet(TradingMode.ACTIVE, "", shortlisted=("BTCUSDT",)))
    session.wait(500)
    session.say(OpenInterestHistory(rows=[]))
    session.say(OpenInterestHistory(rows=[(session.now + 1, 5)]))
    session.say(OpenInterestHistory(rows=[(session.now - 1, 0)]))
    assert 0 == session.state.open_interest_ms
    session.wait(HISTORY_FIRST_MS)
    assert 1 == len(asked(session, "open_interest"))


def test_terms_are_asked_for_once_and_only_of_symbols_that_are_read() -> None:
    """A shortlisted symbol asks for each once an hour until it is answered; known brackets are not asked for."""
    kinds = ("funding_info", "leverage_brackets")
    idle, listed = Session(), Session()
    for session in (idle, listed):
        session.ready()
    listed.state.shortlisted = True
    listed.state.wake_ms = 0
    for session in (idle, listed):
        session.wait(60_000)

    assert [[], []] == [asked(idle, kind) for kind in kinds]
    assert [1, 1] == [len(asked(listed, kind)) for kind in kinds]
    listed.say(LeverageBrackets([(20, 10**15, 10_000)]))
    listed.wait(4_000_000, tick_ms=10_000)
    assert [2, 1] == [len(asked(listed, kind)) for kind in kinds]
    assert [Bracket(20, 10**15, 10_000)] == listed.state.brackets


def test_the_past_of_basis_and_funding_is_read_once_of_every_symbol_behind_what_is_urgent() -> None:
    """Streams keep it up afterwards (domain 4.14). Without an answer, or of a young coin, ever more seldom."""
    kinds = ("basis_history", "funding_history")
    answers = Session(), Session(), Session()
    told, young, silent = answers
    for session in answers:
        session.ready()
        session.wait(60_000)
        session.state.book.status, session.state.wake_ms = BookStatus.SYNCED, 0
        session.wait(60_000)
        assert [0, 0] == [len(asked(session, kind)) for kind in kinds]  # nothing has kept them up yet
        assert session.state.factors is not None
        for _ in range(2):
            session.state.factors.basis.moments.add(1.0)
        session.state.wake_ms = 0
        session.wait(1_000)
        assert [1, 1] == [len(asked(session, kind)) for kind in kinds]
        close_ms = session.state.bars.last_close_ms
        rows = 864 if session is told else 20
        if session is not silent:
            session.say(BasisHistory(rows=[(close_ms - BAR_MS * back, 1_000) for back in reversed(range(rows))]))
            session.say(FundingHistory(rows=[(close_ms - 8 * 3_600_000, 10_000)]))
        session.wait(3_600_000, tick_ms=10_000)

    assert [1, 1] == [len(asked(told, kind)) for kind in kinds]
    assert [2, 1] == [len(asked(young, kind)) for kind in kinds]  # after 1,900 s; 3,800 s; …
    assert [2, 2] == [len(asked(silent, kind)) for kind in kinds]


def test_questions_expire_in_log_time() -> None:
    """A question nobody could send for long is worth nothing."""
    session = Session()
    session.say(Ticked())

    assert session.now + 10_000 == asked(session, "exchange_info")[0].expires_ms


def test_a_quiet_symbol_costs_nothing_between_its_dates() -> None:
    """A tick before the next date leaves no output and no decision."""
    session = Session()
    session.ready()
    before = len(session.decisions)
    session.wait(60_000)

    assert before == len(session.decisions)


def test_a_held_symbol_without_a_quote_stream_is_polled_until_the_stream_is_proven() -> None:
    """REST fallback: every 5 s; what is polled stands for the price and says nothing about the stream."""
    session, venue = opened()
    quote = session.state.quote
    assert quote is not None
    session.say(FeedLost(stream="btcusdt@bookTicker", reason="cut"))
    polls = 0
    for _ in range(80):  # 20 s
        for output in session.wait(250):
            if isinstance(output, RequestData) and output.kind == "book_ticker":
                polls += 1
                now = Milliseconds(session.now)
                quote = msgspec.structs.replace(quote, update_id=quote.update_id + 1, event_ms=now, polled=True)
                session.say(quote)
        session.mark(50_000)
    assert 3 <= polls <= 4
    assert (quote, "cut") == (session.state.quote, session.state.feeds["quote"])
    before = len(asked(session, "book_ticker"))
    now = Milliseconds(session.now)
    session.say(msgspec.structs.replace(quote, update_id=quote.update_id + 1, event_ms=now, polled=False))
    venue.run(session.wait(6_000))

    assert {} == session.state.feeds
    assert before == len(asked(session, "book_ticker"))


def test_a_book_lost_while_nobody_holds_the_symbol_is_read_again_at_half_the_weight() -> None:
    """50 books at once are whole within a minute, in a quarter of the venue's weight; a held one is read whole."""
    session = Session()
    session.ready()
    session.state.book.resyncs = 1
    session.state.book.status, session.state.wake_ms = BookStatus.WAITING, 0
    session.wait(3_000)
    assert {500} == {request.limit for request in asked(session, "depth")}
    session, _ = opened()
    session.state.book.resyncs = 1
    session.state.book.status, session.state.wake_ms = BookStatus.WAITING, 0
    session.wait(3_000)

    assert {1_000} == {request.limit for request in asked(session, "depth")}


def test_a_silent_mark_is_asked_for_while_a_position_is_open() -> None:
    """X4: no mark for 3 s, then REST every 5 s; the rails stay and nothing is closed for being blind."""
    session, venue = opened()
    venue.mark(50_000)
    session.wait(3_000)
    assert [] == asked(session, "premium_index")
    session.wait(5_250)

    assert 2 == len(asked(session, "premium_index"))
    venue.mark(50_000)
    session.wait(3_000)
    assert 2 == len(asked(session, "premium_index"))
