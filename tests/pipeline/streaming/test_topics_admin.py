"""Topics are made once, as the table says, and every creator finds the same identity of the log."""

from __future__ import annotations

import asyncio
import uuid

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from pipeline.core.identity import DIGITS, LOG_IDENTITY_CHARACTERS
from pipeline.embedded_kafka import EmbeddedKafka
from pipeline.streaming.topics_admin import TABLES, changelog_name, ensure_topics, read_identity, wanted_topics
from pipeline.wire.topics import TOPICS


def test_every_topic_and_every_changelog_is_wanted() -> None:
    """Nothing is left to be made on the fly: brokers refuse that, and its settings would be the broker's."""
    wanted = {topic.name: topic.num_partitions for topic in wanted_topics("p.", 1)}

    assert {t.named("p."): t.partitions for t in TOPICS} | {
        changelog_name("p.", table): partitions for table, (_, partitions) in TABLES.items()
    } == wanted


async def test_racing_creators_agree_on_the_identity(kafka: EmbeddedKafka) -> None:
    """Four at once make the topics; all return the same identity, and so does whoever comes later."""
    prefix = f"t{uuid.uuid4().hex[:8]}."
    found = await asyncio.gather(*(ensure_topics(kafka.bootstrap, prefix) for _ in range(4)))
    later = await ensure_topics(kafka.bootstrap, prefix)
    read = await read_identity({"bootstrap_servers": kafka.bootstrap}, prefix)

    assert {later} == {*found, read}
    assert LOG_IDENTITY_CHARACTERS == len(later) and set(later) <= set(DIGITS)


async def test_topics_are_made_as_the_table_says(kafka: EmbeddedKafka) -> None:
    """Retention, clean-up and the append time stand on the broker."""
    prefix = f"t{uuid.uuid4().hex[:8]}."
    await ensure_topics(kafka.bootstrap, prefix)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        resources = [ConfigResource(ConfigResourceType.TOPIC, topic.named(prefix)) for topic in TOPICS]
        answers = await admin.describe_configs(resources)
    finally:
        await admin.close()
    found = {
        resource[3]: {row[0]: row[1] for row in resource[4]} for answer in answers for resource in answer.resources
    }

    for topic in TOPICS:
        wanted = topic.config()
        assert wanted == {key: found[topic.named(prefix)][key] for key in wanted}
