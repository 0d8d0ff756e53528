"""
The only place where plug-ins are asked, and where what they answer is admitted or refused.

A plug-in can never loosen anything: a factor can only refuse an entry by signal, a signal goes through every gate and
every bound of the account, an exit closes or tightens within the ratchet. It cannot hold anything up either: the core
asks and goes on; an answer counts while its question is open and before its deadline in log time, else it is refused.
The guards never wait for one (docs/adr/0012-plug-ins-answer-through-the-log.md).

One that failed (raised, out of time, no answer that makes sense, other code under the same version) is **switched off
for that symbol**, with an alert, until the configuration names another version or parameters, or `perpguard resume`.
"""

from __future__ import annotations

from typing import Final

from pipeline.core import signals
from pipeline.core.commands import AskPlugins
from pipeline.core.events import Side
from pipeline.core.exits.acts import close, tighten
from pipeline.core.exits.rule import Fired, Phase, closable, phase_of
from pipeline.core.plugin_answers import (
    ALLOWED,
    CLOSE_RULE,
    EXIT,
    PluginAnswered,
    SaysClose,
    SaysFactor,
    SaysFailed,
    SaysNothing,
    SaysSignal,
    SaysTighten,
    words,
)
from pipeline.core.plugin_views import PluginBar, PluginFactor, PluginPosition, PluginState, PluginView
from pipeline.core.policies import PluginRow
from pipeline.core.positions import Basis, Position
from pipeline.core.state import SymbolState
from pipeline.core.stops import Candidate
from pipeline.core.turn import Turn
from pipeline.core.units import E8, Lots, Milliseconds, Ticks

OUTCOME: Final = "plugin"
SILENT_QUESTIONS: Final = 3  # unanswered in a row: people are told once
TIGHTEN_MS: Final = 60_000  # a plug-in moves a stop at most so often: the ratchet's moves a minute are the guards'
LARGEST_E8: Final = 1 << 62
LARGEST_VALUE: Final = 100_000
TEXT_CHARACTERS: Final = 200
CODE_CHARACTERS: Final = 64
STRANGER: Final = ""  # where answers of names that the policy does not know are counted


# --------------------------------------------------------------------------------------------------------------- asking


def ask(turn: Turn, *, bar: bool) -> None:
    """
    Ask those whose moment this is: factors and signals when the scores speak of a newly closed *bar*, exits then and
    every ``every_ms`` while the position is open. A question that is still open is not asked again.
    """
    state = turn.state
    due: list[tuple[PluginRow, PluginState]] = []
    for row in state.policy.plugins:
        known = _known(turn, row)
        if known.ask and turn.now > known.due_ms:
            _unanswered(turn, row, known)
        if not known.off and not known.ask and _wanted(turn, row, known, bar=bar):
            due.append((row, known))
    if not due:
        return
    view = view_of(state, bars=max(row.bars for row, _ in due))
    latest = max(turn.now + row.deadline_ms for row, _ in due)
    name = turn.emit(
        AskPlugins(names=[row.name for row, _ in due], due_ms=Milliseconds(latest), view=view), rule="ask_plugins"
    )
    for row, known in due:
        known.ask, known.cause, known.due_ms = name, turn.cause, turn.now + row.deadline_ms
        known.next_ms = turn.now + row.every_ms
        known.bar_ms = view.bar_close_ms


def _wanted(turn: Turn, row: PluginRow, known: PluginState, *, bar: bool) -> bool:
    if row.kind != EXIT:
        return bar
    position = turn.state.position
    return (
        position is not None
        and phase_of(position) is Phase.OPEN
        and position.frozen
        and (bar or turn.now >= known.next_ms)
    )


def _known(turn: Turn, row: PluginRow) -> PluginState:
    """What the symbol remembers of the plug-in; nothing when the configuration has changed it."""
    plugins = turn.state.plugins
    known = plugins.get(row.name)
    if known is None or known.row != row:
        known = plugins[row.name] = PluginState(row=row)
    return known


def _unanswered(turn: Turn, row: PluginRow, known: PluginState) -> None:
    known.ask = ""
    known.missed += 1
    if known.missed == SILENT_QUESTIONS:
        turn.alert(
            "plugin_silent",
            "warning",
            f"plug-in {row.name} has left {SILENT_QUESTIONS} questions about {turn.state.symbol} without an answer in "
            f"{row.deadline_ms} ms; the built-in guards go on. Does `perpguard plugin run` run?",
        )


def view_of(state: SymbolState, *, bars: int) -> PluginView:
    """What a plug-in is shown of the symbol now."""
    instrument, scores, quote, mark = state.instrument, state.scores, state.quote, state.mark
    assert instrument is not None, state.symbol
    past = [] if state.bars.gapped else state.bars.bars[-bars:]
    return PluginView(
        symbol=state.symbol,
        at_ms=Milliseconds(state.log_ms),
        tick=E8(instrument.tick_e8),
        step=E8(instrument.step_e8),
        mark=mark.mark if mark is not None else E8(0),
        bid=quote.bid if quote is not None else Ticks(0),
        ask=quote.ask if quote is not None else Ticks(0),
        funding_rate_e8=mark.funding_rate_e8 if mark is not None else 0,
        bar_close_ms=Milliseconds(scores.bar_close_ms if scores is not None else 0),
        score=scores.score if scores is not None else 0,
        coverage=scores.coverage if scores is not None else 0,
        trend=scores.trend if scores is not None else "",
        regime=scores.regime if scores is not None else "",
        market_trend=scores.market_trend if scores is not None else "",
        factors={}
        if scores is None
        else {name: PluginFactor(found.value, found.quality, found.ready) for name, found in scores.factors.items()},
        bars=[PluginBar(b.open_ms, b.open, b.high, b.low, b.close, b.lots, b.taker_lots) for b in past],
        position=None if state.position is None else _shown(state.position),
    )


def _shown(position: Position) -> PluginPosition:
    return PluginPosition(
        id=position.id,
        side=position.side,
        lots=Lots(max(0, position.lots)),
        entry=E8(position.entry_e8),
        stop=Ticks(position.stop),
        risk=E8(position.risk_e8),
        best=E8(position.best_mark_e8),
        worst=E8(position.worst_mark_e8),
        opened_ms=Milliseconds(position.opened_ms),
        bars=position.bars,
        first_target_done=position.first_target_done,
    )


# ------------------------------------------------------------------------------------------------------------ answering


def answered(turn: Turn, event: PluginAnswered) -> None:
    """Admit or refuse an answer; refusals are counted and told at the 1st, 10th, 100th …, so a flood tells little."""
    row = next((row for row in turn.state.policy.plugins if row.name == event.name), None)
    if row is None:
        _refuse(turn, event, _stranger(turn), "the configuration knows no such plug-in")
        return
    known = _known(turn, row)
    if known.off:
        _refuse(turn, event, known, f"it is switched off here: {known.off}")
    elif not known.ask or event.ask != known.ask:
        _refuse(turn, event, known, "no question of that id is open (answered, too old, or of another run)")
    elif turn.now > known.due_ms:
        _refuse(turn, event, known, f"{turn.now - known.due_ms} ms after its deadline of {row.deadline_ms} ms")
        _unanswered(turn, row, known)
    else:
        known.ask = ""
        known.missed = 0
        _judge(turn, row, known, event)


def _judge(turn: Turn, row: PluginRow, known: PluginState, event: PluginAnswered) -> None:
    answer = event.answer
    wrong = _wrong(row, known, event)
    if wrong:
        _switch_off(turn, row, known, wrong)
        return
    known.code = event.code
    if isinstance(answer, SaysNothing):
        known.active = 0
        return
    turn.rest_on(known.cause)
    if isinstance(answer, SaysFactor):
        known.value, known.quality, known.value_ms = answer.value, answer.quality, known.bar_ms
        turn.note("plugin_factor", f"{row.name} {row.version}: {words(answer)}")
        return
    if row.shadow:
        turn.note("plugin_shadow", f"{row.name} {row.version} would {words(answer)}")
    elif isinstance(answer, SaysSignal):
        _signal(turn, row, known, answer)
    elif isinstance(answer, SaysClose):
        _close(turn, row, answer)
    elif isinstance(answer, SaysTighten):
        _tighten(turn, row, known, answer)


def _wrong(row: PluginRow, known: PluginState, event: PluginAnswered) -> str:
    """What makes an answer in time unusable, empty when nothing does."""
    answer = event.answer
    if isinstance(answer, SaysFailed):
        return answer.reason[:TEXT_CHARACTERS]
    if event.version != row.version:
        return f"it calls itself version {event.version[:40]!r}, the configuration wants {row.version!r}"
    if len(event.code) > CODE_CHARACTERS:
        return "its code has no digest of ours"
    if known.code and event.code != known.code:
        return (
            f"its code has changed under version {row.version!r} ({known.code} → {event.code[:40]}): give it a new "
            "version, there and in the configuration"
        )
    if isinstance(answer, SaysNothing):
        return ""
    if not isinstance(answer, ALLOWED[row.kind]):
        return f"a plug-in of the kind {row.kind} may not {words(answer)}"
    if isinstance(answer, SaysFactor) and not (abs(answer.value) <= LARGEST_VALUE and 0 <= answer.quality <= 1_000):
        return "its value or quality is out of range"
    if isinstance(answer, SaysTighten) and not 0 < answer.price < LARGEST_E8:
        return "its price is none, or out of range"
    return ""


def _signal(turn: Turn, row: PluginRow, known: PluginState, answer: SaysSignal) -> None:
    """A signal is told to account once while it is maintained, with every gate of the built-in ones."""
    state = turn.state
    side = Side.BUY if answer.long else Side.SELL
    if known.active == side.sign or state.scores is None:
        return
    known.active = 0
    signals.see_funding(state)
    report = signals.proposed(state, side, source=row.name)
    if not report.refused:
        known.active = side.sign
    turn.note("plugin_signal", f"{row.name} {row.version}: {side.value}; {answer.why[:TEXT_CHARACTERS]}")
    turn.emit(report, rule=f"plugin {row.name}")
    turn.rest_on(state.quote_stamp)


def _close(turn: Turn, row: PluginRow, answer: SaysClose) -> None:
    """Below every built-in rule: nothing closes what is closing, left alone, or cannot be seen."""
    if not _may_act(turn):
        return
    turn.rules.append(CLOSE_RULE)
    why = f"plug-in {row.name} {row.version}: {answer.why[:TEXT_CHARACTERS] or 'no reason given'}"
    close(turn, CLOSE_RULE, Fired(why, OUTCOME))


def _tighten(turn: Turn, row: PluginRow, known: PluginState, answer: SaysTighten) -> None:
    """
    The price is one more candidate of the ratchet, with all of its steps. What it moves does not count among the moves
    a minute that the guards have.
    """
    if not _may_act(turn) or turn.now < known.tightened_ms + TIGHTEN_MS:
        return
    position = turn.position
    moves = position.stop_moves
    tighten(turn, extra=(Candidate(Basis.PLUGIN, answer.price),))
    if position.stop_moves == moves or position.basis is not Basis.PLUGIN:
        return
    position.stop_changes.pop()
    known.tightened_ms = turn.now
    turn.note("plugin_tightened", f"{row.name} {row.version}: {answer.why[:TEXT_CHARACTERS]}")


def _may_act(turn: Turn) -> bool:
    position = turn.state.position
    if position is None or not position.frozen or not closable(turn):
        return False
    blind = position.blind_ms or position.prove_ms
    return not (blind or position.left_alone or position.leave_rule)


def _switch_off(turn: Turn, row: PluginRow, known: PluginState, why: str) -> None:
    known.off = why
    known.active = known.quality = 0
    symbol = turn.state.symbol
    turn.alert(
        "plugin_off",
        "warning",
        f"plug-in {row.name} is switched off for {symbol}: {why}; the built-in guards go on. Mend it and give it a new "
        f"version, or switch it on again by `perpguard resume {symbol}`",
    )


def resume(turn: Turn) -> list[str]:
    """A person has looked: what was switched off for the symbol is asked again. Returns the names."""
    off = [row.name for row in turn.state.policy.plugins if _known(turn, row).off]
    for name in off:
        turn.state.plugins[name] = PluginState(row=turn.state.plugins[name].row)
    return off


def _stranger(turn: Turn) -> PluginState:
    return turn.state.plugins.setdefault(STRANGER, PluginState())


def _refuse(turn: Turn, event: PluginAnswered, known: PluginState, why: str) -> None:
    known.refused += 1
    if known.refused == 10 ** (len(str(known.refused)) - 1):
        turn.note("plugin_refused", f"{event.name[:40]}: {why} (answer {known.refused} that was refused)")
