"""What the control plane tells the clients of an arm on route xds, and whether the live clients have it."""

from __future__ import annotations

import base64
import importlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.service.status.v3.csds_pb2 import ClientStatusResponse
from google.protobuf.json_format import MessageToDict, ParseDict
from ruamel.yaml import YAML

from harness.errors import LabError
from harness.events.context import Endpoint
from harness.policies.registry import traits_of
from harness.proxy.admin import confirm_policy, same_tree
from harness.proxy.control_plane import ControlPlane
from harness.proxy.render import CLUSTER, lb_endpoint, render_xds
from harness.spec.arm import Arm
from harness.spec.zones import dealt_to

# Modules of messages that JSON names by their types. Such a message is known once its module is imported.
EXTENSIONS = (
    "filters.http.router.v3.router",
    "filters.http.stateful_session.v3.stateful_session",
    "filters.network.http_connection_manager.v3.http_connection_manager",
    "http.stateful_session.cookie.v3.cookie",
    "load_balancing_policies.client_side_weighted_round_robin.v3.client_side_weighted_round_robin",
    "load_balancing_policies.ring_hash.v3.ring_hash",
    "load_balancing_policies.round_robin.v3.round_robin",
    "load_balancing_policies.wrr_locality.v3.wrr_locality",
)
for _extension in EXTENSIONS:
    importlib.import_module(f"envoy.extensions.{_extension}_pb2")

MESSAGES = {"listener": Listener, "cluster": Cluster, "endpoints": ClusterLoadAssignment}


@dataclass(frozen=True)
class XdsFiles:
    """The resources of one arm as JSON files in `folder`: what the control plane has told last."""

    folder: Path

    def of(self, kind: str) -> Path:
        """Return the file of a kind of resource, a key of MESSAGES."""
        return self.folder / f"{kind}.json"


class XdsControl:
    """The control plane of one cell, for the clients of `arm`. To be closed."""

    def __init__(self, arm: Arm, files: XdsFiles) -> None:
        self._arm, self._files = arm, files
        files.folder.mkdir(parents=True, exist_ok=True)
        self._plane = ControlPlane()
        self.address = self._plane.address
        self._publish(policy_resources(arm))

    def publish(self, endpoints: Mapping[str, Endpoint]) -> None:
        """Tell the clients of these endpoints (replica -> endpoint)."""
        self._publish({"endpoints": endpoints_resource(self._arm, endpoints)})

    def accepted(self) -> bool:
        """Return whether all clients have the newest endpoints. Raises LabError if one refuses a resource."""
        if self._plane.refusals:
            raise LabError(f"a client refuses what the control plane tells it: {self._plane.refusals[0]}")
        return self._plane.accepted()

    def close(self) -> None:
        """End the control plane. Clients keep what they have."""
        self._plane.close()

    def _publish(self, resources: Mapping[str, Any]) -> None:
        for kind, message in resources.items():
            self._files.of(kind).write_text(json.dumps(as_dict(message), indent=1))
        self._plane.publish(resources.values())


def policy_resources(arm: Arm) -> dict[str, Any]:
    """Return the listener and the cluster of an arm as messages."""
    tree = YAML(typ="safe", pure=True).load(render_xds(arm))
    found = {}
    for kind, fields in tree.items():
        del fields["@type"]
        found[kind] = ParseDict(fields, MESSAGES[kind]())
    return found


def endpoints_resource(arm: Arm, endpoints: Mapping[str, Endpoint]) -> ClusterLoadAssignment:
    """Return the endpoints of an arm as a message, by locality.

    Without localities in the policy there is one. gRPC ignores a locality that has no weight.
    """
    given = traits_of(arm.route, arm.policy, arm.options).localities
    weights = {zone: one.weight for zone, one in given.items()} or {"lab": 1}
    zone_of = dealt_to({zone: one.replicas for zone, one in given.items()}, list(endpoints))
    localities = [
        {
            "locality": {"zone": zone},
            "load_balancing_weight": weight,
            "lb_endpoints": [
                lb_endpoint(endpoint, endpoint.weight)
                for name, endpoint in endpoints.items()
                if zone_of.get(name, zone) == zone
            ],
        }
        for zone, weight in weights.items()
    ]
    return ParseDict({"cluster_name": CLUSTER, "endpoints": localities}, ClusterLoadAssignment())


def confirm_xds(arm: Arm, files: XdsFiles, dumps: Iterable[str]) -> None:
    """Compare what the live clients have in force with what the control plane was to tell them.

    `dumps`: of each client process, its answer of the client status discovery service (CSDS), as base64.
    Raises LabError that names the first difference, or what a client says of a resource that it refuses.
    """
    for dump in dumps:
        live = _live_resources(base64.b64decode(dump))
        for kind in MESSAGES:
            if kind not in live:
                raise LabError(f"a client process has no {kind} from the control plane")
            same_tree(kind, json.loads(files.of(kind).read_text()), live[kind], "the clients")
        confirm_policy(arm, {"videos": live["cluster"]}, {"videos": live["listener"]}, "the clients")


def _live_resources(dump: bytes) -> dict[str, Any]:
    """Return kind -> the resource that one client process has in force."""
    kinds = {message.DESCRIPTOR.full_name: kind for kind, message in MESSAGES.items()}
    found = {}
    for config in ClientStatusResponse.FromString(dump).config:
        for entry in config.generic_xds_configs:
            kind = kinds.get(entry.type_url.rpartition("/")[2])
            if kind is None:
                continue
            if entry.HasField("error_state"):
                raise LabError(f"a client refuses the {kind}: {entry.error_state.details}")
            message = MESSAGES[kind]()
            if entry.xds_config.Unpack(message):
                found[kind] = as_dict(message)
    return found


def as_dict(message: Any) -> dict[str, Any]:
    """Return a message as JSON with the names of its fields in the proto."""
    fields: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return fields
