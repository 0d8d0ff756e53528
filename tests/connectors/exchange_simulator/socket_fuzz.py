"""The only place that sends malformed requests and frames to a running simulator over real sockets and judges it.

`python -m tests.connectors.exchange_simulator.socket_fuzz 100000` is the long version of what test_server.py holds.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from collections import Counter

from connectors.exchange_simulator.endpoints import ROUTES
from connectors.exchange_simulator.ledger import Ledger
from connectors.exchange_simulator.prng import Prng
from connectors.exchange_simulator.rate_limits import Limits
from connectors.exchange_simulator.signing import DEFAULT_KEY, DEFAULT_SECRET, sign
from connectors.exchange_simulator.venue import VenueSettings
from tests.connectors.exchange_simulator.sessions import NAMES, WHOLE, WORDS
from tests.simulator import simulator_inside, until

UNLIMITED = Limits(weight_per_minute=10**9, orders_per_10_seconds=10**9, orders_per_minute=10**9)
PATIENCE = 10.0
# Values of other JSON types, for frames.
VALUES: tuple[object, ...] = (None, True, -1, 0, 1.5, 10**30, "", "BTCUSDT", [], [1], {}, {"a": {}}, "\x00", "é" * 50)
CONTROL = {"method": "SUBSCRIBE", "params": ["btcusdt@bookTicker"], "id": 1}


class Report:
    """What happened: answers by status, frames by what became of them, and what the process used."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        self.mutated = self.sent = 0
        self.tasks: tuple[int, int] = (0, 0)
        self.megabytes: list[float] = []

    def words(self) -> str:
        """One line for people."""
        memory = " → ".join(f"{size:.0f}" for size in self.megabytes)
        return (
            f"{self.sent} sent, {self.mutated} of them whole with one field changed; answers {dict(self.answers)}; "
            f"tasks {self.tasks[0]} → {self.tasks[1]}; memory {memory} MB"
        )


def resident_mb() -> float:
    """Resident memory of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """Status of one HTTP answer, and whether the connection goes on."""
    head = await reader.readuntil(b"\r\n\r\n")
    lower = head.lower()
    if b"content-length: " in lower:
        await reader.readexactly(int(lower.split(b"content-length: ")[1].split(b"\r\n")[0]))
    return int(head.split(b" ", 2)[1]), b"connection: close" not in lower


def rest_request(random: Prng, report: Report) -> bytes:
    """A signed request of which one parameter, the query's end or some bytes are changed."""
    routes = sorted(ROUTES)
    method, path = routes[random.below(len(routes))]
    params = {NAMES[random.below(len(NAMES))]: WORDS[random.below(len(WORDS))] for _ in range(random.below(6))}
    if random.below(4):
        method, path, _, whole = WHOLE[random.below(len(WHOLE))]
        changed = (*whole, *NAMES)[random.below(len(whole) * 2)]
        params = whole | {changed: WORDS[random.below(len(WORDS))]}
        report.mutated += 1
    query = "&".join(f"{name}={value}" for name, value in params.items()) + f"&timestamp={int(time.time() * 1_000)}"
    if random.below(8) == 0:
        query = query[: random.below(len(query))] + WORDS[random.below(len(WORDS))]
    query = f"{query}&signature={sign(DEFAULT_SECRET, query)}"
    # A request line holds no blanks and controls; what the words bring of them goes percent-encoded.
    target = "".join(
        one if one.isascii() and one.isprintable() and one != " " else f"%{ord(one) % 256:02X}" for one in query
    )
    head = f"{method} {path}?{target} HTTP/1.1\r\nHost: x\r\nX-MBX-APIKEY: {DEFAULT_KEY}\r\n"
    if random.below(10) == 0:
        body = bytes(random.below(256) for _ in range(random.below(200)))
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    return f"{head}\r\n".encode()


async def fuzz_rest(address: tuple[str, int], random: Prng, count: int, report: Report) -> None:
    """Keep-alive requests; one in fifty is raw rubbish on a connection of its own."""
    reader = writer = None
    for _ in range(count):
        report.sent += 1
        rubbish = random.below(50) == 0
        if reader is None or writer is None or rubbish:
            if writer is not None:
                writer.close()
            reader, writer = await asyncio.open_connection(*address)
        if rubbish:
            writer.write(bytes(random.below(256) for _ in range(1 + random.below(300))) + b"\r\n\r\n")
            writer.write_eof()
        else:
            writer.write(rest_request(random, report))
        try:
            async with asyncio.timeout(PATIENCE):
                status, goes_on = await read_answer(reader)
        except (asyncio.IncompleteReadError, ConnectionError):
            assert rubbish, "a request of the right form got no answer"
            report.answers["cut"] += 1
            reader = None
            continue
        assert status < 500, status
        report.answers[f"{status // 100}xx"] += 1
        if not goes_on or rubbish:
            reader = None
    if writer is not None:
        writer.close()


def frame(payload: bytes, *, kind: int = 1) -> bytes:
    """A masked client frame (mask zero)."""
    size = len(payload)
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes((0x80 | kind,)) + length + b"\0\0\0\0" + payload


def socket_frame(random: Prng, report: Report, *, orders: bool) -> bytes:
    """A request or control message of which one field is changed, cut or replaced by bytes."""
    if random.below(20) == 0:
        return frame(
            bytes(random.below(256) for _ in range(random.below(120))), kind=(1, 1, 2, 9, 10, 3)[random.below(6)]
        )
    if orders:
        _, _, method, params = WHOLE[random.below(len(WHOLE))]
        message: dict[str, object] = {"id": random.below(1_000), "method": method}
        inner: dict[str, object] = dict(params) | {"apiKey": DEFAULT_KEY, "timestamp": int(time.time() * 1_000)}
        target = inner if random.below(3) else message
        keys = list(target)
        target[keys[random.below(len(keys))]] = VALUES[random.below(len(VALUES))]
        payload = "&".join(f"{name}={inner[name]}" for name in sorted(inner))
        message["params"] = inner | {"signature": sign(DEFAULT_SECRET, payload)}
    else:
        message = dict(CONTROL)
        message[list(message)[random.below(3)]] = VALUES[random.below(len(VALUES))]
    report.mutated += 1
    text = json.dumps(message).encode()
    return frame(text if random.below(8) else text[: random.below(len(text))])


async def fuzz_socket(address: tuple[str, int], random: Prng, count: int, report: Report, *, path: str) -> None:
    """Sockets with a dozen frames each, then a proper end: every frame is answered or ends the connection."""
    sent = 0
    while sent < count:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        batch = min(count - sent, 9 if path != "/ws-fapi/v1" else 60)
        sent += batch
        report.sent += batch
        writer.write(b"".join(socket_frame(random, report, orders=path == "/ws-fapi/v1") for _ in range(batch)))
        writer.write(frame(b"\x03\xe8", kind=8))
        async with asyncio.timeout(PATIENCE):
            try:
                while data := await reader.read(1 << 16):
                    assert b'"status":5' not in data
                    report.answers["socket bytes"] += len(data)
            except ConnectionError:
                report.answers["socket cut"] += 1
        writer.close()


async def fuzz(count: int, *, seed: int = 1) -> Report:
    """Half over REST, a quarter each over the WebSocket API and the stream sockets."""
    report = Report()
    settings = VenueSettings(limits=UNLIMITED)
    async with simulator_inside(settings=settings, rate=1.0) as running:
        # The truth is kept by design; here it must not look like a leak.
        running.venue.ledger = Ledger(keep=1_000)
        address = ("127.0.0.1", running.port)
        before = len(asyncio.all_tasks())
        for part in range(4):
            share = count // 4
            async with asyncio.TaskGroup() as tasks:
                for lane in range(2):
                    random = Prng(seed, part * 10 + lane)
                    tasks.create_task(fuzz_rest(address, random, share // 4, report))
                tasks.create_task(
                    fuzz_socket(address, Prng(seed, part * 10 + 5), share // 4, report, path="/ws-fapi/v1")
                )
                tasks.create_task(
                    fuzz_socket(address, Prng(seed, part * 10 + 6), share // 4, report, path="/public/ws")
                )
            report.megabytes.append(resident_mb())
        await until(lambda: len(asyncio.all_tasks()) <= before and not running.hub.clients, seconds=PATIENCE)
        report.tasks = (before, len(asyncio.all_tasks()))
        assert not running.market_task.done(), "the market has ended"
    return report


def main() -> None:
    """`N`: how many; prints the report."""
    report = asyncio.run(fuzz(int(sys.argv[1])))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    sys.stdout.write(f"{report.words()}; peak {peak:.0f} MB\n")


if __name__ == "__main__":
    main()
