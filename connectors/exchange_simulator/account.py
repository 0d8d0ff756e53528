"""The only place where the simulated wallet and positions change (one-way mode); money in e8 USDT, never a float.

Money is conserved to the last unit: a position carries the exact cost of its open lots, a reduction takes out its
proportional share (the rounding stays with the lots that remain), so wallet = deposits + realised − fees always.
"""

from __future__ import annotations

from typing import Any

from connectors.exchange_simulator.fixed_point import E8, divide_rounded, format_e8, format_trimmed
from connectors.exchange_simulator.instruments import Instrument

Payload = dict[str, Any]  # Any: the venue's JSON
PPM = 1_000_000


class Position:
    """One symbol's net position. *lots* is signed; *cost* is the signed e8 USDT paid for the open lots."""

    def __init__(self, row: Instrument, *, leverage: int) -> None:
        self.row = row
        self.leverage = leverage
        self.isolated = False
        self.lots = 0
        self.cost = 0
        self.fees = 0
        self.realised = 0
        self.isolated_wallet = 0
        self.updated_ms = 0

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

    def liquidation_e8(self, wallet: int) -> int:
        """One-way liquidation price of sheet 7.4 with one bracket and no other positions, e8; 0 when out of reach."""
        if self.lots == 0:
            return 0
        base = self.isolated_wallet if self.isolated else wallet
        rate = self.row.maintenance_bps
        size = abs(self.lots)
        side = 1 if self.lots > 0 else -1
        # LP = (WB − side·size·EP) / (size·MMR − side·size); cost already is side·size·EP.
        numerator = (base - self.cost) * E8 * 10_000
        denominator = size * self.row.step_e8 * (rate - side * 10_000)
        price = numerator // denominator
        return max(0, price)


class Account:
    """The wallet and every position of the one simulated account."""

    def __init__(self, *, wallet: int, maker_ppm: int, taker_ppm: int, leverage: int) -> None:
        self.wallet = wallet
        self.deposited = wallet
        self.maker_ppm, self.taker_ppm = maker_ppm, taker_ppm
        self.default_leverage = leverage
        self.positions: dict[str, Position] = {}
        self.fees_paid = 0
        self.updated_ms = 0

    def position(self, row: Instrument) -> Position:
        """The position of a symbol, flat when it was never traded."""
        found = self.positions.get(row.symbol)
        if found is None:
            found = self.positions[row.symbol] = Position(row, leverage=self.default_leverage)
        return found

    def fill(self, row: Instrument, *, signed_lots: int, ticks: int, maker: bool, now_ms: int) -> tuple[int, int]:
        """Book one fill; returns (fee, realised profit), e8 USDT."""
        rate = self.maker_ppm if maker else self.taker_ppm
        fee = divide_rounded(row.notional(ticks, abs(signed_lots)) * rate, PPM)
        realised = self.position(row).fill(signed_lots=signed_lots, ticks=ticks, fee=fee, now_ms=now_ms)
        self.wallet += realised - fee
        self.fees_paid += fee
        self.updated_ms = now_ms
        return fee, realised

    def cross_wallet(self) -> int:
        """Wallet without what isolated positions hold, e8 USDT."""
        return self.wallet - sum(position.isolated_wallet for position in self.positions.values())


def balance_update(account: Account, position: Position, *, mark_e8: int, reason: str, now_ms: int) -> Payload:
    """ACCOUNT_UPDATE of sheet 3.5 for one changed position."""
    decimals = position.row.price_decimals
    return {
        "e": "ACCOUNT_UPDATE",
        "E": now_ms,
        "T": now_ms,
        "a": {
            "m": reason,
            "B": [
                {"a": "USDT", "wb": format_e8(account.wallet), "cw": format_e8(account.cross_wallet()), "bc": "0"},
            ],
            "P": [
                {
                    "s": position.row.symbol,
                    "pa": position.row.quantity_text(position.lots),
                    "ep": format_trimmed(position.entry_e8(), decimals),
                    "bep": format_trimmed(position.break_even_e8(), decimals),
                    "cr": format_trimmed(position.realised),
                    "up": format_trimmed(position.unrealised(mark_e8)),
                    "mt": "isolated" if position.isolated else "cross",
                    "iw": format_trimmed(position.isolated_wallet),
                    "ps": "BOTH",
                    "ma": "USDT",
                }
            ],
        },
    }
