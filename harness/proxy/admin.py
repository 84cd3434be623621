"""Reads a running Envoy's state through its admin interface, and checks that it is as planned."""

import http.client
import json
import re
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ruamel.yaml import YAML

from harness.errors import LabError
from harness.fields import PROXY
from harness.policies.policy import HashKey
from harness.policies.registry import traits_of
from harness.proxy.render import LISTENER, NODES_CLUSTER
from harness.spec.arm import Arm
from harness.spec.zones import is_zone_aware, priority_of, replicas_of_node, zone_of, zones_of

TIMEOUT_S = 5.0
HEALTHY_WITHIN_S = 5.0
SHOWN_LENGTH = 300  # maximum length of a value in an error message
HIDDEN = "[redacted]"  # Envoy shows this in place of a secret
ENVOY = "Envoy"
NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?s?")
ROUTER = "envoy.filters.http.router"  # the last filter of every listener
# What an Envoy route hashes -> the policy's name for it.
HASH_KEYS: dict[str, HashKey] = {
    "header": "header",
    "cookie": "cookie",
    "connection_properties": "source_address",
    "source_ip": "connection",
}
OVERLOAD_FILTERS = ("adaptive_concurrency", "admission_control")  # keys of an arm, and names in Envoy
HEALTHY_IN_EDS = ("HEALTHY", "UNKNOWN")  # UNKNOWN: EDS says nothing about the endpoint

EndpointState = Literal["healthy", "unhealthy", "ejected", "draining"]


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over the Unix socket at `path`."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(self._path)


class EndpointPlace(NamedTuple):
    """Where Envoy has an endpoint. zone: "" without zones. priority: 0 is the highest."""

    zone: str
    priority: int


class EnvoyAdmin:
    """The admin interface of one Envoy.

    `address`: "host:port" on loopback, or the path of a Unix socket. `log`: the file with that Envoy's
    output.
    """

    def __init__(self, address: str, log: Path) -> None:
        self.address = address
        self._log = log

    def get(self, path: str) -> str:
        """Return the body of GET `path`. Raises LabError when Envoy does not answer 200."""
        return self._request("GET", path)

    def post(self, path: str) -> str:
        """Return the body of POST `path`. Raises LabError when Envoy does not answer 200."""
        return self._request("POST", path)

    def _request(self, method: str, path: str) -> str:
        if self.address.startswith("/"):
            connection: http.client.HTTPConnection = _UnixConnection(self.address)
        else:
            connection = http.client.HTTPConnection(self.address, timeout=TIMEOUT_S)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            body = response.read().decode()
        except (OSError, http.client.HTTPException) as error:
            problem = f"did not answer {method} {path}: {error}; see {self._log}"
            raise LabError(f"Envoy's admin interface {problem}") from error
        finally:
            connection.close()
        if response.status != 200:
            raise LabError(f"Envoy's admin interface answered {path} with {response.status}: {body[:200]}")
        return body

    def live(self) -> bool:
        """Return whether Envoy's listeners accept connections: it has its clusters and endpoints."""
        try:
            return self.get("/ready").strip() == "LIVE"
        except LabError:
            return False

    def get_json(self, path: str) -> Any:
        """Return the parsed JSON body of GET `path`."""
        return json.loads(self.get(path))

    def listener_address(self) -> str:
        """Return the "host:port" on which the lab's listener listens."""
        for listener in self.get_json("/listeners?format=json")["listener_statuses"]:
            if listener["name"] == LISTENER:
                return _address(listener["local_address"])
        raise LabError("Envoy has no listener of the lab")

    def handshakes(self) -> int:
        """Return how many TLS handshakes clients have completed since this Envoy started."""
        found = self.get_json("/stats?format=json&filter=ssl%5C.handshake$")["stats"]
        return sum(stat["value"] for stat in found if stat["name"].startswith("listener."))

    def endpoint_states(self) -> dict[str, EndpointState]:
        """Return each endpoint "host:port" of the lab's clusters -> its state in Envoy."""
        return {address: _state(host["health_status"]) for address, host in self._endpoints()}

    def endpoint_health(self) -> dict[str, bool]:
        """Return each endpoint "host:port" of the lab's clusters -> whether it is healthy in Envoy."""
        return {address: state == "healthy" for address, state in self.endpoint_states().items()}

    def endpoint_weights(self) -> dict[str, dict[str, int]]:
        """Return each cluster of the lab -> its endpoints "host:port" -> the weight in force."""
        return {
            name: {_address(host["address"]): int(host["weight"]) for host in hosts}
            for name, hosts in self._hosts_of_replicas().items()
        }

    def endpoint_places(self) -> dict[str, EndpointPlace]:
        """Return each endpoint "host:port" of the lab's clusters -> its zone and priority in Envoy."""
        return {
            address: EndpointPlace(host.get("locality", {}).get("zone", ""), host.get("priority", 0))
            for address, host in self._endpoints()
        }

    def zones_of_nodes(self) -> dict[str, str]:
        """Return each node of the proxy that Envoy knows, "host:port" -> its zone; {} where it knows none."""
        hosts = self._hosts().get(NODES_CLUSTER, ())
        return {_address(host["address"]): host.get("locality", {}).get("zone", "") for host in hosts}

    def _endpoints(self) -> Iterator[tuple[str, Any]]:
        for hosts in self._hosts_of_replicas().values():
            yield from ((_address(host["address"]), host) for host in hosts)

    def _hosts_of_replicas(self) -> dict[str, list[Any]]:
        return {name: hosts for name, hosts in self._hosts().items() if name != NODES_CLUSTER}

    def _hosts(self) -> dict[str, list[Any]]:
        return {
            cluster["name"]: cluster.get("host_statuses", [])
            for cluster in self.get_json("/clusters?format=json")["cluster_statuses"]
        }


def confirm_envoy(
    admin: EnvoyAdmin,
    config: Path,
    addresses: Mapping[str, str],
    arm: Arm,
    node: str = PROXY,
    healthy_within_s: float = HEALTHY_WITHIN_S,
) -> None:
    """Check that the live Envoy is as planned, and has all endpoints healthy within that time.

    Parameters and errors: see `confirm_configuration`.
    """
    confirm_configuration(admin, config, addresses, arm, node)
    if sick := _sick_endpoints(admin, healthy_within_s):
        raise LabError(f"Envoy counts these endpoints as unhealthy: {', '.join(sick)}")


def confirm_configuration(
    admin: EnvoyAdmin, config: Path, addresses: Mapping[str, str], arm: Arm, node: str = PROXY
) -> None:
    """Check that configuration and endpoints in force in the live Envoy are those of the arm.

    `config`: the file with which Envoy was started; it names the files with the endpoints. `addresses`:
    name -> "host:port" of the replicas with an endpoint. Raises LabError that names the first difference.
    """
    workers = admin.get_json("/server_info")["command_line_options"]["concurrency"]
    _same("worker threads", arm.proxy_workers, workers)
    planned = YAML(typ="safe", pure=True).load(config)["static_resources"]
    dump = admin.get_json("/config_dump")
    live = {kind: _live(dump, kind) for kind in ("clusters", "listeners")}
    for kind, entries in live.items():
        same_tree(kind, {entry["name"]: entry for entry in planned[kind]}, entries)
    confirm_policy(arm, live["clusters"], live["listeners"])
    clusters = [cluster for cluster in planned["clusters"] if cluster["name"] != NODES_CLUSTER]
    weights = {cluster["name"]: _planned_weights(cluster) for cluster in clusters}
    known, zones = replicas_of_node(arm, addresses, node), zone_of(arm, addresses)
    _same("endpoints", sorted(addresses[name] for name in known), sorted(admin.endpoint_health()))
    planned_zones = {addresses[name]: zones.get(name, "") for name in known}
    places = admin.endpoint_places()
    _same("endpoints' zones", planned_zones, {address: place.zone for address, place in places.items()})
    priorities = {addresses[name]: priority_of(arm, zones.get(name), node) for name in known}
    _same("endpoints' priorities", priorities, {address: place.priority for address, place in places.items()})
    _same("endpoints' weights", weights, admin.endpoint_weights())


def confirm_zone_aware(admin: EnvoyAdmin, arm: Arm, node: str, nodes: Mapping[str, str]) -> None:
    """Check that a node of the proxy that routes zone-aware knows its own zone, and those of all nodes.

    nodes: node -> "host:port" of those that run. Raises LabError that names the first difference.
    """
    (section,) = (one for one in admin.get_json("/config_dump")["configs"] if "bootstrap" in one)
    bootstrap, zones = section["bootstrap"], zones_of(arm, {node, *nodes}, ())
    _same("the node's zone", zones[node], bootstrap["node"].get("locality", {}).get("zone"))
    local_cluster = bootstrap.get("cluster_manager", {}).get("local_cluster_name")
    _same("the cluster of the nodes", NODES_CLUSTER, local_cluster)
    _same("the nodes' zones", {at: zones[name] for name, at in nodes.items()}, admin.zones_of_nodes())


def _sick_endpoints(admin: EnvoyAdmin, within_s: float) -> list[str]:
    """Return the endpoints that stay unhealthy. A busy machine may fail a health check, and pass the next."""
    deadline_s = time.monotonic() + within_s
    while True:
        sick = [address for address, healthy in admin.endpoint_health().items() if not healthy]
        if not sick or time.monotonic() > deadline_s:
            return sick
        time.sleep(0.05)


def confirm_policy(
    arm: Arm, clusters: Mapping[str, Any], listeners: Mapping[str, Any], whose: str = ENVOY
) -> None:
    """Compare balancing extensions, zone-aware routing and hash key in force with what the arm declares.

    This also finds a template that renders a different policy than the arm names.
    """
    traits = traits_of(arm.route, arm.policy, arm.options)
    balancing = {entry["name"] for entry in _values(clusters, "typed_extension_config")}
    filters = {entry["name"] for found in _values(listeners, "http_filters") for entry in found} - {ROUTER}
    planned = traits.extensions | _overload_filters(arm)
    _same(f"extensions of {arm.policy}", sorted(planned), sorted(balancing | filters), whose)
    zone_aware = next(_values(clusters, "zone_aware_lb_config"), None) is not None
    _same("zone-aware routing", is_zone_aware(arm), zone_aware, whose)
    specifiers = [entry for found in _values(listeners, "hash_policy") for entry in found]
    hashed = {HASH_KEYS[key] for entry in specifiers for key in entry}
    _same(f"key that {arm.policy} hashes", [key for key in (traits.hash_key,) if key], sorted(hashed), whose)


def _overload_filters(arm: Arm) -> set[str]:
    """Return the names of the HTTP filters by which the arm's proxy refuses requests."""
    return {f"envoy.filters.http.{key}" for key in OVERLOAD_FILTERS if getattr(arm, key) is not None}


def _values(tree: Any, key: str) -> Iterator[Any]:
    """Yield every value of `key` at any depth of a configuration."""
    if isinstance(tree, Mapping):
        for name, value in tree.items():
            if name == key:
                yield value
            yield from _values(value, key)
    elif isinstance(tree, list):
        for entry in tree:
            yield from _values(entry, key)


def _same(what: str, planned: object, live: object, whose: str = ENVOY) -> None:
    if planned != live:
        differ = f"planned {_short(planned)}, live {_short(live)}"
        raise LabError(f"what is in force in {whose} is not as planned: {what}: {differ}")


def same_tree(where: str, planned: Any, live: Any, whose: str = ENVOY) -> None:
    """Compare two configuration trees. Raises LabError that names `whose` and the first different field."""
    planned, live = _canonical(planned), _canonical(live)
    if isinstance(planned, dict) and isinstance(live, dict):
        for key in [*planned, *(key for key in live if key not in planned)]:
            same_tree(f"{where}.{key}", planned.get(key), live.get(key), whose)
    elif isinstance(planned, list) and isinstance(live, list) and len(planned) == len(live):
        for number, (one, other) in enumerate(zip(planned, live, strict=True)):
            same_tree(f"{where}[{number}]", one, other, whose)
    elif live != HIDDEN:
        _same(where, planned, live, whose)


def _canonical(value: Any) -> Any:
    """Return 64-bit numbers and durations in one form, because protobuf's JSON has several."""
    if isinstance(value, str) and NUMBER.fullmatch(value):
        return float(value.rstrip("s"))
    return value


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= SHOWN_LENGTH else f"{text[: SHOWN_LENGTH - 3]}..."


def _live(dump: Any, kind: str) -> dict[str, Any]:
    """Return name -> entry of the static clusters or listeners of a config_dump."""
    found = [entry for section in dump["configs"] for entry in section.get(f"static_{kind}", [])]
    entries = [entry[kind.removesuffix("s")] for entry in found]
    return {entry["name"]: {key: entry[key] for key in entry if key != "@type"} for entry in entries}


def _planned_weights(cluster: Mapping[str, Any]) -> dict[str, int]:
    """Return the cluster's endpoints "host:port" -> weight, from the EDS file that it watches."""
    path = cluster["eds_cluster_config"]["eds_config"]["path_config_source"]["path"]
    (assignment,) = json.loads(Path(path).read_text())["resources"]
    return {
        _address(entry["endpoint"]["address"]): entry.get("load_balancing_weight", 1)
        for locality in assignment["endpoints"]
        for entry in locality["lb_endpoints"]
    }


def _address(entry: Mapping[str, Any]) -> str:
    socket_address = entry["socket_address"]
    return f"{socket_address['address']}:{socket_address['port_value']}"


def _state(status: Mapping[str, Any]) -> EndpointState:
    """Return one state of a host that may have several in Envoy. The state that EDS sets comes first."""
    if status.get("eds_health_status") == "DRAINING":
        return "draining"
    if status.get("failed_outlier_check") and not status.get("failed_active_health_check"):
        return "ejected"
    failed = any(value is True for key, value in status.items() if key.startswith("failed_"))
    return "unhealthy" if failed or status.get("eds_health_status") not in HEALTHY_IN_EDS else "healthy"
