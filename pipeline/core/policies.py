"""The only place for the parameters that change a decision; the configuration states them, a line carries them."""

from __future__ import annotations

import msgspec

from pipeline.core.units import Milliseconds


class LadderStep(msgspec.Struct, frozen=True):
    """One step of a take-profit ladder: where (a share of the first target's distance), and how much of the entry."""

    distance_permille: int
    share_permille: int


class Template(msgspec.Struct, frozen=True):
    """
    What an owner wishes for a kind of position, by name: steps of its ladder (none: as the tables say), rules that are
    off, a stop that stays where it was placed, a position that is only protected.
    """

    name: str
    ladder: tuple[LadderStep, ...] = ()
    disabled_exits: tuple[str, ...] = ()
    pin_stop: bool = False
    leave_alone: bool = False


class PluginRow(msgspec.Struct, frozen=True):
    """
    One plug-in of the owner (docs/plugins.md): its name, kind (factor | signal | exit), the version that is wanted, its
    parameters in the order of their names.

    ``deadline_ms`` is log time: a later answer is refused. ``budget_ms`` is what the host lets one call take. ``bars``
    is how many closed bars it is shown, ``every_ms`` how often an exit is asked while a position is open. ``least`` is
    the gate of a factor: side · value must be at least so many points for an entry by signal; None: shown alone.
    ``shadow``: its answers are recorded and nothing follows from them.
    """

    name: str
    kind: str
    version: str
    parameters: tuple[tuple[str, float], ...] = ()
    deadline_ms: Milliseconds = Milliseconds(3_000)
    budget_ms: Milliseconds = Milliseconds(500)
    every_ms: Milliseconds = Milliseconds(1_000)
    bars: int = 48
    least: int | None = None
    shadow: bool = False


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
    swing_clearance_atr5m_permille: int = 250  # S_sw
    factor_stop_points: int = 15  # S_f
    factor_stop_atr_permille: int = 800
    time_stop_bars: int = 72  # S_time
    time_stop_r_permille: int = 800
    time_stop_gain_r_permille: int = 1_000
    # dynamic targets (domain 6.4)
    target_move_bps: int = 200  # moved only by more than this share of the price …
    target_move_r_permille: int = 250  # … or of R
    target_least_r_permille: int = 800
    target_extend_permille: int = 1_250
    target_extend_trend_points: int = 70
    target_extend_points: int = 50
    target_shorten_permille: int = 800
    target_keep_permille: int = 900  # an extended target stays while T and E are at least this share of what they were
    target_return_bars: int = 12  # bars without leaving money after which a shortened target returns to the plan
    trail_after_target_points: int = 40
    # exits (domain 6.3)
    unprotected_close_ms: Milliseconds = Milliseconds(2_000)  # X1
    rail_through_ms: Milliseconds = Milliseconds(1_000)  # X2: working price through the rail while still NEW
    rail_stuck_ms: Milliseconds = Milliseconds(3_000)  # X2: TRIGGERING or TRIGGERED with a position
    early_bars: int = 2  # X8–X15 are suppressed for the first closed bars …
    early_loss_r_permille: int = 700  # … unless MAE ≥ 0.7 R
    x4_blind_ms: Milliseconds = Milliseconds(30_000)  # no mark price, streamed or read
    x4_user_ms: Milliseconds = Milliseconds(60_000)  # user stream down and not reconciled
    x5_window_ms: Milliseconds = Milliseconds(60_000)
    x5_move_atr5m_permille: int = 1_000
    x5_below_r_permille: int = 1_000
    x5_marks: int = 2
    x8_points: int = 30
    x8_bars: int = 2
    x8_strong_points: int = 50
    x8_strong_bars: int = 1
    x8_maker_ms: Milliseconds = Milliseconds(10_000)  # 0: always at market
    x8_maker_spread_bps: int = 5
    x8_maker_room_r_permille: int = 500
    x9_gain_r_permille: int = 1_000
    x9_delta_points: int = 60
    x9_flow_z_permille: int = 2_500
    x9_hold_ms: Milliseconds = Milliseconds(15_000)
    x9_share_permille: int = 500
    x10_bars: int = 2
    x10_stop_r_permille: int = 500
    x10_close_points: int = 15
    x11_liquidity_points: int = 40
    x11_impact_bps: int = 20
    x11_hold_ms: Milliseconds = Milliseconds(10_000)
    x11_share_permille: int = 500
    x11_slice_depth_permille: int = 250
    x11_rearm_points: int = 60
    x11_rearm_ms: Milliseconds = Milliseconds(60_000)
    x12_stop_atr5m_permille: int = 600
    x13_before_ms: Milliseconds = Milliseconds(180_000)
    x13_gain_r_permille: int = 500
    x13_rate_bps: int = 10
    x13_taker_fees: int = 2  # leaving and coming back
    x13_profit_share_permille: int = 250
    x14_bars: int = 48
    x14_gain_r_permille: int = 500
    x14_points: int = 20
    time_limit_new_coin_bars: int = 48  # X15, of a coin listed less than new_coin_days before
    new_coin_days: int = 30
    x16_resting_ms: Milliseconds = Milliseconds(300_000)
    x17_before_delivery_ms: Milliseconds = Milliseconds(3_600_000)
    x19_share_permille: int = 250
    apart_r_permille: int = 500  # |mark − mid| above which a position's stop works by another price than it fills at
    apart_ms: Milliseconds = Milliseconds(2_000)
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
    # factors (domain 4.13): symbols without a position that compute at one tick, and the move that publishes anew
    factor_turns_per_tick: int = 12
    factor_publish_bps: int = 10
    factors: tuple[tuple[str, float], ...] = ()  # parameters that differ from core.factors.parameters, by their path
    disabled_exits: tuple[str, ...] = ()
    ladder: tuple[LadderStep, ...] = ()  # empty: two steps by first_target_share and last_target
    templates: tuple[Template, ...] = ()
    plugins: tuple[PluginRow, ...] = ()
    # signals (domain section 5): off unless somebody asks for them; scores in points, shares in permille
    signals: bool = False
    signal_prime_points: int = 45
    signal_watch_points: int = 30
    signal_strength_points: int = 65
    signal_maintain_permille: int = 900
    gate_coverage_permille: int = 600
    gate_data_quality_permille: int = 900
    gate_liquidity_points: int = 60
    gate_spread_bps: int = 10
    gate_impact_bps: int = 7
    gate_imbalance_permille: int = 300
    gate_basis_bps: int = 100
    gate_funding_window_ms: Milliseconds = Milliseconds(300_000)
    gate_room_atr_permille: int = 600
    gate_day_quote_usdt: int = 5_000_000
    gate_day_trades: int = 10_000
    gate_wall_r_permille: int = 1_000
    gate_order_usdt: int = 10_000  # order size that impact is judged for: the largest of domain section 5
