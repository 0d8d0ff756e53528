"""The only place where the simulated wallet, positions and insurance fund change; e8 USDT, never a float.

Money is conserved to the last unit: a position carries the exact cost of its open lots, a reduction takes out its
proportional share (the rounding stays with the lots that remain), and every change of the wallet is an income row:
wallet = deposits + the sum of all rows. What a liquidation pays or costs beyond the market's side is the fund's.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from connectors.exchange_simulator.brackets import Leg, largest_notional, liquidation_price, maintenance
from connectors.exchange_simulator.fixed_point import E8, divide_rounded, format_e8, format_trimmed
from connectors.exchange_simulator.instruments import Instrument

Payload = dict[str, Any]  # Any: the venue's JSON
PPM = 1_000_000
ONE_WAY: Final = ("BOTH",)
HEDGE: Final = ("LONG", "SHORT")


class SymbolSettings:
    """What the account has set for a symbol; both sides of hedge mode share it."""

    def __init__(self, *, leverage: int) -> None:
        self.leverage = leverage
        self.isolated = False


class Income(msgspec.Struct, frozen=True):
    """One change of the wallet: *amount* is signed e8 USDT; *trade_id* is 0 when no trade caused it."""

    kind: str
    symbol: str
    amount: int
    at_ms: int
    transaction_id: int
    trade_id: int


class Position:
    """One position. *lots* is signed; *cost* is the signed e8 USDT paid for the open lots."""

    def __init__(self, row: Instrument, *, side: str, settings: SymbolSettings) -> None:
        self.row = row
        self.side = side
        self.settings = settings
        self.lots = 0
        self.cost = 0
        self.fees = 0
        self.realised = 0
        self.isolated_wallet = 0
        self.updated_ms = 0

    @property
    def leverage(self) -> int:
        """The symbol's leverage."""
        return self.settings.leverage

    @property
    def isolated(self) -> bool:
        """Whether the symbol's margin is isolated."""
        return self.settings.isolated

    def entry_e8(self) -> int:
        """Size-weighted entry price (sheet 7.4), e8."""
        if self.lots == 0:
            return 0
        return divide_rounded(abs(self.cost) * E8, abs(self.lots) * self.row.step_e8)

    def break_even_e8(self) -> int:
        """Entry price moved by the fees paid so far in this position, e8."""
        if self.lots == 0:
            return 0
        side = 1 if self.lots > 0 else -1
        return divide_rounded((abs(self.cost) + side * self.fees) * E8, abs(self.lots) * self.row.step_e8)

    def unrealised(self, mark_e8: int) -> int:
        """Open profit at the mark, e8 USDT."""
        return self.row.value_at_e8(mark_e8, self.lots) - self.cost if self.lots else 0

    def notional(self, mark_e8: int) -> int:
        """Signed value at the mark, e8 USDT."""
        return self.row.value_at_e8(mark_e8, self.lots)

    def initial_margin(self, mark_e8: int) -> int:
        """Margin bound by the open lots, e8 USDT."""
        return abs(self.notional(mark_e8)) // self.leverage

    def maintenance(self, mark_e8: int) -> int:
        """Margin below which the position is liquidated, e8 USDT."""
        return maintenance(self.row, self.notional(mark_e8))

    def fill(self, *, signed_lots: int, ticks: int, fee: int, now_ms: int) -> int:
        """Book one fill; returns the profit it realised, before fees, e8 USDT."""
        value = self.row.notional(ticks, signed_lots)
        realised = 0
        closing = 0
        if self.lots and (self.lots > 0) != (signed_lots > 0):
            closing = min(abs(signed_lots), abs(self.lots))
            share = closing if self.lots > 0 else -closing
            cost_out = self.cost if closing == abs(self.lots) else self.cost * closing // abs(self.lots)
            realised = self.row.notional(ticks, share) - cost_out
            margin_out = self.isolated_wallet * closing // abs(self.lots)
            self.lots -= share
            self.cost -= cost_out
            self.isolated_wallet -= margin_out
            value += self.row.notional(ticks, share)
            signed_lots += share
            if self.lots == 0:
                self.fees = 0
        if signed_lots:
            self.lots += signed_lots
            self.cost += value
            if self.isolated:
                self.isolated_wallet += abs(value) // self.leverage
        self.fees = 0 if self.lots == 0 else self.fees + fee
        self.realised += realised
        self.updated_ms = now_ms
        return realised


class Account:
    """The wallet, every position of the one simulated account, and the venue's insurance fund."""

    def __init__(self, *, wallet: int, maker_ppm: int, taker_ppm: int, leverage: int, insurance: int = 0) -> None:
        self.wallet = wallet
        self.deposited = wallet
        self.insurance = self.insurance_at_start = insurance
        self.maker_ppm, self.taker_ppm = maker_ppm, taker_ppm
        self.default_leverage = leverage
        self.dual = False
        self.multi_assets = self.fee_burn = False
        self.settings: dict[str, SymbolSettings] = {}
        self._positions: dict[tuple[str, str], Position] = {}
        self.incomes: list[Income] = []
        self.fees_paid = 0
        self.updated_ms = 0

    @property
    def sides(self) -> tuple[str, ...]:
        """The position sides that exist in the present mode."""
        return HEDGE if self.dual else ONE_WAY

    @property
    def positions(self) -> list[Position]:
        """Every position of the present mode that was ever touched."""
        return [position for (_, side), position in self._positions.items() if side in self.sides]

    def settings_of(self, symbol: str) -> SymbolSettings:
        """Leverage and margin type of a symbol."""
        found = self.settings.get(symbol)
        if found is None:
            found = self.settings[symbol] = SymbolSettings(leverage=self.default_leverage)
        return found

    def position(self, row: Instrument, side: str = "BOTH") -> Position:
        """The position of a symbol and side, flat when it was never traded."""
        found = self._positions.get((row.symbol, side))
        if found is None:
            found = Position(row, side=side, settings=self.settings_of(row.symbol))
            self._positions[row.symbol, side] = found
        return found

    def of_symbol(self, row: Instrument) -> list[Position]:
        """The positions of a symbol in the present mode: one, or long and short."""
        return [self.position(row, side) for side in self.sides]

    def book(self, kind: str, symbol: str, amount: int, *, now_ms: int, trade_id: int = 0) -> None:
        """Change the wallet by one income row; 0 leaves none."""
        if amount:
            self.wallet += amount
            self.updated_ms = now_ms
            number = trade_id or now_ms * 1_000 + len(self.incomes) % 1_000
            self.incomes.append(Income(kind, symbol, amount, now_ms, number, trade_id))

    def fill(
        self, position: Position, *, signed_lots: int, ticks: int, maker: bool, now_ms: int, trade_id: int,
        charged: bool = True,
    ) -> tuple[int, int]:  # fmt: skip
        """Book one fill; returns (fee, realised profit), e8 USDT. A liquidation's fills are not *charged* the fee."""
        row = position.row
        rate = self.maker_ppm if maker else self.taker_ppm
        fee = divide_rounded(row.notional(ticks, abs(signed_lots)) * rate, PPM) if charged else 0
        realised = position.fill(signed_lots=signed_lots, ticks=ticks, fee=fee, now_ms=now_ms)
        self.book("REALIZED_PNL", row.symbol, realised, now_ms=now_ms, trade_id=trade_id)
        self.book("COMMISSION", row.symbol, -fee, now_ms=now_ms, trade_id=trade_id)
        self.fees_paid += fee
        self.updated_ms = now_ms
        return fee, realised

    def pay_insurance(self, symbol: str, amount: int, *, now_ms: int) -> None:
        """Move *amount* from the wallet into the fund; a negative one is what the fund pays."""
        self.insurance += amount
        self.book("INSURANCE_CLEAR", symbol, -amount, now_ms=now_ms)

    def cross_wallet(self) -> int:
        """Wallet without what isolated positions hold, e8 USDT."""
        return self.wallet - sum(position.isolated_wallet for position in self.positions)

    def liquidation_e8(self, position: Position, marks: dict[str, int]) -> int:
        """The liquidation price of a position, e8; 0 when flat or out of reach (sheet 7.4)."""
        if position.lots == 0:
            return 0
        if position.isolated:
            legs = [position]
            base = position.isolated_wallet
        else:
            open_cross = [other for other in self.positions if other.lots and not other.isolated]
            legs = [other for other in open_cross if other.row.symbol == position.row.symbol]
            base = self.cross_wallet()
            for other in open_cross:
                if other.row.symbol != position.row.symbol:
                    mark = marks[other.row.symbol]
                    base += other.unrealised(mark) - other.maintenance(mark)
        return liquidation_price(position.row, [Leg(leg.lots, leg.cost) for leg in legs], base=base)


def largest_value(position: Position) -> str:
    """`maxNotionalValue` at the present leverage, as the venue prints it."""
    return str(largest_notional(position.row, position.leverage) // E8)


def account_update(
    account: Account, positions: list[Position], *, marks: dict[str, int], reason: str, now_ms: int, change: int = 0,
    symbol: str | None = None,
) -> Payload:  # fmt: skip
    """ACCOUNT_UPDATE of sheet 3.5; *change* is a balance change that is neither profit nor fee; *symbol* is `a.S`."""
    body: Payload = {"m": reason}
    if symbol is not None:
        body["S"] = symbol
    body["B"] = [
        {
            "a": "USDT",
            "wb": format_e8(account.wallet),
            "cw": format_e8(account.cross_wallet()),
            "bc": format_trimmed(change),
        }
    ]
    # A cross position does not change by its funding, so there is no P at all then (3.5).
    if positions or reason != "FUNDING_FEE":
        body["P"] = [_position_row(position, marks[position.row.symbol]) for position in positions]
    return {"e": "ACCOUNT_UPDATE", "E": now_ms, "T": now_ms, "a": body}


def _position_row(position: Position, mark_e8: int) -> Payload:
    decimals = position.row.price_decimals
    return {
        "s": position.row.symbol,
        "pa": position.row.quantity_text(position.lots),
        "ep": format_trimmed(position.entry_e8(), decimals),
        "bep": format_trimmed(position.break_even_e8(), decimals),
        "cr": format_trimmed(position.realised),
        "up": format_trimmed(position.unrealised(mark_e8)),
        "mt": "isolated" if position.isolated else "cross",
        "iw": format_trimmed(position.isolated_wallet),
        "ps": position.side,
        "ma": "USDT",
    }
