"""Tests of the Strimzi resources that are made from the table of topics."""

from __future__ import annotations

from typing import Any

import yaml

from pipeline import strimzi
from pipeline.streaming.topics_admin import TABLES, changelog_name, wanted_topics
from pipeline.wire.topics import TOPICS


def _documents(text: str) -> list[Any]:  # Any: YAML documents
    return list(yaml.safe_load_all(text))


def test_each_row_becomes_one_topic_with_its_own_figures() -> None:
    """Names, partitions and configuration of the table arrive unchanged; two brokers must acknowledge."""
    made = {document["metadata"]["name"]: document["spec"] for document in _documents(strimzi.topics("p."))}

    assert {topic.name for topic in wanted_topics("p.", 3)} == set(made)
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
    for table, (role, _partitions) in TABLES.items():
        expected |= {(role, "Write", changelog_name("p.", table)), (role, "Read", changelog_name("p.", table))}
    assert expected == allowed


def test_rights_on_every_topic_are_to_look_and_for_the_creator_to_create() -> None:
    """By prefix a user may only see that a topic is there; topic creation alone may make one, and nobody writes."""
    for user in _documents(strimzi.users("p.")):
        by_prefix = [
            set(rule["operations"])
            for rule in user["spec"]["authorization"]["acls"]
            if rule["resource"]["type"] == "topic" and rule["resource"]["patternType"] == "prefix"
        ]
        extra = {"Create", "Read"} if user["metadata"]["name"] == "perpguard-creation" else set()
        assert [{"Describe", "DescribeConfigs"} | extra] == by_prefix
