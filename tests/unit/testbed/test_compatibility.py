"""What a testbed cannot carry out is told in one line, and only that."""

import pytest

from harness.cli.run_all import LEFT_OUT, Outcome, exit_status
from harness.errors import UserError
from harness.spec.experiment import experiment_names, load_experiment
from harness.testbed.compatibility import confirm_fits, incompatibility


def test_processes_cannot_be_cut_off() -> None:
    why = incompatibility(load_experiment("partition"), "local")
    assert why == "partition: do: partition needs containers; run it with --testbed docker"
    with pytest.raises(UserError, match="needs containers"):
        confirm_fits(load_experiment("partition"), "local")


def test_a_roll_of_containers_takes_its_time() -> None:
    why = incompatibility(load_experiment("rolling_deploy"), "docker")
    told = "a roll of 4 containers takes about 8.8 s; --testbed local, or --duration 10.3"
    assert why == f"rolling_deploy: {told}"
    longer = load_experiment("rolling_deploy", {"workload.duration_s": 10.3})
    assert incompatibility(longer, "docker") is None


def test_events_need_a_hand_on_the_parts() -> None:
    why = incompatibility(load_experiment("drain"), "external")
    assert why is not None
    assert why.startswith("drain: its events (drain, kill) need a hand on the parts")


@pytest.mark.parametrize(
    ("testbed", "cannot"),
    [("local", {"partition"}), ("docker", {"rolling_deploy"})],
    ids=str,
)
def test_all_others_run_there(testbed: str, cannot: set[str]) -> None:
    found = {name: incompatibility(load_experiment(name), testbed) for name in experiment_names()}
    assert {name for name, why in found.items() if why} == cannot


def test_what_is_left_out_has_no_say_in_the_exit_status() -> None:
    outcomes = [Outcome("x", verdict, 0, 1, "") for verdict in (LEFT_OUT, "inconclusive")]
    assert exit_status(outcomes) == 3
    assert exit_status(outcomes[:1]) == 2, "nothing was run"
