"""The only place where tests resolve kustomizations without the kustomize program: the few features that k8s/ uses.

Known keys: resources, components, namespace, images, patches (strategic merge, by path). Any other key is refused, so a
kustomization cannot use what nobody checks. Where kubectl is installed a test compares the two.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

Resource = dict[str, Any]  # Any: YAML documents, checked against schemas by the tests

KEYS = {"apiVersion", "kind", "resources", "components", "namespace", "images", "patches"}

# Lists of the workloads that a strategic merge joins by a key; every other list is replaced.
MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
}
BUILT_IN_GROUPS = ("v1", "apps/", "batch/", "policy/")


def build(directory: Path) -> list[Resource]:
    """Return the resources of the kustomization in *directory*, as ``kubectl kustomize`` would; the order is free."""
    resources: list[Resource] = []
    _accumulate(directory.resolve(), resources)
    return resources


def _accumulate(directory: Path, resources: list[Resource]) -> None:
    kustomization = yaml.safe_load((directory / "kustomization.yaml").read_text())
    unknown = set(kustomization) - KEYS
    assert not unknown, f"{directory}: {sorted(unknown)} is not resolved by the tests"
    own: list[Resource] = resources if kustomization["kind"] == "Component" else []
    for name in kustomization.get("resources", []):
        path = directory / name
        assert path.exists(), f"{directory}: the resource {name} does not exist"
        if path.is_dir():
            _accumulate(path, own)
        else:
            own.extend(document for document in yaml.safe_load_all(path.read_text()) if document)
    for name in kustomization.get("components", []):
        _accumulate(directory / name, own)
    for patch in kustomization.get("patches", []):
        _patch(directory / patch["path"], own)
    for resource in own:
        if "namespace" in kustomization:
            resource["metadata"]["namespace"] = kustomization["namespace"]
        for image in kustomization.get("images", []):
            _rename(resource, image)
    if own is not resources:
        resources.extend(own)


def _patch(path: Path, resources: list[Resource]) -> None:
    for patch in yaml.safe_load_all(path.read_text()):
        targets = [resource for resource in resources if identity(resource) == identity(patch)]
        assert len(targets) == 1, f"{path}: {identity(patch)} fits {len(targets)} resources"
        built_in = patch["apiVersion"].startswith(BUILT_IN_GROUPS)
        merged = _merge(targets[0], patch, joins_lists=built_in)
        targets[0].clear()
        targets[0].update(merged)


def identity(resource: Resource) -> tuple[str, str, str]:
    """Return what a patch finds its target by."""
    return resource["apiVersion"], resource["kind"], resource["metadata"]["name"]


def _merge(base: Any, patch: Any, *, joins_lists: bool, key: str = "") -> Any:  # Any: any YAML value
    if isinstance(base, dict) and isinstance(patch, dict):
        merged = copy.deepcopy(base)
        for name, value in patch.items():
            merged[name] = _merge(base.get(name), value, joins_lists=joins_lists, key=name)
        return merged
    if isinstance(base, list) and isinstance(patch, list) and joins_lists and key in MERGE_KEYS:
        by = MERGE_KEYS[key]
        added = {item[by]: item for item in patch}
        kept = [_merge(item, added.pop(item[by], {}), joins_lists=True) for item in base]
        return [*added.values(), *kept]
    return copy.deepcopy(patch)


def _rename(resource: Resource, image: dict[str, str]) -> None:
    for container in containers(resource):
        name, _, tag = container["image"].partition(":")
        if name == image["name"]:
            tag = image.get("newTag", tag)
            container["image"] = image.get("newName", name) + (f":{tag}" if tag else "")


def containers(resource: Resource) -> list[Resource]:
    """Return the containers of a workload, those of its start included."""
    pod = resource.get("spec", {}).get("template", {}).get("spec", {})
    return [*pod.get("initContainers", []), *pod.get("containers", [])]
