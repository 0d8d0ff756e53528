"""
The only place that ties the inputs of one symbol to its factors: which input feeds which, and when a value is new.

``FactorState`` holds every accumulator and lives in the symbol's state. The ``on_…`` functions fold one input each, in
O(1), and count its version; nothing is scored here (``factor_values``).

All times are log time (ms), so that folding the log again gives the same values. Prices are ticks, quantities lots,
money E8 as in ``events``; what cannot be (zero, negative, absurd) is refused, counted, and named in ``refused``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from pipeline.core.bars import ATR_PERIOD, BAR_MS, FLOOR_TICKS, BarHistory, Wilder, add_closed
from pipeline.core.bars import rebuild as begin
from pipeline.core.book import Book
from pipeline.core.events import (
    Bar,
    Level,
    MarkPrice,
    OpenInterest,
    OpenInterestHistory,
    Quote,
    ReferenceBars,
    Side,
    Trade,
)
from pipeline.core.factors import (
    basis,
    independence,
    liquidations,
    liquidity,
    momentum,
    open_interest,
    order_flow,
    price,
    structure,
    trend,
    volume,
    volume_delta,
)
from pipeline.core.factors.parameters import DEFAULT, FactorParameters, Overrides
from pipeline.core.factors.price import Prices
from pipeline.core.units import ONE_E8

LETTERS: Final = ("T", "M", "S", "V", "C", "O", "B", "Q", "L", "I", "F")
_LARGEST: Final = 1 << 53  # beyond it a float cannot hold every whole number


class BarFactors(msgspec.Struct):
    """What follows from closed bars alone; built again from history after a hole."""

    prices: Prices
    trend: trend.Trend
    momentum: momentum.Momentum
    structure: structure.Structure
    volume: volume.Volume
    delta: volume_delta.VolumeDelta

    def add(self, bar: Bar, *, a: float, hour_range: float, tape_differs: bool, parameters: FactorParameters) -> None:
        """Fold one bar; *a* and *hour_range* are the true ranges after it, in ticks (0: not known)."""
        prices = self.prices
        quote = bar.quote_volume / ONE_E8
        delta = (2 * bar.taker_quote - bar.quote_volume) / ONE_E8
        prices.add(bar, a=a, hour_range=hour_range, parameters=parameters.price)
        self.trend.add(prices, parameters.trend)
        self.momentum.add(prices, parameters.momentum)
        self.structure.add(prices, parameters.structure)
        self.volume.add(prices, self.structure, quote, parameters.volume)
        self.delta.add(prices, quote=quote, delta=delta, tape_differs=tape_differs, parameters=parameters.volume_delta)


class Versions(msgspec.Struct):
    """How many inputs of each kind have been folded."""

    bar: int = 0
    reference: int = 0
    depth: int = 0
    mark: int = 0
    interest: int = 0
    liquidation: int = 0


class FactorState(msgspec.Struct):
    """Every accumulator of one symbol. ``hole`` says why the bar factors are not whole, empty when they are."""

    symbol: str
    tick_e8: int
    step_e8: int
    bars: BarFactors
    tape: volume_delta.Tape
    interest: open_interest.Interest
    liquidity: liquidity.Liquidity
    flow: order_flow.OrderFlow
    basis: basis.Basis
    liquidations: liquidations.Liquidations
    independence: independence.Independence
    versions: Versions = msgspec.field(default_factory=Versions)
    bar_open_ms: int = 0  # of the newest bar folded
    hole: str = "no bar yet"
    refused: dict[str, int] = msgspec.field(default_factory=dict)
    last_refused: str = ""
    overrides: Overrides = ()  # the parameters that it was begun with (``factors.parameters.parameters_of``)

    @property
    def bar_close_ms(self) -> int:
        """Venue time of the last close, 0 before the first bar."""
        return self.bar_open_ms + BAR_MS if self.bar_open_ms else 0


def _new_bars(parameters: FactorParameters) -> BarFactors:
    return BarFactors(
        prices=price.new(parameters.trend.line_bars),
        trend=trend.new(parameters.trend),
        momentum=momentum.new(parameters.momentum),
        structure=structure.new(parameters.structure),
        volume=volume.new(parameters.volume),
        delta=volume_delta.new(parameters.volume_delta),
    )


def new_factor_state(symbol: str, *, tick_e8: int, step_e8: int, parameters: FactorParameters = DEFAULT) -> FactorState:
    """The state of a symbol before its first input; a new tick or step size needs a new state and ``rebuild``."""
    return FactorState(
        symbol=symbol,
        tick_e8=tick_e8,
        step_e8=step_e8,
        bars=_new_bars(parameters),
        tape=volume_delta.Tape(),
        interest=open_interest.new(parameters.open_interest),
        liquidity=liquidity.new(parameters.liquidity),
        flow=order_flow.new(parameters.order_flow),
        basis=basis.new(parameters.basis),
        liquidations=liquidations.new(parameters.liquidations),
        independence=independence.new(parameters.independence),
    )


def _refuse(state: FactorState, kind: str, reason: str) -> None:
    state.refused[kind] = state.refused.get(kind, 0) + 1
    state.last_refused = f"{kind}: {reason}"


# ------------------------------------------------------------------------------------------------------------ inputs


def follow(history: BarHistory, bar: Bar) -> None:
    """Fold *bar* into a history that is only followed for its true ranges, from its first bar on."""
    if history.bars:
        add_closed(history, bar)
    else:
        begin(history, [bar])


def ranges_of(history: BarHistory) -> tuple[float, float]:
    """(a, A) of a bar history in ticks, never below the floor of 2; 0 while not known."""
    return _range(history.five_minutes), _range(history.one_hour)


def _range(average: Wilder) -> float:
    return max(average.value, float(FLOOR_TICKS)) if average.count >= ATR_PERIOD else 0.0


def bar_fault(bar: Bar) -> str:
    """Why a closed bar cannot be true, empty when it can."""
    if not 0 < bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high < _LARGEST:
        return "its prices cannot be"
    if not 0 <= bar.taker_quote <= bar.quote_volume:
        return "its volumes cannot be"
    return ""


def on_closed_bar(
    state: FactorState,
    bar: Bar,
    *,
    ranges: tuple[float, float],
    now_ms: int,
    parameters: FactorParameters = DEFAULT,
) -> bool:
    """
    Fold the next closed bar; *ranges* are (a, A) after it, from the symbol's bar history. False: nothing changed.

    A duplicate or older bar is ignored. A jump of the open time, or a bar that cannot be, leaves a hole: the bar
    factors are missing until ``rebuild``.
    """
    if not bar.closed or bar.open_ms <= state.bar_open_ms:
        return False
    fault = bar_fault(bar)
    if fault:
        _break(state, f"bar {bar.open_ms}: {fault}")
        _refuse(state, "bar", fault)
        return False
    if state.bar_open_ms and bar.open_ms != state.bar_open_ms + BAR_MS:
        _break(state, f"bars between {state.bar_open_ms} and {bar.open_ms} are missing")
        return False
    if state.hole and state.bar_open_ms:
        return False
    state.hole = ""
    differs = state.tape.differs(
        open_ms=bar.open_ms,
        quote=bar.quote_volume / ONE_E8,
        bought=bar.taker_quote / ONE_E8,
        tolerance=parameters.volume_delta.tape_tolerance,
    )
    state.bars.add(bar, a=ranges[0], hour_range=ranges[1], tape_differs=differs, parameters=parameters)
    _close(state, bar, now_ms=now_ms, parameters=parameters)
    return True


def _break(state: FactorState, reason: str) -> None:
    state.hole = reason
    state.versions.bar += 1


def _close(state: FactorState, bar: Bar, *, now_ms: int, parameters: FactorParameters) -> None:
    """Sample at a bar's close what runs beside the bars."""
    ages = parameters.ages
    state.bar_open_ms = bar.open_ms
    state.versions.bar += 1
    state.interest.add(now_ms=now_ms, age=open_interest.age_of(state.interest, ages.open_interest_polls))
    state.basis.add(now_ms=now_ms, age=ages.mark)
    state.liquidations.add(now_ms=now_ms, age=ages.liquidations)
    state.independence.add(state.independence.own, bar.open_ms, float(bar.close))


def rebuild(state: FactorState, bars: Sequence[Bar], *, now_ms: int, parameters: FactorParameters = DEFAULT) -> None:
    """
    Build the bar factors again from *bars* (oldest first, unbroken, closed), after a hole or at the start.

    What is not in bars (open interest, basis, liquidations, independence) goes on: bars that passed unseen count as not
    sampled, the newest one is sampled now. A bar that cannot be, or a jump, begins the history anew after it.
    """
    history = BarHistory()
    fresh = _new_bars(parameters)
    used: list[Bar] = []
    for bar in bars:
        if bar_fault(bar) or (used and bar.open_ms != used[-1].open_ms + BAR_MS):
            _refuse(state, "bar", bar_fault(bar) or "a jump in the history")
            history, fresh, used = BarHistory(), _new_bars(parameters), []
            if bar_fault(bar):
                continue
        follow(history, bar)
        a, hour_range = ranges_of(history)
        fresh.add(bar, a=a, hour_range=hour_range, tape_differs=False, parameters=parameters)
        used.append(bar)
    state.bars = fresh
    if not used:
        _break(state, "no bar that can be used")
        state.bar_open_ms = 0
        return
    state.hole = ""
    unseen = [bar for bar in used if bar.open_ms > state.bar_open_ms]
    for bar in unseen[:-1]:
        state.interest.skip()
        state.independence.add(state.independence.own, bar.open_ms, float(bar.close))
    if unseen:
        _close(state, unseen[-1], now_ms=now_ms, parameters=parameters)
    else:
        state.bar_open_ms = used[-1].open_ms
        state.versions.bar += 1


def on_reference_bar(state: FactorState, symbol: str, *, open_ms: int, close: float) -> None:
    """Fold a closed bar of Bitcoin or Ether (any unit: only returns count); other symbols are ignored."""
    series = {
        independence.BITCOIN: state.independence.bitcoin,
        independence.ETHER: state.independence.ether,
    }.get(symbol)
    if series is None:
        return
    if not 0.0 < close < _LARGEST:
        _refuse(state, "reference", f"close {close!r} of {symbol} cannot be")
        return
    state.versions.reference += 1
    state.independence.add(series, open_ms, close)


def on_reference_bars(state: FactorState, shared: ReferenceBars, own: Sequence[Bar], *, now_ms: int) -> None:
    """
    Fold closed bars of Bitcoin or Ether as they were shared; *own* are this symbol's bars, for a history that is new.

    Another symbol, or closes that cannot be, are refused: the writer is ours, so that is told by ``refused``.
    """
    independent = state.independence
    series = {independence.BITCOIN: independent.bitcoin, independence.ETHER: independent.ether}.get(shared.symbol)
    early = shared.open_ms > now_ms  # it would hide every later one
    if series is None or early or len(shared.closes) < 2 or not all(0 < close < _LARGEST for close in shared.closes):
        _refuse(state, "reference", f"{len(shared.closes)} closes of {shared.symbol[:20]} cannot be")
        return
    if shared.open_ms <= series.open_ms or shared.open_ms % BAR_MS:
        return
    state.versions.reference += 1
    usable = [(bar.open_ms, float(bar.close)) for bar in own] if shared.open_ms - series.open_ms > BAR_MS else []
    independent.share(series, shared.open_ms, shared.closes, usable)
    if shared.symbol == independence.BITCOIN:
        independent.market_trend, independent.market_trend_ms = shared.trend, shared.open_ms


def on_quote(state: FactorState, quote: Quote, *, now_ms: int) -> None:
    """Fold a best bid and ask: microprice, order flow, the mid of the basis."""
    if not 0 < quote.bid < quote.ask or quote.bid_lots <= 0 or quote.ask_lots <= 0:
        _refuse(state, "quote", "empty or crossed")
        return
    state.flow.add(quote.bid, quote.bid_lots, quote.ask, quote.ask_lots, now_ms)


def on_book(state: FactorState, book: Book, *, now_ms: int, parameters: FactorParameters = DEFAULT) -> bool:
    """Measure the local book when the next measure is due; False when it is not. A book not whole shows no levels."""
    if not state.liquidity.wants(now_ms, parameters.liquidity):
        return False
    tick, lot = state.tick_e8 / ONE_E8, state.step_e8 / ONE_E8
    bids: list[Level] = []
    asks: list[Level] = []
    if book.whole:
        bids, asks = liquidity.levels_of(book, tick=tick, lot=lot, notional=parameters.liquidity.impact_notional)
    on_depth(state, bids, asks, whole=True, now_ms=now_ms, parameters=parameters)
    return True


def on_depth(
    state: FactorState,
    bids: Sequence[Level],
    asks: Sequence[Level],
    *,
    whole: bool,
    now_ms: int,
    parameters: FactorParameters = DEFAULT,
) -> None:
    """Measure a book by its levels, best first; *whole* is False for a depth20 frame."""
    state.versions.depth += 1
    state.liquidity.add(
        bids,
        asks,
        whole=whole,
        tick=state.tick_e8 / ONE_E8,
        lot=state.step_e8 / ONE_E8,
        now_ms=now_ms,
        parameters=parameters.liquidity,
    )


def on_mark(
    state: FactorState,
    mark: MarkPrice,
    *,
    now_ms: int,
    interval_hours: int = 0,
    parameters: FactorParameters = DEFAULT,
) -> None:
    """Fold a mark price; *interval_hours* is the funding interval when fundingInfo told it, else 0."""
    if mark.mark <= 0 or mark.index < 0:
        _refuse(state, "mark", "not positive")
        return
    state.versions.mark += 1
    if interval_hours:
        state.basis.interval_hours = interval_hours
    flow = state.flow
    fresh = flow.at_ms > 0 and now_ms - flow.at_ms < parameters.ages.quote.hard_ms
    state.basis.mark(
        mid=flow.mid * state.tick_e8 if fresh else float(mark.mark),
        index=float(mark.index),
        rate=mark.funding_rate_e8 / ONE_E8,
        next_funding_ms=mark.next_funding_ms,
        from_quotes=fresh,
        now_ms=now_ms,
        parameters=parameters.basis,
    )
    state.liquidations.see_price(mark.mark / state.tick_e8)


def on_trade(state: FactorState, trade: Trade, *, now_ms: int) -> None:
    """Fold one aggTrade into the tape of the forming bar."""
    if trade.price <= 0 or trade.lots <= 0:
        _refuse(state, "trade", "not positive")
        return
    state.tape.add(
        trade_id=trade.trade_id,
        quote=trade.price * trade.lots * (state.tick_e8 / ONE_E8) * (state.step_e8 / ONE_E8),
        seller_aggressed=trade.seller_aggressed,
        trade_ms=trade.trade_ms,
        now_ms=now_ms,
    )


def on_open_interest(
    state: FactorState,
    answer: OpenInterest,
    *,
    now_ms: int,
    poll_ms: int = open_interest.POLL_HELD_MS,
    parameters: FactorParameters = DEFAULT,
) -> None:
    """Fold one poll; *poll_ms* is the interval at which the symbol is asked for (its ages count in it)."""
    if not 0 < answer.lots < _LARGEST:
        _refuse(state, "open_interest", "not positive")
        return
    state.versions.interest += 1
    state.interest.poll(float(answer.lots), now_ms=now_ms, poll_ms=poll_ms, parameters=parameters.open_interest)


def on_open_interest_history(
    state: FactorState,
    history: OpenInterestHistory,
    *,
    poll_ms: int = open_interest.POLL_HELD_MS,
    parameters: FactorParameters = DEFAULT,
) -> None:
    """Begin the samples of open interest anew from the venue's past; a history that cannot be is refused whole."""
    rows = history.rows
    if not rows or not all(0 < lots < _LARGEST for _, lots in rows) or not state.bar_close_ms:
        _refuse(state, "open_interest", "no history that can be used")
        return
    state.versions.interest += 1
    state.interest.poll_ms = poll_ms
    state.interest.backfill(
        [(at_ms, float(lots)) for at_ms, lots in rows],
        close_ms=state.bar_close_ms,
        age=open_interest.age_of(state.interest, parameters.ages.open_interest_polls),
        parameters=parameters.open_interest,
    )


def on_basis_history(
    state: FactorState, rows: list[tuple[int, int]], *, parameters: FactorParameters = DEFAULT
) -> None:
    """
    Begin the samples of the basis anew from closes of premium-index candles: (close in ms, (mark − index)/index in E8).

    Only bars that are closed for the factors count: the next one is sampled live. A shorter past than what was seen
    live changes nothing.
    """
    if any(abs(ratio_e8) >= ONE_E8 for _, ratio_e8 in rows):
        _refuse(state, "basis", "no history that can be used")
        return
    state.versions.mark += 1
    samples = [1e4 * ratio_e8 / ONE_E8 for close_ms, ratio_e8 in rows if close_ms <= state.bar_close_ms]
    state.basis.backfill(samples, parameters.basis)


def on_funding_history(
    state: FactorState, rows: list[tuple[int, int]], *, parameters: FactorParameters = DEFAULT
) -> None:
    """Take settled fundings, oldest first, as prints: (settlement in ms, rate of the interval in E8)."""
    if any(abs(rate_e8) >= ONE_E8 for _, rate_e8 in rows):
        _refuse(state, "funding", "no history that can be used")
        return
    state.versions.mark += 1
    state.basis.backfill_prints([(at_ms, rate_e8 / ONE_E8) for at_ms, rate_e8 in rows], parameters.basis)


def on_funding_interval(state: FactorState, hours: int) -> None:
    """The venue states the interval between settlements (fundingInfo)."""
    if hours not in basis.INTERVALS_HOURS:
        _refuse(state, "funding", f"an interval of {hours} h")
        return
    state.versions.mark += 1
    state.basis.interval_hours = hours


def on_liquidation(
    state: FactorState,
    *,
    side: Side,
    price_e8: int,
    lots: int,
    trade_ms: int,
    now_ms: int,
    parameters: FactorParameters = DEFAULT,
) -> bool:
    """Fold one forceOrder (*price_e8*: the average price, the order's when it has none); False for one seen already."""
    if price_e8 <= 0 or lots <= 0:
        _refuse(state, "liquidation", "not positive")
        return False
    state.versions.liquidation += 1
    return state.liquidations.event(
        side=side,
        notional=price_e8 / ONE_E8 * (lots * state.step_e8 / ONE_E8),
        trade_ms=trade_ms,
        lots=lots,
        now_ms=now_ms,
        parameters=parameters.liquidations,
    )


def on_liquidation_socket(state: FactorState, *, now_ms: int, parameters: FactorParameters = DEFAULT) -> None:
    """A frame of any kind came on the socket that carries forceOrder: silence of liquidations means none."""
    if now_ms - state.liquidations.alive_ms > parameters.ages.liquidations.soft_ms:
        state.versions.liquidation += 1  # the quality had begun to fall; otherwise nothing changes by it
    state.liquidations.alive(now_ms)
