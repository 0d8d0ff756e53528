"""
The only place that measures the connector beside other clients on one feed: rate, processor, latency, memory.

    python -m tests.clients.beside [--frames 200000] [--seconds 6] [--json FILE]

A feed process serves bookTicker frames of twenty symbols to whoever subscribes in his own way (SUBSCRIBE or names in
the address, combined or bare): as fast as they are read, then at a fixed rate with the intended send time as ``E``.
Each client is a process of its own, unmodified, one after the other; what it needs by REST the simulated exchange
answers. The others hand a parsed frame to a callback; ours has it acknowledged by a real Kafka.

cryptofeed takes nothing but wss:// addresses: for it the feed speaks TLS, by a certificate made for this run that its
process alone trusts, and so that like stands beside like, ours is measured over TLS a second time. It needs an
environment of its own, for the locked clients pin other versions of what it needs:

    python3 -m venv .venv-cryptofeed && .venv-cryptofeed/bin/pip install cryptofeed==2.4.1
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import ssl
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from pipeline.benchmarks.connector import framed
from pipeline.embedded_kafka import EmbeddedKafka
from pipeline.streaming.topics_admin import ensure_topics
from tests.simulator import simulator_process

ROOT = Path(__file__).resolve().parent.parent.parent
SYMBOLS = 20
RATES = (1_000, 20_000)
BLOB_FRAMES = 2_000
QUIET_SECONDS = 2.0  # before the flood: whoever subscribes has done so
LIFE_SECONDS = 2.0  # every other stream that somebody asked for has a frame so often
CHILD_SECONDS = 240.0
PREFIX = "beside."
OVER_TLS = " over TLS"
CLIENTS = {  # and the environment of each
    "perpguard": ".venv",
    "official SDK": ".venv-clients",
    "ccxt.pro": ".venv-clients",
    "perpguard" + OVER_TLS: ".venv",
    "cryptofeed" + OVER_TLS: ".venv-cryptofeed",
}


def payload(stream: str, number: int, event_ms: int) -> bytes:
    """One frame's data in the venue's form."""
    symbol = stream.partition("@")[0].upper()
    return (
        b'{"e":"bookTicker","u":%d,"s":"%b","ps":"%b","b":"83860.10","B":"4.217","a":"83860.20","A":"1.903",'
        b'"T":%d,"E":%d,"st":1}' % (number, symbol.encode(), symbol.encode(), event_ms, event_ms)
    )


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 for a day, signed by itself, and its key: (certificate, both), as files of PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the feed of beside")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    trusted, both = folder / "certificate.pem", folder / "certificate_and_key.pem"
    trusted.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    both.write_bytes(trusted.read_bytes() + secret)
    return trusted, both


class Feed:
    """Serves *frames* at once (*rate* 0), or *rate* a second for *seconds*."""

    def __init__(self, *, rate: int, frames: int, seconds: float) -> None:
        self._rate, self._frames, self._seconds = rate, frames, seconds
        self._number = 9_912_345_000_000

    async def serve(self, told: Connection, certificate: Path | None) -> None:
        """Listen on a free port, which is told, until killed; over TLS when there is a *certificate* (with its key)."""
        context = None
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
        async with serve(self._handle, "127.0.0.1", 0, compression=None, ssl=context) as server:
            told.send(next(iter(server.sockets)).getsockname()[1])
            await asyncio.get_running_loop().create_future()

    async def _handle(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        address = urlsplit(connection.request.path)
        combined = "ws" not in address.path.split("/")
        streams = [name for names in parse_qs(address.query).get("streams", []) for name in names.split("/")]
        feeding = asyncio.create_task(self._feed(connection, streams, combined=combined))
        async for message in connection:  # ends with the client
            asked = json.loads(message)
            streams += [name for name in asked.get("params", []) if name not in streams]
            with contextlib.suppress(ConnectionClosed):  # it left before our answer
                await connection.send(json.dumps({"result": None, "id": asked["id"]}))
        feeding.cancel()

    def _frame(self, stream: str, event_ms: int, *, combined: bool) -> bytes:
        self._number += 1
        data = payload(stream, self._number, event_ms)
        return framed(b'{"stream":"%b","data":%b}' % (stream.encode(), data) if combined else data)

    async def _feed(self, connection: ServerConnection, streams: list[str], *, combined: bool) -> None:
        await asyncio.sleep(QUIET_SECONDS)
        life = asyncio.create_task(self._keep_alive(connection, streams, combined=combined))
        tickers = [name for name in streams if name.endswith("@bookTicker")]
        if tickers:
            await asyncio.sleep(LIFE_SECONDS)
            await (self._pace if self._rate else self._flood)(connection, tickers, combined=combined)
        await life

    async def _keep_alive(self, connection: ServerConnection, streams: list[str], *, combined: bool) -> None:
        while not connection.transport.is_closing():
            for name in [name for name in streams if name[0] != "!"]:
                connection.transport.write(self._frame(name, 1, combined=combined))
            await asyncio.sleep(LIFE_SECONDS)

    async def _flood(self, connection: ServerConnection, tickers: list[str], *, combined: bool) -> None:
        left = self._frames
        while left > 0 and not connection.transport.is_closing():
            now_ms = time.time_ns() // 1_000_000
            count = min(left, BLOB_FRAMES)
            blob = [self._frame(tickers[n % len(tickers)], now_ms, combined=combined) for n in range(count)]
            connection.transport.write(b"".join(blob))
            left -= count
            while connection.transport.get_write_buffer_size() > 1 << 20:  # noqa: ASYNC110  # no drain is offered here
                await asyncio.sleep(0.001)

    async def _pace(self, connection: ServerConnection, tickers: list[str], *, combined: bool) -> None:
        gap_ns = 1_000_000_000 // self._rate
        due = time.time_ns()
        end = due + int(self._seconds * 1e9)
        number = 0
        while due < end and not connection.transport.is_closing():
            burst = []
            while due <= time.time_ns() and due < end:
                burst.append(self._frame(tickers[number % len(tickers)], due // 1_000_000, combined=combined))
                number += 1
                due += gap_ns
            connection.transport.write(b"".join(burst))
            await asyncio.sleep(max(0.0, (due - time.time_ns()) / 1e9))


def _feed_process(told: Connection, rate: int, frames: int, seconds: float, certificate: Path | None) -> None:
    uvloop.run(Feed(rate=rate, frames=frames, seconds=seconds).serve(told, certificate))


def python_of(environment: str) -> Path:
    """The interpreter of one of the environments beside the repository's files."""
    configured = os.environ.get("PERPGUARD_" + environment.lstrip(".").upper().replace("-", "_"))
    return Path(configured or ROOT / environment) / "bin" / "python"


def once(
    client: str, exchange: tuple[str, str], certificates: tuple[Path, Path], *, rate: int, frames: int, seconds: float
) -> dict[str, Any]:
    """One client on a feed of its own, beside *exchange* (its REST address, Kafka's); what the child has told."""
    expected = int(rate * seconds) if rate else frames
    secured = client.endswith(OVER_TLS)
    trusted, served = certificates
    here, there = multiprocessing.Pipe()
    feed = multiprocessing.get_context("spawn").Process(
        target=_feed_process, args=(there, rate, frames, seconds, served if secured else None), daemon=True
    )
    feed.start()
    try:
        ws = f"{'wss' if secured else 'ws'}://127.0.0.1:{here.recv()}"
        command = [python_of(CLIENTS[client]), "-m", "tests.clients.beside_child"]
        result = subprocess.run(
            [*command, client.removesuffix(OVER_TLS), exchange[0], ws, str(expected), exchange[1]],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | ({"SSL_CERT_FILE": str(trusted)} if secured else {}),
            capture_output=True,
            text=True,
            timeout=CHILD_SECONDS,
            check=False,
        )
    finally:
        feed.terminate()
        feed.join()
    if result.returncode:
        return {"failed": (result.stderr.strip().splitlines() or ["no word"])[-1][:200]}
    found: dict[str, Any] = json.loads(result.stdout.strip().splitlines()[-1])
    return found


def compare(
    rest: str, brokers: str, certificates: tuple[Path, Path], *, frames: int, seconds: float, clients: list[str]
) -> dict[str, dict[str, Any]]:
    """Every client flooded and paced."""
    found: dict[str, dict[str, Any]] = {}
    for client in clients:
        if not python_of(CLIENTS[client]).exists():
            found[client] = {"failed": f"no environment {CLIENTS[client]}"}
            continue
        flood = once(client, (rest, brokers), certificates, rate=0, frames=frames, seconds=0)
        row = dict(flood)
        for rate in RATES if "failed" not in flood else ():
            paced = once(client, (rest, brokers), certificates, rate=rate, frames=0, seconds=seconds)
            row |= {f"{name}_at_{rate}": paced.get(name) for name in ("p50_ms", "p99_ms", "frames", "failed")}
        found[client] = row
        print(client, json.dumps(row), file=sys.stderr, flush=True)
    return found


def table(found: dict[str, dict[str, Any]]) -> str:
    """For docs/benchmarks.md."""
    head = "| client | frames/s | CPU µs a frame | p99 at 1,000/s | p99 at 20,000/s | memory |"
    rows = [head, "|---|---|---|---|---|---|"]
    for client, row in found.items():
        if "failed" in row:
            rows.append(f"| {client} | {row['failed']} | | | | |")
            continue
        late = [f"{row.get(f'p99_ms_at_{rate}')} ms" for rate in RATES]
        cells = [f"{row['frames_per_second']:,.0f}", f"{row['cpu_us']:.1f}", *late, f"{row['rss_mb']:.0f} MB"]
        rows.append(f"| {client} {row['version']} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--clients", nargs="*", default=list(CLIENTS), choices=list(CLIENTS))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as directory,
        EmbeddedKafka(directory=Path(directory), profile="bench") as kafka,
        simulator_process("--port", "0", "--symbols", str(SYMBOLS), "--begin", "admin") as exchange,
    ):
        asyncio.run(ensure_topics(kafka.bootstrap, PREFIX))
        found = compare(
            exchange.rest,
            kafka.bootstrap,
            make_certificate(Path(directory)),
            frames=arguments.frames,
            seconds=arguments.seconds,
            clients=arguments.clients,
        )
    print(table(found))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
