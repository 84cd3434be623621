"""Every entry of the registry of policies is complete and consistent."""

from typing import Any

import pytest

from harness.fields import PROXIED
from harness.paths import ENVOY_TEMPLATES
from harness.policies.policy import Policy
from harness.policies.registry import POLICIES_OF_ROUTE, replicas_problem, traits_of

ENTRIES = [
    pytest.param(route, name, policy, id=f"{route}-{name}")
    for route, policies in POLICIES_OF_ROUTE.items()
    for name, policy in policies.items()
]
every_policy = pytest.mark.parametrize(("route", "name", "policy"), ENTRIES)


@every_policy
def test_every_policy_says_what_it_is(route: str, name: str, policy: Policy) -> None:
    for line in (policy.meaning, policy.alb, policy.source):
        assert line == line.strip()
        assert line
    assert policy.examples
    for option, field in policy.options.model_fields.items():
        assert field.description, option


@every_policy
def test_every_policy_is_recognised_by_what_is_in_force(route: str, name: str, policy: Policy) -> None:
    """Behind Envoy by the extensions, in the client by the policy of the channels."""
    for options in policy.examples:
        traits = traits_of(route, name, options)
        if route == "direct":
            assert policy.template is None
            assert traits.extensions == frozenset()
        else:
            assert (ENVOY_TEMPLATES / str(policy.template)).exists()
            assert traits.extensions
            assert (traits.channel_policy == "pick_first") == (route in PROXIED)


def test_every_template_is_of_a_policy() -> None:
    used = {policy.template for policies in POLICIES_OF_ROUTE.values() for policy in policies.values()}
    extended = {"policies/hash_key.yaml.j2"}
    there = {f"policies/{path.name}" for path in (ENVOY_TEMPLATES / "policies").iterdir()}
    assert there == {template for template in used if template} | extended


@pytest.mark.parametrize(
    ("route", "name", "options", "traits"),
    [
        ("envoy", "sticky", {}, {"cookie": "LABALB", "echo_header": None}),
        ("envoy", "sticky", {"by": "header"}, {"cookie": None, "echo_header": "x-lab-sticky"}),
        ("envoy", "maglev", {"key": "cookie"}, {"cookie": "LABHASH", "hash_key": "cookie"}),
        ("envoy", "ring_hash", {}, {"cookie": None, "hash_key": "header"}),
        ("envoy", "random", {}, {"sets_cookie": False, "hash_key": None, "load_reports": False}),
        ("envoy", "client_side_weighted_round_robin", {}, {"load_reports": True}),
        ("envoy", "weighted", {"weights": [3, 1]}, {"weights": (3, 1)}),
        ("envoy-l4", "source_address_hash", {}, {"hash_key": "connection"}),
        ("xds", "round_robin", {}, {"cookie": None, "channel_policy": "round_robin"}),
        ("xds", "ring_hash", {}, {"hash_key": "header", "channel_policy": "ring_hash_experimental"}),
        ("xds", "sticky", {}, {"cookie": "LABALB", "channel_policy": "round_robin"}),
        ("direct", "weighted_round_robin", {}, {"load_reports": True, "client_health_checks": True}),
        ("direct", "pick_first", {}, {"client_health_checks": False, "channel_policy": "pick_first"}),
        ("direct", "ring_hash", {}, {"hash_key": "header", "channel_policy": "ring_hash_experimental"}),
        (
            "envoy",
            "target_groups",
            {"groups": {"a": {"replicas": 2, "weight": 1}}, "sticky_by": "cookie"},
            {"cookie": "LABTG", "groups": {"a": 2}, "hash_key": None},
        ),
    ],
)
def test_what_a_policy_needs_follows_from_its_options(
    route: str, name: str, options: dict[str, Any], traits: dict[str, Any]
) -> None:
    found = traits_of(route, name, options)
    assert {key: getattr(found, key) for key in traits} == traits


def test_options_are_for_a_number_of_replicas() -> None:
    groups = {"groups": {"a": {"replicas": 2, "weight": 1}}}
    for policy, options in (("weighted", {"weights": [1, 2]}), ("target_groups", groups), ("random", {})):
        assert replicas_problem("envoy", policy, options, 2) is None
    told = replicas_problem("envoy", "weighted", {"weights": [1, 2]}, 3)
    assert told == "weights: 2 for 3 replicas; expected one for each"
    told = replicas_problem("envoy", "target_groups", groups, 3)
    assert told == "groups: 2 replicas in all; expected 3, as many as there are"
    assert replicas_problem("direct", "round_robin", {}, 3) is None
