"""The only place for how a scripted session is told: one symbol, its lines in order, what they led to."""

from __future__ import annotations

from typing import TypeVar

from pipeline.core.commands import Alert, Decision, Output
from pipeline.core.engine import conclude, decode, encode, new_state
from pipeline.core.events import (
    Bar,
    Bars,
    EntryAdmitted,
    Event,
    InstrumentChanged,
    MarkPrice,
    Quote,
    Side,
    Stamp,
    Ticked,
    TradingMode,
    TradingStateSet,
)
from pipeline.core.instruments import Instrument
from pipeline.core.positions import Position
from pipeline.core.units import E8, ONE_E8, Lots, Milliseconds, Ticks

START_MS = 1_700_000_400_000  # a full hour of Unix time
BAR_MS = 300_000
LOG_IDENTITY = "testlog"
PARTITION = 3

# One tick is 1 USDT and one lot 0.001: ticks read as prices.
INSTRUMENT = Instrument(
    symbol="BTCUSDT",
    status="TRADING",
    tick_e8=ONE_E8,
    step_e8=100_000,
    min_price_ticks=1,
    max_price_ticks=10_000_000,
    min_lots=1,
    max_lots=1_000_000,
    max_market_lots=120_000,
    min_notional_e8=5 * ONE_E8,
)

Kind = TypeVar("Kind", bound=Output)


def bars(count: int, *, price: int, span: int, until_ms: int = START_MS) -> list[Bar]:
    """*count* closed bars that end at *until_ms*, each ``price ± span/2``, so that ATR(5m) is *span*."""
    first = until_ms - count * BAR_MS
    return [
        Bar(
            open_ms=Milliseconds(first + i * BAR_MS),
            open=Ticks(price),
            high=Ticks(price + span // 2),
            low=Ticks(price - span // 2),
            close=Ticks(price),
            lots=Lots(1_000),
            quote_volume=E8(price * ONE_E8),
            taker_lots=Lots(500),
            taker_quote=E8(price * ONE_E8 // 2),
            trades=10,
            closed=True,
        )
        for i in range(count)
    ]


class Session:
    """
    Tells lines to one symbol's fold at a clock that the story moves.

    With ``restart_every`` the state goes through bytes after every so many lines: a story must not notice.
    """

    def __init__(self, *, restart_every: int = 0) -> None:
        self.state = new_state("BTCUSDT", log_identity=LOG_IDENTITY)
        self.now = START_MS
        self.offset = 0
        self.outputs: list[Output] = []
        self.ids: list[str] = []
        self.decisions: list[Decision] = []
        self.update_id = 0
        self._restart_every = restart_every

    def say(self, *events: Event, at_ms: int | None = None) -> list[Output]:
        """One line with *events*; returns what it led to."""
        self.offset += 1
        stamp = Stamp(
            partition=PARTITION,
            offset=self.offset,
            line=0,
            at_ms=Milliseconds(self.now if at_ms is None else at_ms),
            append_ms=Milliseconds(self.now),
        )
        decision = conclude(self.state, events, stamp, log_identity=LOG_IDENTITY, fold="test")
        if self._restart_every and self.offset % self._restart_every == 0:
            self.state = decode(encode(self.state))
        if decision is None:
            return []
        self.decisions.append(decision)
        self.outputs += decision.outputs
        self.ids += decision.ids
        return decision.outputs

    def wait(self, ms: int, *, tick_ms: int = 250) -> list[Output]:
        """Let log time pass with the ticks that decide writes for itself."""
        led: list[Output] = []
        until = self.now + ms
        while self.now < until:
            self.now = min(self.now + tick_ms, until)
            led += self.say(Ticked())
        return led

    def quote(self, bid: int, ask: int) -> list[Output]:
        """A best bid and ask."""
        self.update_id += 10
        return self.say(
            Quote(
                update_id=self.update_id,
                bid=Ticks(bid),
                bid_lots=Lots(5_000),
                ask=Ticks(ask),
                ask_lots=Lots(5_000),
                event_ms=Milliseconds(self.now),
            )
        )

    def mark(self, price: int) -> list[Output]:
        """A mark price, in whole USDT."""
        return self.say(
            MarkPrice(
                mark=E8(price * ONE_E8),
                index=E8(price * ONE_E8),
                funding_rate_e8=0,
                next_funding_ms=Milliseconds(0),
                event_ms=Milliseconds(self.now),
            )
        )

    def active(self) -> list[Output]:
        """The trading state line that account repeats."""
        return self.say(TradingStateSet(mode=TradingMode.ACTIVE, reason=""))

    def ready(self, *, price: int = 50_000, span: int = 100) -> None:
        """Everything an entry needs: instrument, trading state, 200 bars, quote, mark."""
        self.say(InstrumentChanged(instrument=INSTRUMENT))
        self.active()
        self.say(Bars(bars=bars(200, price=price, span=span)))
        self.quote(price - 1, price + 1)
        self.mark(price)

    def admit(
        self,
        *,
        side: Side = Side.BUY,
        lots: int = 100,
        stop: int = 0,
        target: int = 0,
        last_target: int = 0,
        notional: int = 0,
        admission: str = "adm-1",
        valid_ms: int = 5_000,
        template: str = "",
    ) -> list[Output]:
        """An admission of account."""
        return self.say(
            EntryAdmitted(
                admission=admission,
                side=side,
                lots=Lots(lots),
                notional=E8(notional * ONE_E8),
                stop=Ticks(stop),
                target=Ticks(target),
                last_target=Ticks(last_target),
                expires_ms=Milliseconds(self.now + valid_ms),
                template=template,
            )
        )

    @property
    def position(self) -> Position:
        """The open position; the story says that there is one."""
        assert self.state.position is not None
        return self.state.position

    def all(self, kind: type[Kind]) -> list[Kind]:
        """Every output of a kind so far."""
        return [output for output in self.outputs if isinstance(output, kind)]

    def last(self, kind: type[Kind]) -> Kind:
        """The newest output of a kind."""
        return self.all(kind)[-1]

    def codes(self) -> list[str]:
        """The codes of all alerts so far."""
        return [alert.code for alert in self.all(Alert)]
