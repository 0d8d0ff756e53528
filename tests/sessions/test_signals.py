"""A story of a signal: two strong bars in decide, an admission of account, a guarded position, a resume of a fault."""

from __future__ import annotations

import pytest

from pipeline.binance.account_fold import AccountFold
from pipeline.core.account_state import AccountRules
from pipeline.core.commands import AnswerAdmission, Note, OpenBracket, ReportSignal
from pipeline.core.events import Side, Stamp, SymbolResumed
from pipeline.core.policies import Policy
from pipeline.core.signals import evaluate
from pipeline.core.turn import Turn
from pipeline.core.units import E8, ONE_E8, Milliseconds
from pipeline.wire import lines, records
from tests.core_signals import ready, strong
from tests.pipeline.binance.test_account_fold import BALANCE
from tests.sessions.script import BAR_MS, INSTRUMENT, START_MS, Session


class Desk:
    """Account's fold over bytes, as the topic brings them."""

    def __init__(self) -> None:
        rules = AccountRules(("BTCUSDT",), 5, E8(10_000 * ONE_E8), 10, signals=True)
        self.fold = AccountFold(log_identity="ABCDEFG", fold="f", rules=rules, policy=Policy())
        self.offset = -1
        self.written: list[bytes] = []
        self.tell(BALANCE)
        self.fold.state.instruments["BTCUSDT"] = INSTRUMENT

    def tell(self, message: records.AccountMessage, *, now: int = START_MS) -> list[lines.Line]:
        """One record; returns the symbol's lines that it led to."""
        self.offset += 1
        value = records.encode(message)
        applied = self.fold.apply_record(offset=self.offset, append_ms=now, value=value)
        self.written += [line for _, line in applied.lines]
        return [line for line in map(lines.decode, dict.fromkeys(raw for _, raw in applied.lines)) if line.sym != "*"]


def closed_bar(session: Session, bar: int, side: Side) -> ReportSignal:
    """Decide scores a strong bar and reports it."""
    state = session.state
    state.scores = strong(side, bar_close_ms=START_MS + bar * BAR_MS)
    turn = Turn(state, Stamp(3, 500 + bar, 0, Milliseconds(session.now), Milliseconds(session.now)))
    evaluate(turn)
    return next(output for output in turn.outputs if isinstance(output, ReportSignal))


@pytest.mark.parametrize("side", (Side.BUY, Side.SELL))
def test_a_signal_opens_a_guarded_position(side: Side) -> None:
    """The second strong bar is admitted by account and entered by decide with both rails, sized by 1 % of equity."""
    session, desk = ready(side), Desk()
    quiet = desk.tell(records.SignalReported("BTCUSDT", "3/501/0", closed_bar(session, 1, side)))
    admitted = desk.tell(records.SignalReported("BTCUSDT", "3/502/0", closed_bar(session, 2, side)))
    again = desk.tell(records.SignalReported("BTCUSDT", "3/503/0", closed_bar(session, 3, side)))

    assert ([], 1, []) == (quiet, len(admitted), again)
    entry = admitted[0].admission
    assert entry is not None
    session.now = entry.expires_ms - 1_000
    outputs = session.say(entry)
    bracket = next(output for output in outputs if isinstance(output, OpenBracket))
    answer = next(output for output in outputs if isinstance(output, AnswerAdmission))
    assert answer.used
    assert side is bracket.side
    assert 0 < bracket.lots * 50_000 * 100_000 <= 10_000 * ONE_E8
    assert (bracket.working_trigger - bracket.limit) * side.sign < 0
    assert (bracket.far_trigger - bracket.working_trigger) * side.sign < 0


def test_the_account_folds_the_story_again_byte_for_byte() -> None:
    """The same records give the same lines and the same state, also when account restarts between any two."""
    session = ready()
    told: list[records.AccountMessage] = [
        records.SignalReported("BTCUSDT", f"3/{500 + bar}/0", closed_bar(session, bar, Side.BUY)) for bar in (1, 2, 3)
    ]
    told.append(records.AccountTick(Milliseconds(1)))
    straight = Desk()
    for number, message in enumerate(told):
        straight.tell(message, now=START_MS + 1_000 * number)
    for cut in range(len(told)):
        restarted = Desk()
        for number, message in enumerate(told):
            if number == cut:
                restarted.fold.restore(restarted.fold.image())
            restarted.tell(message, now=START_MS + 1_000 * number)
        assert (straight.written, straight.fold.digest()) == (restarted.written, restarted.fold.digest())


def test_a_symbol_halted_on_a_fault_goes_on_after_a_resume_and_trusts_nothing() -> None:
    """Until a person resumes only closes are obeyed; afterwards every feed must prove itself before an entry."""
    session = Session()
    session.ready()
    session.state.halted = "AssertionError: test"
    session.quote(40_000, 40_002)
    assert session.state.quote is not None
    assert 50_001 == session.state.quote.ask  # nothing was folded

    session.say(SymbolResumed("resume-1"))
    assert "" == session.state.halted
    assert "symbol_resumed" in session.codes()
    declined = next(o for o in session.admit() if isinstance(o, AnswerAdmission))
    assert not declined.used
    assert "is not whole: resumed after a halt" in declined.reason

    session.say(SymbolResumed("resume-2"))
    assert "not_halted" in [note.code for note in session.all(Note)]
