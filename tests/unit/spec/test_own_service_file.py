"""`service` in an experiment file: what the file then leaves out, and mistakes in one line."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from docs.pages.schema import schema_text
from harness.errors import UserError
from harness.paths import ROOT
from harness.plan.cells import plan_cells
from harness.plan.run_options import ExternalOptions
from harness.spec.experiment import experiment_yaml, load_experiment
from harness.testbed.choice import incompatibility
from harness.testbed.external.plan import plan_external
from lb.plan import open_loop

SERVICE = {
    "proto": "reflection",
    "method": "greeter.Greeter/Greet",
    "requests": {"name": "client {client}"},
    "replica_from": "header x-served-by",
}
WORK = {"clients": 2, "rate_per_s": 10, "warm_up_s": 0, "duration_s": 1}


def tree_of(**changes: Any) -> dict[str, Any]:
    return {
        "title": "t", "question": "q", "lesson": "l",
        "replicas": {"count": 3}, "service": SERVICE, "workload": WORK,
        "arms": {"a": {"route": "envoy", "policy": "round_robin"}},
        **changes,
    }  # fmt: skip


def write(folder: Path, **changes: Any) -> str:
    path = folder / "e.yaml"
    path.write_text(json.dumps(tree_of(**changes)))
    return str(path)


def test_the_method_is_the_only_call(tmp_path: Path) -> None:
    plan = plan_cells(load_experiment(write(tmp_path)))[0]
    calls = list(open_loop(plan.load, 0, "measure", 1.0, opens=True))
    assert {call.method for call in calls} == {"Greet"}


def test_an_experiment_written_again_is_the_same(tmp_path: Path) -> None:
    experiment = load_experiment(write(tmp_path, service={**SERVICE, "requests": "asked.jsonl"}))
    assert experiment.service is not None
    assert experiment.service.requests == str(tmp_path / "asked.jsonl")
    again = tmp_path / "elsewhere" / "e.yaml"
    again.parent.mkdir()
    again.write_text(experiment_yaml(experiment))
    assert load_experiment(str(again)) == experiment


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"replicas": {"count": 3, "slots": 2}},
            "replicas.slots: the service is not the lab's, which cannot",
        ),
        ({"workload": {**WORK, "calls": {"AddVideo": 1}}}, "workload.calls: the service is not the lab's"),
        ({"workload": {**WORK, "payload_bytes": 5}}, "workload.payload_bytes: the service is not the lab's"),
        (
            {"service": {**SERVICE, "method": "Greet"}},
            "service.method: 'Greet'.*expected package.Service/Method",
        ),
        (
            {"service": {**SERVICE, "replica_from": "body"}},
            "service.replica_from: .*expected header NAME, trail",
        ),
        ({"service": {**SERVICE, "replica": "x"}}, "service.*unknown key 'replica'"),
        ({"service": {"proto": "reflection"}}, "service.*'method' is missing|missing.*method"),
        ({"service": {**SERVICE, "requests": 5}}, "service.requests"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        load_experiment(write(tmp_path, **changes))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("testbed", ["local", "docker", "simulated"])
def test_the_labs_own_testbeds_have_no_such_service(tmp_path: Path, testbed: str) -> None:
    told = incompatibility(load_experiment(write(tmp_path)), testbed)
    assert told == (
        "e: its service (greeter.Greeter/Greet) is not the lab's; run it with --testbed external --target "
        "HOST:PORT"
    )


def test_its_replicas_cannot_be_asked(tmp_path: Path) -> None:
    options = ExternalOptions(target="127.0.0.1:1", replicas=("127.0.0.1:2",))
    with pytest.raises(UserError, match="--replica: only the lab's own replicas can be asked; leave it out"):
        plan_external(load_experiment(write(tmp_path)), options)


def test_the_documented_example_is_an_experiment(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "external.md").read_text()
    text = next(block for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "service:" in block)
    (tmp_path / "greet.yaml").write_text(text)
    experiment = load_experiment(str(tmp_path / "greet.yaml"))
    assert experiment.service is not None
    assert experiment.service.replica_key == "x-served-by"


RECORDED = {"file": "t.parquet", "window": [0, 1], "service_times": "recorded"}
LAB = {"count": 3, "slots": 2, "service_time_ms": {"distribution": "constant", "mean": 1}}
CALLS = {"calls": {"AddVideo": 1}}
LOCUST = {"locustfile": "l.py", "users": 3, "duration_s": 1}


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({}, True),
        ({"service": None, "replicas": LAB, "workload": {**WORK, **CALLS}}, True),
        ({"service": None, "replicas": LAB}, False),  # no calls
        ({"service": None, "replicas": LAB, "workload": LOCUST}, True),
        ({"service": None, "replicas": LAB, "workload": {"locustfile": "l.py"}}, False),  # no users
        ({"service": None, "workload": {**WORK, **CALLS}}, False),  # no slots
        ({"service": None, "replicas": LAB, "workload": {**CALLS, "trace": RECORDED}}, True),
        (
            {"service": None, "replicas": {"count": 3, "slots": 2}, "workload": {**CALLS, "trace": RECORDED}},
            True,
        ),
        (
            {
                "service": None,
                "replicas": {"count": 3, "slots": 2},
                "workload": {**CALLS, "trace": {"file": "t.parquet", "window": [0, 1]}},
            },
            False,
        ),
    ],
)
def test_the_schema_for_editors_knows_what_is_left_out(changes: dict[str, Any], fits: bool) -> None:
    tree = {key: value for key, value in tree_of(**changes).items() if value is not None}
    assert jsonschema.Draft202012Validator(json.loads(schema_text())).is_valid(tree) is fits
