"""A testbed refuses an experiment that it cannot carry out, with one line, and no other experiment."""

import pytest

from harness.cli.run_all import LEFT_OUT, Outcome, exit_status
from harness.errors import UserError
from harness.spec.experiment import load_experiment
from harness.spec.heads import experiment_names
from harness.testbed.choice import confirm_compatible, incompatibility


def test_the_local_testbed_refuses_a_partition() -> None:
    reason = incompatibility(load_experiment("partition"), "local")
    assert reason == "partition: do: partition needs containers; run it with --testbed docker"
    with pytest.raises(UserError, match="needs containers"):
        confirm_compatible(load_experiment("partition"), "local")


def test_the_docker_testbed_refuses_a_roll_that_takes_longer_than_the_measured_window() -> None:
    reason = incompatibility(load_experiment("rolling_deploy"), "docker")
    expected = "a roll of 4 containers takes about 8.8 s; use --testbed local or --duration 10.3"
    assert reason == f"rolling_deploy: {expected}"
    longer = load_experiment("rolling_deploy", {"workload.duration_s": 10.3})
    assert incompatibility(longer, "docker") is None


def test_the_docker_testbed_refuses_a_control_plane() -> None:
    reason = incompatibility(load_experiment("sticky_without_proxy"), "docker")
    where = "follows a control plane on loopback, which containers cannot reach; run it with --testbed local"
    assert reason == f"sticky_without_proxy: arm cookie (route xds) {where}"


def test_the_docker_testbed_refuses_several_proxy_nodes() -> None:
    reason = incompatibility(load_experiment("many_balancers"), "docker")
    has = "arm least_3 has proxies: 3, and this testbed starts one Envoy; run it with --testbed local"
    assert reason == f"many_balancers: {has}"


def test_the_external_testbed_refuses_events() -> None:
    reason = incompatibility(load_experiment("drain"), "external")
    assert reason is not None
    assert reason.startswith(
        "drain: its events (drain, kill) change replicas or proxy, which this testbed does"
    )


@pytest.mark.parametrize(
    ("testbed", "refused"),
    [
        ("local", {"partition"}),
        (
            "docker",
            {
                "rolling_deploy",
                "proxyless",
                "sticky_without_proxy",
                "many_balancers",
                "zones_off",
                "zone_outage",
                "tls_handshakes",
            },
        ),
    ],
    ids=["local", "docker"],
)
def test_a_testbed_accepts_all_other_experiments(testbed: str, refused: set[str]) -> None:
    reasons = {name: incompatibility(load_experiment(name), testbed) for name in experiment_names()}
    assert {name for name, reason in reasons.items() if reason} == refused


def test_an_omitted_experiment_does_not_change_the_exit_status() -> None:
    outcomes = [Outcome("x", verdict, 0, 1, "") for verdict in (LEFT_OUT, "inconclusive")]
    assert exit_status(outcomes) == 3
    assert exit_status(outcomes[:1]) == 2, "nothing was run"
