"""Reads a running Envoy back through its admin interface, and refuses one that is not as planned."""

import http.client
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from harness.errors import LabError
from harness.proxy import CLUSTER, LISTENER

TIMEOUT_S = 5.0


class EnvoyAdmin:
    """One Envoy's admin interface at "host:port", on loopback; `log` is what that Envoy writes."""

    def __init__(self, address: str, log: Path) -> None:
        self.address = address
        self._log = log

    def get(self, path: str) -> str:
        """The body of GET `path`. Raises LabError when Envoy does not answer 200."""
        host, _, port = self.address.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT_S)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read().decode()
        except (OSError, http.client.HTTPException) as error:
            raise LabError(
                f"Envoy's admin interface did not answer GET {path}: {error}; see {self._log}"
            ) from error
        finally:
            connection.close()
        if response.status != 200:
            raise LabError(f"Envoy's admin interface answered {path} with {response.status}: {body[:200]}")
        return body

    def get_json(self, path: str) -> Any:
        """The body of GET `path`, parsed."""
        return json.loads(self.get(path))

    def listener_address(self) -> str:
        """The "host:port" that the kernel gave to the lab's listener."""
        for listener in self.get_json("/listeners?format=json")["listener_statuses"]:
            if listener["name"] == LISTENER:
                return _address(listener["local_address"])
        raise LabError("Envoy has no listener of the lab")

    def endpoint_health(self) -> dict[str, bool]:
        """Each endpoint "host:port" of the lab's cluster -> whether Envoy would send to it."""
        for cluster in self.get_json("/clusters?format=json")["cluster_statuses"]:
            if cluster["name"] == CLUSTER:
                return {
                    _address(host["address"]): _healthy(host["health_status"])
                    for host in cluster.get("host_statuses", [])
                }
        return {}


def confirm_envoy(admin: EnvoyAdmin, config: Path, addresses: Mapping[str, str], workers: int) -> None:
    """Compare what is in force in the live Envoy with what was planned.

    `config` is the file Envoy was started with, `addresses` name -> "host:port" of the replicas, `workers`
    the planned number of worker threads. Raises LabError naming the first difference.
    """
    _same("worker threads", workers, admin.get_json("/server_info")["command_line_options"]["concurrency"])
    planned = YAML(typ="safe", pure=True).load(config)
    live = _live_config(admin.get_json("/config_dump"))
    _same("load-balancing policy", _policy(_by_name(planned["static_resources"]["clusters"])), _policy(live))
    _same(
        "HTTP filters",
        _http_filters(planned["static_resources"]["listeners"][0]),
        _http_filters(live[LISTENER]),
    )
    health = admin.endpoint_health()
    _same("endpoints", sorted(addresses.values()), sorted(health))
    sick = [address for address, healthy in health.items() if not healthy]
    if sick:
        raise LabError(f"Envoy counts these endpoints as unhealthy: {', '.join(sick)}")


def _same(what: str, planned: object, live: object) -> None:
    if planned != live:
        raise LabError(f"the {what} in force in Envoy is not the planned one: planned {planned}, live {live}")


def _live_config(dump: Any) -> dict[str, Any]:
    """Clusters and listeners of a config_dump, by name."""
    found: dict[str, Any] = {}
    for section in dump["configs"]:
        found |= _by_name(entry["cluster"] for entry in section.get("static_clusters", []))
        found |= _by_name(entry["listener"] for entry in section.get("static_listeners", []))
    return found


def _by_name(entries: Any) -> dict[str, Any]:
    return {entry["name"]: entry for entry in entries}


def _policy(clusters: Mapping[str, Any]) -> Any:
    return clusters[CLUSTER]["load_balancing_policy"]


def _http_filters(listener: Mapping[str, Any]) -> Any:
    return listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]


def _address(entry: Mapping[str, Any]) -> str:
    socket = entry["socket_address"]
    return f"{socket['address']}:{socket['port_value']}"


def _healthy(status: Mapping[str, Any]) -> bool:
    failed = any(value is True for key, value in status.items() if key.startswith("failed_"))
    return not failed and status.get("eds_health_status") in ("HEALTHY", "UNKNOWN")
