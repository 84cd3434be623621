"""What the control plane tells the clients: the published messages, for every policy and its examples."""

from typing import Any

import pytest

from harness.events.context import Endpoint
from harness.policies.registry import POLICIES_OF_ROUTE, traits_of
from harness.proxy.admin import confirm_policy
from harness.proxy.xds import as_dict, endpoints_resource, policy_resources
from harness.spec.arm import Arm

EXAMPLES = [
    pytest.param(name, dict(options), id=f"{name}-{number}")
    for name, policy in POLICIES_OF_ROUTE["xds"].items()
    for number, options in enumerate(policy.examples)
]
ENDPOINTS = {f"replica-{number}": Endpoint(f"127.0.0.1:{5000 + number}") for number in range(5)}


def arm_of(policy: str, options: dict[str, Any], **keys: object) -> Arm:
    return Arm.model_validate({"route": "xds", "policy": policy, "options": options, **keys})


@pytest.mark.parametrize(("policy", "options"), EXAMPLES)
def test_the_messages_have_what_the_policy_declares(policy: str, options: dict[str, Any]) -> None:
    arm = arm_of(policy, options)
    told = {kind: as_dict(message) for kind, message in policy_resources(arm).items()}
    confirm_policy(arm, {"videos": told["cluster"]}, {"videos": told["listener"]})
    weights = [one.weight for one in traits_of("xds", policy, options).localities.values()] or [1]
    endpoints = endpoints_resource(arm, ENDPOINTS)
    assert [one.load_balancing_weight.value for one in endpoints.endpoints] == weights
    assert endpoints.cluster_name == told["cluster"]["eds_cluster_config"]["service_name"]


def test_localities_get_their_replicas_in_order_and_the_last_one_those_that_join() -> None:
    arm = arm_of("localities", {"localities": {name: {"replicas": 2, "weight": 1} for name in ("a", "b")}})
    told = as_dict(endpoints_resource(arm, ENDPOINTS))
    ports = {
        one["locality"]["zone"]: [
            entry["endpoint"]["address"]["socket_address"]["port_value"] for entry in one["lb_endpoints"]
        ]
        for one in told["endpoints"]
    }
    assert ports == {"a": [5000, 5001], "b": [5002, 5003, 5004]}


def test_drain_states_and_weights_are_told() -> None:
    changed = {
        "replica-0": Endpoint("127.0.0.1:5000", draining=True),
        "replica-1": Endpoint("127.0.0.1:5001", weight=7),
    }
    (locality,) = as_dict(endpoints_resource(arm_of("round_robin", {}), changed))["endpoints"]
    first, second = locality["lb_endpoints"]
    assert (first.get("health_status"), first.get("load_balancing_weight")) == ("DRAINING", None)
    assert (second.get("health_status"), second.get("load_balancing_weight")) == (None, 7)


def test_retries_of_the_clients_are_in_the_route() -> None:
    retries = {"by": "client", "attempts": 3, "on": ["UNAVAILABLE", "CANCELLED"], "backoff_ms": 20.0}
    told = as_dict(policy_resources(arm_of("round_robin", {}, retries=retries))["listener"])
    (host,) = told["api_listener"]["api_listener"]["route_config"]["virtual_hosts"]
    (route,) = host["routes"]
    assert route["route"]["retry_policy"] == {
        "retry_on": "unavailable,reset,cancelled",
        "num_retries": 2,
        "retry_back_off": {"base_interval": "0.020s", "max_interval": "0.200s"},
    }
