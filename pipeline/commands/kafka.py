"""The only place for ``perpguard kafka``: the embedded broker in the foreground, until a signal ends it."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path

import click

from pipeline.commands.context import Failed
from pipeline.commands.exit_codes import ExitCode
from pipeline.embedded_kafka import EmbeddedKafka, Profile
from pipeline.kafka_runtime import KAFKA_VERSION, EmbeddedKafkaError

CHECK_SECONDS = 0.5


@click.command()
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("data/kafka"),
    show_default=True,
    help="Where the log is kept; the same directory finds its data again.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=9092, show_default=True, help="0 takes a free one.")
@click.option(
    "--profile",
    type=click.Choice(["demo", "bench"]),
    default="demo",
    show_default=True,
    help="demo: small and quick to start; bench: more memory, all of the JVM's compilers.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON when ready, and nothing else.")
def kafka(directory: Path, port: int, profile: Profile, as_json: bool) -> None:
    """
    Run a real Kafka on this machine, without Docker.

    The first run fetches about 45 MB. Ends cleanly on Ctrl-C or SIGTERM with exit code 0; exit code 3 means that the
    broker could not start or died, and one line says why.
    """

    def progress(message: str) -> None:
        if not as_json:
            click.echo(message, err=True)

    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    broker = EmbeddedKafka(directory=directory, port=port, profile=profile, progress=progress)
    try:
        with broker:
            _announce(broker, as_json=as_json)
            while not ended.wait(CHECK_SECONDS):
                broker.check()
    except EmbeddedKafkaError as error:
        raise Failed(str(error), ExitCode.UNREACHABLE) from error
    progress("Kafka has stopped")


def _announce(broker: EmbeddedKafka, *, as_json: bool) -> None:
    if as_json:
        ready = {
            "bootstrap": broker.bootstrap,
            "directory": str(broker.directory),
            "pid": broker.pid,
            "version": KAFKA_VERSION,
        }
        click.echo(json.dumps(ready))
    else:
        click.echo(f"export PERPGUARD_BROKERS={broker.bootstrap}")
