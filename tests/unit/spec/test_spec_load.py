"""Valid experiment files: loaded, overridden, written, found by name or by path."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from docs.pages.schema import schema_text
from harness.cli.check import plan_text
from harness.paths import EXPERIMENTS
from harness.spec.experiment import Experiment, experiment_yaml, load_experiment
from harness.spec.heads import experiment_names

NAMES = experiment_names()
FIRST_LINE = "# yaml-language-server: $schema=schema.json\n"


def test_the_experiments_of_the_lab_are_found() -> None:
    assert {"sticky", "round_robin", "pick_first", "no_cookie_jar"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_is_valid_short_and_explains_itself(name: str) -> None:
    experiment = load_experiment(name)
    work = experiment.workload
    cells = len(experiment.variants) * experiment.repeats.min
    assert experiment.name == name
    assert len(experiment.arms) >= 2, "a control arm is missing"
    assert experiment.expect
    assert len(experiment.lesson) > 300
    assert cells * (work.warm_up_s + work.duration_s + 1) <= 140, (
        "a second a cell to start and stop its parts"
    )
    assert (EXPERIMENTS / f"{name}.yaml").read_text().startswith(FIRST_LINE)


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_written_out_loads_again_equal(name: str, tmp_path: Path) -> None:
    experiment = load_experiment(name, {"workload.clients": 7})
    copy = tmp_path / "experiment.yaml"
    copy.write_text(experiment_yaml(experiment))
    assert load_experiment(str(copy), name=name) == experiment


def test_the_values_of_a_file() -> None:
    experiment = load_experiment("sticky")
    assert experiment.replicas.service_time_ms.mean == 10
    assert experiment.workload.rate_per_s == 600
    assert experiment.workload.deadline_ms == 10_000
    assert list(experiment.arms) == ["sticky", "round_robin"]
    assert experiment.arms["sticky"].cookie_jar
    assert experiment.expect[3].of == "round_robin"


def test_overrides_go_before_the_file() -> None:
    experiment = load_experiment("sticky", {"workload.rate_per_s": 300.0, "replicas.count": 8, "seed": 9})
    assert (experiment.workload.rate_per_s, experiment.replicas.count, experiment.seed) == (300, 8, 9)


def test_a_file_anywhere_is_called_as_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.yml"
    path.write_text((EXPERIMENTS / "sticky.yaml").read_text())
    assert load_experiment(str(path)).name == "mine"
    assert load_experiment(str(path), name="sticky") == load_experiment("sticky")


def test_an_experiment_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_experiment("sticky").seed = 3  # type: ignore[misc]


def test_every_field_is_described() -> None:
    schema = json.loads(schema_text())
    for part in (schema, *schema["$defs"].values()):
        for name, field in part.get("properties", {}).items():
            assert field.get("description"), f"{part.get('title')}.{name} has no description"


def test_reading_an_experiment_imports_nothing_heavy() -> None:
    heavy = ["polars", "numpy", "grpc", "matplotlib", "jinja2", "locust", "rich"]
    program = (
        "import sys; from harness.spec.experiment import load_experiment; load_experiment('sticky'); "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=EXPERIMENTS.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_plan_in_words() -> None:
    text = plan_text(load_experiment("sticky"))
    assert "6 (2 arms x 3 repeats)" in text
    assert "2,400 measured in a cell, 18,000 in all" in text
    assert "193.3/s (client 0) to 16.11/s" in text
    assert "75% of each replica when spread evenly; 97% of one by the busiest client alone; 300%" in text


def test_the_plan_of_a_closed_loop(tmp_path: Path) -> None:
    text = (EXPERIMENTS / "sticky.yaml").read_text().replace("rate_per_s: 600", "think_time_ms: 30")
    path = tmp_path / "closed.yaml"
    path.write_text(text)
    told = plan_text(load_experiment(str(path)))
    assert "at most 1,200 measured in a cell" in told  # 12 clients x 4 s / (30 + 10) ms
    assert "utilisation" not in told


@pytest.mark.parametrize(("rate", "told"), [(74, True), (75, False)])
def test_the_plan_warns_of_a_percentile_that_takes_more_requests(
    tmp_path: Path, rate: int, told: bool
) -> None:
    text = (EXPERIMENTS / "sticky.yaml").read_text().replace("rate_per_s: 600", f"rate_per_s: {rate}")
    path = tmp_path / "few.yaml"
    path.write_text(text)
    warning = f"cannot be judged: p99 takes 299 requests in a cell; about {4 * rate} are planned"
    assert (warning in plan_text(load_experiment(str(path)))) == told
    assert ("cannot be judged" in plan_text(load_experiment(str(path)))) == told


def test_a_message_costs_a_service_time_in_bidirectional_calls_only(tmp_path: Path) -> None:
    experiment = load_experiment("sticky")
    bidi = experiment.model_copy(
        update={"workload": experiment.workload.model_copy(update={"calls": {"GetVideo": 1.0}})}
    )
    assert isinstance(bidi, Experiment)
    assert "66.67 calls/s each" in plan_text(bidi)


def test_the_plan_names_dear_clients_and_methods_with_a_mean_of_their_own(tmp_path: Path) -> None:
    told = plan_text(load_experiment("dear_clients"))
    assert "50 times dearer for 2 of 40 clients (3, 24), a call takes 12 ms on average" in told
    # By hand: a dear client has 10 calls/s of 173.9 ms, and a replica two slots.
    assert "60% of each replica when spread evenly; 87% of one by the busiest client alone" in told
    text = (EXPERIMENTS / "sticky.yaml").read_text()
    path = tmp_path / "own.yaml"
    path.write_text(text.replace("mean: 10}", "mean: 10, methods: {AddVideo: 20}}"))
    assert "AddVideo 20 ms: 100 calls/s each, 400/s in all" in plan_text(load_experiment(str(path)))
