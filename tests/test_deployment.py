"""Tests of the deployment files: they build, they are valid, and what they start and set exists."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import faust.cli.faust  # noqa: F401  # registers Faust's own commands
import jsonschema
import kubernetes_validate
import pytest
import yaml
from faust.cli.base import cli as faust_cli

from pipeline import cli, settings, strimzi
from tests import kustomize
from tests.kustomize import Resource

ROOT = Path(__file__).resolve().parent.parent
K8S = ROOT / "k8s"
OVERLAYS = ("local", "testnet", "production")
KUBERNETES = "1.33"
PROCESSES = ("connector", "decide", "account", "execute")
SECRET_VALUE = "not-a-real-one"


@pytest.fixture(scope="module", params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> tuple[str, list[Resource]]:
    """Return the name of an overlay and its resources."""
    return request.param, kustomize.build(K8S / "overlays" / request.param)


def test_every_file_of_the_tree_is_used() -> None:
    """A manifest that no kustomization names would look deployed and be nowhere."""
    named: set[Path] = set()
    for path in K8S.rglob("kustomization.yaml"):
        content = yaml.safe_load(path.read_text())
        entries = [*content.get("resources", []), *(patch["path"] for patch in content.get("patches", []))]
        named |= {(path.parent / entry).resolve() for entry in entries}

    unused = {path for path in K8S.rglob("*.yaml") if path.name != "kustomization.yaml"} - named

    assert set() == unused


@pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl is not installed: the tests' own build stands alone"
)
def test_kubectl_builds_the_same(overlay: tuple[str, list[Resource]]) -> None:
    """The resolution used by these tests and ``kubectl kustomize`` agree on every resource."""
    name, resources = overlay
    done = subprocess.run(
        ["kubectl", "kustomize", str(K8S / "overlays" / name)], capture_output=True, text=True, check=True
    )

    expected = {kustomize.identity(resource): resource for resource in yaml.safe_load_all(done.stdout)}

    assert expected == {kustomize.identity(resource): resource for resource in resources}


def test_resources_are_valid(overlay: tuple[str, list[Resource]]) -> None:
    """Core resources fit the schema of Kubernetes without unknown fields; Strimzi's fit the part of it that we use."""
    schema = json.loads((ROOT / "tests" / "strimzi_schema.json").read_text())
    for resource in overlay[1]:
        if resource["apiVersion"].startswith("kafka.strimzi.io/"):
            validator = jsonschema.Draft202012Validator({**schema[resource["kind"]], "$defs": schema["$defs"]})
            assert [] == [error.message for error in validator.iter_errors(resource)], kustomize.identity(resource)
        else:
            kubernetes_validate.validate(resource, KUBERNETES, strict=True)


def test_an_invalid_resource_is_refused() -> None:
    """The schema check bites: an unknown field of a container fails it."""
    broken = next(resource for resource in kustomize.build(K8S / "base") if resource["kind"] == "StatefulSet")
    broken["spec"]["template"]["spec"]["containers"][0]["comand"] = ["faust"]

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, KUBERNETES, strict=True)


def test_nothing_runs_as_root_and_everything_is_probed_and_limited(overlay: tuple[str, list[Resource]]) -> None:
    """Each pod says that it is not root, each container drops its rights, has requests, a memory limit and probes."""
    for workload in _workloads(overlay[1]):
        pod = workload["spec"]["template"]["spec"]
        where = kustomize.identity(workload)
        assert pod["securityContext"]["runAsNonRoot"] is True, where
        assert pod["automountServiceAccountToken"] is False, where
        assert pod["enableServiceLinks"] is False, where
        for container in kustomize.containers(workload):
            assert container["securityContext"]["allowPrivilegeEscalation"] is False, where
            assert ["ALL"] == container["securityContext"]["capabilities"]["drop"], where
            assert {"cpu", "memory"} == set(container["resources"]["requests"]), where
            assert "memory" in container["resources"]["limits"], where
        for container in pod["containers"] if workload["kind"] != "Job" else []:
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container), where
            ports = {port["name"] for port in container["ports"]}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                action = container[probe].get("httpGet") or container[probe]["tcpSocket"]
                assert action["port"] in ports, where


def test_only_the_executor_holds_the_secret(overlay: tuple[str, list[Resource]]) -> None:
    """The API secret reaches ``execute`` alone, the key ``connector`` too; only the local overlay contains them."""
    name, resources = overlay
    holders: dict[str, set[str]] = {}
    for workload in _workloads(resources):
        for variable in _variables(workload):
            source = variable.get("valueFrom", {}).get("secretKeyRef", {})
            if source.get("name") == "perpguard-venue":
                holders.setdefault(source["key"], set()).add(workload["metadata"]["name"])

    assert {"api-key": {"connector", "execute"}, "api-secret": {"execute"}} == holders
    if name != "local":  # there it is the documented constant of the simulator
        assert [] == [resource for resource in resources if resource["kind"] == "Secret"]


def test_singletons_are_stateful_sets_of_one(overlay: tuple[str, list[Resource]]) -> None:
    """``account`` and ``execute`` must never run twice: a Deployment starts a second pod when a node is unreachable."""
    found = {
        workload["metadata"]["name"]: (workload["kind"], workload["spec"].get("replicas"))
        for workload in _workloads(overlay[1])
    }

    assert ("StatefulSet", 1) == found["account"]
    assert ("StatefulSet", 1) == found["execute"]
    assert "StatefulSet" == found["decide"][0]


@pytest.mark.parametrize("name", PROCESSES)
def test_each_process_accepts_its_environment(overlay: tuple[str, list[Resource]], name: str) -> None:
    """``Settings`` can be read from what the overlay gives the process, and agree with the overlay about the venue."""
    environment = _environment(overlay[1], name)
    assert "/app/config/optimized_execution.json" == environment.pop("PERPGUARD_CONFIG")

    loaded = settings.load(environment, ROOT / "config" / "optimized_execution.json")

    assert name == loaded.role
    assert 9100 == loaded.metrics_port
    if name in ("connector", "execute"):
        assert {"local": "other", "testnet": "demo", "production": "real"}[overlay[0]] == loaded.venue
    if overlay[0] != "local":
        assert "SASL_SSL" == loaded.kafka_security
        assert f"perpguard-{name}" == loaded.kafka_username


def test_variables_are_settings(overlay: tuple[str, list[Resource]]) -> None:
    """Every PERPGUARD_ variable of a manifest is read by the settings; a typing error would be a silent default."""
    known = (ROOT / "pipeline" / "settings.py").read_text()
    for workload in _workloads(overlay[1]):
        for variable in _environment(overlay[1], workload["metadata"]["name"]):
            if variable.startswith("PERPGUARD_"):
                assert f'"{variable}"' in known, variable


def test_commands_exist(overlay: tuple[str, list[Resource]]) -> None:
    """Every command line of a manifest is understood by the program it names."""
    for workload in _workloads(overlay[1]):
        for container in workload["spec"]["template"]["spec"]["containers"]:
            if "command" in container:
                _understood(container["command"])


def test_compose_starts_the_same_commands_and_reads_the_same_settings() -> None:
    """docker-compose.yml names existing commands and settings, waits for existing services and mounts named volumes."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    known = (ROOT / "pipeline" / "settings.py").read_text()

    assert {*PROCESSES, "kafka", "simulator"} == set(compose["services"])
    for name, service in compose["services"].items():
        assert set(service.get("depends_on", {})) <= set(compose["services"])
        assert {volume.split(":")[0] for volume in service.get("volumes", [])} <= set(compose["volumes"])
        if "command" in service:
            _understood(service["command"])
        if name in PROCESSES:
            for variable in service["environment"]:
                assert f'"{variable}"' in known, variable
            assert ("PERPGUARD_API_SECRET" in service["environment"]) == (name == "execute")


def test_every_copied_file_of_the_image_exists_and_is_let_through() -> None:
    """The Dockerfile copies what exists and what .dockerignore does not hold back; the image runs as a plain user."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [
        name for names in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE) for name in names.split()
    ]

    assert copied
    assert [] == [name for name in copied if not (ROOT / name).exists() or name not in allowed]
    assert "\nUSER 10001\n" in dockerfile


def _workloads(resources: list[Resource]) -> Iterator[Resource]:
    return (resource for resource in resources if resource["kind"] in ("Deployment", "StatefulSet", "Job"))


def _variables(workload: Resource) -> list[dict[str, Any]]:
    return [variable for container in kustomize.containers(workload) for variable in container.get("env", [])]


def _environment(resources: list[Resource], name: str) -> dict[str, str]:
    """Return the variables of the process *name*, with made-up values where the cluster would give secret ones."""
    maps = {resource["metadata"]["name"]: resource["data"] for resource in resources if resource["kind"] == "ConfigMap"}
    workload = next(workload for workload in _workloads(resources) if workload["metadata"]["name"] == name)
    environment: dict[str, str] = {}
    for container in workload["spec"]["template"]["spec"]["containers"]:
        for source in container.get("envFrom", []):
            environment |= maps[source["configMapRef"]["name"]]
        for variable in container.get("env", []):
            origin = variable.get("valueFrom", {})
            if "fieldRef" in origin:
                assert "metadata.name" == origin["fieldRef"]["fieldPath"]
                environment[variable["name"]] = f"{name}-0"
            elif "secretKeyRef" in origin:
                environment[variable["name"]] = base64.b64encode(SECRET_VALUE.encode()).decode()
            else:
                environment[variable["name"]] = variable["value"]
    return environment


def _understood(command: list[str]) -> None:
    """Let click parse *command* as the program would, without running it."""
    program, *arguments = command
    group: click.Group = {"perpguard": cli.main, "faust": faust_cli}[program]
    context = group.make_context(program, list(arguments))
    name, found, rest = group.resolve_command(context, [*context._protected_args, *context.args])
    assert found is not None, f"{program} has no command {name}"
    found.make_context(name, rest, parent=context)


def test_strimzi_resources_follow_the_table_of_topics() -> None:
    """The checked-in topics and users are what ``make manifests`` makes of the table today."""
    assert strimzi.topics() == (K8S / "base" / "kafka" / "topics.yaml").read_text()
    assert strimzi.users() == (K8S / "base" / "kafka" / "users.yaml").read_text()
