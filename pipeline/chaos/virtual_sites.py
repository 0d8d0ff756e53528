"""The only place that says at which await points of executor and account a seed may kill the process."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from pipeline.chaos.virtual_plan import Sets
from pipeline.chaos.virtual_rare import RARE
from pipeline.virtual.processes import Site, Watch

EXECUTE: Final = (
    "pipeline.execution.account_reads",
    "pipeline.execution.adoption",
    "pipeline.execution.auditor",
    "pipeline.execution.bulk",
    "pipeline.execution.cancelling",
    "pipeline.execution.closing",
    "pipeline.execution.data",
    "pipeline.execution.desk",
    "pipeline.execution.entries",
    "pipeline.execution.evidence",
    "pipeline.execution.executor",
    "pipeline.execution.first_reads",
    "pipeline.execution.in_doubt",
    "pipeline.execution.kafka_journal",
    "pipeline.execution.lanes",
    "pipeline.execution.lease",
    "pipeline.execution.rails",
    "pipeline.execution.recovery",
    "pipeline.execution.sender",
    "pipeline.execution.switch_watch",
    "pipeline.execution.targets",
    "pipeline.agents.execute",
    "pipeline.streaming.lines",
)
ACCOUNT: Final = ("pipeline.streaming.runner", "pipeline.virtual.workers")
EXECUTE_WATCH: Final = Watch(tuple(map(import_module, EXECUTE)))
ACCOUNT_WATCH: Final = Watch(tuple(map(import_module, ACCOUNT)))
# What only runs with sockets, Faust or a broker of its own, and what is another role's.
_ELSEWHERE: Final = (
    "KafkaJournal.start",
    "KafkaJournal.stop",
    "Execute.",
    "register.",
    "LinePublisher.flush",
    "PartitionRunner.close",
    "Connector.",
    "Decide.",
    "VirtualJournal.",
    "VirtualOutput.stop",
)


# Await points (by the beginning of their label) that no run comes by, and why.
_UNREACHABLE: Final[tuple[tuple[str, str], ...]] = (
    ("execution/adoption.py:", "nobody else trades on the account; tests/pipeline/execution/test_adoption.py"),
    ("execution/switch_watch.py:", "no switch file of a machine; tests/pipeline/execution/test_switch_watch.py"),
    ("execution/auditor.py:Auditor._on_reconnect", "the user stream is the world's own"),
    ("execution/auditor.py:Auditor.run#1", "the user stream is the world's own"),
    ("execution/closing.py:Closer._reduce", "only factors ask for partial closes"),
    ("execution/executor.py:Executor._keep_journal#1", "comes after five minutes, a run lasts one"),
    ("execution/executor.py:Executor._keep_clock#1", "comes after five minutes, a run lasts one"),
    ("execution/lanes.py:Lanes.weight", "only orders by WebSocket (--transport socket)"),
)


def label(site: Site) -> str:
    """An await point as text."""
    file, function, ordinal = site
    return f"{file}:{function}#{ordinal}"


def unreachable(site: Site) -> str:
    """Why no run comes by an await point; "" for one that can be reached."""
    return next((why for start, why in _UNREACHABLE if label(site).startswith(start)), "")


def sites() -> Sets:
    """The await points at which plans may kill."""
    own = [site for site in EXECUTE_WATCH.sites if not site[1].startswith(_ELSEWHERE)]
    account = [site for site in ACCOUNT_WATCH.sites if not site[1].startswith(_ELSEWHERE)]
    writes = [site for site in own if site[1] in ("Sender._place_once", "Sender._exchange", "Sender._write_ahead")]
    rare = [site for site in (*own, *account) if site[2] in RARE.get(f"{site[0]}:{site[1]}", ())]
    return Sets(tuple(own), tuple(account), tuple(writes), tuple(rare))
