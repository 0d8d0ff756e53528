"""
The only place where the table of topics becomes Strimzi resources: a ``KafkaTopic`` each, and who may read and write.

``make manifests`` writes what ``topics`` and ``users`` return into ``k8s/base/kafka``; a test holds the files equal to
them, so topics and access rights cannot drift from ``pipeline.wire.topics``. The values are plain words and numbers,
so the YAML is written by hand here and no YAML library is needed at run time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from pipeline.streaming.topics_admin import CHANGELOG_CONFIG, TABLES, changelog_name
from pipeline.wire.topics import TOPICS

CLUSTER = "perpguard"
PREFIX = "perpguard."
REPLICATION = 3
MIN_IN_SYNC = 2  # with acks=all, one broker may be away and nothing acknowledged is lost
MAX_MESSAGE_BYTES = 17_825_792  # an anchor holds every state of a partition


def topics(prefix: str = PREFIX) -> str:
    """Return one ``KafkaTopic`` for each row of the table, and one for the changelog of each table of the workers."""
    rows = [_topic(topic.named(prefix), topic.purpose, topic.partitions, topic.config()) for topic in TOPICS]
    rows += [
        _topic(changelog_name(prefix, table), f"the durable image of the table {table}", partitions, CHANGELOG_CONFIG)
        for table, (_role, partitions) in TABLES.items()
    ]
    return _HEADER + "---\n".join(rows)


def users(prefix: str = PREFIX) -> str:
    """
    Return one ``KafkaUser`` for each role of the table, allowed to do what its rows say and nothing else.

    The operator of Strimzi draws the passwords and keeps each in a Secret of the user's name.
    """
    roles = dict.fromkeys(role for topic in TOPICS for role in (*topic.writers, *topic.readers))
    return _HEADER + "---\n".join(_user(role, prefix) for role in roles)


_HEADER = "# Made by `make manifests` from pipeline/wire/topics.py; a test holds them equal.\n"


def _topic(name: str, purpose: str, partitions: int, own: Mapping[str, str]) -> str:
    config = {**own, "min.insync.replicas": str(MIN_IN_SYNC), "max.message.bytes": str(MAX_MESSAGE_BYTES)}
    settings = "".join(f'    {key}: "{value}"\n' for key, value in config.items())
    return f"""\
apiVersion: kafka.strimzi.io/v1
kind: KafkaTopic
metadata:
  name: {name}
  labels:
    strimzi.io/cluster: {CLUSTER}
spec:
  # {purpose}
  partitions: {partitions}
  replicas: {REPLICATION}
  config:
{settings}"""


def _user(role: str, prefix: str) -> str:
    rules: list[str] = []
    for topic in TOPICS:
        operations = [
            *(["Write"] if role in topic.writers else []),
            *(["Read"] if role in topic.readers else []),
        ]
        if operations:
            rules.append(_rule("topic", topic.named(prefix), "literal", [*operations, "Describe", "DescribeConfigs"]))
    changelogs = [changelog_name(prefix, table) for table, (owner, _partitions) in TABLES.items() if owner == role]
    rules += [_rule("topic", name, "literal", ["Write", "Read", "Describe", "DescribeConfigs"]) for name in changelogs]
    # Each process looks at its start whether every topic is there; only creation may make one.
    everywhere = ["Describe", "DescribeConfigs"]
    rules.append(
        _rule("topic", prefix, "prefix", ["Create", "Read", *everywhere] if role == "creation" else everywhere)
    )
    rules.append(_rule("group", f"{prefix}{role}", "prefix", ["Read", "Describe"]))
    return f"""\
apiVersion: kafka.strimzi.io/v1
kind: KafkaUser
metadata:
  name: {CLUSTER}-{role}
  labels:
    strimzi.io/cluster: {CLUSTER}
spec:
  authentication:
    type: scram-sha-512
  authorization:
    type: simple
    acls:
{"".join(rules)}"""


def _rule(kind: str, name: str, pattern: str, operations: Iterable[str]) -> str:
    return f"""\
      - resource: {{type: {kind}, name: {name}, patternType: {pattern}}}
        operations: [{", ".join(operations)}]
"""


def main(directory: Path) -> None:
    """Write both files into *directory*."""
    (directory / "topics.yaml").write_text(topics(), encoding="utf-8")
    (directory / "users.yaml").write_text(users(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
