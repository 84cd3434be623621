"""Renders Envoy's configuration from the templates in envoy/ and writes its endpoints (EDS)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from harness.envoy_options import TargetGroupsOptions, WeightedOptions
from harness.envoy_policies import POLICIES_OF_PROXY, RETRY_ON
from harness.spec_arm import Arm
from harness.tls import TlsFiles

TEMPLATES = Path(__file__).resolve().parent.parent / "envoy"
LISTENER = "lab"
CLUSTER = "videos"
MAX_CONNECTION_AGE_S = 3600.0  # an ALB's client keepalive duration


@dataclass(frozen=True)
class EnvoyFiles:
    """Where one Envoy's files live: all in `folder`, except the access log beside it."""

    folder: Path
    access_log: Path

    @property
    def config(self) -> Path:
        return self.folder / "envoy.yaml"

    @property
    def endpoints_folder(self) -> Path:
        return self.folder / "eds"

    @property
    def admin_address(self) -> Path:
        return self.folder / "admin-address.txt"


def render(arm: Arm, files: EnvoyFiles, tls: TlsFiles | None = None) -> str:
    """Envoy's whole configuration for an arm on route envoy or envoy-l4, as YAML text.

    With `tls` its address speaks TLS as well. Raises KeyError for a policy that the route does not have or a
    code that Envoy does not retry, ValueError for wrong options (the spec was validated before).
    """
    # Imported here: naming the policies, as the spec does at start-up, needs no template engine.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        keep_trailing_newline=False,
        autoescape=False,  # noqa: S701 - YAML for Envoy, not HTML; paths go through tojson
    )
    templates.filters["duration"] = _duration
    policy = POLICIES_OF_PROXY[arm.route][arm.policy]
    text = templates.get_template(policy.template).render(
        options=policy.chosen(arm.options),
        clusters=clusters_of(arm),
        retries=_proxy_retries(arm),
        max_connection_age_s=arm.max_connection_age_s or MAX_CONNECTION_AGE_S,
        access_log=str(files.access_log),
        endpoints_folder=str(files.endpoints_folder),
        tls=tls and {"certificate": str(tls.certificate), "key": str(tls.key)},
    )
    return text + "\n"


def write_endpoints(files: EnvoyFiles, addresses: Mapping[str, str], arm: Arm) -> None:
    """Publish the replicas (name -> "host:port") to Envoy: one file a cluster, weights included.

    By atomic rename: Envoy watches for moves only, and a half-written file would be refused.
    """
    files.endpoints_folder.mkdir(parents=True, exist_ok=True)
    groups, weights = group_of(arm, list(addresses)), _weights(arm, list(addresses))
    for cluster in clusters_of(arm):
        endpoints = [
            _endpoint(address, weights.get(name))
            for name, address in addresses.items()
            if cluster == (_cluster(groups[name]) if groups else CLUSTER)
        ]
        _publish(files.endpoints_folder / f"{cluster}.json", cluster, endpoints)


def group_of(arm: Arm, replicas: Sequence[str]) -> dict[str, str]:
    """Replica -> its target group, dealt out in order; {} for a policy that has no groups."""
    options = _options(arm)
    if not isinstance(options, TargetGroupsOptions):
        return {}
    left = iter(replicas)
    return {name: group for group, part in options.groups.items() for name in islice(left, part.replicas)}


def clusters_of(arm: Arm) -> list[str]:
    """The names of Envoy's clusters: one a target group, or the one of all replicas."""
    options = _options(arm)
    if isinstance(options, TargetGroupsOptions):
        return [_cluster(group) for group in options.groups]
    return [CLUSTER]


def _cluster(group: str) -> str:
    return f"{CLUSTER}.{group}"


def _options(arm: Arm) -> object:
    return POLICIES_OF_PROXY[arm.route][arm.policy].chosen(arm.options)


def _weights(arm: Arm, replicas: Sequence[str]) -> dict[str, int]:
    options = _options(arm)
    return dict(zip(replicas, options.weights, strict=True)) if isinstance(options, WeightedOptions) else {}


def _proxy_retries(arm: Arm) -> dict[str, Any] | None:
    """The arm's retries as route.yaml.j2 takes them."""
    if arm.retries is None or arm.retries.by != "proxy":
        return None
    return {
        "on": ",".join(RETRY_ON[code] for code in arm.retries.on),
        "again": arm.retries.attempts - 1,
        "backoff_s": arm.retries.backoff_ms / 1000,
    }


def _publish(target: Path, cluster: str, endpoints: list[dict[str, object]]) -> None:
    response = {
        "version_info": "1",
        "resources": [
            {
                "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
                "cluster_name": cluster,
                "endpoints": [{"lb_endpoints": endpoints}],
            }
        ],
    }
    temporary = target.with_suffix(".tmp")
    temporary.write_text(json.dumps(response, indent=1))
    temporary.replace(target)


def _endpoint(address: str, weight: int | None) -> dict[str, object]:
    host, _, port = address.rpartition(":")
    entry: dict[str, object] = {
        "endpoint": {"address": {"socket_address": {"address": host, "port_value": int(port)}}}
    }
    return entry if weight is None else {**entry, "load_balancing_weight": weight}


def _duration(seconds: float) -> str:
    # Protobuf's JSON form: at most nine decimals, no exponent.
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"
