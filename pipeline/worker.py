"""
The only place where a worker process is put together: settings → the apps of its role → agents, by name.

``faust -A pipeline worker`` imports this module (``pipeline.__getattr__``) and starts ``app``. Role ``all`` runs the
three apps in one process: decide leads, account and execute accompany it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import uvloop

from pipeline import collector, telemetry
from pipeline.audit.fold_digest import fold_digest
from pipeline.configuration import ConfigurationError
from pipeline.core.identity import base62
from pipeline.settings import Settings, load
from pipeline.streaming.agent import GuardedAgent
from pipeline.streaming.app import WorkerApp, make_app
from pipeline.streaming.companions import accompany
from pipeline.streaming.producer import OutputProducer
from pipeline.streaming.server import ViewServer
from pipeline.streaming.topics_admin import ensure_topics_of
from pipeline.streaming.webhook import Door, Webhook, machine_ms
from pipeline.wire.records import SignalCommand, encode
from pipeline.wire.topics import ACCOUNT

# Role → the apps of its process; the first one leads.
ROLES: Final = {
    "all": ("decide", "account", "execute"),
    "decide": ("decide",),
    "account": ("account",),
    "execute": ("execute",),
}


def build(settings: Settings) -> WorkerApp:
    """Make the app of the settings' role, with everything that runs beside it."""
    roles = ROLES.get(settings.role)
    if roles is None:
        sys.exit(f"PERPGUARD_ROLE: found {settings.role!r}; allowed for a worker: {' or '.join(ROLES)}")
    apps = {role: make_app(settings, role) for role in roles}
    leader = apps[roles[0]]
    identity: list[str] = []

    async def read_identity() -> None:
        identity.append(await ensure_topics_of(settings))
        telemetry.log.info(telemetry.TOPICS_READY, prefix=settings.prefix, log_identity=identity[0])

    leader.before_start.append(read_identity)
    fold = fold_of(settings)
    guarded: list[GuardedAgent] = []
    ready: list[Callable[[], bool]] = []
    for role, app in apps.items():
        match role:
            case "decide":
                from pipeline.agents import decide  # noqa: PLC0415 - a role loads its own agents only: a killed one is back sooner

                # A later start must compare as another incarnation: the line's numbers begin again at 1.
                incarnation = base62(time.time_ns() // 1_000_000)
                guarded.append(
                    decide.register(app, settings, fold=fold, log_identity=lambda: identity[0], incarnation=incarnation)
                )
            case "account":
                from pipeline.agents import account  # noqa: PLC0415

                guarded.append(account.register(app, settings, fold=fold, log_identity=lambda: identity[0]))
            case "execute":
                ready.append(_register_execute(app, settings))
    if len(apps) > 1:
        accompany(leader, [app for app in apps.values() if app is not leader])
    if settings.metrics_port:
        _serve(leader, settings, guarded, ready)
    return leader


def fold_of(settings: Settings) -> str:
    """The name of the code and configuration that decide; manifests and decisions carry it."""
    return fold_digest(settings.config_digest.encode())


def _register_execute(app: WorkerApp, settings: Settings) -> Callable[[], bool]:
    from pipeline.agents import execute  # noqa: PLC0415 - decide and account never load the HTTP client

    return execute.register(app, settings).ready.is_set


def _serve(leader: WorkerApp, settings: Settings, guarded: list[GuardedAgent], ready: list[Callable[[], bool]]) -> None:
    def all_ready() -> bool:
        return all(agent.folding for agent in guarded) and all(check() for check in ready)

    def rows() -> dict[str, bytes]:
        return {
            key: row for agent in guarded for (table, key), row in list(agent.shown.items()) if table == "positions"
        }

    routes = (
        [_webhook(leader, settings).route()] if settings.webhook_secret and "account" in ROLES[settings.role] else []
    )
    server = ViewServer(port=settings.metrics_port, ready=all_ready, positions=rows, routes=routes)
    leader.before_start.append(server.start)
    leader.before_stop.append(server.stop)


def _webhook(leader: WorkerApp, settings: Settings) -> Webhook:
    """``POST /signal``: what is authentic goes into the topic ``account``, by a producer of its own."""
    producer = OutputProducer(settings, role="webhook")
    leader.before_start.append(producer.start)
    leader.before_stop.append(producer.stop)

    async def write(command: SignalCommand) -> None:
        await (await producer.send(ACCOUNT, value=encode(command), key=command.symbol.encode()))

    return Webhook(Door(settings.webhook_secret.reveal(), now_ms=machine_ms), write)


def _start() -> Any:  # Any: Faust asks for the attribute and knows its type
    telemetry.configure_logging(level=os.environ.get("PERPGUARD_LOG_LEVEL", "info"))
    try:
        settings = load(os.environ)
    except ConfigurationError as error:
        sys.exit("\n".join(error.problems))
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())  # before Faust makes its loop (0.2 ms of each hop)
    try:
        leader = build(settings)
    except ConfigurationError as error:
        sys.exit("\n".join(error.problems))
    collector.settle()
    return leader


app = _start()
