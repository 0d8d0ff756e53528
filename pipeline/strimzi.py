"""
The only place where the table of topics becomes Strimzi resources: a ``KafkaTopic`` each, and who may read and write.

``make manifests`` writes what ``topics`` and ``users`` return into ``k8s/base/kafka``; a test holds the files equal to
them, so topics and access rights cannot drift from ``pipeline.wire.topics``. The values are plain words and numbers,
so the YAML is written by hand here and no YAML library is needed at run time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from pipeline.wire.topics import TOPICS, Topic

CLUSTER = "perpguard"
PREFIX = "perpguard."
REPLICATION = 3
MIN_IN_SYNC = 2  # with acks=all, one broker may be away and nothing acknowledged is lost
MAX_MESSAGE_BYTES = 17_825_792  # an anchor holds every state of a partition

# Processes whose Faust app is a consumer group with table changelogs of its own, named after the role.
STATEFUL_ROLES = ("decide", "account", "execute")


def topics(prefix: str = PREFIX) -> str:
    """Return one ``KafkaTopic`` for each row of the table."""
    return _HEADER + "---\n".join(_topic(topic, prefix) for topic in TOPICS)


def users(prefix: str = PREFIX) -> str:
    """
    Return one ``KafkaUser`` for each role of the table, allowed to do what its rows say and nothing else.

    The operator of Strimzi draws the passwords and keeps each in a Secret of the user's name.
    """
    roles = dict.fromkeys(role for topic in TOPICS for role in (*topic.writers, *topic.readers))
    return _HEADER + "---\n".join(_user(role, prefix) for role in roles)


_HEADER = "# Made by `make manifests` from pipeline/wire/topics.py; a test holds them equal.\n"


def _topic(topic: Topic, prefix: str) -> str:
    config = {**topic.config(), "min.insync.replicas": str(MIN_IN_SYNC), "max.message.bytes": str(MAX_MESSAGE_BYTES)}
    settings = "".join(f'    {key}: "{value}"\n' for key, value in config.items())
    return f"""\
apiVersion: kafka.strimzi.io/v1
kind: KafkaTopic
metadata:
  name: {topic.named(prefix)}
  labels:
    strimzi.io/cluster: {CLUSTER}
spec:
  # {topic.purpose}
  partitions: {topic.partitions}
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
    if role in STATEFUL_ROLES:
        # The changelogs of its tables, which Faust makes under the app's own name.
        changelog = ["Create", "Read", "Write", "Describe", "DescribeConfigs"]
        rules.append(_rule("topic", f"{prefix}{role}-", "prefix", changelog))
    if role == "creation":
        rules.append(_rule("topic", prefix, "prefix", ["Create", "Read", "Describe", "DescribeConfigs"]))
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
