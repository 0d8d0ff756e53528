"""Tests of the judgement of the whole account: two sources, the day, transfers, tiers, heat, exposure, cool-downs."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core import risk
from pipeline.core.account_state import AccountRules, RiskRules, Tier, decode, digest, encode
from pipeline.core.account_words import (
    AccountEvent,
    AccountOutput,
    AccountSeen,
    AccountTicked,
    AlertWanted,
    BalanceSeen,
    EntryAsked,
    LineWanted,
    ModeAsked,
    PositionSeen,
    ReadWanted,
    SignalSeen,
    StateSpoken,
    TradeSeen,
)
from pipeline.core.commands import ReportPosition, ReportSignal
from pipeline.core.events import EntryAdmitted, Side, TradingMode
from pipeline.core.units import E8, ONE_E8, Lots, Milliseconds, Ticks
from tests.pipeline.core.test_account import RULES, START_MS, SYMBOLS, Account, entry, place, ready, trade

DAY_MS = 86_400_000
WALLET = 10_000


def usdt(value: float) -> E8:
    """USDT in E8."""
    return E8(round(value * ONE_E8))


def rules(**changes: Any) -> AccountRules:
    """Five slots and the default bounds, but for the changes."""
    return msgspec.structs.replace(RULES, slots=5, signals=True, risk=RiskRules(**changes))


def read(margin: float, *, maintenance: float = 0, wallet: float = WALLET, **changes: Any) -> AccountSeen:
    """A whole read of the account, with the transfers unless they are said to be None."""
    told: dict[str, Any] = {"venue_ms": Milliseconds(0), "transfers": E8(0)} | changes
    return AccountSeen(usdt(wallet), usdt(wallet), usdt(margin), usdt(maintenance), **told)


def position(open_pnl: float, *, symbol: str = "BTCUSDT", lots: int = 1_000, far: int = 0) -> PositionSeen:
    """Decide reports a position of 1.000 at 100 USDT and its open PnL."""
    report = ReportPosition(
        f"p-{symbol}", "OPEN", Lots(lots), usdt(100), Ticks(980), usdt(open_pnl), far=Ticks(far or 975)
    )
    return PositionSeen(symbol, place(), report)


def held(open_pnl: float = 0, **changes: Any) -> Account:
    """An account with a position."""
    account = ready(rules(**changes))
    account.fold(position(open_pnl))
    return account


def alerts(outputs: list[AccountOutput], code: str) -> list[str]:
    """Texts of the alerts with that code."""
    return [output.text for output in outputs if isinstance(output, AlertWanted) and output.code == code]


def modes(outputs: list[AccountOutput]) -> list[tuple[TradingMode, str]]:
    """Trading states spoken."""
    bodies = [output.body for output in outputs if isinstance(output, LineWanted)]
    return [(body.mode, body.reason) for body in bodies if isinstance(body, StateSpoken)]


def test_a_day_loss_by_marks_alone_stops_entries_and_asks_for_a_read() -> None:
    """The first reading closes nothing: entries wait, people hear it, the account is read at once and every 5 s."""
    account = held()
    outputs = account.fold(position(-300))

    assert ["entries wait for a second reading"] == [
        text.partition(":")[0] for text in alerts(outputs, "risk_suspected")
    ]
    assert [ReadWanted("X3 day loss", account.state.risk.since_ms)] == [
        output for output in outputs if isinstance(output, ReadWanted)
    ]
    assert TradingMode.ACTIVE is account.state.mode
    assert "suspected by one source" in account.answer(entry("ETHUSDT", "c1")).reason
    assert [] == [o for o in account.fold(position(-300), after_ms=4_000) if isinstance(o, ReadWanted)]
    assert 1 == sum(isinstance(o, ReadWanted) for o in account.fold(position(-300), after_ms=1_000))


@pytest.mark.parametrize("apart_ms", [999, 1_000])
def test_two_sources_a_second_apart_halt(apart_ms: int) -> None:
    """Marks, then the account's own figures at least one second later: HALTED leaves at once with the rule's name."""
    account = held()
    account.fold(position(-300))
    outputs = account.fold(read(9_700), after_ms=apart_ms)
    if apart_ms < 1_000:
        assert TradingMode.ACTIVE is account.state.mode
        outputs = account.fold(position(-300), after_ms=1_000)

    assert [TradingMode.HALTED] == [mode for mode, _ in modes(outputs)]
    assert modes(outputs)[0][1].startswith("X3 day loss: 300 USDT, 3.00 %")
    assert "critical" in {output.severity for output in outputs if isinstance(output, AlertWanted)}


def test_a_second_reading_that_does_not_agree_acquits() -> None:
    """The marks may be wrong for a moment (a fill is in the wallet and still in the open PnL): nothing is closed."""
    account = held()
    account.fold(position(-300))
    account.fold(read(9_990), after_ms=1_500)
    outputs = account.fold(position(-10), after_ms=1_000)

    assert TradingMode.ACTIVE is account.state.mode
    assert [] == modes(outputs)
    assert {} == account.state.risk.suspicions
    assert account.answer(entry("ETHUSDT", "c1")).accepted


def test_money_taken_out_is_no_loss_also_when_its_frame_was_missed() -> None:
    """A withdrawal told by the stream moves baseline and peak; a missed one is found by the transfers of the read."""
    account = held()
    account.fold(BalanceSeen(usdt(5_000), transfer=usdt(-5_000)))
    account.fold(position(0))
    assert {} == account.state.risk.suspicions

    missed = held()
    missed.fold(BalanceSeen(usdt(5_000)))
    assert "X3 day loss" in missed.state.risk.suspicions
    missed.fold(read(5_000, wallet=5_000, transfers=usdt(-5_000)), after_ms=2_000)
    missed.fold(position(0), after_ms=2_000)
    assert TradingMode.ACTIVE is missed.state.mode
    assert {} == missed.state.risk.suspicions


def test_a_read_without_transfers_condemns_nobody() -> None:
    """Money taken out while the user stream was away is found by a plain read: that asks for the transfers first."""
    account = held()
    outputs = account.fold(read(5_000, wallet=5_000, transfers=None), after_ms=1_000)
    assert 1 == sum(isinstance(output, ReadWanted) for output in outputs)
    for _ in range(10):
        account.fold(position(0), after_ms=1_000)
        account.fold(read(5_000, wallet=5_000, transfers=None))
    assert TradingMode.ACTIVE is account.state.mode

    account.fold(read(5_000, wallet=5_000, transfers=usdt(-5_000)))
    account.fold(position(0), after_ms=1_000)
    assert {} == account.state.risk.suspicions
    assert (TradingMode.ACTIVE, usdt(5_000)) == (account.state.mode, account.state.risk.peak)


def test_transfers_that_nobody_can_say_do_not_save_a_losing_account() -> None:
    """Income cannot be read: after 30 s of asking a read without the transfers counts, and a real loss halts."""
    account = held()
    for second in range(40):
        account.fold(position(-300), after_ms=1_000)
        account.fold(read(9_700, transfers=None))
        assert (second < 30) == (account.state.mode is TradingMode.ACTIVE), second


def test_a_bound_broken_while_a_person_had_stopped_trading_is_accepted_by_the_resume() -> None:
    """REDUCE_ONLY by hand, then 10 % drawdown: the resume begins anew, and the bound works again from there."""
    account = held(day_loss_permille=0)
    account.fold(ModeAsked("c1", "reduce_only"))
    account.fold(position(-1_000))
    account.fold(read(9_000), after_ms=1_000)
    assert (TradingMode.REDUCE_ONLY, Tier.CLOSE_ONLY) == (account.state.mode, account.state.risk.tier)

    account.fold(ModeAsked("c2", "active"))
    assert (Tier.NORMAL, usdt(9_000)) == (account.state.risk.tier, account.state.risk.peak)
    account.fold(position(-2_000), after_ms=1_000)
    account.fold(read(8_000), after_ms=1_000)
    assert TradingMode.REDUCE_ONLY is account.state.mode


def test_money_paid_in_hides_no_loss() -> None:
    """A deposit in the middle of a losing day does not pay for the loss."""
    account = held()
    account.fold(BalanceSeen(usdt(15_000), transfer=usdt(5_000)))
    outputs = account.fold(position(-300))

    assert alerts(outputs, "risk_suspected")[0].startswith("entries wait for a second reading: X3 day loss: 300 USDT")


def test_the_baseline_is_what_stood_at_midnight_utc_also_across_a_restart() -> None:
    """The first record of the new day finds the balance of the old one as baseline, also through stored bytes."""
    account = held(-200)
    midnight = (account.now // DAY_MS + 1) * DAY_MS
    account.state = decode(encode(account.state))
    account.fold(position(-250), after_ms=midnight + 5 - account.now)

    found = account.state.risk
    assert (midnight // DAY_MS, usdt(9_800)) == (found.day, found.baseline)
    assert account.state.risk.suspicions == {}  # 50 USDT of the new day, not 250


def test_a_clock_that_goes_back_takes_no_second_baseline() -> None:
    """Log time never runs back: a record of yesterday after midnight changes no baseline."""
    account = held(-200)
    midnight = (account.now // DAY_MS + 1) * DAY_MS
    account.fold(AccountTicked(), after_ms=midnight + 5 - account.now)
    account.fold(position(-290), after_ms=-DAY_MS)

    assert usdt(9_800) == account.state.risk.baseline
    assert midnight // DAY_MS == account.state.risk.day


def test_a_resume_begins_anew_and_is_needed() -> None:
    """HALTED stays whatever the figures say; a resume accepts the loss, says so, and the bounds count from there."""
    account = held()
    account.fold(position(-300))
    account.fold(read(9_700), after_ms=1_000)
    account.fold(read(10_000), after_ms=1_000)
    assert TradingMode.HALTED is account.state.mode
    assert "reduce_only" not in account.answer(ModeAsked("c1", "reduce_only")).reason.partition(":")[0]

    answer = account.answer(ModeAsked("c2", "active"))
    assert answer.reason.endswith("what X3 day loss counted begins anew at 9700 USDT")
    account.fold(position(-400), after_ms=1_000)
    assert {} == account.state.risk.suspicions
    assert alerts(account.fold(position(-600)), "risk_suspected")


def test_the_margin_ratio_needs_both_sources_too() -> None:
    """80 % of the margin balance must stay: the account says so, the marks a second later."""
    account = held(day_loss_permille=0, drawdown_reduced_permille=0, drawdown_close_only_permille=0)
    account.fold(read(10_000, maintenance=8_000))
    assert TradingMode.ACTIVE is account.state.mode
    outputs = account.fold(position(0), after_ms=1_000)

    assert [TradingMode.HALTED] == [mode for mode, _ in modes(outputs)]
    assert modes(outputs)[0][1].startswith("X3 margin ratio: 8000 USDT, 80.00 %")


TIERS = [(4.9, Tier.NORMAL), (5, Tier.REDUCED), (10, Tier.CLOSE_ONLY), (15, Tier.HALTED)]


@pytest.mark.parametrize(("percent", "tier"), TIERS)
def test_drawdown_tiers(percent: float, tier: Tier) -> None:
    """5 % of the highest balance halves sizes, 10 % stops entries, 15 % closes everything; each by both sources."""
    account = held(day_loss_permille=0)
    account.fold(read(10_000))
    left = WALLET * (1 - percent / 100)
    account.fold(position(left - WALLET))
    assert Tier.NORMAL is account.state.risk.tier
    outputs = account.fold(read(left), after_ms=1_000)

    assert tier is account.state.risk.tier
    expected = {Tier.CLOSE_ONLY: [TradingMode.REDUCE_ONLY], Tier.HALTED: [TradingMode.HALTED]}.get(tier, [])
    assert expected == [mode for mode, _ in modes(outputs)]
    answer = account.answer(entry("ETHUSDT", "c1", notional="9000"))
    assert answer.accepted == (tier is Tier.NORMAL)
    if tier is Tier.REDUCED:
        assert "9000 is more than the account allows now: 5000" in answer.reason
        account.fold(read(9_700), after_ms=1_000)
        assert Tier.NORMAL is account.state.risk.tier  # 3 % is below 80 % of the bound


def test_a_position_not_reported_leaves_the_marks_without_a_word() -> None:
    """Decide of one partition is dead: an old open PnL neither condemns nor acquits."""
    account = held()
    account.fold(position(-300))
    account.fold(AccountTicked(), after_ms=6_000)
    account.fold(read(9_700), after_ms=1)

    assert TradingMode.HALTED is account.state.mode  # the marks had said so before they fell silent

    silent = held(-10)
    silent.fold(AccountTicked(), after_ms=6_000)
    silent.fold(read(9_700), after_ms=1)
    silent.fold(AccountTicked(), after_ms=2_000)
    assert TradingMode.ACTIVE is silent.state.mode


def test_an_older_read_is_no_reading() -> None:
    """A read that left the venue before the last change of the wallet says nothing about now."""
    account = held()
    account.fold(BalanceSeen(usdt(9_600), venue_ms=Milliseconds(50)))
    account.fold(read(10_000), after_ms=1_000)

    assert usdt(9_600) == account.state.wallet
    assert "X3 day loss" in account.state.risk.suspicions


def test_a_read_of_the_same_wallet_counts_whatever_its_time() -> None:
    """The venue's clocks need not agree to the millisecond: else a loss could never be confirmed."""
    account = held()
    account.fold(BalanceSeen(usdt(10_000), venue_ms=Milliseconds(50)))
    account.fold(position(-300))
    account.fold(read(9_700), after_ms=1_000)

    assert TradingMode.HALTED is account.state.mode


def test_a_suspicion_that_nobody_can_confirm_is_told_to_people() -> None:
    """REST is banned: entries stay closed, nothing is closed on one source, a critical alert comes every 30 s."""
    account, told = held(), 0
    for _ in range(70):
        told += len(alerts(account.fold(position(-300), after_ms=1_000), "risk_unconfirmed"))

    assert (2, TradingMode.ACTIVE) == (told, account.state.mode)


def test_negative_and_empty_accounts_enter_nothing_and_divide_by_nothing() -> None:
    """Nothing to risk, a negative balance, an unknown one: refused with words, and nothing raises."""
    for wallet in (0.0, -5.0):
        account = Account(rules())
        account.fold(BalanceSeen(usdt(wallet)))
        account.fold(read(wallet, wallet=wallet, maintenance=1))
        account.fold(position(-1))
        account.fold(AccountTicked(), after_ms=1_500)
        account.state.instruments = ready().state.instruments
        assert not account.answer(entry("ETHUSDT", "c1")).accepted


def test_heat_counts_every_far_rail() -> None:
    """2.5 % of 100 USDT at the far rail and 10 bps: 2.6 USDT for each of these positions; 3 % of equity is the roof."""
    account = held(heat_permille=3)  # 30 USDT
    assert usdt(2.6) == risk.portfolio_heat(account.state, rules().risk)

    account.fold(position(0, lots=100_000, symbol="ETHUSDT"))
    refusal = account.answer(entry("SOLUSDT", "c1")).reason
    assert "portfolio heat: 262.6 USDT would be lost if every far rail were hit" in refusal


def test_a_locked_in_gain_pays_for_no_other_position() -> None:
    """A far rail beyond the entry counts as slippage alone, never as a negative loss."""
    account = ready(rules())
    account.fold(position(20, far=1_100))

    assert usdt(0.1) == risk.portfolio_heat(account.state, rules().risk)


def test_exposure_and_correlation_bound_the_notional() -> None:
    """Three times equity in all, twice on one side of one market; other side and independent symbols have room."""
    account = ready(rules(heat_permille=0))
    account.fold(position(0, lots=195_000))  # 19,500 of 20,000 correlated longs
    assert "allows now: 500 USDT" in account.answer(entry("ETHUSDT", "c1", notional="600")).reason
    assert account.answer(entry("ETHUSDT", "c2", notional="600", side=Side.SELL)).accepted

    account = ready(rules(heat_permille=0))
    account.fold(position(0, lots=195_000))
    account.fold(signal("ETHUSDT", independence=60))
    assert account.answer(entry("ETHUSDT", "c3", notional="600")).accepted
    account.fold(position(0, lots=105_000, symbol="SOLUSDT"))
    refusal = account.answer(entry("ETHUSDT", "c4", notional="600")).reason
    assert "a pending entry" in refusal


def signal(symbol: str, *, fresh: bool = False, side: Side = Side.BUY, **changes: Any) -> SignalSeen:
    """Decide's word on a closed bar."""
    fields: dict[str, Any] = {
        "bar_ms": Milliseconds(START_MS + DAY_MS),  # never old unless a test says so
        "stage": "prime" if fresh else "none",
        "fresh": fresh,
        "side": side,
        "score": 50_000 * side.sign,
        "strength": 70_000,
        "odds": 800_000,
        "coverage": 900,
        "liquidity": 80,
        "independence": 50,
        "price": usdt(100),
        "refused": [],
    }
    return SignalSeen(symbol, place(), ReportSignal(**(fields | changes)))


def admissions(outputs: list[AccountOutput]) -> list[EntryAdmitted]:
    """Admissions written."""
    bodies = [output.body for output in outputs if isinstance(output, LineWanted)]
    return [body for body in bodies if isinstance(body, EntryAdmitted)]


def test_a_fresh_prime_signal_is_admitted_by_risk() -> None:
    """1 % of equity at risk, 0.5 + L/200 of it by liquidity, 10,000 at most; people hear that it was admitted."""
    outputs = ready(rules()).fold(signal("BTCUSDT", fresh=True))
    found = admissions(outputs)[0]

    assert (usdt(100), usdt(10_000), 900, True) == (found.risk, found.notional, found.liquidity, found.signal)
    assert "BUY BTCUSDT, E 50, strength 70" in alerts(outputs, "signal_admitted")[0]


@pytest.mark.parametrize("changes", [{"signals": False}, {}])
def test_signals_are_off_by_default_and_stale_ones_ask_for_nothing(changes: dict[str, Any]) -> None:
    """Switched off, or maintained without being fresh: ranked, not admitted."""
    account = ready(msgspec.structs.replace(rules(), **changes))

    assert [] == admissions(account.fold(signal("BTCUSDT", fresh=bool(changes))))


@pytest.mark.parametrize(("source", "life_ms"), [("", 60_000), ("momentum", 360_000)])
def test_a_signal_that_comes_late_is_refused(source: str, life_ms: int) -> None:
    """Decide says late what it folds late after a crash; a bar that closed long ago admits nobody now."""
    account = ready(rules())
    closed_ms = account.now
    word: dict[str, Any] = {"fresh": True, "source": source, "bar_ms": Milliseconds(closed_ms)}
    late = account.fold(signal("BTCUSDT", **word), after_ms=life_ms + 1)
    assert [] == admissions(late)
    assert "its bar closed" in alerts(late, "signal_refused")[0]

    early = ready(rules())
    assert 1 == len(admissions(early.fold(signal("BTCUSDT", **word), after_ms=life_ms)))


def test_a_trade_by_hand_does_not_shorten_the_rest_after_a_stop_out() -> None:
    """Twelve bars after a stop-out stay twelve, whatever a person wins meanwhile."""
    account = ready(rules())
    for outcome in ("hard_stop", "target"):
        account.fold(position(0))
        account.fold(TradeSeen("BTCUSDT", place(), msgspec.structs.replace(trade("p-BTCUSDT"), outcome=outcome)))

    assert 11 * 300_000 < risk.cooling(account.state, "BTCUSDT") <= 12 * 300_000


def test_cool_downs_are_for_signals() -> None:
    """3 bars after a trade, 12 after a stop-out; a person may open again at once."""
    for outcome, bars in (("target", 3), ("hard_stop", 12)):
        account = ready(rules())
        account.fold(position(0))
        account.fold(TradeSeen("BTCUSDT", place(), msgspec.structs.replace(trade("p-BTCUSDT"), outcome=outcome)))
        wait = risk.cooling(account.state, "BTCUSDT")
        assert (bars - 1) * 300_000 < wait <= bars * 300_000
        refused = account.fold(signal("BTCUSDT", fresh=True))
        assert [] == admissions(refused)
        assert "rests for another" in alerts(refused, "signal_refused")[0]
        assert account.answer(entry("BTCUSDT", "c1")).accepted

        later = ready(rules())
        later.fold(TradeSeen("BTCUSDT", place(), msgspec.structs.replace(trade("p-BTCUSDT"), outcome=outcome)))
        assert admissions(later.fold(signal("BTCUSDT", fresh=True), after_ms=wait + 300_000))


def test_a_signal_from_outside_goes_the_same_road() -> None:
    """Void after its time, capped by its notional, sized by risk."""
    account = ready(rules())
    asked = EntryAsked("c1", "BTCUSDT", Side.BUY, notional="700", signal="alerts", until_ms=Milliseconds(START_MS))
    assert "the signal of alerts is void since" in account.answer(asked).reason
    found = admissions(account.fold(msgspec.structs.replace(asked, command="c2", until_ms=Milliseconds(0))))[0]
    assert (usdt(700), usdt(100), True) == (found.notional, found.risk, found.signal)


MONEY = st.integers(-(10**12), 10**12).map(E8)
EVENTS: st.SearchStrategy[AccountEvent] = st.one_of(
    st.builds(BalanceSeen, MONEY, MONEY, MONEY, st.integers(0, 9).map(Milliseconds)),
    st.builds(
        AccountSeen, MONEY, MONEY, MONEY, st.integers(0, 10**12).map(E8), st.integers(0, 9).map(Milliseconds),
        st.one_of(st.none(), MONEY),
    ),
    st.builds(
        PositionSeen, st.sampled_from(SYMBOLS), st.tuples(st.integers(0, 9), st.just(0)),
        st.builds(
            ReportPosition, st.just("p"), st.just("OPEN"), st.integers(-10**6, 10**6).map(Lots), MONEY,
            st.integers(0, 10**6).map(Ticks), MONEY, st.integers(0, 10**6).map(Ticks),
        ),
    ),
    st.builds(ModeAsked, st.integers(0, 30).map(str), st.sampled_from([m.value for m in TradingMode])),
    st.builds(
        EntryAsked, st.integers(0, 99).map(str), st.sampled_from(SYMBOLS), st.sampled_from(Side),
        notional=st.just("500"),
    ),
    st.just(AccountTicked()),
)  # fmt: skip


@settings(max_examples=150)
@given(st.lists(st.tuples(EVENTS, st.integers(-DAY_MS, DAY_MS)), max_size=40), st.integers(0, 40))
def test_any_money_folds_again_to_the_same_bytes(history: list[tuple[AccountEvent, int]], cut: int) -> None:
    """Absurd balances, clocks that jump, transfers anywhere: nothing raises, HALTED is only left by a resume."""

    def run(*, through_bytes_at: int) -> tuple[list[list[AccountOutput]], str]:
        account, outputs = ready(rules()), []
        for number, (event, after_ms) in enumerate(history):
            if number == through_bytes_at:
                account.state = decode(encode(account.state))
            before = account.state.mode
            outputs.append(account.fold(event, after_ms=after_ms))
            if before is TradingMode.HALTED and not isinstance(event, ModeAsked):
                assert account.state.mode is TradingMode.HALTED
        return outputs, digest(account.state)

    assert run(through_bytes_at=-1) == run(through_bytes_at=cut)
