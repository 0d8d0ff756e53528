"""The only place for tests of a position's ledger: fills in any order, statements, protection, money."""

from __future__ import annotations

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.events import Leg, Side
from pipeline.core.orders import Evidence, OrderStatus
from pipeline.core.positions import (
    SECOND_READ_MS,
    STATEMENT_GRACE_MS,
    Basis,
    Order,
    Position,
    Stage,
    Wish,
    adopt_quantity,
    best_gain_e8,
    book_trade,
    count_external,
    count_fill,
    ended_entry,
    entry_price_e8,
    learn,
    open_pnl_e8,
    order_of,
    protected,
    proven_rail,
    settled_dispute,
    state_quantity,
    worst_loss_e8,
)
from pipeline.core.units import ONE_E8
from tests.sessions.script import INSTRUMENT


def position(*, side: Side = Side.BUY, entered: int = 0) -> Position:
    """A position with an entry that has filled *entered* lots at venue time 100."""
    made = Position(
        id="p",
        admission="a",
        side=side,
        planned_lots=100,
        limit=50_050,
        stop=49_800,
        far=49_750,
        stop_distance=200,
        target_distance=300,
        last_target_distance=450,
        asked_ms=0,
        causes=["0/1/0"],
        intents={"p": Leg.ENTRY},
        wishes={"b": Wish(intent="p", trigger=49_800, lots=-1, at_ms=0, next_ms=0)},
    )
    if entered:
        count_fill(made, order(made, Leg.ENTRY), filled=entered, event_ms=100)
        made.opened_ms = 100
    return made


def order(of: Position, leg: Leg, name: str = "") -> Order:
    """An order of the position."""
    return order_of(of, f"p-{leg.value}0{name}", intent="p", leg=leg, now=0)


def test_cumulative_fills_count_once_in_any_order() -> None:
    """4, 7, 10 told by any road in any order, each twice, are ten."""
    for story in permutations((4, 7, 10, 4, 10)):
        made = position()
        for filled in story:
            count_fill(made, order(made, Leg.ENTRY), filled=filled, event_ms=1)
        assert 10 == made.lots


def test_a_trade_is_booked_once_and_its_money_is_exact() -> None:
    """The trade id tells repeats apart; fees of both ways add up, realised profit only from exits."""
    made = position(entered=10)
    entry, out = order(made, Leg.ENTRY), order(made, Leg.CLOSE)
    for _ in range(2):
        book_trade(made, entry, trade_id=1, lots=4, price_e8=100 * ONE_E8, fee_e8=5, realised_e8=0)
    book_trade(made, entry, trade_id=2, lots=6, price_e8=110 * ONE_E8, fee_e8=5, realised_e8=0)
    count_fill(made, out, filled=10, event_ms=101)
    book_trade(made, out, trade_id=3, lots=10, price_e8=120 * ONE_E8, fee_e8=7, realised_e8=140)

    assert 106 * ONE_E8 == entry_price_e8(made)
    assert (17, 140, 10) == (made.fees_e8, made.realised_e8, made.exit_booked)


def test_the_entry_price_is_unknown_until_trades_or_a_reply_explain_every_lot() -> None:
    """Half the trades and no reply: 0, never an average of half."""
    made = position(entered=10)
    entry = order(made, Leg.ENTRY)
    book_trade(made, entry, trade_id=1, lots=4, price_e8=100 * ONE_E8, fee_e8=0, realised_e8=0)
    assert 0 == entry_price_e8(made)
    entry.average = 107 * ONE_E8

    assert 107 * ONE_E8 == entry_price_e8(made)


def test_a_statement_older_than_our_newest_fill_is_history() -> None:
    """ACCOUNT_UPDATE of an earlier moment changes nothing."""
    made = position(entered=10)

    state_quantity(made, lots=4, event_ms=99, now=0, from_read=False)

    assert made.dispute is None


def test_a_statement_waits_for_the_fill_that_explains_it() -> None:
    """The fill within the grace ends the dispute; without it the venue's quantity is adopted."""
    explained, unexplained = position(entered=10), position(entered=10)
    for made in (explained, unexplained):
        state_quantity(made, lots=6, event_ms=200, now=1_000, from_read=False)
        assert settled_dispute(made, now=1_000 + STATEMENT_GRACE_MS - 1) is None
    count_fill(explained, order(explained, Leg.TARGET), filled=4, event_ms=200)

    assert explained.dispute is None
    assert 6 == settled_dispute(unexplained, now=1_000 + STATEMENT_GRACE_MS)
    assert (-4, 6) == (adopt_quantity(unexplained, 6), unexplained.lots)


def test_a_statement_of_the_fills_own_millisecond_proves_nothing_alone() -> None:
    """An order that took two levels states 6, then 10, in one millisecond: 6 coming last changes nothing by itself."""
    made = position(entered=10)
    state_quantity(made, lots=6, event_ms=100, now=1_000, from_read=False)
    assert settled_dispute(made, now=60_000) is None

    state_quantity(made, lots=10, event_ms=700, now=2_000, from_read=True)  # the read that it led to
    assert made.dispute is None


def test_a_fill_after_the_statement_moves_the_dispute_with_it() -> None:
    """By hand 3 went out at 200, our target filled 2 at 300: what is in dispute stays 3."""
    made = position(entered=10)
    state_quantity(made, lots=7, event_ms=200, now=1_000, from_read=False)
    count_fill(made, order(made, Leg.TARGET), filled=2, event_ms=300)

    assert made.dispute is not None
    assert (5, 8) == (made.dispute.lots, made.lots)


def test_a_read_needs_a_second_equal_one_a_second_later() -> None:
    """Pains 10 and 11: one read alone changes no quantity."""
    made = position(entered=10)
    state_quantity(made, lots=0, event_ms=200, now=1_000, from_read=True)
    state_quantity(made, lots=0, event_ms=300, now=1_000 + SECOND_READ_MS - 1, from_read=True)
    assert settled_dispute(made, now=60_000) is None
    state_quantity(made, lots=0, event_ms=400, now=1_000 + SECOND_READ_MS, from_read=True)

    assert 0 == settled_dispute(made, now=1_000 + SECOND_READ_MS)


def test_a_statement_that_agrees_ends_the_dispute() -> None:
    """The second read says what we say."""
    made = position(entered=10)
    state_quantity(made, lots=0, event_ms=200, now=1_000, from_read=True)
    state_quantity(made, lots=10, event_ms=300, now=2_500, from_read=True)

    assert made.dispute is None


@given(st.permutations(["statement", "fill"]), st.booleans())
def test_a_statement_and_its_fill_count_once_whatever_the_order_and_delay(order_told: list[str], late: bool) -> None:
    """Adopted first and explained later, or explained at once: the quantity is the venue's."""
    made = position(entered=10)
    now = 1_000
    for told in order_told:
        if told == "statement":
            state_quantity(made, lots=6, event_ms=200, now=now, from_read=False)
        else:
            count_fill(made, order(made, Leg.TARGET), filled=4, event_ms=200)
        now += STATEMENT_GRACE_MS if late else 1
        settled = settled_dispute(made, now=now)
        if settled is not None:
            adopt_quantity(made, settled)

    assert (6, None) == (made.lots, made.dispute)


def test_an_external_reduction_is_nobodys_exit() -> None:
    """The last exit of ours is forgotten, so that the end is told as external."""
    made = position(entered=10)
    count_fill(made, order(made, Leg.TARGET), filled=4, event_ms=200)
    count_external(made, -6)

    assert (0, "") == (made.lots, made.last_exit)


def rail(made: Position, leg: Leg, lots: int, status: OrderStatus, name: str = "") -> None:
    """A rail of *lots* in *status*."""
    one = order(made, leg, name)
    one.lots, one.status = lots, status


def test_one_rail_that_covers_is_enough() -> None:
    """Proven and large enough, or closePosition."""
    far, pieces, short, asked = (position(entered=10) for _ in range(4))
    rail(far, Leg.FAR, 0, OrderStatus.LIVE)
    rail(pieces, Leg.WORKING, 6, OrderStatus.LIVE)
    rail(pieces, Leg.WORKING, 4, OrderStatus.LIVE, "x")
    rail(short, Leg.WORKING, 9, OrderStatus.LIVE)
    rail(asked, Leg.FAR, 0, OrderStatus.ASKED)

    assert [True, True, False, False] == [protected(made) for made in (far, pieces, short, asked)]
    assert 2 == len(proven_rail(pieces, Leg.WORKING))


def test_evidence_moves_an_order_or_says_that_it_cannot() -> None:
    """A contradiction keeps the status and its time."""
    one = Order(client_id="x", intent="p", leg=Leg.WORKING)

    assert learn(one, Evidence.ALGO_NEW, now=5)
    assert (OrderStatus.LIVE, 5) == (one.status, one.since_ms)
    assert not learn(one, Evidence.OUTCOME_ABSENT, now=9)
    assert (OrderStatus.LIVE, 5) == (one.status, one.since_ms)


def test_an_entry_has_ended_when_every_attempt_has() -> None:
    """A second attempt that is open keeps it open; without any order it has not ended."""
    made = position()
    assert not ended_entry(made)
    order(made, Leg.ENTRY).status = OrderStatus.ABSENT
    order(made, Leg.ENTRY, "x").status = OrderStatus.LIVE

    assert not ended_entry(made)
    order(made, Leg.ENTRY, "x").status = OrderStatus.FILLED
    assert ended_entry(made)


def test_profit_and_extremes_know_both_sides() -> None:
    """A long wins upwards, a short downwards; 0.010 × 100 USDT is one USDT."""
    for side, mark, best, worst in ((Side.BUY, 50_100, 50_300, 49_900), (Side.SELL, 49_900, 49_700, 50_100)):
        made = position(side=side, entered=10)
        made.entry_e8 = 50_000 * ONE_E8
        made.best_mark_e8, made.worst_mark_e8 = best * ONE_E8, worst * ONE_E8
        assert ONE_E8 == open_pnl_e8(made, INSTRUMENT, mark * ONE_E8)
        assert (300 * ONE_E8, 100 * ONE_E8) == (best_gain_e8(made), worst_loss_e8(made))


def test_nothing_is_won_before_the_entry_price_is_known() -> None:
    """0 instead of a made-up profit."""
    made = position(entered=10)

    assert (0, 0, 0) == (open_pnl_e8(made, INSTRUMENT, ONE_E8), best_gain_e8(made), worst_loss_e8(made))


def test_stages_and_bases_have_their_words() -> None:
    """The words of the domain."""
    assert ["PENDING", "OPEN", "PARTIAL", "CLOSING", "CLOSED"] == [stage.value for stage in Stage]
    assert ["S0", "S_be", "S_ch", "S_sw", "S_f", "S_w", "S_time", "S_pl"] == [basis.value for basis in Basis]
