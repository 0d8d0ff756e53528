"""Tests of the Strimzi resources that are made from the table of topics."""

from __future__ import annotations

from typing import Any

import yaml

from pipeline import strimzi
from pipeline.wire.topics import TOPICS


def _documents(text: str) -> list[Any]:  # Any: YAML documents
    return list(yaml.safe_load_all(text))


def test_each_row_becomes_one_topic_with_its_own_figures() -> None:
    """Names, partitions and configuration of the table arrive unchanged; two brokers must acknowledge."""
    made = {document["metadata"]["name"]: document["spec"] for document in _documents(strimzi.topics("p."))}

    assert {topic.named("p.") for topic in TOPICS} == set(made)
    for topic in TOPICS:
        spec = made[topic.named("p.")]
        assert topic.partitions == spec["partitions"]
        assert topic.config().items() <= spec["config"].items()
        assert ("2", 3) == (spec["config"]["min.insync.replicas"], spec["replicas"])


def test_a_role_may_do_what_its_rows_say_and_nothing_else() -> None:
    """Write and Read of each user on each topic are exactly the writers and readers of the table."""
    allowed: set[tuple[str, str, str]] = set()
    for user in _documents(strimzi.users("p.")):
        role = user["metadata"]["name"].removeprefix("perpguard-")
        for rule in user["spec"]["authorization"]["acls"]:
            if rule["resource"]["type"] == "topic" and rule["resource"]["patternType"] == "literal":
                operations = set(rule["operations"]) & {"Read", "Write"}
                allowed |= {(role, operation, rule["resource"]["name"]) for operation in operations}

    expected = {(role, "Write", topic.named("p.")) for topic in TOPICS for role in topic.writers}
    expected |= {(role, "Read", topic.named("p.")) for topic in TOPICS for role in topic.readers}
    assert expected == allowed


def test_nobody_but_the_creator_gets_rights_on_every_topic() -> None:
    """Rights by prefix end at the changelogs of a role's own tables; only topic creation reaches all names."""
    for user in _documents(strimzi.users("p.")):
        role = user["metadata"]["name"].removeprefix("perpguard-")
        prefixes = {
            rule["resource"]["name"]
            for rule in user["spec"]["authorization"]["acls"]
            if rule["resource"] != {}
            and rule["resource"]["type"] == "topic"
            and rule["resource"]["patternType"] == "prefix"
        }
        assert prefixes <= ({"p."} if role == "creation" else {f"p.{role}-"})
