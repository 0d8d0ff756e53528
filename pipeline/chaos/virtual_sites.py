"""The only place that says at which await points of executor and account a seed may kill the process."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from pipeline.chaos.virtual_plan import Sets
from pipeline.virtual.processes import Watch

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


def sites() -> Sets:
    """The await points at which plans may kill."""
    own = [site for site in EXECUTE_WATCH.sites if not site[1].startswith(_ELSEWHERE)]
    account = [site for site in ACCOUNT_WATCH.sites if not site[1].startswith(_ELSEWHERE)]
    writes = [site for site in own if site[1] in ("Sender._place_once", "Sender._exchange", "Sender._write_ahead")]
    return Sets(tuple(own), tuple(account), tuple(writes))
