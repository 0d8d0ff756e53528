"""Tables are small stores of bytes with a changelog of a fixed name, written only while a record is handled."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.settings import load
from pipeline.streaming.app import ROCKSDB_WRITE_BUFFER, make_app
from pipeline.streaming.tables import BytesTable
from pipeline.streaming.topics_admin import TABLES


@pytest.mark.parametrize("name", TABLES)
def test_changelog_has_a_fixed_name_and_the_partitions_of_its_source(name: str, tmp_path: Path) -> None:
    """One process for all roles or one for each: the same changelog, so every table is kept."""
    role, partitions = TABLES[name]
    app = make_app(load({"PERPGUARD_PREFIX": "test.", "PERPGUARD_DATA_DIRECTORY": str(tmp_path)}), role)
    table = BytesTable(app, name)._table

    assert (f"test.{role}-{name}-changelog", partitions) == (table.changelog_topic_name, table.partitions)


def test_stores_have_small_write_buffers(tmp_path: Path) -> None:
    """Faust's 64 MB let 40 stores grow to 558 MB; the options reach the store that Faust makes."""
    app = make_app(load({"PERPGUARD_PREFIX": "test.", "PERPGUARD_DATA_DIRECTORY": str(tmp_path)}), "decide")
    options = BytesTable(app, "checkpoints")._table.data.rocksdb_options

    assert (ROCKSDB_WRITE_BUFFER, True) == (options.write_buffer_size, options.use_rocksdict)


def test_row_needs_a_record(tmp_path: Path) -> None:
    """The partition of a row is that of the record being handled; without one there is none."""
    app = make_app(load({"PERPGUARD_PREFIX": "test.", "PERPGUARD_DATA_DIRECTORY": str(tmp_path)}), "decide")
    table = BytesTable(app, "checkpoints")

    with pytest.raises(AssertionError):
        table.write("BTCUSDT", b"state")
