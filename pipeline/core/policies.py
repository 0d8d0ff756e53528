"""The only place for the parameters that change a decision; the configuration states them, a line carries them."""

from __future__ import annotations

import msgspec

from pipeline.core.units import Milliseconds


class Policy(msgspec.Struct, frozen=True):
    """
    Parameters of stops, exits and entries with the defaults of domain sections 5 and 6.

    Ratios are integers: ``_permille`` of what the name says, ``_bps`` hundredths of a percent, ``_ms`` milliseconds.
    ``digest`` names the configuration the values came from (hash of the effective file), empty for the defaults.
    """

    digest: str = ""
    # initial levels (domain 6.2): D = M_sl · ATR(1h), M_sl clipped to [1.2, 3.0]
    stop_atr_permille: int = 1_800
    stop_atr_min_permille: int = 1_200
    stop_atr_max_permille: int = 3_000
    target_atr_permille: int = 2_500
    target_atr_min_permille: int = 1_500
    target_atr_max_permille: int = 4_500
    last_target_permille: int = 1_500  # TP2 distance as a share of TP1's
    far_rail_permille: int = 1_250  # rail (a) at 1.25 × D (domain 6.7)
    stop_min_bps: int = 35
    stop_max_bps: int = 600
    stop_min_ticks: int = 8
    target_min_permille_of_stop: int = 1_200  # reject an entry whose TP1 < 1.2 · D
    first_target_share_permille: int = 500
    entry_slippage_bps: int = 10  # bound of the LIMIT IOC entry beyond the touch
    # ratchet (domain 6.4)
    ratchet_interval_ms: Milliseconds = Milliseconds(5_000)
    ratchet_per_minute: int = 6
    ratchet_min_gain_r_permille: int = 150
    ratchet_min_gain_atr5m_permille: int = 250
    ratchet_min_gain_ticks: int = 4
    ratchet_clearance_atr5m_permille: int = 500
    ratchet_clearance_ticks: int = 5
    breakeven_at_r_permille: int = 1_000
    chandelier_from_r_permille: int = 1_500
    # exits (domain 6.3)
    unprotected_close_ms: Milliseconds = Milliseconds(2_000)  # X1
    rail_through_ms: Milliseconds = Milliseconds(1_000)  # X2: working price through the rail while still NEW
    rail_stuck_ms: Milliseconds = Milliseconds(3_000)  # X2: TRIGGERING or TRIGGERED with a position
    time_limit_bars: int = 96  # X15, when not trailing
    time_limit_absolute_bars: int = 288  # X15, always
    maker_fee_e8: int = 20_000  # 0.02 % (venue sheet 7.1)
    taker_fee_e8: int = 50_000  # 0.05 %
    # freshness (domain 3.3): entries are closed beyond these ages
    quote_max_age_ms: Milliseconds = Milliseconds(5_000)
    mark_max_age_ms: Milliseconds = Milliseconds(15_000)
    trading_state_max_age_ms: Milliseconds = Milliseconds(30_000)
    late_line_ms: Milliseconds = Milliseconds(1_000)  # a line this much older than its append time is late
    audit_interval_ms: Milliseconds = Milliseconds(60_000)  # reconcile while a position is open (domain 6.7)
    disabled_exits: tuple[str, ...] = ()
