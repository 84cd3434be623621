"""`service`: a gRPC service that is not the lab's, called with the testbed `external`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from harness.errors import UserError
from harness.fields import Model, worded

REFLECTION, UPSTREAM_LOG = "reflection", "upstream-log"
MethodPath = Annotated[
    str,
    worded(r"^([A-Za-z_]\w*\.)*[A-Za-z_]\w*/[A-Za-z_]\w*$", "package.Service/Method", max_length=300),
]
ReplicaFrom = Annotated[
    str,
    worded(
        r"^((header|trailer) [a-z0-9_.-]{1,100}|upstream-log)$", "header NAME, trailer NAME or upstream-log"
    ),
]
# What a file with a service leaves out, and what stands there instead, so that plans have no limit.
_UNKNOWN: dict[str, dict[str, Any]] = {
    "replicas": {"slots": 10_000, "service_time_ms": {"distribution": "constant", "mean": 0.0}},
    "workload": {"calls": {"AddVideo": 1.0}},
}
_STREAMS = ("messages_per_stream", "message_gap_ms", "payload_bytes")


class OwnService(Model):
    """A service that is not the lab's: which method is called, with which requests, and who answered."""

    proto: str = Field(
        min_length=1,
        max_length=1000,
        description="`reflection`, or a proto file that declares the method; relative to this file's folder",
    )
    method: MethodPath = Field(
        description="the method to call, `package.Service/Method`: unary or a server stream"
    )
    requests: str | dict[str, Any] = Field(
        description="the requests in protobuf's JSON: a mapping, in whose texts `{client}` and `{number}` "
        "become the client's number and that of its request; or a file with one request a line, relative to "
        "this file's folder"
    )
    replica_from: ReplicaFrom = Field(
        description="how the lab learns who answered: `header NAME` or `trailer NAME` of each answer, or "
        "`upstream-log`: the target in the load balancer's log, which `report --proxy-log` joins"
    )

    @property
    def method_name(self) -> str:
        """The method's own name."""
        return self.method.rpartition("/")[2]

    @property
    def replica_key(self) -> str:
        """The key of the answers' metadata that names the replica; "" if only the proxy's log does."""
        return "" if self.replica_from == UPSTREAM_LOG else self.replica_from.partition(" ")[2]


def fill_in_service(tree: dict[str, Any], folder: Path) -> None:
    """Fill in, in place, what an experiment file with a service leaves out.

    folder: of the file; paths are relative to it. Raises UserError that begins with the key, for keys that
    say something of the lab's own replicas or calls.
    """
    service = tree.get("service")
    if not isinstance(service, dict):
        return
    for section, unknown in _UNKNOWN.items():
        given = tree.get(section)
        if not isinstance(given, dict):
            continue
        refused = (
            (given.keys() - {"count"}) if section == "replicas" else (given.keys() & {"calls", *_STREAMS})
        )
        for key in sorted(map(str, refused)):
            raise UserError(
                f"{section}.{key}: the service is not the lab's, which cannot set it; leave it out"
            )
        given.update(unknown)
    for key in ("proto", "requests"):
        if isinstance(service.get(key), str) and service[key] != REFLECTION:
            service[key] = str((folder / service[key]).absolute())


def without_filled_in(tree: dict[str, Any]) -> dict[str, Any]:
    """Return the tree of an experiment with a service without what fill_in_service has put there."""
    kept = dict(tree)
    kept["replicas"] = {"count": tree["replicas"]["count"]}
    kept["workload"] = {
        key: value for key, value in tree["workload"].items() if key not in ("calls", *_STREAMS)
    }
    return kept
