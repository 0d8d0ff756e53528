"""The only place for running a real Apache Kafka as a child process, for the demo, the tests and the benchmarks.

One node, KRaft, no Docker. The rules of this file:

* *Ready* means that a produce with ``acks=all`` was acknowledged, not that the port is open.
* The same directory keeps its data: start, stop or kill, start again, and the log is as it was.
* The broker never outlives its parent. A shell watches a pipe that only the parent holds; when the parent dies, even by
  SIGKILL, the pipe ends and the shell kills the broker. (``PR_SET_PDEATHSIG`` would watch the *thread* that forked,
  and brokers are started from threads here.)
* Start and stop are synchronous and independent of any event loop; ``async with`` runs them in a thread.

Production never comes here: it points ``PERPGUARD_BROKERS`` at a cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from pipeline.kafka_runtime import EmbeddedKafkaError, Progress, find_java, kafka_jars, silent

Profile = Literal["demo", "bench"]

HOST = "127.0.0.1"
START_SECONDS = 60.0  # measured 2.7–3.3 s on two idle cores; the rest is for a machine that is busy
STOP_SECONDS = 20.0  # measured 0.4 s; then SIGKILL, from which the log recovers at the next start

# The demo wants to be up quickly and to stay small; a benchmark wants the code that the second compiler makes
# (with TieredStopAtLevel=1 one hop through Faust took 4.8 / 19 ms instead of 2.6 / 5).
JVM_FLAGS: dict[Profile, tuple[str, ...]] = {
    "demo": ("-Xms192m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xss512k", "-XX:-UsePerfData"),
    "bench": ("-Xms512m", "-Xmx512m", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:-UsePerfData"),
}

# message.max.bytes: an anchor holds every state of a partition (16 MiB at most, and the batch's own header).
# broker.session.timeout.ms: a killed broker's lease must run out before the next one is registered; with the default of
# 9 s a start after SIGKILL took 11.5 s.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=BROKER://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=BROKER://{host}:{port}
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=BROKER
controller.listener.names=CONTROLLER
log.dirs={data}
auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
message.max.bytes=17825792
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
log.cleaner.dedupe.buffer.size=4194304
"""

LOGGING = """\
<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="warn">
  <Appenders>
    <Console name="out" target="SYSTEM_OUT"><PatternLayout pattern="%d %p %c{1}: %m%n"/></Console>
  </Appenders>
  <Loggers>
    <Root level="warn"><AppenderRef ref="out"/></Root>
  </Loggers>
</Configuration>
"""

# $$ stays the shell's own number inside the parentheses, and `exec` hands that number to Java: the child that we wait
# for is the broker itself. A full line on the pipe says that we are done with it, the end of the pipe that we are dead.
WATCHED = 'exec 3<&0; (read -r _ <&3 || kill -9 $$) >/dev/null 2>&1 & exec 3<&-; exec "$@" </dev/null'


class PortTaken(EmbeddedKafkaError):
    """Somebody else listens on the port that was asked for."""


class BrokerDied(EmbeddedKafkaError):
    """The broker's process ended, or did not become ready; ``log_tail`` holds the last lines that it wrote."""

    def __init__(self, message: str, *, log_tail: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.log_tail = log_tail


class EmbeddedKafka:
    """
    One Kafka broker in a child process, with its data in *directory*.

    Use it as a context manager (``with`` or ``async with``), or call ``start`` and ``stop``. ``port`` 0 takes a free
    one, and the same one again at the next start on this directory while it is free, so that clients find the broker
    where they left it.

    Raises:
        JavaNotFound, DownloadFailed, PortTaken, BrokerDied: from ``start``, each with one line that says what to do.
    """

    def __init__(
        self, *, directory: Path, port: int = 0, profile: Profile = "demo", progress: Progress | None = None
    ) -> None:
        self.directory = Path(directory).resolve()
        self.profile: Profile = profile
        self._fixed_port = port
        self._progress = progress or silent
        self._process: subprocess.Popen[bytes] | None = None
        self._port = port
        self._abandoned = False

    @property
    def bootstrap(self) -> str:
        """Return the address for clients, ``host:port``; the port is known from the first start on."""
        return f"{HOST}:{self._port}"

    @property
    def port(self) -> int:
        """Return the port of the listener for clients."""
        return self._port

    @property
    def pid(self) -> int | None:
        """Return the process number of the broker, or None when it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def log_file(self) -> Path:
        """Return the file to which the broker writes its log and its last words."""
        return self.directory / "broker.log"

    def check(self) -> None:
        """
        Do nothing while the broker runs.

        Raises:
            BrokerDied: it was started and its process has ended.
        """
        if self._process is not None and self._process.poll() is not None:
            raise self._died("stopped by itself")

    # -- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the broker and return when it has acknowledged a produce; a second call while it runs does nothing."""
        if self.pid is not None:
            return
        self._abandoned = False
        java, jars = find_java(), kafka_jars(progress=self._progress)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._port = self._choose_port()
        self._write_configuration()
        command = [str(java), *JVM_FLAGS[self.profile], f"-Dlog4j2.configurationFile={self._logging_file}"]
        command += ["-cp", f"{jars}/*"]
        if not (self.directory / "data" / "meta.properties").exists():
            self._progress("formatting the log directory")
            self._format(command)
        self._progress(f"starting Kafka on {self.bootstrap}")
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", WATCHED, "embedded-kafka", *command, "kafka.Kafka", str(self._properties_file)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                start_new_session=True,  # Ctrl-C is for the parent, which stops its workers before the broker
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise
        self._progress(f"Kafka is ready on {self.bootstrap}")

    def stop(self) -> None:
        """Stop the broker cleanly; after ``STOP_SECONDS`` it is killed. Stopping a stopped one does nothing."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the broker with SIGKILL, as a crash would."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze the broker (SIGSTOP) and wait until it stands: it keeps its connections and answers nothing."""
        self._signal(signal.SIGSTOP)
        if self._process is not None and sys.platform == "linux":  # a stop of many threads takes its time
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let a frozen broker go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        starting = asyncio.ensure_future(asyncio.to_thread(self.start))
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            self._abandoned = True  # the thread cannot be cancelled; it sees this and ends what it started
            await asyncio.wait([starting])
            if starting.exception() is None:  # it was ready before it looked
                await asyncio.to_thread(self.stop)
            raise
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)  # a frozen process would never see the SIGTERM
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the watching shell has gone first: nobody is left to be told
            process.stdin.write(b"done\n")  # or it would kill whoever gets this process number next
            process.stdin.close()

    # -- what it is started with --------------------------------------------------------------------------------------

    @property
    def _properties_file(self) -> Path:
        return self.directory / "server.properties"

    @property
    def _logging_file(self) -> Path:
        return self.directory / "log4j2.xml"

    def _choose_port(self) -> int:
        if self._fixed_port:
            if not _is_free(self._fixed_port):
                raise PortTaken(f"port {self._fixed_port} is taken: choose another with --port, or 0 for a free one")
            return self._fixed_port
        earlier = self._earlier_port()
        return earlier if earlier and _is_free(earlier) else _free_port()

    def _earlier_port(self) -> int | None:
        if not self._properties_file.exists():
            return None
        match = re.search(r"^advertised\.listeners=.*:(\d+)$", self._properties_file.read_text(), re.MULTILINE)
        return int(match.group(1)) if match else None

    def _write_configuration(self) -> None:
        properties = PROPERTIES.format(
            host=HOST, port=self._port, controller_port=_free_port(), data=self.directory / "data"
        )
        self._properties_file.write_text(properties)
        self._logging_file.write_text(LOGGING)

    def _format(self, command: list[str]) -> None:
        arguments = ["format", "--cluster-id", _cluster_id(), "--config", str(self._properties_file)]
        done = subprocess.run(
            [*command, "kafka.tools.StorageTool", *arguments], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            lines = tuple((done.stdout + done.stderr).splitlines()[-20:])
            reason = lines[-1] if lines else f"exit code {done.returncode}"
            raise BrokerDied(f"Kafka could not format {self.directory}: {reason}", log_tail=lines)

    # -- readiness ----------------------------------------------------------------------------------------------------

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not _is_open(self._port):
            self._still_starting(deadline)
            time.sleep(0.05)
        while True:
            # A thread of its own: the caller's may already run an event loop.
            with ThreadPoolExecutor(max_workers=1) as executor:
                if executor.submit(asyncio.run, _produces(self.bootstrap)).result():
                    return
            self._still_starting(deadline)
            time.sleep(0.05)

    def _still_starting(self, deadline: float) -> None:
        assert self._process is not None
        if self._process.poll() is not None:
            if any("Address already in use" in line for line in self._log_tail()):
                raise PortTaken(f"port {self._port} was taken while Kafka started: choose another with --port")
            raise self._died("stopped while starting")
        if self._abandoned:
            raise BrokerDied("the start of Kafka was given up")
        if time.monotonic() > deadline:
            raise self._died(f"was not ready within {START_SECONDS:.0f} s")

    def _log_tail(self) -> tuple[str, ...]:
        if not self.log_file.exists():
            return ()
        return tuple(self.log_file.read_text(errors="replace").splitlines()[-20:])

    def _died(self, what: str) -> BrokerDied:
        lines = self._log_tail()
        code = self._process.poll() if self._process is not None else None
        ending = "" if code is None else f" (exit code {code})"
        # A Java stack trace hides its own first line: the last line that is not one of its frames tells most.
        telling = [line.strip() for line in lines if line.strip() and not re.match(r"\s+(at |\.\.\. )", line)]
        last = f": {telling[-1]}" if telling else ""
        return BrokerDied(f"Kafka {what}{ending}{last} (log: {self.log_file})", log_tail=lines)


async def _produces(bootstrap: str) -> bool:
    """Say whether the broker makes a topic, acknowledges a record in it and removes it again."""
    topic = "perpguard-ready"
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=10_000)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", request_timeout_ms=10_000)
    try:
        await admin.start()
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
        await producer.start()
        await producer.send_and_wait(topic, b"ready")
        await admin.delete_topics([topic])
    except (KafkaError, OSError):
        return False
    else:
        return True
    finally:
        await producer.stop()
        await admin.close()


def _cluster_id() -> str:
    """Return a random cluster id of 22 characters that does not look like an option."""
    while (identity := secrets.token_urlsafe(16)).startswith("-"):
        pass
    return identity


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        # As the broker does: connections of an earlier broker in TIME_WAIT do not make the port taken.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError:
            return False
    return True


def _is_open(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1.0)
        return client.connect_ex((HOST, port)) == 0
