"""The manifests: valid for Kubernetes, built by kustomize, safe, and consistent among themselves."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from manifests import (
    COMPONENT,
    KEYS,
    KUBERNETES,
    KUSTOMIZATION,
    OVERLAYS,
    ROOT,
    WORKLOADS,
    Object,
    container,
    containers,
    documents,
    files_of,
    kustomization,
    objects,
    of_kind,
    overlay,
    pods,
    settings,
)

OLDEST = "1.27"  # the first whose gRPC probes are stable
VERSIONS = [OLDEST, kubernetes_validate.latest_version()]
FILES = sorted(file for file in KUBERNETES.rglob("*.yaml") if file.name != KUSTOMIZATION)
FOLDERS = sorted(file.parent for file in KUBERNETES.rglob(KUSTOMIZATION))
SAFE = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
SAFE_POD = {
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "runAsGroup": 10001,
    "fsGroup": 10001,
    "seccompProfile": {"type": "RuntimeDefault"},
}
every_overlay = pytest.mark.parametrize("name", OVERLAYS)


def kustomize() -> list[str]:
    """The command that builds a kustomization; skips the test where there is none."""
    if own := os.environ.get("KUSTOMIZE") or shutil.which("kustomize"):
        return [own, "build"]
    if kubectl := shutil.which("kubectl"):
        return [kubectl, "kustomize"]
    pytest.skip("no kustomize here: neither $KUSTOMIZE, nor kustomize, nor kubectl")


def label(one: Object) -> str:
    return f"{one['kind']}/{one['metadata']['name']}"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(KUBERNETES)))
def test_every_object_fits_the_schema(file, version: str) -> None:
    for one in documents(file):
        kubernetes_validate.validate(one, version, strict=True)


def test_every_file_is_part_of_an_overlay() -> None:
    assert {"direct", "round-robin", "sticky"} <= set(OVERLAYS)
    assert {file for name in OVERLAYS for file in files_of(overlay(name))} == set(FILES)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(KUBERNETES)))
def test_a_kustomization_patches_nothing(folder) -> None:
    found = kustomization(folder)
    assert found.keys() <= KEYS
    assert found["namespace"] == "lb-lab"


@every_overlay
def test_kustomize_builds_what_stands_in_the_files(name: str) -> None:
    done = subprocess.run([*kustomize(), str(overlay(name))], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    built = list(yaml.safe_load_all(done.stdout))
    for one in built:
        kubernetes_validate.validate(one, VERSIONS[-1], strict=True)
    (told,) = of_kind(built, "ConfigMap")
    assert told["data"] == settings(name)
    assert told["metadata"]["namespace"] == "lb-lab"
    # Another setting gives the ConfigMap another name, so the pods that read it are created again.
    assert re.fullmatch(r"experiment-[a-z0-9]+", told["metadata"]["name"])
    expected = [in_place(one, told["metadata"]["name"]) for one in objects(name)]
    rest = [one for one in built if one is not told]
    assert sorted(rest, key=label) == sorted(expected, key=label)


def in_place(one: Object, config_map: str) -> Object:
    """The object as kustomize should make it: with namespace, image tag and the ConfigMap's whole name."""
    if one["kind"] == "Namespace":
        return one
    one["metadata"]["namespace"] = "lb-lab"
    for each in containers(one["spec"]["template"]) if one["kind"] in WORKLOADS else []:
        each["image"] += ":latest"
        for source in each.get("envFrom", []):
            source["configMapRef"]["name"] = config_map
    return one


def test_the_guide_names_what_is_there() -> None:
    guide = (ROOT / "docs" / "kubernetes.md").read_text()
    assert {ROOT / folder for folder in re.findall(r" -k (\S+)", guide)} == {overlay("sticky")}
    for name in ("sticky", "round-robin", "direct"):
        (row,) = re.findall(rf"^\| `{name}` \| `(\w+)`, arms? `(\w+)`", guide, re.MULTILINE)
        told = settings(name)
        assert row == (told["EXPERIMENT"], told["ARM"] or "pick_first")
    rows = re.findall(r"^\| (`[A-Z_`, ]+`) \|", guide, re.MULTILINE)
    assert {word for row in rows for word in re.findall(r"\w+", row)} == settings("sticky").keys()


def test_the_guides_overlay_for_a_locust_file_is_built(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "kubernetes.md").read_text()
    (text,) = re.findall(r"<!-- overlay own -->\n```yaml\n(.*?)```", guide, re.DOTALL)
    shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    own = tmp_path / "kubernetes" / "overlays" / "own"
    own.mkdir()
    (own / KUSTOMIZATION).write_text(text)
    for name in ("own.yaml", "mine.py"):
        (own / name).write_text(f"# {name}\n")
    done = subprocess.run([*kustomize(), str(own)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    built = list(yaml.safe_load_all(done.stdout))
    for one in built:
        kubernetes_validate.validate(one, VERSIONS[-1], strict=True)
    told = {one["metadata"]["name"].rpartition("-")[0]: one["data"] for one in of_kind(built, "ConfigMap")}
    assert told["experiment"] == settings("sticky") | {"EXPERIMENT": "/own/own.yaml"}
    assert told["own"].keys() == {"own.yaml", "mine.py"}
    lab, ours = container(built, "lab"), container(objects("sticky"), "lab")
    left_out = {one for one in ours["args"] if one.startswith(("--expect-workers", "--master"))}
    assert set(lab["args"]) == set(ours["args"]) - left_out | {"--processes=2"}
    (mount,) = (one for one in lab["volumeMounts"] if one["mountPath"] == "/own")
    (volume,) = (one for one in pods(built)["lab"]["spec"]["volumes"] if one["name"] == mount["name"])
    assert volume["configMap"]["name"].startswith("own-")


@every_overlay
def test_pods_may_do_nothing_that_they_need_not(name: str) -> None:
    (namespace,) = of_kind(objects(name), "Namespace")
    assert namespace["metadata"]["name"] == "lb-lab"
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for pod in pods(objects(name)).values():
        assert pod["spec"]["securityContext"] == SAFE_POD
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert not pod["spec"].keys() & {"hostNetwork", "hostPID", "hostIPC", "serviceAccountName"}
        assert all(volume.keys() == {"name", "emptyDir"} for volume in pod["spec"]["volumes"])
        for one in containers(pod):
            assert one["securityContext"] == SAFE, one["name"]
            for bound in ("requests", "limits"):
                assert one["resources"][bound].keys() == {"cpu", "memory"}, one["name"]


@every_overlay
def test_all_run_our_image_with_the_settings_of_the_overlay(name: str) -> None:
    (image,) = kustomization(overlay(name))["images"]
    assert image == {"name": "lb-lab", "newTag": "latest"}
    for pod in pods(objects(name)).values():
        for one in containers(pod):
            assert one["image"] == "lb-lab"
            # With `latest` the default is Always: an image that was loaded by hand would not be found.
            assert one["imagePullPolicy"] == "IfNotPresent"
            sources = [source["configMapRef"]["name"] for source in one.get("envFrom", [])]
            assert set(sources) <= {"experiment"}


@every_overlay
def test_selectors_and_volumes_find_what_they_name(name: str) -> None:
    found = objects(name)
    for one in of_kind(found, "Deployment", "StatefulSet"):
        selector = one["spec"]["selector"]["matchLabels"]
        assert selector.items() <= one["spec"]["template"]["metadata"]["labels"].items()
        assert COMPONENT in selector
    for pod in pods(found).values():
        volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
        mounted = {mount["name"] for one in containers(pod) for mount in one["volumeMounts"]}
        assert mounted == volumes


@every_overlay
def test_services_and_probes_lead_to_ports_that_are_there(name: str) -> None:
    found = objects(name)
    services = of_kind(found, "Service")
    headless = [one["metadata"]["name"] for one in services if one["spec"].get("clusterIP") == "None"]
    assert headless == ["replicas"]
    assert [one["spec"]["serviceName"] for one in of_kind(found, "StatefulSet")] == headless
    for service in services:
        assert service["spec"].get("type", "ClusterIP") == "ClusterIP"
        ports = ports_of(pods(found)[service["spec"]["selector"][COMPONENT]])
        for port in service["spec"]["ports"]:
            assert ports[port["targetPort"]] == port["port"]
    for pod in pods(found).values():
        ports = ports_of(pod)
        for one in containers(pod):
            for probe in ("readinessProbe", "livenessProbe"):
                if probe in one:
                    assert probed(one[probe]) in {*ports, *ports.values()}


def ports_of(pod: Object) -> dict[str, int]:
    ports = [port for one in containers(pod) for port in one.get("ports", [])]
    return {port["name"]: port["containerPort"] for port in ports}


def probed(probe: Object) -> object:
    return (probe.get("grpc") or probe["tcpSocket"])["port"]
