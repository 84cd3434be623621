"""What `check` says of the measurement to come."""

import sys

import pytest

import tests.simulator.forecast_kernels
import tests.simulator.kernels  # noqa: F401
from harness.cli import outlook as module
from harness.cli.outlook import BAD, PLAIN, outlook
from harness.spec.experiment import load_experiment
from simulator import compiled
from tests.unit.cli.conftest import LabHere

SHORT = {"workload.duration_s": 1.5, "workload.warm_up_s": 0.2, "repeats": 1}


def lines_of(name: str, **overrides: object) -> dict[str, tuple[str, str]]:
    """Return arm -> text and style."""
    lines = outlook(load_experiment(name, {**SHORT, **overrides}))
    return {text.partition(":")[0]: (text, style) for _, text, style in lines}


def test_an_arm_that_overloads_a_replica_is_bad_and_the_other_is_not() -> None:
    lines = lines_of("sticky")
    text, style = lines["sticky"]
    assert "a replica gets more than it can serve in 100% of them" in text
    assert style == BAD
    text, style = lines["round_robin"]
    assert text.endswith("; no replica is overloaded")
    assert style == PLAIN


def test_the_calls_of_dear_clients_overload_a_replica_that_gets_its_share_of_the_calls() -> None:
    """By number each replica has a quarter of the calls, which is 60 % of what it can serve of mean calls."""
    lines = lines_of("dear_clients", **{"workload.duration_s": 5})
    assert lines["sticky"][1] == BAD
    assert lines["round_robin"][0].endswith("; no replica is overloaded")


def test_requests_that_hit_the_session_cache_take_less_of_a_replica() -> None:
    """At 600/s each replica has 150 a second or more, and can serve 160 that miss. Sticky sessions hit."""
    lines = lines_of("sticky_vs_cache", **{"workload.rate_per_s": 600})
    assert lines["sticky"][0].endswith("; no replica is overloaded")
    assert lines["round_robin"][0].endswith("; no replica is overloaded")
    lines = lines_of("cold_caches", **{"workload.duration_s": 5.5, "workload.warm_up_s": 2.5})
    assert lines["scale_in"][1] == BAD
    assert lines["low_load"][0].endswith("; no replica is overloaded")


def test_arms_stand_in_the_files_order_and_what_is_not_modelled_is_named() -> None:
    experiment = load_experiment("streams", SHORT)
    lines = lines_of("streams")
    assert list(lines) == list(experiment.variants)
    assert any("not simulated, not modelled: streams" in text for text, _ in lines.values())


def test_a_large_experiment_is_answered_as_the_planner_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.testbed.simulated.predict.CALLS_IN_BUDGET", 0)
    text, style = lines_of("sticky")["sticky"]
    assert "in 90% of 19 placements" in text
    assert style == BAD


def test_a_load_that_the_machine_cannot_carry_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    large = SHORT | {"replicas.count": 64, "workload.clients": 1000}
    label, text, style = next(iter(outlook(load_experiment("sticky", large))))
    assert (label, style) == ("warning", module.WARNING)
    assert text.startswith("A cell takes about 1.7 cores with all parts on this machine, which has 2 ")
    assert "warning" not in {label for label, _, _ in outlook(load_experiment("sticky", SHORT))}


def test_without_machine_code_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "is_compiled", lambda _: False)
    ((text, _),) = lines_of("sticky").values()
    assert "python run_experiment.py sticky --testbed simulated" in text


def test_a_mistake_does_not_import_the_simulator(lab_here: LabHere, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "simulator"]:
        monkeypatch.delitem(sys.modules, name)
    for words in (["check", "stiky"], ["check", "sticky", "--rate", "-1"], ["list"]):
        lab_here(*words)
    assert not [name for name in sys.modules if name.split(".")[0] == "simulator"]
