"""The real Envoy starts with every rendered configuration, and any different one is refused."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from envoy_process import EnvoyProcess, arm_of, endpoints_of, start_envoy_process

from harness.errors import LabError
from harness.fields import PROXIED
from harness.policies.registry import POLICIES_OF_ROUTE
from harness.proxy.admin import confirm_envoy
from harness.proxy.render import EnvoyFiles, envoy_program, group_of, render, write_endpoints
from harness.proxy.tls import make_certificate
from harness.spec.arm import Arm

# No server listens on these ports. Envoy shows its configuration anyway.
REPLICAS = {f"replica-{number}": f"127.0.0.1:{number + 1}" for number in range(3)}
GROUPS = {"blue": {"replicas": 2, "weight": 80}, "green": {"replicas": 1, "weight": 20}}
RETRIES = {"by": "proxy", "attempts": 3, "on": ["UNAVAILABLE", "INTERNAL"], "backoff_ms": 2.5}

# Names that YAML would take for something else.
YAML_WORDS = {"true": {"replicas": 2, "weight": 0}, "1": {"replicas": 1, "weight": 1}}
HEALTH: dict[str, Any] = {
    "panic_threshold_percent": 50,
    "idle_timeout_s": 1.5,
    "outlier_detection": {"consecutive_errors": 3, "ejection_ms": 400_000},
    "circuit_breaker": {"max_requests": 7},
    "adaptive_concurrency": {"buffer_percent": 12.5, "min_latency_interval_s": 1.5, "max_concurrency": 9},
    "admission_control": {"window_s": 2, "aggression": 1.5, "max_refused_percent": 33.3},
    "retries": {**RETRIES, "budget_percent": 12.5},
}
BEHIND_ENVOY = {route: POLICIES_OF_ROUTE[route] for route in PROXIED}


def first_example(policy: str) -> dict[str, Any]:
    return dict(BEHIND_ENVOY["envoy"][policy].examples[0])


CASES = [
    *(
        arm_of(route, name, options)
        for route, policies in BEHIND_ENVOY.items()
        for name, policy in policies.items()
        for options in policy.examples
    ),
    arm_of("envoy", "target_groups", {"groups": YAML_WORDS, "sticky_by": "cookie"}),
    *(
        arm_of("envoy", policy, first_example(policy), retries=RETRIES)
        for policy in ("round_robin", "target_groups")
    ),
    arm_of("envoy", "round_robin", max_connection_age_s=0.05, proxy_workers=3),
    *(
        arm_of("envoy", policy, first_example(policy), proxy_health_check={"kind": kind}, **HEALTH)
        for policy, kind in (("sticky", "grpc"), ("target_groups", "code_12"), ("weighted", "tcp"))
    ),
    arm_of("envoy-l4", "round_robin", panic_threshold_percent=0, idle_timeout_s=0.05),
]


@pytest.mark.parametrize("arm", CASES, ids=lambda arm: f"{arm.route}-{arm.policy}")
def test_envoy_starts_with_every_policy_and_shows_it_as_planned(arm: Arm, tmp_path: Path) -> None:
    # Quotes, spaces and braces in a path are text to YAML and to the template.
    envoy = start_envoy_process(tmp_path / 'a "quoted" {{ folder }}: #1', arm, REPLICAS)
    try:
        # Nothing else is wrong with it.
        with pytest.raises(LabError, match="counts these endpoints as unhealthy"):
            confirm_envoy(envoy.admin, envoy.files.config, REPLICAS, arm, healthy_within_s=0)
    finally:
        envoy.stop()


@pytest.mark.parametrize("route", ["envoy", "envoy-l4"])
def test_envoy_starts_with_tls_and_shows_it_as_planned(route: str, tmp_path: Path) -> None:
    tls = make_certificate(tmp_path / "tls")
    arm = arm_of(route, "round_robin")
    envoy = start_envoy_process(tmp_path / "run", arm, REPLICAS, tls)
    try:
        with pytest.raises(LabError, match="counts these endpoints as unhealthy"):
            confirm_envoy(envoy.admin, envoy.files.config, REPLICAS, arm, healthy_within_s=0)
    finally:
        envoy.stop()


def validate(files: EnvoyFiles, config: str) -> subprocess.CompletedProcess[str]:
    files.config.write_text(config)
    command = [envoy_program(), "--mode", "validate", "--config-path", str(files.config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


def test_envoy_refuses_a_wrong_configuration(tmp_path: Path) -> None:
    files, arm = EnvoyFiles(tmp_path, tmp_path / "access.log"), arm_of("envoy", "round_robin")
    write_endpoints(files, endpoints_of(REPLICAS), arm)
    assert validate(files, render(arm, files)).returncode == 0
    done = validate(files, render(arm, files).replace("round_robin.v3.RoundRobin", "no.v3.Policy"))
    assert done.returncode != 0


def test_requests_that_change_envoy_need_post(tmp_path: Path) -> None:
    envoy = start_envoy_process(tmp_path, arm_of("envoy", "round_robin"), REPLICAS)
    try:
        with pytest.raises(LabError, match=r"answered /healthcheck/fail with 405"):
            envoy.admin.get("/healthcheck/fail")
        assert envoy.admin.get_json("/server_info")["state"] == "LIVE"
        assert envoy.admin.post("/healthcheck/fail") == "OK\n"
        assert envoy.admin.get_json("/server_info")["state"] == "DRAINING"
    finally:
        envoy.stop()


def test_groups_get_replicas_in_order() -> None:
    arm = arm_of("envoy", "target_groups", {"groups": GROUPS})
    assert group_of(arm, list(REPLICAS)) == {"replica-0": "blue", "replica-1": "blue", "replica-2": "green"}
    # A replica keeps its group without the others. One that joins later belongs to the last group.
    assert group_of(arm, ["replica-7", "replica-1"]) == {"replica-7": "green", "replica-1": "blue"}
    assert group_of(arm_of("envoy", "round_robin"), list(REPLICAS)) == {}


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Any]:
    """Starts an Envoy for the arm `live`, and returns it with the configuration of the arm `planned`."""
    started: list[EnvoyProcess] = []

    def start(live: Arm, planned: Arm) -> tuple[EnvoyProcess, Path]:
        envoy = start_envoy_process(tmp_path / "live", live, REPLICAS)
        started.append(envoy)
        write_endpoints(envoy.files, endpoints_of(REPLICAS), planned)
        config = tmp_path / "planned.yaml"
        config.write_text(render(planned, envoy.files))
        return envoy, config

    yield start
    for envoy in started:
        envoy.stop()


GROUPS_90 = {"blue": {"replicas": 2, "weight": 90}, "green": {"replicas": 1, "weight": 10}}
UNLIKE = [
    (
        "policy",
        {},
        {"policy": "random"},
        r"clusters\.videos\.load_balancing_policy.*planned \S+random, live \S+round_robin",
    ),
    (
        "its option",
        {"policy": "least_request"},
        {"policy": "least_request", "options": {"choices": 3}},
        "choice_count",
    ),
    (
        "ring size",
        {"policy": "ring_hash"},
        {"policy": "ring_hash", "options": {"min_ring_size": 7}},
        "minimum_ring_size",
    ),
    ("a filter", {}, {"policy": "sticky"}, r"http_filters: planned \[.*stateful_session.*live \["),
    (
        "its option",
        {"policy": "sticky"},
        {"policy": "sticky", "options": {"strict": True}},
        "strict: planned True",
    ),
    (
        "the cookie",
        {"policy": "sticky"},
        {"policy": "sticky", "options": {"ttl_s": 9}},
        r"cookie\.ttl: planned 9.0, live 86400",
    ),
    (
        "adaptive concurrency",
        {"adaptive_concurrency": {}},
        {"adaptive_concurrency": {"max_concurrency": 7}},
        "max_concurrency_limit: planned 7, live 1000",
    ),
    (
        "admission control",
        {"admission_control": {"aggression": 2}},
        {"admission_control": {}},
        "aggression.default_value: planned 1, live 2",
    ),
    ("no retries", {}, {"retries": RETRIES}, r"routes\[1\]\.route\.retry_policy"),
    (
        "attempts",
        {"retries": RETRIES},
        {"retries": {**RETRIES, "attempts": 2}},
        "num_retries: planned 1, live 2",
    ),
    (
        "back-off",
        {"retries": RETRIES},
        {"retries": {**RETRIES, "backoff_ms": 5.0}},
        "base_interval: planned 0.005, live 0.0025",
    ),
    ("age", {}, {"max_connection_age_s": 9.0}, "max_connection_duration: planned 9.0, live 3600"),
    (
        "key",
        {"policy": "maglev"},
        {"policy": "maglev", "options": {"key": "cookie"}},
        r"hash_policy\[0\]\.cookie: planned \{",
    ),
    (
        "key",
        {"policy": "maglev", "options": {"key": "source_address"}},
        {"policy": "maglev"},
        r"hash_policy\[0\]\.header",
    ),
    (
        "group weights",
        {"policy": "target_groups", "options": {"groups": GROUPS}},
        {"policy": "target_groups", "options": {"groups": GROUPS_90}},
        r"weighted_clusters\.clusters\[0\]\.weight: planned 90, live 80",
    ),
    (
        "group stickiness",
        {"policy": "target_groups", "options": {"groups": GROUPS}},
        {"policy": "target_groups", "options": {"groups": GROUPS, "sticky_by": "header"}},
        "use_hash_policy: planned True, live None",
    ),
    (
        "clusters",
        {},
        {"policy": "target_groups", "options": {"groups": GROUPS}},
        r"clusters\.videos\.blue: .* live None",
    ),
    ("route", {}, {"route": "envoy-l4"}, r"clusters\.videos\.health_checks\[0\].tcp_health_check"),
    (
        "hash",
        {"route": "envoy-l4"},
        {"route": "envoy-l4", "policy": "source_address_hash"},
        r"load_balancing_policy.*maglev",
    ),
]


@pytest.mark.parametrize(
    ("live", "planned", "message"), [case[1:] for case in UNLIKE], ids=[case[0] for case in UNLIKE]
)
def test_another_configuration_is_refused(
    live: dict[str, Any], planned: dict[str, Any], message: str, other: Any
) -> None:
    arms = [arm_of(**{"route": "envoy", "policy": "round_robin", **changes}) for changes in (live, planned)]
    envoy, config = other(*arms)
    with pytest.raises(LabError, match=f"in force in Envoy is not as planned: .*{message}"):
        confirm_envoy(envoy.admin, config, REPLICAS, arms[1])


@pytest.mark.parametrize(
    ("rendered", "named", "message"),
    [
        (("envoy", "random"), ("envoy", "round_robin"), r"extensions of round_robin: .*live \[.*\.random"),
        (("envoy", "sticky"), ("envoy", "round_robin"), r"extensions of round_robin: .*stateful_session"),
        (
            ("envoy-l4", "source_address_hash"),
            ("envoy-l4", "round_robin"),
            r"extensions of round_robin: .*maglev",
        ),
        (
            ("envoy", "maglev", {"key": "source_address"}),
            ("envoy", "maglev"),
            r"key that maglev hashes: planned \['header'\], live \['source_address'\]",
        ),
    ],
)
def test_a_template_that_renders_another_policy_is_refused(
    rendered: tuple[Any, ...], named: tuple[Any, ...], message: str, tmp_path: Path
) -> None:
    """Envoy has the configuration as rendered, but it is not the policy that the arm names."""
    envoy = start_envoy_process(tmp_path, arm_of(*rendered), REPLICAS)
    try:
        with pytest.raises(LabError, match=message):
            confirm_envoy(envoy.admin, envoy.files.config, REPLICAS, arm_of(*named))
    finally:
        envoy.stop()


@pytest.mark.parametrize(
    ("policy", "options", "changed", "message"),
    [
        (
            "weighted",
            {"weights": [1, 2, 5]},
            ('"load_balancing_weight": 2', '"load_balancing_weight": 3'),
            r"weights: .*2': 3.*2': 2",
        ),
        ("target_groups", {"groups": GROUPS}, ('"port_value": 2', '"port_value": 3'), "weights: "),
    ],
)
def test_weights_and_groups_that_envoy_has_not_read_are_refused(
    policy: str, options: dict[str, Any], changed: tuple[str, str], message: str, tmp_path: Path
) -> None:
    arm = arm_of("envoy", policy, options)
    envoy = start_envoy_process(tmp_path, arm, REPLICAS)
    try:
        envoy.await_true(lambda: len(envoy.admin.endpoint_health()) == len(REPLICAS))
        for path in envoy.files.endpoints_folder.glob("*.json"):
            # The file is changed in place. Envoy only reads files that are renamed into place.
            path.write_text(path.read_text().replace(*changed))
        with pytest.raises(LabError, match=f"not as planned: endpoints' {message}"):
            confirm_envoy(envoy.admin, envoy.files.config, REPLICAS, arm, healthy_within_s=0)
    finally:
        envoy.stop()
