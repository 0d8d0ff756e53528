"""
The only place for what a decision can ask for: intents to the executor, requests for data, words to account and people.

Every one is an output of ``engine.step``. Intents are imperative; the executor turns them into requests of its own
and answers with ``events.RequestEnded`` lines. The id of an output is derived from its cause
(``pipeline.core.identity``), so folding again gives the same ids and every consumer drops one it knows.
"""

from __future__ import annotations

import msgspec

from pipeline.core.events import Leg, ReferenceBars, Side
from pipeline.core.plugin_views import PluginView
from pipeline.core.units import E8, Lots, Milliseconds, Ticks


class OpenBracket(msgspec.Struct, frozen=True, tag="open_bracket"):
    """
    Enter with LIMIT IOC at a bounded price and arm both rails on the first fill evidence (domain 6.7).

    The position's id is the id of this intent. The executor places and sizes the rails without asking again:
    FAR is STOP_MARKET closePosition at ``far_trigger``, WORKING is STOP_MARKET reduceOnly with the filled quantity at
    ``working_trigger``, both by mark price. ``expires_ms`` is log time: later the executor refuses it as stale.
    ``leverage`` and margin type ISOLATED are set at the venue before the entry goes (0: they are left as they are).
    """

    side: Side
    lots: Lots
    limit: Ticks
    far_trigger: Ticks
    working_trigger: Ticks
    expires_ms: Milliseconds
    leverage: int = 0


class MoveStop(msgspec.Struct, frozen=True, tag="move_stop"):
    """
    State the wanted level and quantity of a rail; the newest of a (position, leg) wins (``superseded``).

    WORKING: place the new one, then cancel the old one on the confirmed successor. FAR: cancel then place while
    WORKING covers (−4130). ``side`` is the position's side, the order's is its opposite. ``ratchet``: a mere move of a
    stop that rests and covers; the account's limit of moves a minute holds for it (domain 6.4).
    """

    position: str
    leg: Leg
    side: Side
    trigger: Ticks
    lots: Lots
    ratchet: bool = False


class PlaceTarget(msgspec.Struct, frozen=True, tag="place_target"):
    """
    Rest a target. TARGET: reduce-only LIMIT (GTX, then GTC if it would take) of ``lots`` at ``price``.
    LAST_TARGET: TAKE_PROFIT_MARKET closePosition at trigger ``price``, so no dust stays.
    """

    position: str
    leg: Leg
    side: Side
    price: Ticks
    lots: Lots


class CancelLeg(msgspec.Struct, frozen=True, tag="cancel_leg"):
    """Cancel every live order of one leg of a position."""

    position: str
    leg: Leg


class ClosePosition(msgspec.Struct, frozen=True, tag="close_position"):
    """
    Close now, whatever it takes (close ladder of pains 20): cancel own targets, market reduce-only in slices of at
    most the market lot maximum with the quantity re-read from the venue, until the venue says zero. Stops stay. Never
    expires.
    ``lots`` is decide's view of the open quantity, signed by the position; the venue's read wins. ``risk`` is what is
    lost if the far rail fills instead (USDT, E8; 0: not known): of closes that must wait, the largest goes first (X3).
    """

    position: str
    side: Side
    lots: Lots
    reason: str
    risk: E8 = E8(0)


class ReducePosition(msgspec.Struct, frozen=True, tag="reduce_position"):
    """
    Close a part now: market reduce-only, ``lots`` in all, in slices of at most ``slice_lots``, one after the other.

    Stops stay; decide states the rails for the rest when the fills are told (new before old). Nothing is repeated: what
    a slice was refused for, or left in doubt by, is told and ends it, for a part too much cannot be taken back.
    """

    position: str
    side: Side
    lots: Lots
    slice_lots: Lots
    reason: str


class Sweep(msgspec.Struct, frozen=True, tag="sweep"):
    """After flat: cancel every leftover of the position, entries and targets first, stops last."""

    position: str


Intent = OpenBracket | MoveStop | PlaceTarget | CancelLeg | ClosePosition | ReducePosition | Sweep


class RequestData(msgspec.Struct, frozen=True, tag="request_data"):
    """
    Ask the executor for a REST answer; it comes back as an ``inputs`` line of the symbol.

    ``kind``: ``depth`` (``limit``), ``klines`` (5m, ``limit``), ``premium_index``, ``book_ticker``, ``open_interest``,
    ``open_interest_history`` (5m, ``limit``), ``basis_history`` (premium-index candles of 5m, ``limit``),
    ``funding_history`` (``limit``), ``funding_info``, ``leverage_brackets``, ``exchange_info`` or ``audit``
    (positionRisk + openOrders + openAlgoOrders, lane ``query``); ``account`` (symbol ``*``) answers into the topic
    ``account``, with the transfers since ``since_ms``. ``held`` symbols come first.
    """

    kind: str
    limit: int = 0
    held: bool = False
    expires_ms: Milliseconds = Milliseconds(0)
    since_ms: Milliseconds = Milliseconds(0)


class AnswerAdmission(msgspec.Struct, frozen=True, tag="answer_admission"):
    """Tell account what became of an admission: ``used`` or ``declined`` (then the slot is free), with the reason."""

    admission: str
    used: bool
    position: str
    reason: str


class ReportPosition(msgspec.Struct, frozen=True, tag="report_position"):
    """
    Tell account about the open position (at changes and once a second): state, quantity, open PnL at mark.

    ``far`` is the level of rail (a): what is lost at most if the venue fills there (0: not told).
    """

    position: str
    state: str
    lots: Lots
    entry_price: E8
    stop: Ticks
    open_pnl: E8
    far: Ticks = Ticks(0)


class GateRow(msgspec.Struct, frozen=True, array_like=True):
    """What one gate found: its id, the value, what is allowed, ``pass`` | ``refuse`` | ``unknown``, and why not."""

    id: str
    value: str
    limit: str
    verdict: str
    reason: str


class SignalPlan(msgspec.Struct, frozen=True):
    """
    What a prime signal proposes (domain section 5), prices in E8: enter between ``low`` and ``high`` at the touch or
    up to the slippage allowed, ``first_share`` (per mille) off at ``target``. ``ratio`` is the first target's distance
    over the stop's, ``data_quality`` per mille; ``swings`` are (low, high), 0: none; ``zones`` (kind, low, high) the
    nearest walls and bands. Its size is account's word, in the admission.
    """

    valid_until_ms: Milliseconds
    low: E8
    high: E8
    stop: E8
    target: E8
    last_target: E8
    first_share: int
    ratio: int
    atr_1h: E8
    data_quality: int
    regime: str
    swings: tuple[E8, E8]
    zones: list[tuple[str, E8, E8]]
    basis_millibps: int
    funding_8h: E8


class ReportSignal(msgspec.Struct, frozen=True, tag="report_signal"):
    """
    Tell account what a closed 5m bar says about the symbol (domain section 5): it ranks them all and admits the prime.

    ``stage`` is prime | watch | none; a ``fresh`` prime asks for an entry, a maintained one does not. Scores are
    thousandths: ``score`` is E, ``strength`` 0 to 100,000; ``odds`` are millionths, P of the side. ``liquidity`` and
    ``independence`` are factors L and I in whole points, −1 when they are not ready. ``price`` is the touch.
    ``refused`` names the gates that refuse; ``gates`` are all of them, in the order of the table. ``plan`` comes with
    a prime signal whose levels exist.
    """

    bar_ms: Milliseconds
    stage: str
    fresh: bool
    side: Side
    score: int
    strength: int
    odds: int
    coverage: int
    liquidity: int
    independence: int
    price: E8
    refused: list[str]
    gates: list[GateRow] = []
    source: str = ""  # the plug-in that gave the signal; empty: decide's own
    plan: SignalPlan | None = None


class ReportTrade(msgspec.Struct, frozen=True, tag="report_trade"):
    """
    The whole story of a position that is now flat (topic ``trades``); money in E8 USDT, times in log ms.

    ``realised`` is before fees, ``reason`` the exit rule (X-id) that ended it, ``outcome`` a word for people
    (``reporting.words.OUTCOMES``).
    """

    position: str
    side: Side
    lots: Lots
    entry_price: E8
    exit_price: E8
    opened_ms: Milliseconds
    closed_ms: Milliseconds
    realised: E8
    fees: E8
    initial_stop: Ticks
    last_stop: Ticks
    stop_moves: int
    reason: str
    outcome: str


class ShareBars(msgspec.Struct, frozen=True, tag="share_bars"):
    """Closed bars of Bitcoin or Ether on their way to every symbol: a line for each partition of ``inputs``."""

    bars: ReferenceBars


class AskPlugins(msgspec.Struct, frozen=True, tag="ask_plugins"):
    """
    Ask plug-ins what they say about the symbol (topic ``plugin.asks``); each answers with a line of ``inputs`` of its
    own that names the id of this output. ``due_ms`` is log time: nobody needs an answer after it.
    """

    names: list[str]
    due_ms: Milliseconds
    view: PluginView


class Alert(msgspec.Struct, frozen=True, tag="alert"):
    """A word for people (topic ``alerts``); ``code`` is a stable name, ``severity`` info | warning | critical."""

    code: str
    severity: str
    text: str


class Note(msgspec.Struct, frozen=True, tag="note"):
    """A transition that belongs into the decision record but asks for nothing (state changes, gates, resyncs)."""

    code: str
    text: str


Output = (
    Intent
    | RequestData
    | AnswerAdmission
    | ReportPosition
    | ReportSignal
    | ReportTrade
    | ShareBars
    | AskPlugins
    | Alert
    | Note
)


class Decision(msgspec.Struct, frozen=True):
    """
    What one line of the log led to for one symbol (topic ``decisions``); at most one per line and symbol.

    ``causes`` are the positions ``partition/offset/line`` of the lines that the decision rests on, this line first.
    ``ids[i]`` is the id of ``outputs[i]``. ``chain`` is blake2b-16 over (previous chain, position, outputs), hex;
    ``state_digest`` is taken at every 1,000th line of the symbol, else empty. No wall clock, host or worker name.
    """

    symbol: str
    partition: int
    offset: int
    line: int
    log_ms: Milliseconds
    fold: str
    rules: list[str]
    causes: list[str]
    ids: list[str]
    outputs: list[Output]
    chain: str
    state_digest: str = ""
