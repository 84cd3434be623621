"""Experiments whose load is a Locust file of the user's own."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from harness.errors import UserError
from harness.paths import EXPERIMENTS
from harness.plan.cells import plan_cells
from harness.run.stored_experiment import stored_experiment
from harness.spec.experiment import Experiment, load_experiment
from harness.testbed.choice import incompatibility
from harness.testbed.simulated.limits import not_modelled

BASE: dict[str, Any] = {
    "title": "Mine",
    "question": "Where do my calls go?",
    "lesson": "Text.",
    "replicas": {"count": 2, "slots": 2, "service_time_ms": {"distribution": "constant", "mean": 1}},
    "workload": {"locustfile": "mine.py", "users": 12, "spawn_rate": 12, "duration_s": 2},
    "arms": {"sticky": {"route": "envoy", "policy": "sticky"}},
}


def load(folder: Path, arm: dict[str, Any] | None = None, **workload: Any) -> Experiment:
    """Load BASE with these changes; a workload key that is None is left out."""
    work = {key: value for key, value in {**BASE["workload"], **workload}.items() if value is not None}
    arms = {"sticky": {**BASE["arms"]["sticky"], **(arm or {})}}
    (folder / "own.yaml").write_text(json.dumps({**BASE, "workload": work, "arms": arms}))
    if not (folder / "mine.py").exists():
        (folder / "mine.py").write_text("import locust\n")
    return load_experiment(str(folder / "own.yaml"))


def test_the_users_are_the_clients_of_a_closed_loop(tmp_path: Path) -> None:
    experiment = load(tmp_path)
    work = experiment.workload
    assert (work.clients, work.rate_per_s, work.think_time_ms, work.spawn_rate) == (12, None, 0.0, 12)
    assert work.locustfile == str(tmp_path / "mine.py")
    assert plan_cells(experiment)[0].load.clients == 12
    assert load(tmp_path, spawn_rate=None).workload.spawn_rate is None


def test_what_is_stored_loads_again_without_the_file(tmp_path: Path) -> None:
    experiment = load(tmp_path)
    (tmp_path / "run").mkdir()
    with stored_experiment(experiment) as (text, beside):
        assert [path.name for path in beside] == ["mine.py"]
        (tmp_path / "run" / "own.yaml").write_text(text)
    assert "clients" not in text
    again = load_experiment(str(tmp_path / "run" / "own.yaml"), stored=True)
    assert again.workload.locustfile == str(tmp_path / "run" / "mine.py")
    assert again.model_copy(update={"workload": experiment.workload}) == experiment


@pytest.mark.parametrize(
    ("workload", "message"),
    [
        ({"clients": 3}, "workload.clients: each user is a client, so `users` gives it; leave it out"),
        ({"rate_per_s": 3}, "workload.rate_per_s: users wait for their answers"),
        ({"think_time_ms": 3}, "workload.think_time_ms: wait_time in the Locust file decides it"),
        ({"skew": 1}, "workload.skew: the tasks decide it; leave it out"),
        ({"calls": {"AddVideo": 1}}, "workload.calls: the tasks decide it"),
        ({"trace": {"file": "x", "window": [0, 1]}}, "workload.trace: a Locust file is a load of its own"),
        ({"users": None}, "workload.users: missing; expected the number of Locust's users"),
        ({"users": 0}, "workload.users: 0 is out of range"),
        ({"users": "many"}, "workload.users: 'many' is no"),
        ({"spawn_rate": 0}, "workload.spawn_rate: 0 is out of range"),
        (
            {"users": 100, "spawn_rate": 1},
            "workload.spawn_rate: 100 users take 100 s to start; expected at most 60",
        ),
        ({"locustfile": "other.py"}, "other.py: cannot be read (No such file or directory)"),
        ({"locustfile": "mine.txt"}, "workload.locustfile: 'mine.txt'; expected a Python file, NAME.py"),
        ({"locustfile": 5}, "workload.locustfile: 5 is no"),
        ({"locustfile": None}, "workload.users: only with `locustfile`; expected clients and a rate"),
        ({"duration_s": None}, "workload: key 'duration_s' is missing"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(workload: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        load(tmp_path, **workload)
    assert message in str(raised.value)
    assert str(raised.value).startswith(f"{tmp_path / 'own.yaml'}:")


@pytest.mark.parametrize(
    "arm",
    [{"clients": 3}, {"skew": 1}, {"calls": {"AddVideo": 1}}, {"connections": 2}, {"session_lifetime_s": 1}],
)
def test_an_arm_cannot_change_what_the_tasks_decide(arm: dict[str, Any], tmp_path: Path) -> None:
    (key,) = arm
    with pytest.raises(UserError, match=f"arms.sticky.{key}: the users of a Locust file do not follow it"):
        load(tmp_path, arm)


@pytest.mark.parametrize(
    ("text", "message"),
    [("def f(:\n", "mine.py:1: no Python (invalid syntax)"), ("\0", "mine.py: no Python (")],
)
def test_a_file_that_is_no_python(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(UserError) as raised:
        load(tmp_path)
    assert message in str(raised.value)


def test_where_it_cannot_run(tmp_path: Path) -> None:
    experiment = load(tmp_path)
    assert [incompatibility(experiment, testbed) for testbed in ("local", "docker", "external")] == [None] * 3
    assert "locustfile (the tasks of its users)" in not_modelled(experiment, experiment.arms["sticky"])


def test_the_schema_for_editors_takes_it(tmp_path: Path) -> None:
    """As the models do: with a Locust file, clients and calls are left out and users are needed."""
    schema = jsonschema.Draft202012Validator(json.loads((EXPERIMENTS / "schema.json").read_text()))
    assert schema.is_valid(BASE)
    load(tmp_path)
    for missing in ("users", "duration_s"):
        work = {key: value for key, value in BASE["workload"].items() if key != missing}
        assert not schema.is_valid({**BASE, "workload": work})
    assert not schema.is_valid({**BASE, "workload": {**BASE["workload"], "rate_per_s": 3}})
    assert not schema.is_valid({**BASE, "workload": {"rate_per_s": 3, "duration_s": 2, "clients": 3}})


def test_a_service_of_ones_own_has_no_locust_file(tmp_path: Path) -> None:
    load(tmp_path)
    service = {"proto": "reflection", "method": "a.B/C", "requests": {}, "replica_from": "header x"}
    tree = {**BASE, "replicas": {"count": 2}, "service": service}
    (tmp_path / "own.yaml").write_text(json.dumps(tree))
    with pytest.raises(UserError, match="its users call the lab's own service; leave out"):
        load_experiment(str(tmp_path / "own.yaml"))
