"""Network policies: pods that must talk to each other can, and no others."""

from collections.abc import Iterator
from itertools import product

import pytest
from manifests import COMPONENT, OVERLAYS, Object, objects, of_kind, pods

MUST = {
    ("lab", "replica", 50051),  # the replica's identity and its ledger
    ("load-worker", "replica", 50051),
    ("load-worker", "lab", 5557),
}
MUST_BEHIND_ENVOY = {("lab", "envoy", 8080), ("load-worker", "envoy", 8080), ("envoy", "replica", 50051)}


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_policies_admit_all_who_must_and_nobody_else(name: str) -> None:
    found = objects(name)
    there = {component: pod["metadata"]["labels"] for component, pod in pods(found).items()}
    policies = of_kind(found, "NetworkPolicy")
    ports = {
        port["containerPort"]
        for pod in pods(found).values()
        for one in pod["spec"]["containers"]
        for port in one.get("ports", [])
    }
    allowed = {
        (here, other, port)
        for here, other, port in product(there, there, ports)
        if admits(policies, "Egress", there[here], there[other], port)
        and admits(policies, "Ingress", there[other], there[here], port)
    }
    assert allowed == MUST | (MUST_BEHIND_ENVOY if "envoy" in there else set())


@pytest.mark.parametrize("name", OVERLAYS)
def test_names_are_asked_of_the_cluster_alone(name: str) -> None:
    found = objects(name)
    (dns,) = [one for one in of_kind(found, "NetworkPolicy") if one["metadata"]["name"] == "dns"]
    (rule,) = dns["spec"]["egress"]
    (peer,) = rule["to"]
    assert peer == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}
    assert [(port["protocol"], port["port"]) for port in rule["ports"]] == [("UDP", 53), ("TCP", 53)]
    asking = {component for component, pod in pods(found).items() if selects(dns, pod["metadata"]["labels"])}
    assert asking == pods(found).keys() - {"replica"}  # which calls nobody


def test_nobody_is_left_without_a_policy() -> None:
    for name in OVERLAYS:
        closed = [
            policy
            for policy in of_kind(objects(name), "NetworkPolicy")
            if policy["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
        ]
        assert len(closed) == 1


def admits(policies: list[Object], way: str, of: dict[str, str], other: dict[str, str], port: int) -> bool:
    """Whether a pod with labels `of` may talk (TCP) with one of `other` there; policies add up."""
    mine = [policy for policy in policies if way in policy["spec"]["policyTypes"] and selects(policy, of)]
    return not mine or any(
        matches(peer["podSelector"], other) and {"protocol": "TCP", "port": port} in rule["ports"]
        for policy in mine
        for rule in policy["spec"].get(way.lower(), [])
        for peer in peers(rule)
    )


def peers(rule: Object) -> Iterator[Object]:
    """Those in the same namespace. One rule without peers would be for all: there must be none."""
    for peer in rule.get("from") or rule["to"]:
        assert len(peer) == 1
        if "podSelector" in peer:
            yield peer


def selects(policy: Object, labels: dict[str, str]) -> bool:
    return matches(policy["spec"]["podSelector"], labels)


def matches(selector: Object, labels: dict[str, str]) -> bool:
    assert selector.keys() <= {"matchLabels", "matchExpressions"}
    for expression in selector.get("matchExpressions", []):
        assert (expression["key"], expression["operator"]) == (COMPONENT, "In")
        if labels.get(COMPONENT) not in expression["values"]:
            return False
    return selector.get("matchLabels", {}).items() <= labels.items()
