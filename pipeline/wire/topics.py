"""
The only place for the topics of the pipeline: names, partitions, keys, retention.

Creation, Strimzi manifests, ACLs and tests are generated from or checked against this table (architecture 2.1).
Names carry a prefix from the settings, so that two accounts or a replay can share a cluster.
"""

from __future__ import annotations

from typing import Final

import msgspec

INPUT_PARTITIONS: Final = 8
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS


class Topic(msgspec.Struct, frozen=True):
    """One topic: ``retention_ms`` −1 keeps for ever; ``writers`` and ``readers`` are roles (ACLs follow from them)."""

    name: str
    partitions: int
    retention_ms: int
    compacted: bool
    log_append_time: bool
    compression: str
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    purpose: str

    def named(self, prefix: str) -> str:
        """The name on the cluster."""
        return f"{prefix}{self.name}"

    def config(self) -> dict[str, str]:
        """Topic configuration as the broker takes it."""
        return {
            "retention.ms": str(self.retention_ms),
            "cleanup.policy": "compact" if self.compacted else "delete",
            "message.timestamp.type": "LogAppendTime" if self.log_append_time else "CreateTime",
            "compression.type": self.compression,
        }


def _topic(
    name: str,
    *,
    partitions: int,
    keeps_ms: int,
    writers: tuple[str, ...],
    readers: tuple[str, ...],
    purpose: str,
    compacted: bool = False,
) -> Topic:
    return Topic(
        name=name,
        partitions=partitions,
        retention_ms=-1 if compacted else keeps_ms,
        compacted=compacted,
        log_append_time=True,
        compression="producer",
        writers=writers,
        readers=readers,
        purpose=purpose,
    )


INPUTS = _topic(
    "inputs",
    partitions=INPUT_PARTITIONS,
    keeps_ms=72 * HOUR_MS,
    writers=("connector", "execute", "account", "decide", "plugins"),
    readers=("decide", "audit"),
    purpose="everything that can change a decision, in one order per symbol",
)
INTENTS = _topic(
    "intents",
    partitions=1,
    keeps_ms=7 * DAY_MS,
    writers=("decide", "account"),
    readers=("execute", "audit"),
    purpose="wanted orders",
)
DATA_INTENTS = _topic(
    "intents.data",
    partitions=1,
    keeps_ms=7 * DAY_MS,
    writers=("decide", "account", "connector"),
    readers=("execute",),
    purpose="wanted REST answers",
)
ANCHORS = _topic(
    "anchors",
    partitions=INPUT_PARTITIONS,
    keeps_ms=90 * DAY_MS,
    writers=("decide",),
    readers=("audit",),
    purpose="hourly states, manifest and fold digest: where a replay may start",
)
LOG_IDENTITY = _topic(
    "log-identity",
    partitions=1,
    keeps_ms=-1,
    compacted=True,
    writers=("creation",),
    readers=("decide", "account", "execute", "audit"),
    purpose="one record: the random id made with the topics",
)
ATTEMPTS = _topic(
    "attempts",
    partitions=1,
    keeps_ms=365 * DAY_MS,
    writers=("execute",),
    readers=("execute", "audit", "connector"),
    purpose="write-ahead journal of requests, epochs and outcomes",
)
ACCOUNT = _topic(
    "account",
    partitions=1,
    keeps_ms=30 * DAY_MS,
    writers=("connector", "execute", "decide", "account", "operator"),
    readers=("account", "audit", "connector"),
    purpose="user data, commands, signals, answers of decide",
)
DECISIONS = _topic(
    "decisions",
    partitions=INPUT_PARTITIONS,
    keeps_ms=30 * DAY_MS,
    writers=("decide",),
    readers=("audit", "reports"),
    purpose="what each line led to, with causes and chained digest",
)
FACTORS = _topic(
    "factors",
    partitions=INPUT_PARTITIONS,
    keeps_ms=7 * DAY_MS,
    writers=("decide",),
    readers=("audit", "reports", "scanner"),
    purpose="published factor values",
)
TRADES = _topic(
    "trades",
    partitions=1,
    keeps_ms=365 * DAY_MS,
    writers=("decide",),
    readers=("reports", "notifier"),
    purpose="one record per closed position",
)
ALERTS = _topic(
    "alerts",
    partitions=1,
    keeps_ms=30 * DAY_MS,
    writers=("connector", "decide", "account", "execute"),
    readers=("reports", "notifier"),
    purpose="words for people",
)
QUARANTINE = _topic(
    "quarantine",
    partitions=1,
    keeps_ms=30 * DAY_MS,
    writers=("connector", "decide", "account", "execute"),
    readers=("reports",),
    purpose="refused input with its bytes and the reason",
)

TIERS = _topic(
    "tiers",
    partitions=1,
    keeps_ms=-1,
    compacted=True,
    writers=("account",),
    readers=("connector", "execute", "reports"),
    purpose="which symbols are held and which are shortlisted: who gets which streams",
)

PLUGIN_ASKS = _topic(
    "plugin.asks",
    partitions=INPUT_PARTITIONS,
    keeps_ms=HOUR_MS,
    writers=("decide",),
    readers=("plugins",),
    purpose="what plug-ins are asked; their answers are lines of inputs",
)

TOPICS: Final[tuple[Topic, ...]] = (
    INPUTS,
    INTENTS,
    DATA_INTENTS,
    ANCHORS,
    LOG_IDENTITY,
    ATTEMPTS,
    ACCOUNT,
    DECISIONS,
    FACTORS,
    TRADES,
    ALERTS,
    QUARANTINE,
    TIERS,
    PLUGIN_ASKS,
)


def murmur2(key: bytes) -> int:
    """Kafka's partitioner hash (32-bit murmur2 with seed 0x9747b28c), as its Java client computes it."""
    length = len(key)
    seed, m, mask = 0x9747B28C, 0x5BD1E995, 0xFFFFFFFF
    h = seed ^ length
    whole = length - length % 4
    for index in range(0, whole, 4):
        k = int.from_bytes(key[index : index + 4], "little")
        k = (k * m) & mask
        k ^= k >> 24
        k = (k * m) & mask
        h = (h * m) & mask
        h ^= k
    rest = key[whole:]
    if rest:
        h ^= int.from_bytes(rest, "little")
        h = (h * m) & mask
    h ^= h >> 13
    h = (h * m) & mask
    return h ^ (h >> 15)


def partition_of(symbol: str, *, partitions: int = INPUT_PARTITIONS) -> int:
    """The ``inputs`` partition of a symbol: what a Kafka client with the murmur2 partitioner chooses for the key."""
    return (murmur2(symbol.encode()) & 0x7FFFFFFF) % partitions
