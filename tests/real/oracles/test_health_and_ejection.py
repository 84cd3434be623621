"""Active health checks, ejection by outlier detection, and the panic threshold."""

import signal
from collections import Counter

import pytest
from behind_envoy import Answer, Balanced, StartBalanced, on_one_connection, sessions
from chance import within_binomial

from services import lab_control_pb2 as lab

FAST = {"interval_ms": 50, "timeout_ms": 200, "unhealthy_after": 3, "healthy_after": 4}
ONE_REPLICA = ((),)
FOUR_REPLICAS = ((),) * 4


def check(kind: str, **settings: int) -> dict[str, object]:
    return {"kind": kind, **FAST, **settings}


def serve(live: Balanced, replica: str, serving: bool) -> None:
    live.servers[replica].control.SetServing(lab.SetServingRequest(serving=serving))


def fail(live: Balanced, replica: str, after_headers: bool = False) -> None:
    behaviour = lab.Behaviour(fail_share=1.0, fail_code="UNAVAILABLE", fail_after_headers=after_headers)
    live.servers[replica].control.SetBehaviour(behaviour)


def codes(answers: list[Answer]) -> Counter[str]:
    return Counter(answer.code for answer in answers)


def await_checks(live: Balanced, count: int) -> None:
    """Wait until Envoy has made `count` more health checks, of all replicas together."""
    before = live.stat("health_check.attempt")
    live.envoy.await_true(lambda: live.stat("health_check.attempt") >= before + count)


def await_with_checks(live: Balanced, state: str, outcome: str, count: int) -> None:
    """Wait until replica-0 has that state, which must need at least `count` checks with that outcome."""

    def reached() -> bool:
        so_far = live.stat(f"health_check.{outcome}")
        if live.state("replica-0") == state:
            return True
        assert so_far < count
        return False

    live.envoy.await_true(reached)
    assert live.stat(f"health_check.{outcome}") >= count


@pytest.mark.parametrize(("how", "failed_checks"), [("kill", 3), ("freeze", 3), ("not_serving", 1)])
def test_a_replica_becomes_unhealthy_after_the_configured_number_of_failed_checks(
    how: str, failed_checks: int, balanced: StartBalanced
) -> None:
    live = balanced("round_robin", replica_options=ONE_REPLICA, proxy_health_check=check("grpc"))
    if how == "kill":
        live.servers["replica-0"].process.kill()
    elif how == "freeze":
        live.servers["replica-0"].process.send_signal(signal.SIGSTOP)
    else:
        serve(live, "replica-0", False)
    await_with_checks(live, "unhealthy", "failure", failed_checks)


def test_a_replica_becomes_healthy_after_the_configured_number_of_passed_checks(
    balanced: StartBalanced,
) -> None:
    live = balanced("round_robin", replica_options=ONE_REPLICA, proxy_health_check=check("grpc"))
    serve(live, "replica-0", False)
    live.await_state("replica-0", "unhealthy")
    passed = live.stat("health_check.success")
    serve(live, "replica-0", True)
    await_with_checks(live, "healthy", "success", passed + 4)


@pytest.mark.parametrize(
    ("kind", "state"), [("grpc", "unhealthy"), ("code_12", "healthy"), ("tcp", "healthy")]
)
def test_only_the_grpc_check_notices_not_serving(kind: str, state: str, balanced: StartBalanced) -> None:
    live = balanced("round_robin", replica_options=ONE_REPLICA, proxy_health_check=check(kind))
    serve(live, "replica-0", False)
    await_checks(live, 10)
    assert live.state("replica-0") == state


@pytest.mark.parametrize(
    ("kind", "state"), [("grpc", "unhealthy"), ("code_12", "unhealthy"), ("tcp", "healthy")]
)
def test_all_checks_but_tcp_notice_a_paused_replica(kind: str, state: str, balanced: StartBalanced) -> None:
    live = balanced("round_robin", replica_options=ONE_REPLICA, proxy_health_check=check(kind, timeout_ms=50))
    live.servers["replica-0"].process.send_signal(signal.SIGSTOP)
    await_checks(live, 10)
    assert live.state("replica-0") == state


@pytest.mark.parametrize("route", ["envoy", "envoy-l4"])
def test_without_health_checks_a_dead_replica_stays_healthy_in_envoy(
    route: str, balanced: StartBalanced
) -> None:
    live = balanced("round_robin", route=route, proxy_health_check={"kind": "none"})
    live.servers["replica-0"].process.kill()
    live.servers["replica-0"].process.wait()
    answers = [on_one_connection(live.address, sessions(1))[0] for _ in range(9)]
    assert codes(answers) == {"OK": 6, "UNAVAILABLE": 3}
    assert live.envoy.admin.get("/stats?filter=^cluster.videos.health_check") == ""
    assert live.state("replica-0") == "healthy"


def test_a_failing_replica_that_passes_its_checks_is_ejected(balanced: StartBalanced) -> None:
    ejection = {"consecutive_errors": 5, "max_ejection_percent": 100}
    live = balanced(
        "round_robin",
        replica_options=FOUR_REPLICAS,
        outlier_detection=ejection,
        proxy_health_check=check("grpc"),
    )
    fail(live, "replica-0")
    counted = codes(on_one_connection(live.address, sessions(20)))
    assert counted == {"OK": 15, "UNAVAILABLE": 5}
    live.await_state("replica-0", "ejected")
    await_checks(live, 20)
    assert codes(on_one_connection(live.address, sessions(30))) == {"OK": 30}
    assert live.state("replica-0") == "ejected"


@pytest.mark.parametrize(
    ("settings", "after_headers"),
    [({}, False), ({"max_ejection_percent": 24}, False), ({"max_ejection_percent": 100}, True)],
    ids=["default share of four", "less than one of four", "errors after headers"],
)
def test_a_failing_replica_is_not_ejected_above_the_limit_or_for_errors_after_headers(
    settings: dict[str, int], after_headers: bool, balanced: StartBalanced
) -> None:
    live = balanced("round_robin", replica_options=FOUR_REPLICAS, outlier_detection=settings)
    fail(live, "replica-0", after_headers)
    answers = on_one_connection(live.address, sessions(80))
    assert codes(answers) == {"OK": 60, "UNAVAILABLE": 20}
    assert live.state("replica-0") == "healthy"


def test_an_ejected_replica_returns_after_the_ejection_time(balanced: StartBalanced) -> None:
    ejection = {"consecutive_errors": 2, "interval_ms": 50, "ejection_ms": 200, "max_ejection_percent": 100}
    live = balanced("round_robin", outlier_detection=ejection)
    fail(live, "replica-0")
    on_one_connection(live.address, sessions(6))
    live.await_state("replica-0", "ejected")
    live.servers["replica-0"].control.SetBehaviour(lab.Behaviour(fail_share=0.0))
    live.await_state("replica-0", "healthy")
    assert codes(on_one_connection(live.address, sessions(30))) == {"OK": 30}


@pytest.mark.parametrize(("threshold", "called"), [(50, 4), (25, 1), (1, 1)])
def test_below_the_panic_threshold_unhealthy_replicas_are_called_too(
    threshold: int, called: int, balanced: StartBalanced
) -> None:
    live = balanced(
        "round_robin",
        replica_options=FOUR_REPLICAS,
        proxy_health_check=check("grpc"),
        panic_threshold_percent=threshold,
    )
    for replica in ("replica-1", "replica-2", "replica-3"):
        serve(live, replica, False)
        live.await_state(replica, "unhealthy")
    answers = on_one_connection(live.address, sessions(40))
    assert codes(answers) == {"OK": 40}  # they report NOT_SERVING but still answer calls
    assert len({answer.replica for answer in answers}) == called


@pytest.mark.parametrize(("threshold", "code"), [(None, "OK"), (0, "UNAVAILABLE")])
def test_with_no_healthy_replica_only_a_threshold_of_zero_fails_calls(
    threshold: int | None, code: str, balanced: StartBalanced
) -> None:
    live = balanced("round_robin", proxy_health_check=check("grpc"), panic_threshold_percent=threshold)
    for replica in live.servers:
        serve(live, replica, False)
        live.await_state(replica, "unhealthy")
    assert codes(on_one_connection(live.address, sessions(9))) == {code: 9}


def test_a_zone_keeps_what_its_healthy_replicas_can_carry(balanced: StartBalanced) -> None:
    """With h of 5 healthy, the own zone gets the share 1.4 h / 5, at most 1 (Envoy, "Priority levels")."""
    live = balanced(
        "round_robin",
        replica_options=((),) * 7,
        proxies=2,
        zones={"a": 5, "b": 2},
        cross_zone="spill_over",
        proxy_health_check=check("grpc"),
    )
    own = [f"replica-{number}" for number in range(5)]
    for healthy in range(5, -1, -1):
        counts = Counter(answer.replica for answer in on_one_connection(live.address, sessions(300)))
        of_zone = sum(counts[name] for name in own)
        share = min(1.0, 1.4 * healthy / 5)
        if share in (0, 1):  # exact
            assert of_zone == 300 * share
        else:  # Envoy draws the zone: one run in a thousand is outside
            assert within_binomial(of_zone, 300, share), (healthy, of_zone)
        if healthy:  # turns in each zone
            turns = [counts[name] for name in own[:healthy]]
            assert max(turns) - min(turns) <= 1
            serve(live, own[healthy - 1], False)
            live.await_state(own[healthy - 1], "unhealthy")
    for name in own:  # and all comes back
        serve(live, name, True)
        live.await_state(name, "healthy")
    assert {answer.replica for answer in on_one_connection(live.address, sessions(20))} == set(own)
