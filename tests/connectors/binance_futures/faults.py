"""
The only place for long runs of the connector under faults, by command, and for the plans that the tests play short.

    python -m tests.connectors.binance_futures.faults virtual --seeds 50     1,000 roll-overs and 1,000 faults
    python -m tests.connectors.binance_futures.faults broker                 30 s without Kafka, stopped and killed
    python -m tests.connectors.binance_futures.faults fuzz                   200,000 frames, most of them spoilt
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import Counter
from collections.abc import Callable
from random import Random
from types import SimpleNamespace
from typing import Final

from connectors.binance_futures.routing import Route
from connectors.binance_futures.session import State
from pipeline.virtual.clock import VirtualLoop, run, silence
from tests.connectors.binance_futures.broker_away import run as broker_away_run
from tests.connectors.binance_futures.frame_fuzz import run as fuzz_run
from tests.connectors.binance_futures.virtual_feed import Feed, VirtualSocket

QUIET_SECONDS: Final = 150  # after the last fault: back-off, deadlines of first frames, excuses of a minute


def _market_socket(feed: Feed) -> VirtualSocket | None:
    sockets = [socket for socket in feed.venue.sockets if socket.route is not Route.PRIVATE and socket.streams]
    return feed.random.choice(sockets) if sockets else None


def _any_socket(feed: Feed) -> VirtualSocket | None:
    sockets = list(feed.venue.sockets)
    return feed.random.choice(sockets) if sockets else None


def _stream(feed: Feed) -> str:
    socket = _market_socket(feed)
    return feed.random.choice([s for s in socket.streams if s[0] != "!"]) if socket is not None else "none"


def disconnect(feed: Feed) -> None:
    """One socket is reset: what is under way on it is lost."""
    socket = _any_socket(feed)
    if socket is not None:
        socket.cut("reset by peer")


def disconnect_all(feed: Feed) -> None:
    """Every socket of a route is reset."""
    route = feed.random.choice(list(Route))
    for socket in [socket for socket in feed.venue.sockets if socket.route is route]:
        socket.cut("reset by peer")


def mute(feed: Feed) -> None:
    """A stream goes silent on one socket, for as long as that stands."""
    socket = _market_socket(feed)
    if socket is not None:
        socket.muted.add(feed.random.choice(list(socket.streams)))


def stall(feed: Feed) -> None:
    """A socket brings nothing for a while, then everything at once."""
    socket = _any_socket(feed)
    if socket is not None:
        socket.stalled_until = feed.loop.time() + feed.random.uniform(0.5, 30)


def _spoil(feed: Feed, fate: str, most: int) -> None:
    feed.venue.spoil_stream = _stream(feed)
    feed.venue.next_frames.clear()
    feed.venue.next_frames.extend([fate] * feed.random.randint(1, most))


def gap(feed: Feed) -> None:
    """The venue itself loses a few frames of a stream."""
    _spoil(feed, "lose", 3)


def duplicate(feed: Feed) -> None:
    """The venue sends some frames twice."""
    _spoil(feed, "duplicate", 5)


def corrupt(feed: Feed) -> None:
    """Some frames arrive as half of themselves."""
    _spoil(feed, "corrupt", 3)


def wrong_route(feed: Feed) -> None:
    """New sockets are accepted and stay silent for a while (venue sheet 1.3); one of those that stood is gone."""
    feed.venue.deaf_until = feed.loop.time() + feed.random.uniform(1, 12)
    socket = _market_socket(feed)
    if socket is not None:
        socket.cut("moved")


def maintenance(feed: Feed) -> None:
    """Everything is cut and nothing is accepted for a while."""
    feed.venue.refusing_until = feed.loop.time() + feed.random.uniform(1, 10)
    for socket in list(feed.venue.sockets):
        socket.cut("maintenance")


def broker_away(feed: Feed) -> None:
    """Kafka answers nobody for a while."""
    feed.kafka.away(feed.random.randint(500, 8_000))


def key_expires(feed: Feed) -> None:
    """The listen key ends with its event."""
    feed.venue.venue.expire_listen_key(feed.clock.now_ms())
    feed.venue.deliver()


FAULTS: Final[tuple[Callable[[Feed], None], ...]] = (
    disconnect,
    disconnect_all,
    mute,
    stall,
    gap,
    duplicate,
    corrupt,
    wrong_route,
    maintenance,
    broker_away,
    key_expires,
)


def roll_over(feed: Feed) -> bool:
    """A planned roll-over of a group that has none under way."""
    ready = [
        rollover
        for rollover in feed.connector.rollovers
        if rollover.successor is None and rollover.serving is not None and rollover.serving.state is State.LIVE
    ]
    if ready:
        feed.random.choice(ready).replace(feed.clock.now_ms(), "planned")
    return bool(ready)


async def _play(loop: VirtualLoop, seed: int, roll_overs: int, faults: int) -> SimpleNamespace:
    feed = Feed(loop, seed)
    await feed.start()
    draw = Random(seed * 7 + 1)
    steps = ["roll"] * roll_overs + ["fault"] * faults
    draw.shuffle(steps)
    bitten: Counter[str] = Counter()
    for step in steps:
        await asyncio.sleep(draw.uniform(0.2, 6.0))
        feed.trade()
        if step == "roll":
            await feed.until(lambda: roll_over(feed), 200)
        else:
            fault = FAULTS[draw.randrange(len(FAULTS))]
            bitten[fault.__name__] += 1
            fault(feed)
    feed.venue.next_frames.clear()
    for socket in feed.venue.sockets:
        socket.stalled_until = 0.0
    await asyncio.sleep(QUIET_SECONDS)
    proven = feed.connector.proven
    feed.venue.resting = True  # the last diffs arrive, and nothing is silent yet
    await asyncio.sleep(2)
    await feed.stop()
    result = feed.judge()
    result.bitten = bitten
    result.proven = proven
    result.seconds = loop.time()
    result.opened = feed.venue.opened
    result.asked = feed.asked
    result.feed = feed
    return result


def play(seed: int, *, roll_overs: int = 20, faults: int = 20) -> SimpleNamespace:
    """One seeded run in virtual time; what is in the result's lists is wrong."""
    with silence():
        return run(lambda loop: _play(loop, seed, roll_overs, faults))


WRONG: Final = ("missed", "unmarked", "effects", "halted", "books", "positions")


def wrong(result: SimpleNamespace) -> dict[str, object]:
    """What broke a promise, by its name."""
    found = {name: getattr(result, name) for name in WRONG if getattr(result, name)}
    return found if result.proven else found | {"proven": False}


def _virtual(arguments: argparse.Namespace) -> int:
    began, bad, total = time.monotonic(), 0, Counter()
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        result = play(seed, roll_overs=arguments.roll_overs, faults=arguments.faults)
        found = wrong(result)
        bad += bool(found)
        total.update(result.bitten)
        total.update(owed=result.owed, duplicates=result.duplicates, seconds=int(result.seconds), opened=result.opened)
        if found:
            print(f"seed {seed}: { ({name: str(what)[:300] for name, what in found.items()}) }", flush=True)
    print(dict(total))
    print(
        f"{arguments.seeds} seeds, {arguments.seeds * arguments.roll_overs} roll-overs,"
        f" {arguments.seeds * arguments.faults} faults, {bad} with a broken promise, {time.monotonic() - began:.0f} s"
    )
    return 1 if bad else 0


def main() -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    virtual = commands.add_parser("virtual")
    virtual.add_argument("--seeds", type=int, default=50)
    virtual.add_argument("--first", type=int, default=1)
    virtual.add_argument("--roll-overs", type=int, default=20)
    virtual.add_argument("--faults", type=int, default=20)
    virtual.set_defaults(run=_virtual)
    fuzz = commands.add_parser("fuzz")
    fuzz.add_argument("--frames", type=int, default=200_000)
    fuzz.add_argument("--seed", type=int, default=1)
    fuzz.set_defaults(run=fuzz_run)
    broker = commands.add_parser("broker")
    broker.add_argument("--seconds", type=float, default=30.0)
    broker.add_argument("--rate", type=int, default=20_000)
    broker.set_defaults(run=broker_away_run)
    arguments = parser.parse_args()
    return int(arguments.run(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
