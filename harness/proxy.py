"""Renders Envoy's configuration from the templates in envoy/ and writes its endpoints (EDS)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.tls import TlsFiles

TEMPLATES = Path(__file__).resolve().parent.parent / "envoy"
LISTENER = "lab"
CLUSTER = "videos"


@dataclass(frozen=True)
class EnvoyPolicy:
    """One policy behind Envoy: its template, what it means, whether it answers with a session cookie."""

    template: str
    meaning: str
    cookie: bool = False


ENVOY_POLICIES: dict[str, EnvoyPolicy] = {
    "round_robin": EnvoyPolicy(
        "policies/round_robin.yaml.j2",
        "the replicas in turn, request by request (ALB: round_robin, its default)",
    ),
    "sticky": EnvoyPolicy(
        "policies/sticky.yaml.j2",
        "a cookie names the session's replica; round robin picks it once (ALB: AWSALB stickiness)",
        cookie=True,
    ),
}


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


def render(policy: str, files: EnvoyFiles, tls: TlsFiles | None = None) -> str:
    """Envoy's whole configuration for `policy`, as YAML text; with `tls` its address speaks TLS as well.

    Raises KeyError for a policy that ENVOY_POLICIES does not have (the spec was validated before).
    """
    # Imported here: naming the policies, as the spec does at start-up, needs no template engine.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - YAML for Envoy, not HTML; paths go through tojson
    )
    return templates.get_template(ENVOY_POLICIES[policy].template).render(
        access_log=str(files.access_log),
        endpoints_folder=str(files.endpoints_folder),
        tls=tls and {"certificate": str(tls.certificate), "key": str(tls.key)},
    )


def write_endpoints(files: EnvoyFiles, addresses: Mapping[str, str]) -> None:
    """Publish the replicas (name -> "host:port") to Envoy.

    By atomic rename: Envoy watches for moves only, and a half-written file would be refused.
    """
    files.endpoints_folder.mkdir(parents=True, exist_ok=True)
    response = {
        "version_info": "1",
        "resources": [
            {
                "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
                "cluster_name": CLUSTER,
                "endpoints": [{"lb_endpoints": [_endpoint(address) for address in addresses.values()]}],
            }
        ],
    }
    target = files.endpoints_folder / "endpoints.json"
    temporary = target.with_suffix(".tmp")
    temporary.write_text(json.dumps(response, indent=1))
    temporary.replace(target)


def _endpoint(address: str) -> dict[str, object]:
    host, _, port = address.rpartition(":")
    return {"endpoint": {"address": {"socket_address": {"address": host, "port_value": int(port)}}}}
