"""The table of topics, and the partitioner that every Kafka client must agree with."""

from __future__ import annotations

import pytest
from aiokafka.partitioner import murmur2 as client_murmur2
from hypothesis import given
from hypothesis import strategies as st

from pipeline.wire.topics import INPUT_PARTITIONS, INPUTS, TOPICS, murmur2, partition_of

ROLES = {
    *("connector", "decide", "account", "execute", "plugins"),
    *("operator", "creation", "audit", "reports", "scanner", "notifier"),
}


def test_names_are_unique() -> None:
    """Two rows with one name would overwrite each other on the cluster."""
    names = [topic.name for topic in TOPICS]

    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_every_topic_has_writers_and_readers_that_exist(topic: object) -> None:
    """ACLs are generated from the roles, so a role that is no role would lock somebody out."""
    row = next(known for known in TOPICS if known is topic)

    assert row.writers and row.readers
    assert set(row.writers) | set(row.readers) <= ROLES


def test_inputs_is_dense_and_stamped_by_the_broker() -> None:
    """The continuity guard needs dense offsets (no compaction), log time needs append times."""
    assert not INPUTS.compacted
    assert INPUTS.log_append_time
    assert INPUTS.partitions == INPUT_PARTITIONS


def test_a_name_carries_the_prefix() -> None:
    """Two accounts share a cluster by prefix."""
    assert "mine.inputs" == INPUTS.named("mine.")


def test_configuration_says_what_the_table_says() -> None:
    """The broker is told retention, clean-up and the kind of timestamp."""
    expected = {
        "retention.ms": str(72 * 3_600_000),
        "cleanup.policy": "delete",
        "message.timestamp.type": "LogAppendTime",
        "compression.type": "producer",
    }
    assert expected == INPUTS.config()


@given(st.binary(max_size=64))
def test_murmur2_is_the_one_of_kafka(key: bytes) -> None:
    """aiokafka's own implementation is the peer; librdkafka must be told ``murmur2_random``."""
    assert client_murmur2(key) & 0xFFFFFFFF == murmur2(key)


def test_a_thousand_symbols_go_where_the_default_partitioner_would_put_them() -> None:
    """An explicit partition and a keyed produce agree for every symbol."""
    for number in range(1_000):
        symbol = f"{number}COINUSDT"
        assert (client_murmur2(symbol.encode()) & 0x7FFFFFFF) % INPUT_PARTITIONS == partition_of(symbol)


def test_known_places() -> None:
    """Literal places: a change of the hash would move every symbol away from its state."""
    assert {"BTCUSDT": 2, "ETHUSDT": 5} == {symbol: partition_of(symbol) for symbol in ("BTCUSDT", "ETHUSDT")}
