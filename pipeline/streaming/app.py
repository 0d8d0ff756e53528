"""
The only place where a Faust app is made: its id, its settings, its topics and the order of its stop.

One app id per role (``<prefix>decide``, ``<prefix>account``, ``<prefix>execute``), so that a restart of one role never
rebalances another. An agent is registered like this, in a function that the composition root calls by name (there is
no autodiscovery: a module with a broken import would silently vanish)::

    app = make_app(settings, "execute")

    @app.agent(source(app, topics.INTENTS), name="execute.intents", concurrency=1)
    async def intents(stream: StreamT[bytes]) -> None:
        async for event in stream.noack().events():
            ...                                   # event.key, event.value are bytes
            event.message.ack(app.consumer)       # by hand, when its consequences are durable

``concurrency`` is 1 always: with more, Faust commits past a record still in work and loses it on kill -9. An exception
that leaves an agent *acknowledges its record*; wrap the body in ``faults.fatal`` so that the process ends instead.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import faust
from faust.app.base import BootStrategy

from pipeline.settings import Settings
from pipeline.streaming.consumer import Transport
from pipeline.wire.topics import INPUT_PARTITIONS, Topic

ROCKSDB_WRITE_BUFFER = 1 << 20  # Faust's 64 MB default let 40 stores grow to 558 MB, with 1 MB buffers 133 MB
HEARTBEATS = 6  # a session: a survivor hears of a rebalance with its next heartbeat, and until then is deaf to it
MAX_RECORD = 16 << 20  # an anchor holds every state of a partition
CHANGELOG_LINGER = 0.02  # seconds; rows of tables go out together, beside outputs whose producer waits for nothing
# Records that wait for an agent. Over four fifths of it Faust stops fetching a partition, and may let it wait until the
# buffer is empty while the others go on (22 s were seen with 256 on a busy machine): deep enough for a short outage.
STREAM_BUFFER = 2_048

STORE_OPTIONS = {
    "driver": "rocksdict",
    "write_buffer_size": ROCKSDB_WRITE_BUFFER,
    "max_write_buffer_number": 2,
    "target_file_size_base": 4 << 20,
    "block_cache_size": 4 << 20,
    "max_open_files": 64,
}


class _NoWeb(BootStrategy):  # type: ignore[misc]  # Faust has no types here (mypy skips it)
    """Faust's web server stays off, whatever its command line says: metrics and views have a server of their own."""

    enable_web = False


class WorkerApp(faust.App):  # type: ignore[misc]  # Faust has no types here (mypy skips it)
    """
    A Faust app that lets its agents finish while it is still a member of its group.

    Faust's own ``on_stop`` takes the consumer away first; whoever appended to ``before_stop`` runs before that.
    """

    BootStrategy = _NoWeb

    before_stop: list[Callable[[], Awaitable[None]]]
    before_start: list[Callable[[], Awaitable[None]]]
    unfiltered: set[str]  # names of topics whose records come with every delivery: a guard judges them
    early: dict[str, Callable[[Any], None]]  # name of a topic → who sees each record (Faust's Message) before its agent

    def __init__(self, identity: str, *, prefix: str, role: str, **options: Any) -> None:  # Any: Faust's settings
        super().__init__(identity, **options)
        self.prefix = prefix
        self.role = role
        self.before_start = []
        self.before_stop = []
        self.unfiltered = set()
        self.early = {}

    def _new_transport(self) -> Any:  # Any: Faust's TransportT
        return Transport(self.conf.broker_consumer, self)

    async def on_first_start(self) -> None:
        """Run what must have happened before the consumer joins its group, in the order it was registered."""
        for step in self.before_start:
            await step()
        await super().on_first_start()

    async def on_stop(self) -> None:
        """Run the last steps of the agents in the order they were registered, then stop as Faust does."""
        for step in self.before_stop:
            await step()
        self._leave_at_close()
        await super().on_stop()

    def _leave_at_close(self) -> None:
        """
        Let the client say that it leaves when it closes; a killed worker says nothing and may come back in its place.

        A static member never says so by itself, and its partitions would be dark for the rest of its session after
        a clean stop. The client asks for its instance id only when it joins, and when it decides whether to say it.
        """
        client = None if self._consumer is None else self._consumer._thread._consumer
        if client is not None:
            client._coordinator._group_instance_id = None


def app_id(prefix: str, role: str) -> str:
    """The consumer group and Faust id of a role."""
    return f"{prefix}{role}"


def make_app(settings: Settings, role: str) -> WorkerApp:
    """
    Make the app of *role* with the settings of architecture section 3, point 6.

    ``stream_wait_empty`` off: a rebalance would wait for messages that are acknowledged by hand. The member is static
    (``consumer_group_instance_id``): a killed worker that comes back within the session gets its partitions at once.
    A rebalance waits two sessions for a member that died in the middle of it, not Faust's 60 s (59.7 s dark were seen).
    Every process needs its own ``settings.instance``: with it go the member's name and the directory of the stores.
    """
    directory = settings.data_directory / role / settings.instance
    directory.mkdir(parents=True, exist_ok=True)
    return WorkerApp(
        app_id(settings.prefix, role),
        prefix=settings.prefix,
        role=role,
        broker=[f"kafka://{broker}" for broker in settings.brokers.split(",")],
        broker_credentials=_credentials(settings),
        broker_session_timeout=float(settings.session_timeout_s),
        broker_heartbeat_interval=settings.session_timeout_s / HEARTBEATS,
        broker_rebalance_timeout=2.0 * settings.session_timeout_s,
        broker_request_timeout=90.0,
        broker_client_id=f"{app_id(settings.prefix, role)}-{settings.instance}",
        consumer_group_instance_id=f"{role}-{settings.instance}",
        consumer_auto_offset_reset="earliest",
        producer_acks=-1,
        producer_linger=CHANGELOG_LINGER,
        producer_max_request_size=MAX_RECORD,
        stream_wait_empty=False,
        stream_buffer_maxsize=STREAM_BUFFER,
        store="rocksdb://",
        datadir=str(directory),
        table_standby_replicas=0,
        topic_partitions=INPUT_PARTITIONS,
        topic_disable_leader=True,
        topic_allow_declare=False,  # topics_admin makes them from the table of topics
        reply_create_topic=False,
        web_enabled=False,
        autodiscover=False,
        worker_redirect_stdouts=False,
    )


def source(app: WorkerApp, topic: Topic) -> Any:  # Any: Faust's TopicT
    """The topic as an agent reads it: keys and values are the bytes on the wire."""
    return app.topic(topic.named(app.prefix), key_serializer="raw", value_serializer="raw")


def _credentials(settings: Settings) -> Any:  # Any: Faust's credentials
    if settings.kafka_security == "PLAINTEXT":
        return None
    import ssl  # noqa: PLC0415 - only production needs it

    return faust.SASLCredentials(
        username=settings.kafka_username,
        password=settings.kafka_password.reveal(),
        ssl_context=ssl.create_default_context(),
        mechanism="SCRAM-SHA-512",
    )
