"""The only place for the tests of one connection's life: the table, its deadlines, its measure of rates."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.binance_futures.session import (
    DRAIN_MS,
    HANDSHAKE_MS,
    MAX_ROTATION_MS,
    MIN_ROTATION_MS,
    TABLE,
    Action,
    Session,
    Signal,
    State,
    Watch,
    rotation_age_ms,
)
from connectors.binance_futures.subscriptions import FIRST_FRAME_MS, KINDS, streams_of

STREAMS = streams_of("BTCUSDT")
WATCHED = ("btcusdt@bookTicker", "btcusdt@depth@100ms", "btcusdt@markPrice@1s")
HOUR = 3_600_000

# Cells that only a mistake of ours could reach: the shell signals nothing before there is a socket, and deadlines are
# looked at in their own state only.
IMPOSSIBLE = {
    (State.CONNECTING, Signal.PROVEN),
    (State.CONNECTING, Signal.WANTING),
    (State.CONNECTING, Signal.MUTE),
    (State.CONNECTING, Signal.INFERIOR),
    (State.CONNECTING, Signal.AGED),
    (State.CONNECTING, Signal.REFUSED),
    (State.PROBING, Signal.OPENED),
    (State.PROBING, Signal.AGED),
    (State.PROBING, Signal.OVERDUE),
    (State.LIVE, Signal.OPENED),
    (State.LIVE, Signal.PROVEN),
    (State.LIVE, Signal.MUTE),
    (State.LIVE, Signal.INFERIOR),
    (State.LIVE, Signal.OVERDUE),
    (State.DRAINING, Signal.OPENED),
    (State.DRAINING, Signal.PROVEN),
    (State.DRAINING, Signal.WANTING),
    (State.DRAINING, Signal.MUTE),
    (State.DRAINING, Signal.INFERIOR),
    (State.DRAINING, Signal.AGED),
    (State.DEAD, Signal.PROVEN),
    (State.DEAD, Signal.WANTING),
    (State.DEAD, Signal.MUTE),
    (State.DEAD, Signal.INFERIOR),
    (State.DEAD, Signal.AGED),
    (State.DEAD, Signal.OVERDUE),
}


def session(streams: tuple[str, ...] = STREAMS) -> Session:
    return Session(streams, now_ms=0, rotation_ms=22 * HOUR)


def feed(session: Session, at_ms: int, *streams: str) -> None:
    for stream in streams:
        session.watches[stream].saw(at_ms * 1_000_000)


@pytest.mark.parametrize(("state", "signal"), list(itertools.product(State, Signal)), ids=str)
def test_every_cell_is_in_the_table_or_listed_as_impossible(state: State, signal: Signal) -> None:
    """A legal cell moves as the table says; an impossible one is a broken promise and leaves the state alone."""
    subject = session()
    subject.state = state

    if (state, signal) in IMPOSSIBLE:
        assert (state, signal) not in TABLE
        with pytest.raises(AssertionError):
            subject.signal(signal, 5)
        assert state is subject.state
    else:
        after, actions = TABLE[(state, signal)]
        assert actions == subject.signal(signal, 5)
        assert after is subject.state


def test_dead_is_the_end() -> None:
    """No row leads out of dead, and every way into dead without a closed socket aborts it."""
    for (state, signal), (after, actions) in TABLE.items():
        if state is State.DEAD:
            assert after is State.DEAD
        elif after is State.DEAD and signal is not Signal.CLOSED:
            assert Action.ABORT in actions


def test_a_connection_is_live_when_every_watched_stream_has_come() -> None:
    """Trades and candles may come later: a thin symbol has none for minutes."""
    subject = session()
    assert (Action.SUBSCRIBE,) == subject.signal(Signal.OPENED, 100)
    feed(subject, 200, *WATCHED[:2])
    assert () == subject.tick(300)
    feed(subject, 400, WATCHED[2])

    assert (Action.ANNOUNCE,) == subject.tick(500)
    assert State.LIVE is subject.state
    assert 1_000 == subject.live_for_ms(1_500)


def test_a_wrong_route_is_found_after_ten_seconds() -> None:
    """Venue sheet 1.3: the subscription succeeds and nothing ever comes."""
    subject = session()
    subject.signal(Signal.OPENED, 100)

    assert () == subject.tick(100 + FIRST_FRAME_MS - 1)
    assert (Action.CLOSE, Action.LOST) == subject.tick(100 + FIRST_FRAME_MS)
    assert State.DRAINING is subject.state
    assert (Action.ABORT,) == subject.tick(100 + FIRST_FRAME_MS + DRAIN_MS)


def test_half_a_socket_goes_live_and_asks_for_a_replacement() -> None:
    """Some streams came, one did not: what flows is used, and another connection is tried."""
    subject = session()
    subject.signal(Signal.OPENED, 0)
    feed(subject, 9_900, *WATCHED[:2])

    assert (Action.ANNOUNCE, Action.REPLACE) == subject.tick(10_000)
    assert ["btcusdt@markPrice@1s"] == subject.silent(10_000)
    assert "btcusdt@markPrice@1s" in subject.reason


def test_a_connection_that_has_less_than_the_one_it_is_to_replace_is_given_up() -> None:
    """The new one proves itself on every stream before the old one goes; one with more may replace it."""
    for there, expected in ((True, (Action.CLOSE, Action.LOST)), (False, (Action.ANNOUNCE, Action.REPLACE))):
        subject = session()
        subject.rival = lambda stream, now_ms, there=there: there
        subject.signal(Signal.OPENED, 0)
        feed(subject, 9_700, *WATCHED[:2])

        assert expected == subject.tick(FIRST_FRAME_MS)


def test_a_connection_is_not_live_before_every_subscription_is_answered() -> None:
    """A thin stream proves nothing by its silence: the answer does, or the deadline of the first frames."""
    subject = session()
    subject.signal(Signal.OPENED, 0)
    subject.asking = True
    feed(subject, 100, *WATCHED)
    assert () == subject.tick(200)
    feed(subject, FIRST_FRAME_MS - 100, *WATCHED)
    assert () == subject.tick(FIRST_FRAME_MS - 1)
    subject.asking = False
    assert (Action.ANNOUNCE,) == subject.tick(FIRST_FRAME_MS - 1)


def test_streams_come_and_go_on_a_living_connection() -> None:
    """A later one owes its first frame from its own subscription on; one that is dropped owes nothing."""
    subject = session()
    subject.signal(Signal.OPENED, 0)
    feed(subject, 10, *WATCHED)
    subject.tick(20)
    subject.add(["ethusdt@bookTicker"], 50_000)
    subject.drop(WATCHED)

    assert [] == subject.silent(50_000 + FIRST_FRAME_MS - 1)
    assert ["ethusdt@bookTicker"] == subject.silent(50_000 + FIRST_FRAME_MS)
    assert not subject.flows(WATCHED[0], 30)


def test_a_rate_is_that_of_the_last_minute() -> None:
    """A market that fell asleep is judged by its sleep, and by its waking when it wakes."""
    watch = Watch(stream="x@bookTicker", kind=KINDS["bookTicker"], symbol="X")
    now_ms = 0
    for gap_ms, expected in ((100, 2_800), (2_000, 40_000), (50, 2_800)):
        until = now_ms + 90_000
        while now_ms < until:
            now_ms += gap_ms
            watch.saw(now_ms * 1_000_000)
            watch.measure()
        assert expected == watch.silence_limit_ms()


def test_a_stream_that_falls_silent_asks_once_for_a_replacement() -> None:
    """A muted stream of a steady feed is noticed within 3 s, and the same silence is reported once."""
    subject = session()
    subject.signal(Signal.OPENED, 0)
    feed(subject, 10, *WATCHED)
    subject.tick(20)
    for at_ms in range(100, 3_000, 100):
        feed(subject, at_ms, *WATCHED)
        subject.tick(at_ms)
    for at_ms in range(3_000, 5_800, 100):
        feed(subject, at_ms, *WATCHED[1:])
        assert () == subject.tick(at_ms)

    assert (Action.REPLACE,) == subject.tick(5_900)
    feed(subject, 6_000, *WATCHED[1:])
    assert () == subject.tick(6_100)
    assert ["btcusdt@bookTicker"] == subject.silent(6_100)


def test_a_thin_stream_is_given_the_time_its_own_gaps_allow() -> None:
    """A book that moves every two seconds is not silent after three."""
    watch = Watch(stream="x@bookTicker", kind=KINDS["bookTicker"], symbol="X")
    for number in range(11):
        watch.saw(number * 2_000_000_000)
    watch.measure()

    assert 40_000 == watch.silence_limit_ms()
    assert 0 == Watch(stream="!contractInfo", kind=KINDS["!contractInfo"], symbol="").silence_limit_ms()


def test_excused_streams_owe_nothing() -> None:
    """A stream that was silent on the replacement too must not churn sockets."""
    excuses = {"btcusdt@bookTicker": 60_000}
    subject = Session(STREAMS, now_ms=0, rotation_ms=22 * HOUR, excuses=excuses)
    subject.signal(Signal.OPENED, 0)
    feed(subject, 100, *WATCHED[1:])

    assert (Action.ANNOUNCE,) == subject.tick(200)
    assert ["btcusdt@bookTicker"] != subject.silent(50_000)
    assert "btcusdt@bookTicker" in subject.silent(60_000)


def test_silence_is_not_judged_while_the_reader_is_behind() -> None:
    """What seems silent may wait unread; a replacement would double the load of who cannot keep up already."""
    subject = session()
    subject.signal(Signal.OPENED, 0)
    subject.behind = True
    assert () == subject.tick(FIRST_FRAME_MS + 1)
    feed(subject, 11_000, *WATCHED)
    assert (Action.ANNOUNCE,) == subject.tick(11_001)

    assert () == subject.tick(200_000)
    subject.behind = False
    assert (Action.REPLACE,) == subject.tick(200_000)


def test_a_handshake_that_does_not_end_is_given_up() -> None:
    """Ten seconds, then another attempt."""
    subject = session()
    assert () == subject.tick(HANDSHAKE_MS - 1)
    assert (Action.ABORT, Action.LOST) == subject.tick(HANDSHAKE_MS)


def test_rotation_comes_once_at_its_age() -> None:
    """Before the venue's cut at 24 h a replacement is asked for, once."""
    subject = session()
    subject.signal(Signal.OPENED, 0)
    feed(subject, 10, *WATCHED)
    subject.tick(20)
    feed(subject, 22 * HOUR, *STREAMS)

    assert (Action.REPLACE,) == subject.tick(22 * HOUR)
    assert () == subject.tick(22 * HOUR + 100)


@given(st.floats(0, 1, exclude_max=True))
def test_rotation_age_is_within_its_range(fraction: float) -> None:
    """22 to 23.5 hours."""
    assert MIN_ROTATION_MS <= rotation_age_ms(fraction) <= MAX_ROTATION_MS


TRADES = "btcusdt@aggTrade"


@pytest.mark.parametrize(("gap_ms", "owed_ms"), [(100, FIRST_FRAME_MS), (5_000, 250_000), (0, 0)])
def test_trades_owe_a_first_frame_when_an_earlier_connection_had_them(gap_ms: int, owed_ms: int) -> None:
    """
    Trades that come ten times a second and not at all on the successor are muted there: nobody noticed, for a kind
    without a deadline was never judged before its first frame. Thin ones have their own time, unknown ones all of it.
    """
    subject = session()
    subject.watches[TRADES].gap_ms = gap_ms
    subject.signal(Signal.OPENED, 0)
    feed(subject, 10, *WATCHED)
    proven_at_once = subject.tick(20) == (Action.ANNOUNCE,)
    for at_ms in range(100, 260_000, 100):
        feed(subject, at_ms, *WATCHED)
        if subject.tick(at_ms):
            break

    assert proven_at_once is (owed_ms != FIRST_FRAME_MS)
    assert State.LIVE is subject.state
    assert (owed_ms if owed_ms else 259_900) == at_ms
    assert ([TRADES] if owed_ms else []) == subject.fresh


def test_a_connection_that_will_not_stand_asks_for_its_replacement_once_it_is_live() -> None:
    """A notice of shutdown while it still proves itself is not forgotten; nothing is blamed for it."""
    subject = session()
    subject.signal(Signal.OPENED, 0)
    subject.leave("shutdown")
    assert () == subject.tick(10)
    feed(subject, 20, *WATCHED)

    assert [(Action.ANNOUNCE,), (Action.REPLACE,), ()] == [subject.tick(at_ms) for at_ms in (30, 40, 50)]
    assert ("shutdown", []) == (subject.reason, subject.fresh)
