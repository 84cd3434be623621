"""Arms: options of policies, keys without effect, an arm's own keys, sweeps."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserError
from harness.plan.cells import plan_cells
from harness.plan.run_options import ExternalOptions
from harness.run.confirm import client_settings
from harness.spec import arm_checks as spec_arm_checks
from harness.spec.experiment import Experiment, experiment_yaml, load_experiment
from harness.testbed.base import LiveCell
from harness.testbed.choice import incompatibility
from harness.testbed.external.plan import plan_external
from harness.testbed.simulated.limits import not_modelled
from services import video_service

BASE: dict[str, Any] = {
    "title": "Arms",
    "question": "Which arms can be?",
    "lesson": "Those that say what they do.",
    "replicas": {"count": 4, "slots": 2, "service_time_ms": {"distribution": "constant", "mean": 1}},
    "workload": {"clients": 4, "rate_per_s": 100, "calls": {"AddVideo": 1}, "duration_s": 1},
    "arms": {},
}
Load = Callable[..., Experiment]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads an experiment with one arm `a`; keyword arguments change sections."""

    def load(arm: dict[str, Any], **sections: Any) -> Experiment:
        tree = {**BASE, "arms": {"a": arm}}
        for name, section in sections.items():
            tree[name] = {**BASE[name], **section} if isinstance(section, dict) else section
        path = tmp_path / "x.yaml"
        path.write_text(json.dumps(tree, indent=1))
        return load_experiment(str(path))

    return load


ENVOY = {"route": "envoy", "policy": "round_robin"}
DIRECT = {"route": "direct", "policy": "round_robin"}
XDS = {"route": "xds", "policy": "round_robin"}
STICKY = {"route": "envoy", "policy": "sticky"}
ZONED = ENVOY | {"proxies": 2, "zones": {"a": 1, "b": 3}}
STREAMS = {"calls": {"GetVideo": 1}}

NOTHING = [
    (
        ENVOY | {"cookie_jar": False},
        "cookie_jar: false changes nothing: route 'envoy' with policy 'round_robin'",
    ),
    (STICKY | {"options": {"by": "header"}, "cookie_jar": False}, "cookie_jar: false changes nothing"),
    (DIRECT | {"proxy_workers": 2}, "proxy_workers: 2 changes nothing: route 'direct' has no proxy"),
    (XDS | {"proxy_workers": 2}, "proxy_workers: 2 changes nothing: route 'xds' has no proxy"),
    (DIRECT | {"proxies": 2}, "proxies: 2 changes nothing: route 'direct' has no proxy"),
    (DIRECT | {"tls": "rsa"}, "tls: 'rsa' changes nothing: route 'direct' has no proxy"),
    (
        ENVOY | {"tls": "ecdsa", "connections": "shared"},
        "connections: 'shared' changes nothing: gRPC clients share no connection over TLS",
    ),
    (DIRECT | {"zones": {"a": 1, "b": 3}}, "zones: a mapping changes nothing: route 'direct' has no proxy"),
    (ENVOY | {"zones": {"a": 4}}, "changes nothing: one zone holds everything; expected two or more"),
    (ENVOY | {"cross_zone": False}, "cross_zone: false changes nothing: the arm has no zones"),
    (ENVOY | {"cross_zone": "spill_over"}, "cross_zone: 'spill_over' changes nothing: the arm has no zones"),
    (ENVOY | {"proxy_use": "spread"}, "proxy_use: 'spread' changes nothing: the proxy has one node"),
    (
        ENVOY | {"dns_interval_ms": 9},
        "dns_interval_ms: 9 changes nothing: the clients do not use a name server",
    ),
    (XDS | {"idle_timeout_s": 2}, "idle_timeout_s: 2.0 changes nothing: route 'xds' has no proxy"),
    (XDS | {"health_check": True}, "health_check: true changes nothing: a control plane cannot ask clients"),
    (XDS | {"wait_for_ready": True}, "wait_for_ready: true changes nothing: it belongs to a service config"),
    (XDS | {"discovery": "dns"}, "discovery: 'dns' changes nothing: the control plane names the replicas"),
    (ENVOY | {"source_addresses": "own"}, "source_addresses: 'own' changes nothing"),
    (ENVOY | {"session_lifetimes": "exponential"}, "changes nothing: sessions do not end"),
    (ENVOY | {"health_check": True}, "health_check: true changes nothing: the client sees only the proxy"),
    (
        {"route": "direct", "policy": "pick_first", "health_check": True},
        "health_check: true changes nothing: pick_first ignores health checks",
    ),
    (DIRECT | {"retries": {"by": "proxy", "attempts": 2}}, "retries: this changes nothing: only the proxy"),
    (ENVOY | {"subsetting": {"size": 2}}, "subsetting: this changes nothing: only the clients of route"),
    (DIRECT | {"adaptive_concurrency": {}}, "adaptive_concurrency: this changes nothing: only the proxy"),
    (DIRECT | {"admission_control": {}}, "admission_control: this changes nothing: only the proxy"),
    (
        ENVOY | {"messages_per_stream": 9},
        "messages_per_stream: 9 changes nothing: there are no streaming calls",
    ),
    (ENVOY | {"message_gap_ms": 9}, "message_gap_ms: 9 changes nothing"),
    (ENVOY | {"hedging_policy": 1}, "unknown key 'hedging_policy'; gRPC's C-core has no hedging"),
    (ENVOY | {"timeout": 1}, "unknown key 'timeout'; methodConfig.timeout does not work"),
]


@pytest.mark.parametrize(("arm", "expected"), NOTHING, ids=[expected[:40] for _, expected in NOTHING])
def test_what_changes_nothing_is_refused_with_the_reason(
    load: Load, arm: dict[str, Any], expected: str
) -> None:
    with pytest.raises(UserError, match=r"arms\.a") as caught:
        load(arm)
    assert expected in str(caught.value)


GROUPS = {"blue": {"replicas": 2, "weight": 1}, "green": {"replicas": 2, "weight": 1}}


@pytest.mark.parametrize(
    ("arm", "expected"),
    [
        (
            {"zones": {"a": 1, "b": 2}},
            "arms.a.zones: 3 replicas in all; expected as many as there are",
        ),
        ({"proxies": 1}, "arms.a.proxies: 1: each of the 2 zones has a node; expected 2 or more"),
        (
            {"policy": "target_groups", "options": {"groups": GROUPS}, "cross_zone": False},
            "arms.a.cross_zone: a zone may have no replica of a target group; expected true",
        ),
        (
            {"policy": "target_groups", "options": {"groups": GROUPS}, "cross_zone": "spill_over"},
            "arms.a.cross_zone: a zone may have no replica of a target group; expected true",
        ),
        ({"cross_zone": "spillover"}, "'spill_over' or 'zone_aware'; did you mean 'spill_over'?"),
        (
            {"policy": "target_groups", "options": {"groups": GROUPS}, "cross_zone": "zone_aware"},
            "arms.a.cross_zone: a zone may have no replica of a target group; expected true",
        ),
        *(
            (
                wrong | {"cross_zone": "zone_aware"},
                "arms.a.cross_zone: 'zone_aware': Envoy routes so with policies round_robin, least_request, "
                "random, sticky, weighted of route envoy alone",
            )
            for wrong in ({"policy": "maglev"}, {"route": "envoy-l4"})
        ),
    ],
)
def test_zones_without_replicas_or_nodes_are_refused(load: Load, arm: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError) as caught:
        load(ZONED | arm)
    assert expected in str(caught.value)


def test_the_same_keys_are_taken_where_they_change_something(load: Load) -> None:
    load(STICKY | {"cookie_jar": False})
    load(ENVOY | {"proxy_workers": 2})
    load(ENVOY | {"proxies": 2, "proxy_use": "spread", "dns_interval_ms": 9})
    load(ENVOY | {"tls": "rsa"})
    load(ZONED | {"cross_zone": False})
    load(ZONED | {"cross_zone": "spill_over"})
    load(ZONED | {"cross_zone": "zone_aware"})
    load(ENVOY | {"retries": {"by": "proxy", "attempts": 2}})
    load(DIRECT | {"hedging": {"after_ms": 10, "attempts": 4}})
    load(DIRECT | {"subsetting": {"size": 3, "by": "random"}})
    load(ENVOY | {"adaptive_concurrency": {}, "admission_control": {}})
    load(DIRECT | {"health_check": True, "retries": {"by": "client", "attempts": 5, "on": ["ABORTED"]}})
    load(ENVOY | {"messages_per_stream": 9, "message_gap_ms": 9}, workload=STREAMS)
    load(ENVOY | {"calls": {"GetVideo": 1.0}, "messages_per_stream": 9})
    key = {"route": "envoy", "policy": "maglev", "options": {"key": "source_address"}}
    load(key | {"source_addresses": "own"})


def test_who_can_have_clients_with_tls(load: Load) -> None:
    experiment = load(ENVOY | {"tls": "rsa"})
    reason = "arm a has tls: rsa, and clients of this testbed use clear text; run it with --testbed local"
    assert incompatibility(experiment, "docker") == f"x: {reason}"
    assert incompatibility(experiment, "local") is None
    assert not_modelled(experiment, experiment.arms["a"]) == ["tls"]
    with pytest.raises(UserError, match="a: its clients use TLS; give --tls"):
        plan_external(experiment, ExternalOptions(target="lb.example.com:443"))
    served = plan_external(experiment, ExternalOptions(target="lb.example.com:443", tls=True))
    assert list(served.experiment.arms) == ["a"]


WRONG = [
    (
        {"policy": "ring_hash", "options": {"keyy": "cookie"}},
        "a.options: unknown key 'keyy'; did you mean 'key'?",
    ),
    (
        {"policy": "ring_hash", "options": {"key": "cooky"}},
        "a.options.key: 'cooky' is not known here; expected 'header' or 'cookie' or 'source_address'",
    ),
    (
        {"policy": "maglev", "options": {"table_size": 65536}},
        "a.options: table_size 65536 is not a prime number",
    ),
    (
        {"policy": "least_request", "options": {"choices": 1}},
        "a.options.choices: 1 is out of range; expected a whole",
    ),
    ({"policy": "random", "options": {"choices": 2}}, "a.options: unknown key 'choices'"),
    ({"policy": "weighted"}, "a.options: key 'weights' is missing"),
    (
        {"policy": "weighted", "options": {"weights": [1, 2]}},
        "a.options.weights: 2 for 4 replicas; expected one for",
    ),
    (
        {"policy": "target_groups", "options": {"groups": {"blue": {"replicas": 3, "weight": 8}}}},
        "a.options.groups: 3 replicas in all; expected 4",
    ),
    (
        {"policy": "client_side_weighted_round_robin"},
        "a.policy: 'client_side_weighted_round_robin' needs load reports, and not every replica sends them",
    ),
    (
        {"policy": "round_robin", "retries": {"by": "proxy", "attempts": 2, "on": ["ABORTED"]}},
        "a.retries.on[0]: Envoy does not retry after ABORTED; expected CANCELLED or",
    ),
    (
        XDS | {"retries": {"by": "client", "attempts": 2, "on": ["ABORTED"]}},
        "a.retries.on[0]: gRPC with a control plane does not retry after ABORTED; expected CANCELLED or",
    ),
    (
        XDS | {"retries": {"by": "client", "attempts": 2, "budget_percent": 20.0}},
        "a.retries.budget_percent: a control plane cannot give clients a budget",
    ),
    (
        XDS | {"policy": "localities", "options": {"localities": {"a": {"replicas": 3, "weight": 1}}}},
        "a.options.localities: 3 replicas in all; expected 4",
    ),
    (
        XDS | {"policy": "localities", "options": {"localities": {"a": {"replicas": 4, "weight": 0}}}},
        "a.options: localities: all weights are 0; expected one above 0",
    ),
    (
        XDS | {"policy": "least_request"},
        "a.policy: route 'xds' has no policy 'least_request'; expected 'round_robin' or",
    ),
    (
        {"policy": "round_robin", "hedging": {"after_ms": 10}},
        "a.hedging: clients pick the replicas themselves; expected route 'direct' and policy 'round_robin'",
    ),
    (
        DIRECT | {"hedging": {"after_ms": 10}, "retries": {"by": "client", "attempts": 2}},
        "a.hedging: a failed attempt is followed by the next one; leave retries out",
    ),
    (
        DIRECT | {"hedging": {"after_ms": 10}, "calls": {"GetVideo": 1}},
        "a.hedging: streams are not hedged; expected calls: {AddVideo: 1}",
    ),
    (
        DIRECT | {"hedging": {"after_ms": 10, "attempts": 5}},
        "a.hedging.attempts: 5: each goes to another replica; expected at most 4",
    ),
    (
        {"route": "direct", "policy": "least_request", "subsetting": {"size": 2}},
        "a.policy: 'least_request' goes with a fixed list of addresses alone; leave discovery and subsetting",
    ),
    (
        {"route": "direct", "policy": "probing", "connections": 2},
        "a.policy: 'probing' has one connection of each client to each replica; leave connections out",
    ),
    (
        {"route": "direct", "policy": "probing", "server": "threads"},
        "a.policy: 'probing' needs replicas that answer probes beside their calls; expected server: asyncio",
    ),
    (
        {"route": "direct", "policy": "probing", "options": {"hot_quantile": 1.5}},
        "a.options.hot_quantile: 1.5 is out of range",
    ),
    (
        {"route": "direct", "policy": "least_request", "health_check": True},
        "a.health_check: true changes nothing: least_request ignores health checks",
    ),
    (
        DIRECT | {"subsetting": {"size": 4}},
        "a.subsetting.size: 4: expected fewer than there are replicas, which is 4",
    ),
    (
        DIRECT | {"subsetting": {"size": 2}, "discovery": "dns"},
        "a.subsetting: a name server gives clients all addresses; leave one out",
    ),
    (
        DIRECT | {"subsetting": {"size": 2}, "connections": "shared"},
        "a.subsetting: clients with subsets share no connection; leave one out",
    ),
    (
        {"policy": "round_robin", "retries": {"by": "proxy", "attempts": 6}},
        "a.retries.attempts: 6 is out of range; expected a whole number from 2 to 5",
    ),
    (
        {"policy": "round_robin", "connections": "sharde"},
        "a.connections: 'sharde' cannot be used; expected 'own' or 'shared' or a whole number from 1 to 100",
    ),
    (
        {"policy": "round_robin", "connections": 0},
        "a.connections: 0 cannot be used; expected 'own' or 'shared' or",
    ),
]


@pytest.mark.parametrize(("arm", "expected"), WRONG, ids=[expected[:40] for _, expected in WRONG])
def test_wrong_options_are_one_line(load: Load, arm: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError) as caught:
        load({"route": "envoy", **arm})
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arm", "workload", "expected"),
    [
        (
            {"messages_per_stream": 101},
            {"calls": {"GetVideo": 1}, "message_gap_ms": 100},
            "workload.message_gap_ms: 101 messages take 10000 ms, the deadline is 10000 ms; expected",
        ),
        (
            {},
            {"calls": {"GetVideos": 1}, "messages_per_stream": 1001},
            "GetVideos takes at most 1000 messages",
        ),
        (
            {"message_gap_ms": 60_001},
            {"calls": {"ListVideos": 1}, "deadline_ms": 3_600_000},
            "arms.a.message_gap_ms: ListVideos waits at most 60000 ms between messages, not 60001",
        ),
        (
            {"retries": {"by": "client", "attempts": 2, "backoff_ms": 1}},
            {},
            "arms.a.retries.backoff_ms: 1: shorter waits make gRPC lose calls; expected 5 or more",
        ),
    ],
)
def test_streams_and_retries_that_cannot_work(
    load: Load, arm: dict[str, Any], workload: dict[str, Any], expected: str
) -> None:
    with pytest.raises(UserError) as caught:
        load(ENVOY | arm, workload=workload)
    assert expected in str(caught.value)


def test_what_a_replica_takes_of_a_stream_is_what_the_spec_says() -> None:
    assert spec_arm_checks.MAX_IDS == video_service.IDS_LIMIT
    assert spec_arm_checks.MAX_LIST_GAP_MS == video_service.GAP_LIMIT_MS


def test_load_reports_of_every_replica_are_needed(load: Load) -> None:
    arm = {"route": "direct", "policy": "weighted_round_robin"}
    load(arm, replicas={"orca": "measured"})
    load(arm, replicas={"different": {f"replica-{number}": {"orca": 0.5} for number in range(4)}})
    with pytest.raises(UserError, match=r"not every replica sends them"):
        load(arm, replicas={"different": {"replica-0": {"orca": 0.5}}})


@pytest.mark.parametrize(
    ("replicas", "expected"),
    [
        (
            {"different": {"replica-4": {"slots": 1}}},
            "there is no such replica; expected replica-0 to replica-3",
        ),
        ({"different": {"replica_1": {"slots": 1}}}, "is no name for a key here"),
        ({"fail_share": 1.5}, "replicas.fail_share: 1.5 is out of range; expected a number from 0 to 1"),
        ({"fail_code": "NOPE"}, "replicas.fail_code: 'NOPE' is not known here"),
        ({"orca": "measurd"}, "replicas.orca: 'measurd' cannot be used; expected 'measured' or a number"),
        ({"outage": {"every_s": 1}}, "replicas.outage: key 'for_ms' is missing"),
        ({"cache": {"sessions": 0, "hit_factor": 0.5}}, "replicas.cache.sessions: 0 is out of range"),
    ],
)
def test_wrong_replicas(load: Load, replicas: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError) as caught:
        load(ENVOY, replicas=replicas)
    assert expected in str(caught.value)


def test_a_sweep_is_one_arm_for_each_value(load: Load) -> None:
    experiment = load(STICKY | {"sweep": {"clients": [4, 12, 40]}})
    assert list(experiment.variants) == ["a_4", "a_12", "a_40"]
    assert [variant.arm.clients for variant in experiment.variants.values()] == [4, 12, 40]
    assert {(variant.base, variant.factor) for variant in experiment.variants.values()} == {("a", "clients")}
    swept = load({"route": "envoy", "policy": "least_request", "sweep": {"options.choices": [2, 8]}})
    assert [variant.arm.options for variant in swept.variants.values()] == [{"choices": 2}, {"choices": 8}]


@pytest.mark.parametrize(
    ("sweep", "expected"),
    [
        ({"clints": [1, 2]}, "arms.a.sweep.clints: nothing that can be swept; did you mean 'clients'?"),
        ({"clients": [1]}, "arms.a.sweep.clients: expected at least two values, no two alike"),
        ({"clients": [3, 3]}, "arms.a.sweep.clients: expected at least two values, no two alike"),
        (
            {"clients": [1, 0]},
            "arms.a.sweep.clients: 0 is out of range; expected a whole number from 1 to 10000",
        ),
        ({"clients": [1, 2.5]}, "arms.a.sweep.clients: 2.5 is not a whole number"),
        ({"clients": [1, 2], "skew": [1, 2]}, "arms.a.sweep: a mapping has 2 entries"),
        ({"options.choices": [2, 3]}, "arms.a.options: unknown key 'choices'"),
        ({"clients": "many"}, "arms.a.sweep.clients: 'many' is not a list"),
        ({"clients": [1, "x"]}, "arms.a.sweep.clients[1]: 'x' cannot be used"),
    ],
)
def test_wrong_sweeps(load: Load, sweep: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError) as caught:
        load(STICKY | {"sweep": sweep})
    assert expected in str(caught.value)


def test_a_swept_key_is_not_given_besides(load: Load) -> None:
    with pytest.raises(UserError, match=r"sweep.clients: given twice"):
        load(STICKY | {"clients": 3, "sweep": {"clients": [1, 2]}})


def test_expectations_speak_of_the_arms_that_are_run(load: Load) -> None:
    arm = STICKY | {"sweep": {"clients": [4, 12]}}
    load(arm, expect=[{"arm": "a_12", "metric": "spread.cv", "at_most": 1}])
    with pytest.raises(
        UserError, match=r"unknown arm 'a'; did you mean 'a_4'|unknown arm 'a'; expected 'a_4' or 'a_12'"
    ):
        load(arm, expect=[{"arm": "a", "metric": "spread.cv", "at_most": 1}])


def test_no_two_arms_are_run_under_one_name(load: Load, tmp_path: Path) -> None:
    tree = {**BASE, "arms": {"a": STICKY | {"sweep": {"clients": [1, 2]}}, "a_1": ENVOY}}
    (tmp_path / "x.yaml").write_text(json.dumps(tree))
    with pytest.raises(UserError, match=r"two arms would be called 'a_1'"):
        load_experiment(str(tmp_path / "x.yaml"))


def test_an_experiment_with_everything_is_written_and_read_again_alike(load: Load, tmp_path: Path) -> None:
    experiment = load(
        {
            **{
                "route": "envoy",
                "policy": "maglev",
                "options": {"key": "cookie", "bounded_load_percent": 150},
            },
            **{"connections": 3, "cookie_jar": False, "session_lifetime_s": 1.5, "wait_for_ready": True},
            **{"retries": {"by": "client", "attempts": 3}, "compression": "gzip", "keepalive_ms": 1500},
            **{
                "shedding": {"max_queue": 2},
                "adaptive_concurrency": {},
                "admission_control": {"window_s": 2},
            },
            **{"max_connection_age_s": 2, "sweep": {"proxy_workers": [1, 2]}, "calls": {"GetVideo": 2}},
        },
        replicas={
            **{"cache": {"sessions": 3, "hit_factor": 0.5}, "outage": {"every_s": 1, "for_ms": 50}},
            **{"different": {"replica-2": {"slow_factor": 3, "slow_share": 0.5, "fail_code": "INTERNAL"}}},
        },
    )
    again = tmp_path / "x.yaml"
    again.write_text(experiment_yaml(experiment))
    assert load_experiment(str(again)) == experiment


def test_the_clients_are_told_what_the_arm_says(load: Load) -> None:
    def settings(arm: dict[str, Any], **sections: Any) -> Any:
        live = LiveCell(Path(), {"replica-0": "127.0.0.1:1"}, {})
        return client_settings(plan_cells(load(arm, **sections))[0], live, 7)

    assert settings(ENVOY).service_config is None
    assert json.loads(settings(ENVOY | {"wait_for_ready": True}).service_config)["methodConfig"][0][
        "waitForReady"
    ]
    assert "round_robin" in settings(DIRECT).service_config
    stays = json.loads(settings(ENVOY | {"proxies": 2}).service_config)["loadBalancingConfig"]
    assert stays == [{"pick_first": {"shuffleAddressList": True}}]
    spreads = settings(ENVOY | {"proxies": 2, "proxy_use": "spread"}).service_config
    assert json.loads(spreads)["loadBalancingConfig"] == [{"round_robin": {}}]
    assert settings(DIRECT | {"connections": "shared"}).share_connections
    assert settings(DIRECT | {"connections": 4}).connections == 4
    assert settings(STICKY).cookie_jar
    assert settings(STICKY | {"options": {"by": "header"}}).echo_header == "x-lab-sticky"
    assert settings(ENVOY | {"deadline_ms": 50}).deadline_s == 0.05
    assert settings(ENVOY, workload={"deadline_ms": 70}).deadline_s == 0.07
    assert settings(ENVOY | {"retries": {"by": "proxy", "attempts": 3}}).service_config is None
    for name, other in (("await_each_answer", True), ("await_first_answer", False)):
        assert [getattr(settings(arm), name) for arm in (ENVOY, ENVOY | {name: other})] == [not other, other]
    for name, value in (
        ("session_lifetime_s", 1.5),
        ("compression", "gzip"),
        ("keepalive_ms", 1500),
        ("reconnect_backoff_ms", 200),
    ):
        assert getattr(settings(ENVOY), name) in (None, "none")
        assert getattr(settings(ENVOY | {name: value}), name) == value
    ends = ENVOY | {"session_lifetime_s": 2}
    assert not settings(ends).lifetimes_vary
    assert settings(ends | {"session_lifetimes": "exponential"}).lifetimes_vary
    hashed = ENVOY | {"policy": "ring_hash", "options": {"key": "source_address"}}
    for addresses in ("one", "own"):
        found = settings(hashed | {"source_addresses": addresses})
        assert found.own_source_address is (addresses == "own")
    assert settings(ENVOY, workload={"payload_bytes": 99}).payload_bytes == 99
