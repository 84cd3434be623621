"""The containers' commands, parsed by the programs' own command lines."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import typer
from manifests import OVERLAYS, ROOT, Object, container, containers, objects, of_kind, pods, settings, words

from harness.cli.main import app
from harness.plan.cells import plan_cells
from harness.plan.run_options import ExternalOptions, confirm_testbed
from harness.proxy.standalone import _parser, proxy_plan
from harness.spec.experiment import load_experiment
from harness.testbed.cell_context import CellContext, replica_args
from harness.testbed.external.plan import plan_external
from load.secret import SECRET_VARIABLE
from services.options import Options, parse
from services.settings import ServiceTime

# Overlay of ours -> its arms.
RUNS = {
    "direct": ["pick_first", "client_round_robin"],
    "round-robin": ["round_robin"],
    "sticky": ["sticky"],
}
BEHIND_ENVOY = [name for name in OVERLAYS if settings(name)["TARGET"]]
every_overlay = pytest.mark.parametrize("name", OVERLAYS)


def started(of: Object, environment: dict[str, str], folder: Path) -> list[list[str]]:
    """What a container's shell starts instead of each `python`: $LB_LAB_HEALTH, and the words after it."""
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nprintf "%s\\n" "--" "$LB_LAB_HEALTH" "$@" >> {folder}/told\n')
    python.chmod(0o755)
    path = {"PATH": f"{folder}:{os.environ['PATH']}"}
    subprocess.run(words(of, environment), env=environment | path, check=True, timeout=10)
    return [call.splitlines() for call in (folder / "told").read_text().split("--\n")[1:]]


def parsed(given: list[str]) -> dict[str, object]:
    """The parameters of `python run_experiment.py ...`, where the first word is a verb or an experiment."""
    verbs = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert given[:2] == ["python", "run_experiment.py"]
    verb, *rest = given[2:] if given[2] in verbs else ["run", *given[2:]]
    return dict(verbs[verb].make_context(verb, rest).params)


def run_of(name: str, folder: Path, **more: str) -> dict[str, object]:
    """The parameters of the overlay's run."""
    of = container(objects(name), "lab")
    ((_, *given),) = started(of, settings(name) | more, folder)
    return parsed(["python", *given])


def replicas_of(name: str) -> list[str]:
    """The replicas' names in DNS, and their port."""
    (one,) = of_kind(objects(name), "StatefulSet")
    pod, service = one["metadata"]["name"], one["spec"]["serviceName"]
    return [f"{pod}-{number}.{service}:50051" for number in range(one["spec"]["replicas"])]


def services_of(name: str) -> dict[str, set[int]]:
    services = of_kind(objects(name), "Service")
    return {one["metadata"]["name"]: {port["port"] for port in one["spec"]["ports"]} for one in services}


def split(address: object) -> tuple[str, int]:
    host, _, port = str(address).rpartition(":")
    return host, int(port)


@every_overlay
def test_replicas_are_those_of_the_experiment(name: str) -> None:
    (one,) = of_kind(objects(name), "StatefulSet")
    experiment = load_experiment(settings(name)["EXPERIMENT"])
    assert one["spec"]["replicas"] == experiment.replicas.count
    for plan in plan_cells(experiment):
        if plan.arm_name not in RUNS.get(name, [plan.arm_name]):
            continue
        for number in range(experiment.replicas.count):
            pod = f"{one['metadata']['name']}-{number}"
            site = CellContext(experiment, plan, Path(), 0, None)
            planned = parse(replica_args(site, pod, "0.0.0.0:50051"))
            given = words(container(objects(name), "replica"), settings(name) | {"POD_NAME": pod})
            assert given[:3] == ["python", "-m", "services.replica"]
            assert seen(parse(given[3:])) == seen(planned)


def seen(options: Options) -> tuple[object, ...]:
    """What the lab confirms before it measures, and where it asks."""
    return (options.name, options.listen, options.settings)


def test_the_overlays_settings_come_through() -> None:
    for name in OVERLAYS:
        told = settings(name) | {"POD_NAME": "replica-0", "SLOTS": "7", "SERVICE_TIME": "constant:3"}
        given = parse(words(container(objects(name), "replica"), told)[3:]).settings
        expected = ServiceTime(distribution="constant", mean=3)
        assert (given.slots, given.service_time_ms) == (7, expected)


@pytest.mark.parametrize("name", BEHIND_ENVOY)
def test_envoy_has_the_policy_of_the_overlays_arm(name: str) -> None:
    given = words(container(objects(name), "envoy"), settings(name))
    assert given[:3] == ["python", "-m", "harness.proxy.standalone"]
    options = _parser().parse_args(given[3:])
    assert proxy_plan(load_experiment(options.experiment), options.arm).arm_name == settings(name)["ARM"]
    (replicas,) = options.replicas
    assert replicas[1] in services_of(name)[replicas[0]]
    host, port = split(options.listen)
    assert (host, {port}) == ("0.0.0.0", services_of(name)["envoy"])


@every_overlay
def test_the_run_is_one_that_the_lab_can_do(name: str, tmp_path: Path) -> None:
    run = run_of(name, tmp_path)
    told = {key: run[key] for key in ("target", "tls", "ca", "arm")}
    external = ExternalOptions(replicas=tuple(run["replica"]), **told)
    assert run["testbed"] == "external"
    confirm_testbed("external", external)
    plan = plan_external(load_experiment(str(run["experiment"])), external)
    assert list(plan.experiment.variants) == RUNS.get(name, list(plan.experiment.variants))
    assert list(external.replicas) == replicas_of(name)
    if external.target:
        host, port = split(external.target)
        assert port in services_of(name)[host]
    mounts = {mount["mountPath"] for mount in container(objects(name), "lab")["volumeMounts"]}
    assert str(run["results"]) in mounts
    assert {mount["mountPath"] for mount in container(objects(name), "results")["volumeMounts"]} < mounts


@every_overlay
def test_more_options_come_through(name: str, tmp_path: Path) -> None:
    run = run_of(name, tmp_path, OPTIONS="--rate=1200 --repeats=5")
    assert (run["rate"], run["repeats"]) == (1200, 5)


@every_overlay
def test_the_run_waits_for_all_that_it_calls(name: str, tmp_path: Path) -> None:
    calls = started(container(objects(name), "wait"), settings(name), tmp_path)
    asked = [place for place, *_ in calls]
    assert asked == [*replicas_of(name), *([target] if (target := settings(name)["TARGET"]) else [])]
    assert [rest for _, *rest in calls] == [["-m", "services.health_probe"]] * len(calls)


@every_overlay
def test_as_many_workers_as_expected_know_where_to_go(name: str, tmp_path: Path) -> None:
    run = run_of(name, tmp_path)
    found = objects(name)
    (workers,) = [one for one in of_kind(found, "Deployment") if one["metadata"]["name"] == "load-worker"]
    assert run["expect_workers"] == workers["spec"]["replicas"]
    assert run["master_bind_host"] == "0.0.0.0"
    worker = parsed(words(container(found, "load-worker"), settings(name)))
    assert worker["master_port"] == run["master_bind_port"]
    assert services_of(name)[str(worker["master_host"])] == {run["master_bind_port"]}


@every_overlay
def test_the_run_and_its_workers_have_the_secret_that_the_guide_makes(name: str) -> None:
    found = objects(name)
    assert not of_kind(found, "Secret")  # a secret in this repository would not be secret
    guide = (ROOT / "docs" / "kubernetes.md").read_text()
    ((secret, key),) = re.findall(r"create secret generic (\S+) --from-file=(\S+)=/dev/stdin$", guide, re.M)
    source = {"secretKeyRef": {"name": secret, "key": key}}
    variable = {"name": SECRET_VARIABLE, "valueFrom": source}
    for pod in pods(found).values():
        for one in containers(pod):
            wanted = one["name"] in ("lab", "load-worker")
            assert (variable in one.get("env", [])) == wanted, one["name"]


def test_who_is_started_is_who_is_tested() -> None:
    for name in OVERLAYS:
        expected = {"replica", "load-worker", "lab"} | ({"envoy"} if name in BEHIND_ENVOY else set())
        assert pods(objects(name)).keys() == expected
