"""A real replica starts with every setting at its bounds, and shows the document that it was started with."""

import json
import time
from typing import Any, get_args

import grpc
import pytest
from replica_process import Server, StartReplica

from services.lab_control_pb2 import GetIdentityRequest, Identity
from services.settings import Code, Distribution, ReplicaSettings
from services.settings import Server as ServerKind

SCHEMA = ReplicaSettings.model_json_schema()
JUST_ABOVE = 1e-9  # an exclusive bound
METHOD = "AddVideo"  # the one entry of a mapping from methods


def at_bounds(schema: dict[str, Any], bound: str) -> Any:
    """Return settings with every number of the schema at its lowest or highest value, and no key left out."""
    if "$ref" in schema:
        return at_bounds(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], bound)
    if "anyOf" in schema:
        numbers = [one for one in schema["anyOf"] if "const" not in one and one.get("type") != "null"]
        return at_bounds(numbers[0], bound)
    if "properties" in schema:
        return {name: at_bounds(value, bound) for name, value in schema["properties"].items()}
    if "additionalProperties" in schema:
        return {METHOD: at_bounds(schema["additionalProperties"], bound)}
    if "enum" in schema:
        return schema["enum"][0]
    if schema["type"] == "boolean":
        return bound == "highest"
    if bound == "highest":
        return schema["maximum"]
    return schema["minimum"] if "minimum" in schema else schema["exclusiveMinimum"] + JUST_ABOVE


LOWEST, HIGHEST = (at_bounds(SCHEMA, bound) for bound in ("lowest", "highest"))
BARE = {"slots": 2, "service_time_ms": {"distribution": "constant", "mean": 0.0}}
NEARLY_ALWAYS_AWAY = {"every_s": 0.1, "for_ms": 99.9}


def identity_of(server: Server) -> Identity:
    """Ask until the replica answers, because outages may break a call."""
    until_s = time.monotonic() + 20
    while True:
        try:
            return server.control.GetIdentity(GetIdentityRequest(), wait_for_ready=True, timeout=10)
        except grpc.RpcError:
            assert time.monotonic() < until_s


@pytest.mark.parametrize(
    "document",
    [
        LOWEST,
        HIGHEST,
        BARE | {"outage": {"every_s": 3600.0, "for_ms": 60_000.0}, "orca": "measured"},
        *(BARE | {"server": kind, "slots": 10_000} for kind in get_args(ServerKind)),
        *(
            BARE | {"service_time_ms": {"distribution": kind, "mean": 1e-300}}
            for kind in get_args(Distribution)
        ),
    ],
    ids=lambda document: "-".join(map(str, document.values()))[:60],
)
def test_it_starts_with_what_is_within_the_bounds(
    document: dict[str, Any], start_replica: StartReplica
) -> None:
    settings = ReplicaSettings.model_validate(document)
    server = start_replica(**json.loads(settings.to_json()))
    assert json.loads(identity_of(server).settings_json) == json.loads(settings.to_json())
    server.process.terminate()
    _, err = server.process.communicate(timeout=10)
    assert (server.process.returncode, "Traceback" in err) == (0, False)


def test_it_starts_although_it_is_nearly_always_away(start_replica: StartReplica) -> None:
    server = start_replica(outage=NEARLY_ALWAYS_AWAY)
    time.sleep(0.5)
    assert server.process.poll() is None
    server.process.terminate()
    _, err = server.process.communicate(timeout=10)
    assert (server.process.returncode, "Traceback" in err) == (0, False)


def test_every_code_is_one_of_grpc() -> None:
    assert {code.name for code in grpc.StatusCode} == {"OK", *get_args(Code)}
