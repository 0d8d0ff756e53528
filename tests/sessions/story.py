"""
The only place for how a story about an open position is told for both sides at once.

A story speaks of a long position: prices are offsets from 50,000, scores speak for the long. Told of a short, the same
story is turned upside down. Factors say what the story says; time passes in marks (the ticks of a real worker would
score the made-up bars instead).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from pipeline.core.commands import ClosePosition, MoveStop, ReducePosition, ReportPosition, ReportTrade
from pipeline.core.engine import digest
from pipeline.core.events import Bar, DepthSnapshot, Event, Leg, MarkPrice, Quote, Side
from pipeline.core.liquidation_map import LiquidationMap, MassBand
from pipeline.core.positions import Position
from pipeline.core.units import E8, ONE_E8, Lots, Milliseconds, Ticks
from pipeline.core.wall_state import Band, Ending, WallState, WallVerdict
from tests.core_scores import scores
from tests.sessions.script import BAR_MS, INSTRUMENT, START_MS, Session
from tests.sessions.test_any_story import same, upside_down
from tests.sessions.venue import Venue

MIDDLE = 50_000
Tell = Callable[..., "Story"]  # (name, side, restart_every=0) → the story as it was told
TURNED = {"up_up": "dn_up", "dn_up": "up_up", "up_dn": "dn_dn", "dn_dn": "up_dn"}
MIRRORED = ("T", "M", "S", "V", "C", "O", "B", "Q", "F")


class Story:
    """One position from its entry at the touch: R is 180, TP1 lies 250 and TP2 375 away, both ranges are 100."""

    def __init__(self, side: Side, *, restart_every: int = 0, open_now: bool = True, **policy: Any) -> None:
        self.side = side
        self.sign = side.sign
        self.session = Session(restart_every=restart_every)
        self.session.ready()
        plain = msgspec.structs.replace(self.session.state.policy, taker_fee_e8=0, **policy)
        self.session.state.policy = plain
        self.venue = Venue(self.session)
        self.offset = 0
        self.bar = 0
        self.said: dict[str, Any] = {}
        self.values: dict[str, int] = {"L": 80_000}
        self.missing: set[str] = set()
        self.funding = (0, 0)
        self.walls: dict[int, Band] = {}
        self.endings: list[Ending] = []
        self.bands: list[MassBand] = []
        if open_now:
            self.open()

    # ------------------------------------------------------------------------------------------------------ telling

    def open(self, *, scored: bool = False, **admission: Any) -> None:
        """
        Admit an entry of 100 lots; it fills at the touch and its rails rest. Only when *scored* the factors shape its
        levels: what happens to an open position is told from the plain ones.
        """
        self._score()
        if not scored:
            self.session.state.scores = None
        self.venue.run(self.session.admit(side=self.side, **admission))
        self.session.now += 1_000

    def price(self, offset: int) -> int:
        """The price at *offset* in favour of the position."""
        return MIDDLE + self.sign * offset

    def factors(self, **said: Any) -> None:
        """From now on the factors say this: E=-50, C=60, regime="dn_up", flow=-2.6, cascade=-1, coverage=400 …"""
        for name, value in said.items():
            if len(name) == 1 and name != "E":
                factor = value if name not in MIRRORED else value * self.sign
                self.values[name] = int(factor * 1_000)
            else:
                self.said[name] = value

    def silent(self, *letters: str) -> None:
        """These factors are missing from now on."""
        self.missing.update(letters)

    def wall(self, low: int, high: int, *, ahead: bool = False, strength: int = 800, name: int = 7) -> None:
        """A confirmed wall of the book between two offsets stands from now on, behind the position or ahead of it."""
        self.walls[name] = Band(
            id=name,
            side=self.side.opposite if ahead else self.side,
            low=min(self.price(low), self.price(high)),
            high=max(self.price(low), self.price(high)),
            size=1_000,
            strength_permille=strength,
            since_ms=self.session.now,
            confirmed_ms=self.session.now,
            iceberg=False,
        )

    def lose_wall(self, verdict: WallVerdict, *, name: int = 7) -> None:
        """The wall ends like that."""
        band = self.walls.pop(name)
        self.endings.append(Ending(name, band.side, band.low, band.high, verdict, self.session.now, confirmed=True))

    def liquidations(self, low: int, high: int, *, of_shorts: bool) -> None:
        """The estimated map has a band between two offsets (of longs when told so, of a long's story)."""
        side = self.side.opposite if of_shorts else self.side
        self.bands.append(
            MassBand(
                id=1,
                side=side,
                low_e8=min(self.price(low), self.price(high)) * ONE_E8,
                high_e8=max(self.price(low), self.price(high)) * ONE_E8,
                strength_permille=800,
                since_ms=self.session.now,
                mass_e8=ONE_E8,
            )
        )

    def _zones(self) -> None:
        state = self.session.state
        if state.walls is not None and state.walls.endings:
            self.endings = state.walls.endings  # with what the core has noted in them
        if self.walls or self.endings:
            state.walls = WallState(
                tick_e8=INSTRUMENT.tick_e8,
                step_e8=INSTRUMENT.step_e8,
                sampled_ms=self.session.now,
                bands=list(self.walls.values()),
                endings=list(self.endings),
            )
        if self.bands:
            state.liquidations = LiquidationMap(bands=list(self.bands))

    def _score(self) -> None:
        self._zones()
        said, sign = self.said, self.sign
        cascade = said.get("cascade", 0) * sign
        regime = said.get("regime", "flat")
        low, high = ("low", "high") if sign > 0 else ("high", "low")
        fields: dict[str, Any] = {}
        for told, name in (("swing_low", f"swing_{low}"), ("swing_high", f"swing_{high}")):
            if told in said:
                offset, bar = said[told]
                fields[name] = self.price(offset)
                fields[f"{name}_ms"] = START_MS + bar * BAR_MS
        made = scores(
            values=self.values,
            at_ms=self.session.now,
            bar_close_ms=START_MS + self.bar * BAR_MS,
            score=int(said.get("E", 0) * 1_000) * sign,
            coverage=said.get("coverage", 1_000),
            regime=regime if sign > 0 else TURNED.get(regime, regime),
            cascade_up=cascade > 0,
            cascade_down=cascade < 0,
            exhausted=said.get("exhausted", False),
            ofi_z=int(said.get("flow", 0) * 1_000) * sign,
            ofi_ready=said.get("flow_ready", True),
            **fields,
        )
        factors = dict(made.factors)
        for letter in self.missing:
            # Doubtful is enough for all but liquidations, which speak as soon as they are ready.
            factors[letter] = msgspec.structs.replace(factors[letter], quality=499, ready=letter != "Q")
        self.session.state.scores = msgspec.structs.replace(made, factors=factors)

    def mark(self, offset: int | None = None, *, quote: int | None = None, spread: int = 2) -> None:
        """The market moves: quote (at the mark unless told otherwise), mark, and what that triggers."""
        self.offset = self.offset if offset is None else offset
        price = self.price(self.offset)
        middle = price if quote is None else self.price(quote)
        self._score()
        self.venue.price = price
        first = len(self.session.outputs)
        below, above = spread // 2, spread - spread // 2
        bid, ask = (middle - below, middle + above) if self.sign > 0 else (middle - above, middle + below)
        self.session.quote(bid, ask)
        self._score()
        rate, due_ms = self.funding
        self.say(
            MarkPrice(
                mark=E8(price * ONE_E8),
                index=E8(price * ONE_E8),
                funding_rate_e8=rate * self.sign,
                next_funding_ms=Milliseconds(due_ms),
                event_ms=Milliseconds(self.session.now),
            ),
            since=first,
        )
        self.venue.trigger()

    def say(self, event: Event, *, since: int | None = None) -> None:
        """A line; whatever it leads to is answered."""
        first = len(self.session.outputs) if since is None else since
        self._score()
        self.session.say(event)
        self.venue.answer(self.session.outputs[first:], self.session.ids[first:])

    def seconds(self, count: int, offset: int | None = None) -> None:
        """So many seconds pass, a mark in each."""
        for _ in range(count):
            self.session.now += 1_000
            self.mark(offset)

    def bars(self, count: int = 1, offset: int | None = None) -> None:
        """So many 5m bars close and are scored; the last score stands."""
        for _ in range(count):
            self.bar += 1
            self.session.now = START_MS + self.bar * BAR_MS
            scored, self.bar = self.bar, self.bar - 1  # the marks before the score still speak of the bar before
            self.mark(offset)
            price = self.price(self.offset)
            self.say(
                Bar(
                    open_ms=Milliseconds(START_MS + (scored - 1) * BAR_MS),
                    open=Ticks(price),
                    high=Ticks(price + 50),
                    low=Ticks(price - 50),
                    close=Ticks(price),
                    lots=Lots(10),
                    quote_volume=E8(ONE_E8),
                    taker_lots=Lots(5),
                    taker_quote=E8(ONE_E8 // 2),
                    trades=3,
                    closed=True,
                )
            )
            self.bar = scored
            self.session.now += 1_000
            self.mark()

    def book(self, levels: list[tuple[int, int]], *, behind: int = 1_000) -> None:
        """A whole book: *levels* (offset below the middle, lots) on the side a close would hit, plenty on the other."""
        own = [(self.price(self.offset - away), lots) for away, lots in levels]
        other = [(self.price(self.offset + 1), behind)]
        bids, asks = (own, other) if self.sign > 0 else (other, own)
        self.session.update_id += 10
        self.say(
            DepthSnapshot(
                last_update_id=self.session.update_id,
                bids=[(Ticks(p), Lots(q)) for p, q in bids],
                asks=[(Ticks(p), Lots(q)) for p, q in asks],
                event_ms=Milliseconds(self.session.now),
            )
        )

    def pays(self, rate_bps: float, *, in_seconds: int) -> None:
        """The position's side pays that at a settlement so far ahead."""
        self.funding = (int(rate_bps * ONE_E8 / 10_000), self.session.now + in_seconds * 1_000)

    # ------------------------------------------------------------------------------------------------------ reading

    @property
    def position(self) -> Position:
        """The open position."""
        return self.session.position

    @property
    def fired(self) -> list[str]:
        """Every rule of every decision so far, in order."""
        return [rule for decision in self.session.decisions for rule in decision.rules]

    @property
    def stop(self) -> int:
        """The wanted stop as an offset."""
        return (self.position.stop - MIDDLE) * self.sign

    @property
    def closes(self) -> list[str]:
        """The rules that asked for a close of everything."""
        return [close.reason for close in self.session.all(ClosePosition)]

    @property
    def parts(self) -> list[tuple[str, int]]:
        """(rule, lots) of each partial close."""
        return [(part.reason, part.lots) for part in self.session.all(ReducePosition)]

    @property
    def ended(self) -> tuple[str, str]:
        """(reason, outcome) of the trade."""
        trade = self.session.last(ReportTrade)
        return trade.reason, trade.outcome


def quote_of(session: Session) -> Quote:
    """The quote that stands."""
    assert session.state.quote is not None
    return session.state.quote


def working_moves(session: Session) -> list[MoveStop]:
    """Every statement about rail (b)."""
    return [move for move in session.all(MoveStop) if move.leg is Leg.WORKING]


__all__ = ["BAR_MS", "INSTRUMENT", "MIDDLE", "START_MS", "Story", "quote_of", "working_moves"]


def assert_mirrored(tell: Tell, name: str) -> None:
    """The mirrored market leads to exactly the mirrored decisions, notes and alerts included."""
    long, short = tell(name, Side.BUY), tell(name, Side.SELL)

    told = [o for o in long.session.outputs if not isinstance(o, ReportPosition)]
    turned = [o for o in short.session.outputs if not isinstance(o, ReportPosition)]
    assert [same(output) for output in told] == [upside_down(output) for output in turned]
    assert long.fired == short.fired


def assert_restarts_change_nothing(tell: Tell, name: str) -> None:
    """A restart at any line changes nothing: whatever a confirmation has counted is in the state."""
    plain, restarted = tell(name, Side.BUY), tell(name, Side.BUY, restart_every=1)

    assert plain.session.decisions == restarted.session.decisions
    assert plain.session.outputs == restarted.session.outputs
    assert digest(plain.session.state) == digest(restarted.session.state)
