"""deploy/kubernetes as kustomize reads it. Pure, so that it needs no kustomize.

That holds as long as a kustomization has no other keys than KEYS: nothing is patched, every object stands
whole in a file.
"""

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
KUBERNETES = ROOT / "deploy" / "kubernetes"
KUSTOMIZATION = "kustomization.yaml"
OVERLAYS = sorted(path.parent.name for path in KUBERNETES.glob(f"overlays/*/{KUSTOMIZATION}"))
KEYS = {"apiVersion", "kind", "namespace", "resources", "images", "configMapGenerator"}
COMPONENT = "app.kubernetes.io/component"
WORKLOADS = ("Deployment", "StatefulSet", "Job")

Object = dict[str, Any]


def documents(file: Path) -> list[Object]:
    """The objects in one file."""
    return list(yaml.load_all(file.read_text(), yaml.CSafeLoader))


def kustomization(folder: Path) -> Object:
    """The folder's kustomization."""
    (found,) = documents(folder / KUSTOMIZATION)
    return found


def files_of(folder: Path) -> list[Path]:
    """The files that a kustomization reads, those of its bases too."""
    named = [(folder / resource).resolve() for resource in kustomization(folder)["resources"]]
    return [file for path in named for file in (files_of(path) if path.is_dir() else [path])]


def overlay(name: str) -> Path:
    """The overlay's folder."""
    return KUBERNETES / "overlays" / name


def objects(name: str) -> list[Object]:
    """All objects of an overlay that stand in files."""
    return [one for file in files_of(overlay(name)) for one in documents(file)]


def settings(name: str) -> dict[str, str]:
    """What the overlay's ConfigMap says: the environment of its containers."""
    (generated,) = kustomization(overlay(name))["configMapGenerator"]
    return dict(literal.split("=", 1) for literal in generated["literals"])


def of_kind(found: list[Object], *kinds: str) -> list[Object]:
    """Those of the kinds."""
    return [one for one in found if one["kind"] in kinds]


def pods(found: list[Object]) -> dict[str, Object]:
    """Component -> its pod template."""
    templates = [one["spec"]["template"] for one in of_kind(found, *WORKLOADS)]
    return {template["metadata"]["labels"][COMPONENT]: template for template in templates}


def containers(pod: Object) -> list[Object]:
    """A pod's containers, those that come first included."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def container(found: list[Object], name: str) -> Object:
    """The one container of that name."""
    (only,) = [one for pod in pods(found).values() for one in containers(pod) if one["name"] == name]
    return only


def words(of: Object, environment: dict[str, str]) -> list[str]:
    """A container's command and arguments, $(NAME) replaced as the kubelet does; KeyError: not set."""
    return [
        re.sub(r"\$\((\w+)\)", lambda found: environment[found[1]], word)
        for word in [*of["command"], *of.get("args", [])]
    ]
