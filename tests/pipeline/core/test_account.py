"""Tests of the account's fold: slots, refusals, trading mode, and that folding again says the same."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.account import COMMANDS_REMEMBERED, account_step
from pipeline.core.account_state import AccountRules, AccountStamp, AccountState, Stage, decode, digest, encode
from pipeline.core.account_words import (
    AccountEvent,
    AccountOutput,
    AccountTicked,
    AdmissionEnded,
    AlertWanted,
    BalanceSeen,
    CloseAsked,
    CommandEnded,
    EntryAsked,
    InstrumentsRead,
    LineWanted,
    MarginCalled,
    ModeAsked,
    OverrideAsked,
    PositionSeen,
    StateSpoken,
    TiersTold,
    TradeSeen,
)
from pipeline.core.commands import ReportPosition, ReportTrade
from pipeline.core.events import CloseRequested, EntryAdmitted, PositionOverridden, Side, TradingMode
from pipeline.core.instruments import Instrument
from pipeline.core.units import E8, ONE_E8, Lots, Milliseconds, Ticks

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
RULES = AccountRules(symbols=SYMBOLS, slots=2, max_notional_e8=E8(10_000 * ONE_E8), entries_per_minute=10)
START_MS = 1_700_000_000_000


def instrument(symbol: str, status: str = "TRADING") -> Instrument:
    """A contract with a tick of 0.1 and a step of 0.001."""
    return Instrument(
        symbol=symbol,
        status=status,
        tick_e8=10_000_000,
        step_e8=100_000,
        min_price_ticks=1,
        max_price_ticks=10_000_000,
        min_lots=1,
        max_lots=1_000_000,
        max_market_lots=120_000,
        min_notional_e8=5 * ONE_E8,
    )


PLACES = itertools.count(1)


def place() -> tuple[int, int]:
    """The next place in the log."""
    return next(PLACES), 0


class Account:
    """A state and the road by which events reach it."""

    def __init__(self, rules: AccountRules = RULES) -> None:
        self.state = AccountState()
        self.rules = rules
        self.now = START_MS
        self.tiers: list[TiersTold] = []  # of the last event; its other outputs are returned

    def fold(self, event: AccountEvent, *, after_ms: int = 1) -> list[AccountOutput]:
        """Fold one event *after_ms* later."""
        self.now += after_ms
        stamp = AccountStamp("ABCDEFG", self.state.applied + 1, Milliseconds(self.now))
        outputs = account_step(self.state, event, stamp, self.rules)
        self.tiers = [output for output in outputs if isinstance(output, TiersTold)]
        return [output for output in outputs if not isinstance(output, TiersTold)]

    def answer(self, event: AccountEvent) -> CommandEnded:
        """Fold a command and return its answer."""
        answers = [output for output in self.fold(event) if isinstance(output, CommandEnded)]
        assert len(answers) == 1
        return answers[0]

    def admitted(self, symbol: str, command: str = "") -> EntryAdmitted:
        """Open on *symbol* and return the admission."""
        lines = [o for o in self.fold(entry(symbol, command or f"open-{symbol}")) if isinstance(o, LineWanted)]
        bodies = [line.body for line in lines if isinstance(line.body, EntryAdmitted)]
        assert len(bodies) == 1
        return bodies[0]


def ready(rules: AccountRules = RULES) -> Account:
    """An account that knows its balance and its instruments."""
    account = Account(rules)
    account.fold(BalanceSeen(E8(10_000 * ONE_E8), E8(10_000 * ONE_E8)))
    account.fold(InstrumentsRead({symbol: instrument(symbol) for symbol in SYMBOLS}))
    return account


def entry(symbol: str, command: str, **changes: Any) -> EntryAsked:
    """A valid entry."""
    return EntryAsked(**({"command": command, "symbol": symbol, "side": Side.BUY, "notional": "500"} | changes))


def report(position: str, lots: int, state: str = "open") -> ReportPosition:
    """Decide's word on an open position."""
    return ReportPosition(position, state, Lots(lots), E8(100 * ONE_E8), Ticks(990), E8(0))


def trade(position: str) -> ReportTrade:
    """Decide's word on a closed position."""
    return ReportTrade(
        position=position,
        side=Side.BUY,
        lots=Lots(5),
        entry_price=E8(100 * ONE_E8),
        exit_price=E8(110 * ONE_E8),
        opened_ms=Milliseconds(1),
        closed_ms=Milliseconds(2),
        realised=E8(50),
        fees=E8(4),
        initial_stop=Ticks(990),
        last_stop=Ticks(995),
        stop_moves=1,
        reason="X6",
        outcome="target",
    )


def test_an_entry_becomes_an_admission_with_an_expiry() -> None:
    """An accepted entry takes a slot and writes a line with everything decide needs, valid for two seconds."""
    account = ready()
    outputs = account.fold(entry("BTCUSDT", "c1", stop="900", target="1200.5"))
    admission = "ABCDEFG.a2." + outputs[1].body.admission.rpartition(".")[2]  # type: ignore[union-attr]

    assert outputs == [
        CommandEnded("c1", "BTCUSDT", True, f"admitted as {admission}: slot 1 of 2"),
        LineWanted(
            "BTCUSDT",
            1,
            EntryAdmitted(
                admission=admission,
                side=Side.BUY,
                lots=Lots(0),
                notional=E8(500 * ONE_E8),
                stop=Ticks(9_000),
                target=Ticks(12_005),
                last_target=Ticks(0),
                expires_ms=Milliseconds(account.now + 2_000),
                max_loss=E8(38 * ONE_E8),  # the far rail at 7.5 % and 10 bps of slippage
                margin=E8(5_000 * ONE_E8),  # half of the balance: there are two slots
            ),
        ),
    ]


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (entry("DOGEUSDT", "c"), "unknown symbol 'DOGEUSDT': allowed are BTCUSDT, ETHUSDT, SOLUSDT"),
        (entry("btcusdt", "c"), "unknown symbol 'btcusdt'"),
        (entry("BTCUSDT", "c", notional="", quantity="0.0005"), "off the grid"),
        (entry("BTCUSDT", "c", notional="4"), "5 (the venue's least)"),
        (entry("BTCUSDT", "c", stop="100.05"), "off the grid of 0.1"),
        (entry("BTCUSDT", "c", side=Side.SELL, stop="100", target="120"), "the stop of a short lies above its target"),
        (entry("BTCUSDT", ""), "no usable id"),
        (entry("BTCUSDT", "x" * 65), "no usable id"),
        (CloseAsked("c", "DOGEUSDT", ""), "unknown symbol 'DOGEUSDT'"),
        (ModeAsked("c", "panic"), "unknown mode 'panic': allowed are active, reduce_only, halted"),
    ],
)
def test_a_bad_command_is_refused_and_takes_nothing(event: AccountEvent, words: str) -> None:
    """Each bad command is answered with a reason, and neither slot nor line comes of it."""
    account = ready()
    outputs = account.fold(event)

    assert [type(output) for output in outputs] == [CommandEnded]
    assert isinstance(outputs[0], CommandEnded)
    assert not outputs[0].accepted
    assert words in outputs[0].reason
    assert account.state.slots == {}


def test_entries_need_an_instrument_that_trades() -> None:
    """Before exchangeInfo was read, and while the contract is not TRADING, entries are refused."""
    account = Account()
    assert "not known yet" in account.answer(entry("BTCUSDT", "c1")).reason

    account.fold(InstrumentsRead({"BTCUSDT": instrument("BTCUSDT", "SETTLING")}))
    assert "SETTLING, not TRADING" in account.answer(entry("BTCUSDT", "c2")).reason


def test_slots_count_pending_entries() -> None:
    """One entry a symbol, and no more symbols than slots, whether pending or open."""
    account = ready()
    first = account.admitted("BTCUSDT")
    account.admitted("ETHUSDT")

    assert "a pending entry" in account.answer(entry("BTCUSDT", "again")).reason
    assert "all 2 are taken by BTCUSDT, ETHUSDT" in account.answer(entry("SOLUSDT", "third")).reason

    account.fold(AdmissionEnded("BTCUSDT", place(), first.admission, True, "p1", ""))
    assert "an open position" in account.answer(entry("BTCUSDT", "more")).reason


def test_a_slot_is_freed_by_declined_and_by_flat_only() -> None:
    """No passing of time frees a slot; decide's declined does, and a trade of the same position does."""
    account = ready()
    first, second = account.admitted("BTCUSDT"), account.admitted("ETHUSDT")
    for _ in range(100):
        account.fold(AccountTicked(), after_ms=60_000)
    assert list(account.state.slots) == ["BTCUSDT", "ETHUSDT"]

    account.fold(AdmissionEnded("BTCUSDT", place(), first.admission, False, "", "expired"))
    assert list(account.state.slots) == ["ETHUSDT"]

    account.fold(AdmissionEnded("ETHUSDT", place(), second.admission, True, "p2", ""))
    account.fold(TradeSeen("ETHUSDT", place(), trade("other")))
    assert list(account.state.slots) == ["ETHUSDT"]
    account.fold(TradeSeen("ETHUSDT", place(), trade("p2")))
    assert account.state.slots == {}
    assert (account.state.trades, account.state.realised, account.state.fees) == (2, 100, 8)


def test_an_unanswered_admission_is_asked_again() -> None:
    """Past its expiry the same admission is written again every five seconds, with one alert; an answer ends it."""
    account = ready()
    first = account.admitted("BTCUSDT")

    def asked(after_ms: int) -> list[AccountOutput]:
        outputs = account.fold(AccountTicked(), after_ms=after_ms)
        return [o for o in outputs if not isinstance(o, LineWanted) or isinstance(o.body, EntryAdmitted)]

    assert asked(6_000) == []
    again = asked(1_000)
    assert [type(output) for output in again] == [AlertWanted, LineWanted]
    assert again[1] == LineWanted("BTCUSDT", 2, first)
    assert asked(1_000) == []
    assert asked(5_000) == [LineWanted("BTCUSDT", 3, first)]

    account.fold(AdmissionEnded("BTCUSDT", place(), first.admission, True, "p", ""))
    assert asked(60_000) == []


def test_declined_does_not_free_an_open_position() -> None:
    """A late declined for an admission that decide has used (it was asked twice) leaves the open position its slot."""
    account = ready()
    first = account.admitted("BTCUSDT")
    account.fold(AdmissionEnded("BTCUSDT", place(), first.admission, True, "p", ""))
    account.fold(PositionSeen("BTCUSDT", place(), report("p", 5)))
    account.fold(AdmissionEnded("BTCUSDT", place(), first.admission, False, "", "known already"))

    assert account.state.slots["BTCUSDT"].stage is Stage.OPEN


def test_a_position_that_never_was_frees_its_slot_although_it_was_reported_open() -> None:
    """Somebody's trade on the symbol was taken for our fill for a moment; decide ends the position under its name."""
    account = ready()
    admitted = account.admitted("BTCUSDT")
    account.fold(AdmissionEnded("BTCUSDT", place(), admitted.admission, True, "p1", ""))
    account.fold(PositionSeen("BTCUSDT", place(), report("p1", 5)))
    account.fold(AdmissionEnded("BTCUSDT", place(), admitted.admission, False, "p1", "ended without a fill"))

    assert {} == account.state.slots


def test_what_the_last_line_said_again_opens_no_slot() -> None:
    """One line reported a position and ended it; after a crash decide says both again, and a new entry may wait."""
    account = ready()
    account.fold(PositionSeen("BTCUSDT", place(), report("p1", 5)))
    where = place()
    last: tuple[AccountEvent, ...] = (
        PositionSeen("BTCUSDT", where, report("p1", 4)),
        TradeSeen("BTCUSDT", where, trade("p1")),
    )
    for again in last:
        account.fold(again)
    admitted = account.admitted("BTCUSDT")
    for again in last:
        account.fold(again)
    assert Stage.PENDING is account.state.slots["BTCUSDT"].stage

    account.fold(AdmissionEnded("BTCUSDT", place(), admitted.admission, False, "", "no data"))
    assert {} == account.state.slots


def test_unusable_ids_and_long_words_do_not_fill_the_state() -> None:
    """Whatever is typed is answered, and not kept."""
    account = ready()
    before = len(encode(account.state))
    for number in range(20):
        account.fold(CloseAsked("x" * 5_000 + str(number), "BTCUSDT", ""))
        account.answer(CloseAsked(f"c{number}", "Y" * 5_000, ""))

    assert len(encode(account.state)) - before < 20 * 1_100


@pytest.mark.parametrize("broken", ["risk.judge", "balance.new_day"])
def test_a_fault_in_the_judgement_keeps_no_command_from_its_work(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A close and a halt go out although the judgement fails at every record; entries close, people hear it once."""
    account = ready()

    def fails(*_: object, **__: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(f"pipeline.core.{broken}", fails)
    first = account.fold(AccountTicked())
    assert ["account_halted"] == [o.code for o in first if isinstance(o, AlertWanted)]
    assert [TradingMode.REDUCE_ONLY] == [
        o.body.mode for o in first if isinstance(o, LineWanted) and isinstance(o.body, StateSpoken)
    ]
    close = account.fold(CloseAsked("c1", "*", "by hand"))
    assert CloseRequested("c1", "by hand") in [o.body for o in close if isinstance(o, LineWanted)]
    assert account.answer(ModeAsked("c2", "halted")).accepted
    spoken = [o for _ in range(6) for o in account.fold(AccountTicked(), after_ms=1_000)]
    bodies = [output.body for output in spoken if isinstance(output, LineWanted)]
    assert TradingMode.HALTED in [body.mode for body in bodies if isinstance(body, StateSpoken)]
    assert [] == [o for o in spoken if isinstance(o, AlertWanted)]


def test_words_that_come_again_are_dropped() -> None:
    """Decide folds again after a crash: a repeated trade counts once, a report from before the end opens nothing."""
    account = ready()
    history = [
        PositionSeen("BTCUSDT", (7, 1), report("p", 5)),
        TradeSeen("BTCUSDT", (7, 3), trade("p")),
    ]
    for event in (*history, *history):
        account.fold(event)

    assert account.state.trades == 1
    assert account.state.slots == {}


def test_an_answer_for_another_admission_changes_nothing() -> None:
    """Only the admission that holds the slot can end it."""
    account = ready()
    account.admitted("BTCUSDT")
    account.fold(AdmissionEnded("BTCUSDT", place(), "ABCDEFG.a999.xxxx", False, "", "old"))

    assert account.state.slots["BTCUSDT"].stage is Stage.PENDING


def test_a_position_nobody_admitted_takes_a_slot() -> None:
    """A position that decide reports without an admission counts; beyond the slots an alert says so."""
    account = ready()
    for symbol in ("BTCUSDT", "ETHUSDT"):
        assert account.fold(PositionSeen(symbol, place(), report(f"p-{symbol}", 5))) == []
    outputs = account.fold(PositionSeen("SOLUSDT", place(), report("p3", 5)))

    assert [o.code for o in outputs if isinstance(o, AlertWanted)] == ["beyond_slots"]
    assert list(account.state.slots) == list(SYMBOLS)
    assert account.fold(PositionSeen("DOGEUSDT", place(), report("p4", 0, "closed"))) == []
    assert "DOGEUSDT" not in account.state.slots


def test_a_command_is_done_once() -> None:
    """A command id that comes again is refused with its first answer, and nothing is done twice."""
    account = ready()
    account.admitted("BTCUSDT", "c1")
    outputs = account.fold(entry("ETHUSDT", "c1"))

    assert [type(output) for output in outputs] == [CommandEnded]
    assert "duplicate command id c1, answered before: accepted: admitted" in str(outputs[0])
    assert list(account.state.slots) == ["BTCUSDT"]


def test_remembered_commands_are_bounded() -> None:
    """The memory of command ids is bounded; the oldest goes first."""
    account = ready()
    for number in range(COMMANDS_REMEMBERED + 3):
        account.fold(CloseAsked(f"c{number}", "BTCUSDT", ""))

    assert len(account.state.commands) == COMMANDS_REMEMBERED
    assert next(iter(account.state.commands)) == "c3"


def test_a_wish_goes_to_the_position_it_is_for_and_to_none_otherwise() -> None:
    """With a slot on the symbol it becomes a line for decide; without one, or without a wish, it is refused."""
    account = ready()
    assert "no position on BTCUSDT" in account.answer(OverrideAsked("o1", "BTCUSDT", pin_stop=True)).reason
    account.admitted("BTCUSDT", "c1")
    assert "say what" in account.answer(OverrideAsked("o2", "BTCUSDT")).reason
    outputs = account.fold(OverrideAsked("o3", "BTCUSDT", pin_stop=True, disabled_exits=("X8",)))

    wish = PositionOverridden("o3", pin_stop=True, leave_alone=None, disabled_exits=("X8",))
    assert [wish] == [output.body for output in outputs if isinstance(output, LineWanted)]


def test_a_template_goes_on_with_the_admission() -> None:
    """What the person named stands in the line that decide reads."""
    account = ready()
    asked = msgspec.structs.replace(entry("BTCUSDT", "c1"), template="patient")
    outputs = account.fold(asked)

    assert ["patient"] == [o.body.template for o in outputs if isinstance(o, LineWanted)]  # type: ignore[union-attr]


def test_halted_is_spoken_at_once_and_left_only_by_resume() -> None:
    """Halting speaks to every partition at once; reduce-only cannot end it, active does; closing works throughout."""
    account = ready()
    outputs = account.fold(ModeAsked("h", "halted", "test"))

    assert LineWanted("*", 2, StateSpoken(TradingMode.HALTED, "test")) in outputs
    assert [o.severity for o in outputs if isinstance(o, AlertWanted)] == ["critical"]
    assert "trading is halted (test)" in account.answer(entry("BTCUSDT", "c1")).reason
    assert "only a resume ends" in account.answer(ModeAsked("r", "reduce_only")).reason
    assert account.answer(CloseAsked("c", "BTCUSDT", "")).accepted
    assert account.answer(ModeAsked("a", "active")).accepted
    assert account.answer(entry("BTCUSDT", "c2")).accepted


def test_reduce_only_stops_entries() -> None:
    """Reduce-only refuses entries with the way back."""
    account = ready()
    account.fold(ModeAsked("m", "reduce_only"))

    assert "perpguard resume" in account.answer(entry("BTCUSDT", "c1")).reason


def test_the_mode_is_repeated_every_five_seconds() -> None:
    """State lines repeat by log time, whatever the events are."""
    account = Account()
    spoken = [
        output
        for second in range(21)
        for output in account.fold(AccountTicked(), after_ms=1_000 if second else 1)
        if isinstance(output, LineWanted)
    ]

    assert [1, 2, 3, 4, 5] == [line.number for line in spoken]


def test_close_reaches_decide_in_every_case() -> None:
    """A close of a known symbol, or of all, is written as a line even when the account knows of no position (P4)."""
    account = ready()

    assert account.fold(CloseAsked("c1", "BTCUSDT", "x")) == [
        CommandEnded("c1", "BTCUSDT", True, "account knows of no position on BTCUSDT; decide was asked all the same"),
        LineWanted("BTCUSDT", 1, CloseRequested("c1", "x")),
    ]
    assert account.fold(CloseAsked("c2", "*", "x")) == [
        CommandEnded("c2", "*", True, "close asked for every position: account knows of none"),
        LineWanted("*", 2, CloseRequested("c2", "x")),
    ]


def test_entries_a_minute_are_bounded() -> None:
    """The limit of entries a minute counts admissions of the last minute by log time."""
    account = ready(AccountRules(SYMBOLS, slots=3, max_notional_e8=E8(10_000 * ONE_E8), entries_per_minute=2))
    account.admitted("BTCUSDT")
    account.admitted("ETHUSDT")
    assert "limits.entries_per_minute" in account.answer(entry("SOLUSDT", "third")).reason

    slot = account.state.slots["ETHUSDT"]
    assert slot.entry is not None
    account.fold(AdmissionEnded("ETHUSDT", place(), slot.entry.admission, False, "", "no data"))
    account.admitted("ETHUSDT", "declined ones do not count")
    assert "limits.entries_per_minute" in account.answer(entry("SOLUSDT", "still")).reason

    account.fold(AccountTicked(), after_ms=60_000)
    assert account.answer(entry("SOLUSDT", "later")).accepted


def test_balance_and_margin_call() -> None:
    """The balance is remembered, an unknown part stays, and a margin call is a critical alert."""
    account = Account()
    account.fold(BalanceSeen(E8(7), E8(5)))
    account.fold(BalanceSeen(E8(8)))
    assert (8, 5) == (account.state.wallet, account.state.available)
    assert [AlertWanted("", "margin_call", "critical", "the venue warns: margin of BTCUSDT is near maintenance")] == [
        o for o in account.fold(MarginCalled(("BTCUSDT",))) if isinstance(o, AlertWanted)
    ]


COMMANDS = st.builds(
    EntryAsked,
    command=st.integers(0, 30).map(str),
    symbol=st.sampled_from((*SYMBOLS, "NOPE")),
    side=st.sampled_from(Side),
    quantity=st.sampled_from(("", "0.001", "1", "x")),
    notional=st.sampled_from(("", "50", "1e9")),
)
WHERE = st.tuples(st.integers(0, 9), st.integers(0, 2))
EVENTS = st.one_of(
    COMMANDS,
    st.builds(CloseAsked, st.integers(0, 30).map(str), st.sampled_from((*SYMBOLS, "*")), st.just("why")),
    st.builds(ModeAsked, st.integers(0, 30).map(str), st.sampled_from([m.value for m in TradingMode])),
    st.builds(
        AdmissionEnded,
        st.sampled_from(SYMBOLS),
        WHERE,
        st.text("a.1", max_size=4),
        st.booleans(),
        st.just("p"),
        st.just(""),
    ),
    st.builds(PositionSeen, st.sampled_from(SYMBOLS), WHERE, st.builds(report, st.just("p"), st.integers(-3, 3))),
    st.builds(TradeSeen, st.sampled_from(SYMBOLS), WHERE, st.builds(trade, st.sampled_from(("p", "q")))),
    st.just(InstrumentsRead({symbol: instrument(symbol) for symbol in SYMBOLS})),
    st.just(AccountTicked()),
)


@settings(max_examples=150)
@given(st.lists(st.tuples(EVENTS, st.integers(0, 4_000)), max_size=40), st.integers(0, 40))
def test_folding_again_says_the_same(history: list[tuple[AccountEvent, int]], cut: int) -> None:
    """Any history gives the same outputs and the same bytes again, also through a stored state in the middle."""

    def run(*, through_bytes_at: int) -> tuple[list[list[AccountOutput]], str]:
        account, outputs = Account(), []
        for place, (event, after_ms) in enumerate(history):
            if place == through_bytes_at:
                account.state = decode(encode(account.state))
            outputs.append(account.fold(event, after_ms=after_ms))
        return outputs, digest(account.state)

    assert run(through_bytes_at=-1) == run(through_bytes_at=cut)


@settings(max_examples=150)
@given(st.lists(st.tuples(EVENTS, st.integers(0, 4_000)), max_size=40))
def test_no_history_admits_beyond_the_slots(history: list[tuple[AccountEvent, int]]) -> None:
    """Whatever happens, an admission needs a free slot and mode ACTIVE, and the numbers of a scope run."""
    account = Account()
    numbers: dict[str, int] = {}
    for event, after_ms in history:
        before, mode = set(account.state.slots), account.state.mode
        for output in account.fold(event, after_ms=after_ms):
            if not isinstance(output, LineWanted):
                continue
            assert numbers.get(output.symbol, 0) + 1 == output.number
            numbers[output.symbol] = output.number
            if isinstance(output.body, EntryAdmitted) and output.symbol not in before:
                assert mode is TradingMode.ACTIVE
                assert len(before) < RULES.slots
