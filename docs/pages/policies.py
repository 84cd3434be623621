"""Makes docs/policies.md from the registry of policies."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from harness.fields import STATED_DEFAULT
from harness.policies.registry import POLICIES_OF_ROUTE

INTRODUCTION = """\
# Policies
This page lists every policy of the lab, by route. A policy says how a replica is picked. An arm
names one and sets its options:

```yaml
arms:
  two_choices: {route: envoy, policy: least_request, options: {choices: 2}}
```

`make schema` writes this page from the registry of policies. Tests check what each policy promises, with a
stated tolerance: [tests/real/oracles](../tests/real/oracles).

The lab's Envoy differs from an ALB with every policy. Only arms with `tls` use it, and each worker
thread of Envoy picks by itself (`proxy_workers`).

An ALB has several nodes: at least one in each of its zones (subnets), more as traffic grows. Its DNS name has
an address for each, and each node balances alone. The lab starts one node unless an arm says otherwise:

```yaml
arms:
  # Each client stays with one of three nodes.
  stay: {route: envoy, policy: least_request, proxies: 3}
  # Each client takes the three nodes in turn.
  spread: {route: envoy, policy: least_request, proxies: 3, proxy_use: spread}
```

Each node has turns of its own, and knows only its own requests under way. Each has its own health checks,
ejections, limits and retry budget. A sticky cookie works at every node, because it names the replica. Hashing
gives the same replica at every node, because all nodes have the same replicas.

Replicas and nodes can be in zones. Zones get the replicas in order, and the nodes in turn:

```yaml
arms:
  # replica-0 is in zone a, the others in zone b. Each node sends to all four.
  on: {route: envoy, policy: round_robin, proxies: 2, zones: {a: 1, b: 3}}
  # Each node sends to the replicas of its own zone alone. So replica-0 gets what comes to the node of zone a.
  off: {route: envoy, policy: round_robin, proxies: 2, zones: {a: 1, b: 3}, cross_zone: false}
  # Each node prefers its own zone. What the healthy replicas there cannot carry goes to the other zones.
  spill_over: {route: envoy, policy: round_robin, proxies: 2, zones: {a: 1, b: 3}, cross_zone: spill_over}
  # Envoy's zone-aware routing: as much as is fair stays in the node's zone.
  zone_aware: {route: envoy, policy: round_robin, proxies: 2, zones: {a: 1, b: 3}, cross_zone: zone_aware}
```

With `spill_over` a node's own zone has priority 0 in Envoy and all other zones have priority 1. With h of n
replicas healthy, the own zone gets the share 1.4 h / n, at most all (Envoy, "Priority levels": the
overprovisioning factor is 1.4). So five of seven healthy replicas still get everything. Health checks and
ejections decide who is healthy; how busy a replica is does not count.

With `zone_aware` a node compares two shares of its zone: that of the nodes (N) and that of the healthy
replicas (R). If R >= N, all its requests stay in the zone. Otherwise R / N of them stay. Chance deals the
rest out to the zones with R > N, in proportion to R - N (Envoy, "Zone aware routing"; the arithmetic is in
its `load_balancer_impl.cc`). So all replicas get the same number of requests if all nodes do, and as few
requests as possible cross zones. In `zone_aware` above, node a keeps 25 % / 50 %, a half. Node b keeps
everything. A node knows all nodes, so one that dies or is added changes the shares. The policies
`round_robin`, `least_request`, `random`, `weighted` and `sticky` can do it. `ring_hash`, `maglev` and
`client_side_weighted_round_robin` cannot, and neither can target groups.

*In ALB terms:* cross-zone load balancing. An ALB has it on, and a target group can turn it off. An NLB has it
off by default
([ALB](https://docs.aws.amazon.com/elasticloadbalancing/latest/application/disable-cross-zone.html),
[NLB](https://docs.aws.amazon.com/elasticloadbalancing/latest/network/target-group-cross-zone.html)). With it
off, an ALB has no target stickiness. Here Envoy replaces a cookie that names a replica of another zone.
Hashing without cross_zone gives a key one replica in each zone.

AWS's documentation describes neither spill-over nor zone-aware routing: a node sends either to all zones or
to its own alone. For a zone with few healthy targets, a target group of an ALB or NLB has two thresholds
([target group
health](https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health.html)). With
cross-zone off, they count in each zone by itself. Both act by default when a zone has no healthy target.

- DNS failover: the zone's nodes are no longer in the DNS answer. Clients that ask again go to nodes of other
zones. So the whole zone is left, not a part of its requests. If no zone is healthy, all nodes are in the
answer ([AWS re:Post](https://repost.aws/knowledge-center/elb-dns-cross-zone-balance-configuration)).
- Routing failover: a node sends to all targets that it has, also to unhealthy ones (fail open).

The lab has fail open (`panic_threshold_percent`). It has no DNS failover by the health of replicas.

*On AWS:* EC2 console > Target Groups > the group > Attributes > Edit: Cross-zone load balancing.

```sh
aws elbv2 modify-target-group-attributes --target-group-arn ARN --attributes \
  Key=load_balancing.cross_zone.enabled,Value=false
```

Before measuring, `/clusters` of each node must show the planned replicas with the planned zones and
priorities. A node that routes zone-aware must also know its own zone and all nodes with their zones.
"""

ROUTES = {
    "envoy": "A proxy reads the HTTP/2 requests and picks a replica for each of them (layer 7, like an ALB).",
    "envoy-l4": "A proxy passes bytes on and picks a replica for each connection (layer 4, like an NLB).",
    "direct": "There is no proxy. The client knows all addresses and picks a replica for each call.",
    "xds": "There is no proxy. A control plane tells clients endpoints and policy (xDS), as in a service "
    "mesh without sidecars. Each client picks a replica for each call.",
}

MAX_EXAMPLES = 2  # of one policy


def policies_page() -> str:
    """Return the text of docs/policies.md."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield INTRODUCTION
    for route, policies in POLICIES_OF_ROUTE.items():
        yield f"## Route `{route}`\n{ROUTES[route]}\n"
        for name, policy in policies.items():
            yield f"### `{name}`, route `{route}`"
            yield f"{policy.meaning[0].upper()}{policy.meaning[1:]}.\n"
            yield f"*In ALB terms:* {policy.alb}.\n"
            if settings := policy.alb_settings(policy.chosen(policy.examples[0])):
                yield f"*On AWS:* {settings.console}.\n\n```sh\n{settings.command}\n```\n"
            yield from _options(policy.options)
            if shown := [f"`options: {_yaml(options)}`" for options in policy.examples if options]:
                yield f"For example: {', '.join(shown[:MAX_EXAMPLES])}\n"
            yield f"{policy.source}\n"


def _options(model: type[BaseModel]) -> Iterator[str]:
    schema = model.model_json_schema()
    if not schema["properties"]:
        yield "No options.\n"
        return
    yield "| option | values | default | meaning |\n|---|---|---|---|"
    for name, option in schema["properties"].items():
        meaning = STATED_DEFAULT.sub("", option["description"])
        yield f"| `{name}` | {_values(option)} | {default_in_words(option)} | {meaning} |"
    yield ""


def _yaml(value: object) -> str:
    """Return a value as one line of YAML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_yaml(entry)}" for key, entry in value.items()) + "}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def default_in_words(schema: Mapping[str, Any]) -> str:
    """Return the default of one key of a model in words, from the key's JSON Schema."""
    if "default" not in schema:
        return "must be given"
    default = schema["default"]
    return "none" if default in (None, {}, []) else f"`{_yaml(default)}`"


def _values(option: Mapping[str, Any]) -> str:
    """Return in words what an option may be."""
    if "anyOf" in option:
        option = next(choice for choice in option["anyOf"] if choice["type"] != "null")
    if "enum" in option:
        return ", ".join(f"`{choice}`" for choice in option["enum"])
    kind = option["type"]
    if kind == "boolean":
        return "`true`, `false`"
    if kind == "array":
        return f"a list, each {_values(option['items'])}"
    if kind == "object":
        return "a mapping"
    above = option.get("exclusiveMinimum")
    least = option["minimum"] if above is None else f"above {above:g}"
    return f"{'whole number, ' if kind == 'integer' else ''}{least} to {option['maximum']}"
