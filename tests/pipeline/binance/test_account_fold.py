"""Tests of the account topic's bytes: what becomes an event, what is quarantined, answered, and written as lines."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.binance.account_fold import COMMAND_ANSWERED, AccountApplied, AccountFold, rules_of
from pipeline.core.account_state import AccountRules, AccountState
from pipeline.core.commands import ReportPosition
from pipeline.core.events import Side, TradingMode
from pipeline.core.policies import Policy
from pipeline.core.units import E8, ONE_E8, Lots, Milliseconds, Ticks
from pipeline.settings import load
from pipeline.wire import lines, records
from pipeline.wire.topics import ALERTS, INPUT_PARTITIONS, INPUTS, QUARANTINE, partition_of

RULES = AccountRules(("BTCUSDT",), slots=5, max_notional_e8=E8(10_000 * ONE_E8), entries_per_minute=10)
POLICY = Policy(digest="d")
SYMBOL_OBJECT = msgspec.json.encode(
    {
        "symbol": "BTCUSDT",
        "status": "TRADING",
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "baseAsset": "BTC",
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": "556.80", "maxPrice": "4529764", "tickSize": "0.10"},
            {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "1000", "stepSize": "0.001"},
            {"filterType": "MARKET_LOT_SIZE", "minQty": "0.001", "maxQty": "120", "stepSize": "0.001"},
            {"filterType": "MIN_NOTIONAL", "notional": "50"},
        ],
    }
)
BALANCE = records.BalanceRead(
    Milliseconds(1), msgspec.Raw(b'[{"asset":"USDT","balance":"10000","availableBalance":"10000"}]')
)
OPEN = records.OpenCommand(command="c1", symbol="BTCUSDT", side=Side.BUY, notional="500")


class Topic:
    """A fold and the offsets of the records that it is given."""

    def __init__(self) -> None:
        self.fold = AccountFold(log_identity="ABCDEFG", fold="f", rules=RULES, policy=POLICY)
        self.offset = -1

    def bytes(self, value: bytes) -> AccountApplied:
        """Fold one record."""
        self.offset += 1
        return self.fold.apply_record(offset=self.offset, append_ms=1_700_000_000_000 + self.offset, value=value)

    def message(self, message: Any) -> AccountApplied:
        """Fold one message."""
        return self.bytes(records.encode(message))


def known() -> Topic:
    """A fold that knows BTCUSDT."""
    topic = Topic()
    topic.message(records.InstrumentsKnown(Milliseconds(1), {"BTCUSDT": msgspec.Raw(SYMBOL_OBJECT)}))
    topic.message(BALANCE)
    return topic


def answers(applied: AccountApplied) -> list[records.CommandAnswered]:
    """The answers among the alerts."""
    texts = [alert.text for alert in applied.alerts if alert.code == COMMAND_ANSWERED]
    return [msgspec.json.decode(text, type=records.CommandAnswered) for text in texts]


def test_an_open_command_becomes_an_admission_line() -> None:
    """The line goes to the symbol's partition in account's name with log time as ``at``; the answer to alerts."""
    applied = known().message(OPEN)

    assert [partition for partition, _ in applied.lines] == [partition_of("BTCUSDT")]
    line = lines.decode(applied.lines[0][1])
    assert (line.src, line.inc, line.n, line.sym) == ("account/main", "ABCDEFG", 1, "BTCUSDT")
    assert line.at == 1_700_000_000_002 * 1_000_000
    assert line.admission is not None
    assert line.admission.notional == 500 * ONE_E8
    assert answers(applied)[0].accepted


def test_state_lines_reach_every_partition_with_the_policy() -> None:
    """The first record already speaks the trading state and the policy into all partitions, under one number."""
    applied = Topic().message(records.AccountTick(Milliseconds(1)))

    assert [partition for partition, _ in applied.lines] == list(range(INPUT_PARTITIONS))
    assert len({line for _, line in applied.lines}) == 1
    line = lines.decode(applied.lines[0][1])
    assert (line.sym, line.n) == ("*", 1)
    assert line.state == lines.TradingStateLine("active", "start", POLICY)


def test_outgoing_records_are_one_per_partition() -> None:
    """Lines of one partition leave as one record, then quarantine, then alerts."""
    applied = known().bytes(b'{"type":"open","command":"c"}')
    halted = known().message(records.ModeCommand("h", "halted"))

    assert [o.topic for o in applied.outgoing()] == [QUARANTINE, ALERTS]
    assert [o.topic for o in halted.outgoing()] == [INPUTS] * INPUT_PARTITIONS + [ALERTS] * 2


@pytest.mark.parametrize(
    ("value", "answered"),
    [
        (b"", False),
        (b"not json", False),
        (b'{"type":"surprise"}', False),
        (b'{"type":"open","command":"c1","symbol":"BTCUSDT","side":"sideways"}', True),
        (b'{"type":"open","command":"c1","symbol":7,"side":"BUY"}', False),
        (b'{"type":"position","symbol":"BTCUSDT","cause":"x","report":{}}', False),
    ],
)
def test_unreadable_bytes_are_quarantined_and_answered(value: bytes, answered: bool) -> None:
    """Bytes that are no message keep in quarantine with the reason; a command id among them gets an answer."""
    topic = known()
    applied = topic.bytes(value)

    assert [record.payload for record in applied.quarantined] == [value]
    assert applied.quarantined[0].reason
    assert [a.accepted for a in answers(applied)] == ([False] if answered else [])
    assert topic.message(OPEN).lines  # the account lives on


def test_a_word_of_decide_needs_a_place() -> None:
    """A report whose cause is no place in the log is refused, not guessed."""
    report = ReportPosition("p", "OPEN", Lots(1), E8(1), Ticks(1), E8(0))
    applied = known().message(records.PositionReported("BTCUSDT", "somewhere", report))

    assert "'somewhere' is no partition/offset/line" in applied.quarantined[0].reason


def test_an_unreadable_instrument_is_quarantined() -> None:
    """exchangeInfo that cannot be read leaves the instruments as they were."""
    topic = known()
    applied = topic.message(
        records.InstrumentsKnown(Milliseconds(1), {"BTCUSDT": msgspec.Raw(b'{"symbol":"BTCUSDT"}')})
    )

    assert "exchangeInfo of BTCUSDT" in applied.quarantined[0].reason
    assert topic.message(OPEN).lines


def test_balance_and_user_frames() -> None:
    """Balance v3 and ACCOUNT_UPDATE state the wallet, a margin call alerts, other user events only pass time."""
    topic = Topic()
    body = b'[{"asset":"USDT","balance":"9","availableBalance":"4"}]'
    topic.message(records.BalanceRead(Milliseconds(1), msgspec.Raw(body)))
    update = (
        b'{"e":"ACCOUNT_UPDATE","E":1,"T":1,"a":{"m":"ORDER","B":[{"a":"USDT","wb":"101","cw":"101","bc":"0"}],"P":[]}}'
    )
    topic.message(records.UserFrame(1, "connector/private-0", msgspec.Raw(update)))
    topic.message(records.UserFrame(1, "connector/private-0", msgspec.Raw(b'{"e":"ORDER_TRADE_UPDATE","o":{}}')))
    call = b'{"e":"MARGIN_CALL","E":1,"cw":"3.1","p":[{"s":"ETHUSDT","ps":"BOTH"}]}'
    applied = topic.message(records.UserFrame(1, "connector/private-0", msgspec.Raw(call)))

    assert (topic.fold.state.wallet, topic.fold.state.available) == (101 * ONE_E8, 4 * ONE_E8)
    assert [alert.code for alert in applied.alerts] == ["margin_call"]
    assert topic.message(records.BalanceRead(Milliseconds(1), msgspec.Raw(b"[]"))).quarantined


def test_folding_again_gives_equal_bytes() -> None:
    """A restored fold that reads the same records again writes nothing; a fresh one writes the same bytes."""
    history = [
        records.encode(records.InstrumentsKnown(Milliseconds(1), {"BTCUSDT": msgspec.Raw(SYMBOL_OBJECT)})),
        records.encode(OPEN),
        b"rubbish",
        records.encode(records.ModeCommand("m", "halted")),
    ]
    first, second = Topic(), Topic()
    applied = [first.bytes(value) for value in history]

    assert applied == [second.bytes(value) for value in history]
    assert first.fold.digest() == second.fold.digest()
    restored = Topic()
    restored.fold.restore(first.fold.image())
    assert [AccountApplied([], [], [])] * 4 == [restored.bytes(value) for value in history]


def test_a_fault_closes_entries_and_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in the fold is told as a critical alert, closes entries until a person resumes, and loses no record."""
    topic = known()

    def broken(*_: object) -> list[object]:
        raise AssertionError("promise broken")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.core.account._obey", broken)
        applied = topic.message(OPEN)
    assert [(alert.code, alert.severity) for alert in applied.alerts] == [("account_halted", "critical")]
    assert topic.fold.state.mode is TradingMode.REDUCE_ONLY

    refused = answers(topic.message(msgspec.structs.replace(OPEN, command="c2")))
    assert "promise broken" in refused[0].reason
    topic.message(records.ModeCommand("r", "active"))
    assert answers(topic.message(msgspec.structs.replace(OPEN, command="c3")))[0].accepted


HUGE = str(10**22)
WORD = '{"type":"%s","symbol":"BTCUSDT","cause":"%s","%s":%s}'
REPORT = (
    '{"type":"report_position","position":"p","state":"OPEN","lots":%s,"entry_price":1,"stop":1,"open_pnl":%s,"far":1}'
)


@pytest.mark.parametrize(
    "value",
    [
        b'{"type":"balance","at_ms":1,"body":[{"asset":"USDT","balance":"%s","availableBalance":"1"}]}' % HUGE.encode(),
        (WORD % ("position", "0/5/0", "report", REPORT % ("1", HUGE))).encode(),
        (WORD % ("position", "0/5/0", "report", REPORT % (str(2**60), "1"))).encode(),
        (WORD % ("position", f"0/{HUGE}/0", "report", REPORT % ("1", "1"))).encode(),
    ],
)
def test_numbers_that_no_account_has_are_quarantined(value: bytes) -> None:
    """Beyond 64 bits the state could not be stored: one such record would end every worker that reads it."""
    topic = known()
    assert 1 == len(topic.bytes(value).quarantined)
    topic.fold.image()


def test_a_signal_of_nobody_is_no_person_s_order() -> None:
    """An empty source must not open the road of people: gates, cool-down and expiry hold for it."""
    topic = known()
    signal = records.SignalCommand("c1", "BTCUSDT", Side.BUY, "", notional="500", until_ms=Milliseconds(1))

    assert "the signal of webhook is void" in answers(topic.message(signal))[0].reason


@given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from([records.encode(OPEN), b"{}", b"[]"])), max_size=10))
def test_no_bytes_stop_the_account(values: list[bytes]) -> None:
    """Whatever bytes come, each is folded or quarantined, and the state can be stored and read."""
    topic = known()
    for value in values:
        topic.bytes(value)

    restored = Topic()
    restored.fold.restore(topic.fold.image())
    assert restored.fold.state == topic.fold.state
    assert isinstance(restored.fold.state, AccountState)


def test_rules_follow_from_the_settings() -> None:
    """The account admits no more than the smaller of slots and the executor's own limit."""
    rules = rules_of(load({"PERPGUARD_SYMBOLS": "BTCUSDT,ETHUSDT"}))

    assert rules == AccountRules(("BTCUSDT", "ETHUSDT"), 5, E8(10_000 * ONE_E8), 10, most_leverage=5)
