"""The only place where `perpguard simulator` reads its options and runs a simulated exchange until it is stopped."""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import sys
from pathlib import Path

import click
import msgspec
import uvloop

from connectors.exchange_simulator.faults import FaultError, FaultFile, parse_plan
from connectors.exchange_simulator.fixed_point import parse_e8
from connectors.exchange_simulator.instruments import Instrument, default_instrument, default_symbols
from connectors.exchange_simulator.klines import KlinesError
from connectors.exchange_simulator.live_feed import LiveFeed, greet
from connectors.exchange_simulator.live_market import LiveError, LiveMarket
from connectors.exchange_simulator.played_klines import PlayedKlines, load_klines, past_candles, split
from connectors.exchange_simulator.rate_limits import Limits
from connectors.exchange_simulator.recording import RecordedMarket, RecordingError, instruments_of, load, skew_ms
from connectors.exchange_simulator.scenarios import BUILT_IN, Scenario, ScenarioError, parse_scenario
from connectors.exchange_simulator.server import BEGINNINGS, Clock, LedgerFile, Simulator
from connectors.exchange_simulator.situations import SITUATIONS, past_bars
from connectors.exchange_simulator.synthetic import SyntheticMarket
from connectors.exchange_simulator.venue import VenueSettings


def _speed(context: click.Context, parameter: click.Parameter, text: str) -> float:
    if text == "max":
        return 0.0
    try:
        speed = float(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is neither a number nor 'max'") from error
    if not 0 < speed <= 10_000:
        raise click.BadParameter("must be above 0 and at most 10000, or 'max'")
    return speed


def _wallet(context: click.Context, parameter: click.Parameter, text: str) -> int:
    amount = parse_e8(text)
    if amount is None or amount <= 0:
        raise click.BadParameter(f"{text!r} is no positive amount of USDT")
    return amount


def _scenario(context: click.Context, parameter: click.Parameter, text: str) -> Scenario:
    known = BUILT_IN | SITUATIONS
    if text in known:
        return known[text]
    path = Path(text)
    if not path.exists():
        raise click.BadParameter(f"{text!r} is neither a file nor one of {sorted(known)}")
    try:
        return parse_scenario(path.read_bytes())
    except ScenarioError as error:
        raise click.BadParameter(str(error)) from error


def _faults(context: click.Context, parameter: click.Parameter, path: Path | None) -> FaultFile | None:
    if path is None:
        return None
    try:
        return parse_plan(path.read_bytes())
    except FaultError as error:
        raise click.BadParameter(f"{path}: {error}") from error


def _rows(symbols: str, scenario: Scenario) -> list[Instrument]:
    """The instruments: a number of default symbols or a comma-separated list, with the scenario's prices and ATR."""
    names = default_symbols(int(symbols)) if symbols.isdigit() else [name.strip() for name in symbols.split(",")]
    if not names or len(names) > 500 or not all(name.isalnum() and name.endswith("USDT") for name in names):
        raise click.BadParameter("give 1…500, or names that end in USDT", param_hint="--symbols")
    return [scenario.instrument(default_instrument(name)) for name in dict.fromkeys([*names, *scenario.symbols])]


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=18_080, show_default=True, type=click.IntRange(0, 65_535), help="0 takes a free port.")
@click.option("--seed", default=1, show_default=True, help="Same seed, same market.")
@click.option("--symbols", default="5", show_default=True, help="How many default symbols, or BTCUSDT,ETHUSDT,…")
@click.option(
    "--scenario",
    default="calm",
    show_default=True,
    callback=_scenario,
    help="calm, demo, crash, a situation, or JSON.",
)
@click.option(
    "--recording",
    type=click.Path(exists=True, path_type=Path),
    help="hftbacktest .gz, folder of cryptofeed or of `perpguard record`.",
)
@click.option(
    "--klines",
    type=click.Path(exists=True, path_type=Path),
    help="One-minute candles: SYMBOL.csv[.gz] or a folder of them; --symbols chooses.",
)
@click.option(
    "--history-minutes", default=1_440, show_default=True, type=click.IntRange(1), help="Of the candles: the past."
)
@click.option(
    "--live",
    nargs=2,
    metavar="REST STREAMS",
    help="Paper trading: re-serve a real venue (https://fapi.binance.com wss://fstream.binance.com); orders stay here.",
)
@click.option("--speed", default="1", show_default=True, callback=_speed, help="Of files: 1, 10, …, or max.")
@click.option("--rate", default=10.0, show_default=True, help="Synthetic steps per second and symbol.")
@click.option(
    "--begin",
    type=click.Choice(BEGINNINGS),
    help="When the market begins: now, 1 s after the first subscription, or on POST /admin/start. "
    "Default: now; a recording waits for a subscription.",
)
@click.option("--wallet", default="10000", show_default=True, callback=_wallet, help="Starting USDT.")
@click.option("--leverage", default=20, show_default=True, type=click.IntRange(1, 125))
@click.option("--weight-limit", default=2_400, show_default=True, help="Request weight per minute and address.")
@click.option("--order-limit", default=1_200, show_default=True, help="Orders per minute; a quarter of it per 10 s.")
@click.option(
    "--coin-margined",
    default=0,
    show_default=True,
    type=click.IntRange(0, 500),
    help="COIN-M entries (st 2) of so many symbols in the all-market streams.",
)
@click.option("--mark-interval-ms", default=1_000, show_default=True, type=click.IntRange(50, 60_000))
@click.option("--spread-marks", is_flag=True, help="Mark prices evenly over the second, not all in one instant.")
@click.option("--kline-delay-ms", default=200, show_default=True, help="How late the final kline frame is; live ~2000.")
@click.option("--atr-bps", type=click.IntRange(1, 2_000), help="ATR of the 5m history of every symbol, 1/100 %.")
@click.option(
    "--faults",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    callback=_faults,
    help="A fault plan (JSON) in force from the start; docs/simulator.md lists the actions.",
)
@click.option("--ledger", type=click.Path(path_type=Path, dir_okay=False), help="Write the truth as JSON lines.")
@click.option("--json", "as_json", is_flag=True, help="Only the one JSON line with the URLs.")
def simulator(
    *,
    host: str,
    port: int,
    seed: int,
    symbols: str,
    scenario: Scenario,
    recording: Path | None,
    klines: Path | None,
    history_minutes: int,
    live: tuple[str, str] | None,
    speed: float,
    rate: float,
    begin: str | None,
    wallet: int,
    leverage: int,
    weight_limit: int,
    order_limit: int,
    coin_margined: int,
    mark_interval_ms: int,
    spread_marks: bool,
    kline_delay_ms: int,
    atr_bps: int | None,
    faults: FaultFile | None,
    ledger: Path | None,
    as_json: bool,
) -> None:
    """
    Run a Binance USDⓈ-M futures exchange on this machine.

    Point any bot at the printed URLs: REST as https://fapi.binance.com, streams as wss://fstream.binance.com with the
    routes /public, /market and /private, orders over WebSocket as wss://ws-fapi.binance.com/ws-fapi/v1. Key
    "simulator-key", secret "simulator-secret"; RSA and Ed25519 keys by POST /admin/key. Everything under /admin
    is for tests: status, ledger, summary, faults, holds, release, disconnect, path, clock, frame, key, funding, symbol.
    docs/simulator.md tells how to point ccxt, python-binance and the official SDK here.
    """
    if sum(given is not None for given in (recording, klines, live)) > 1:
        raise click.UsageError("--recording, --klines and --live are different markets; choose one")
    settings = VenueSettings(
        wallet_e8=wallet,
        leverage=leverage,
        seed=seed,
        limits=Limits(
            weight_per_minute=weight_limit,
            orders_per_minute=order_limit,
            orders_per_10_seconds=max(1, order_limit // 4),
        ),
        mark_interval_ms=mark_interval_ms,
        spread_marks=spread_marks,
        kline_close_delay_ms=kline_delay_ms,
        coin_margined=coin_margined,
        # A recording and candles carry no mark price: their mark is the middle, without noise.
        mark_noise_ppm=20 if recording is None and klines is None else 0,
        recorded=recording is not None or live is not None,
        marks_given=live is not None,
    )
    file = None if ledger is None else LedgerFile(ledger.open("ab"))
    try:
        if recording is not None:
            running = recorded_simulator(
                recording,
                settings,
                speed=speed,
                begin=begin or "subscription",
                ledger_file=file,
                atr_bps=atr_bps,
            )
        elif live is not None:
            names = default_symbols(int(symbols)) if symbols.isdigit() else [n.strip() for n in symbols.split(",")]
            running = live_simulator(live, settings, symbols=names, ledger_file=file)
        elif klines is not None:
            running = klines_simulator(
                klines,
                settings,
                symbols=[] if symbols.isdigit() else [name.strip() for name in symbols.split(",")],
                history_minutes=history_minutes,
                speed=speed,
                begin=begin or "now",
                ledger_file=file,
            )
        else:
            rows = _with_atr(_rows(symbols, scenario), atr_bps)
            running = synthetic_simulator(
                rows, settings, scenario=scenario, rate=rate, begin=begin or "now", ledger_file=file
            )
    except (KlinesError, LiveError, RecordingError, ScenarioError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    if faults is not None:
        running.faults.seed = seed if faults.seed is None else faults.seed
        running.faults.add(faults.rules)
    try:
        uvloop.run(_serve(running, host=host, port=port, as_json=as_json))
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror or error}") from error


def _with_atr(rows: list[Instrument], atr_bps: int | None) -> list[Instrument]:
    return rows if atr_bps is None else [msgspec.structs.replace(row, atr_bps=atr_bps) for row in rows]


def synthetic_simulator(
    rows: list[Instrument],
    settings: VenueSettings,
    *,
    scenario: Scenario,
    rate: float,
    begin: str,
    ledger_file: LedgerFile | None = None,
) -> Simulator:
    """A simulator of a seeded market, with the past that the scenario gives its symbols."""
    running = Simulator(
        rows,
        settings,
        make_source=lambda start_ms: SyntheticMarket(
            rows, seed=settings.seed, scenario=scenario, rate=rate, start_ms=start_ms
        ),
        ledger_file=ledger_file,
        begin=begin,
    )
    for row in rows:
        own = scenario.symbols.get(row.symbol)
        if own is not None and own.past:
            past = past_bars(row, own.past, seed=settings.seed, start_ms=running.venue.start_ms)
            running.venue.market(row.symbol).candles.preload(past)
    return running


def recorded_simulator(
    path: Path,
    settings: VenueSettings,
    *,
    speed: float,
    begin: str,
    ledger_file: LedgerFile | None = None,
    atr_bps: int | None = None,
) -> Simulator:
    """A simulator that plays a recording; its clock is ahead of the host's by the recorded skew."""
    lines, name = load(path)
    rows = _with_atr(instruments_of(path, lines), atr_bps)
    if not rows:
        raise RecordingError(f"{path}: no depth record of any symbol")
    skew = skew_ms(lines)
    return Simulator(
        rows,
        settings,
        make_source=lambda start_ms: RecordedMarket(lines, rows, name=name, speed=speed, skew=skew),
        clock=Clock(offset_ms=skew),
        ledger_file=ledger_file,
        begin=begin,
    )


def klines_simulator(
    path: Path,
    settings: VenueSettings,
    *,
    symbols: list[str],
    history_minutes: int,
    speed: float,
    begin: str,
    ledger_file: LedgerFile | None = None,
    clock: Clock | None = None,
) -> Simulator:
    """A simulator whose market follows files of one-minute candles."""
    rows, past, played = split(load_klines(path, symbols), past=history_minutes)
    running = Simulator(
        rows,
        settings,
        make_source=lambda start_ms: PlayedKlines(rows, played, name=path.name, speed=speed),
        clock=clock,
        ledger_file=ledger_file,
        begin=begin,
    )
    start_ms = running.venue.start_ms
    for row, minutes in zip(rows, past, strict=True):
        running.venue.markets[row.symbol].take_past(past_candles(row, minutes, start_ms=start_ms), start_ms)
    return running


def live_simulator(
    urls: tuple[str, str], settings: VenueSettings, *, symbols: list[str], ledger_file: LedgerFile | None = None
) -> Simulator:
    """A simulator that re-serves a real venue and simulates only the account; its clock is that venue's."""
    rest, streams = urls
    upstream = uvloop.run(greet(rest.rstrip("/"), symbols))
    market = LiveMarket(upstream.rows, name=rest)
    return Simulator(
        upstream.rows,
        settings,
        make_source=lambda start_ms: market,
        clock=Clock(offset_ms=upstream.offset_ms),
        ledger_file=ledger_file,
        live=LiveFeed(rest, streams, market, symbols),
    )


async def _serve(running: Simulator, *, host: str, port: int, as_json: bool) -> None:
    """Serve until SIGINT or SIGTERM."""
    # Frames are dictionaries by the hundred thousand and free of cycles: collect rarely, and never what stays.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    await running.start(host=host, port=port)
    print(json.dumps(running.urls()), flush=True)
    if not as_json:
        symbols = ", ".join(list(running.venue.markets)[:10])
        print(f"{len(running.venue.markets)} symbols ({symbols}); Ctrl-C ends.", file=sys.stderr, flush=True)
    waiting = asyncio.create_task(stopped.wait())
    await asyncio.wait([waiting, running.market_task], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    failure = running.market_task.exception() if running.market_task.done() else None
    await running.stop()
    for words in running.faults.never_bit():
        print(words, file=sys.stderr, flush=True)
    if failure is not None:
        raise failure
