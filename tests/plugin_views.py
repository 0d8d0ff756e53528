"""The only place where tests get what a plug-in is shown: a quiet symbol with bars, and a position when asked."""

from __future__ import annotations

from pipeline.core.events import Side
from pipeline.core.plugin_views import PluginBar, PluginFactor, PluginPosition, PluginView
from pipeline.core.units import E8, ONE_E8, Lots, Milliseconds, Ticks

BAR_MS = 300_000


def view(*, closes: tuple[int, ...] = (100, 101, 102), side: Side | None = None) -> PluginView:
    """A view of a symbol with a tick of 0.1 USDT and a lot of 0.001; *closes* in ticks."""
    bars = [
        PluginBar(Milliseconds(n * BAR_MS), Ticks(c), Ticks(c + 1), Ticks(c - 1), Ticks(c), Lots(5), Lots(2))
        for n, c in enumerate(closes)
    ]
    return PluginView(
        symbol="BTCUSDT",
        at_ms=Milliseconds(len(closes) * BAR_MS + 5),
        tick=E8(ONE_E8 // 10),
        step=E8(ONE_E8 // 1_000),
        mark=E8(closes[-1] * ONE_E8 // 10),
        bid=Ticks(closes[-1] - 1),
        ask=Ticks(closes[-1] + 1),
        funding_rate_e8=10_000,
        bar_close_ms=Milliseconds(len(closes) * BAR_MS),
        score=12_500,
        coverage=900,
        trend="up",
        regime="up_up",
        market_trend="up",
        factors={"T": PluginFactor(40_000, 1_000, True), "Q": PluginFactor(0, 0, False)},
        bars=bars,
        position=None
        if side is None
        else PluginPosition(
            id="abc.1.2.0.x.0",
            side=side,
            lots=Lots(1_000),
            entry=E8(10 * ONE_E8),
            stop=Ticks(95 if side is Side.BUY else 105),
            risk=E8(ONE_E8 // 2),
            best=E8(10 * ONE_E8),
            worst=E8(10 * ONE_E8),
            opened_ms=Milliseconds(BAR_MS),
            bars=2,
            first_target_done=False,
        ),
    )
