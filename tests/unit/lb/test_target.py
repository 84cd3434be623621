"""Targets in gRPC's name syntax."""

import json

import pytest

from lb.driver_options import parse
from lb.target import resolver_target, xds_bootstrap


@pytest.mark.parametrize(
    ("target", "resolved"),
    [
        ("127.0.0.1:50051", "ipv4:127.0.0.1:50051"),
        ("127.0.0.1:1,127.0.0.2:2", "ipv4:127.0.0.1:1,127.0.0.2:2"),
        (" 127.0.0.1:1 , 127.0.0.2:2 ", "ipv4:127.0.0.1:1,127.0.0.2:2"),
        ("localhost:50051", "dns:///localhost:50051"),
        ("lb.example.com:443", "dns:///lb.example.com:443"),
        ("[::1]:50051", "dns:///[::1]:50051"),
        ("dns://127.0.0.1:53/replicas.lab:50051", "dns://127.0.0.1:53/replicas.lab:50051"),
        ("dns:///replicas.lab:50051", "dns:///replicas.lab:50051"),
        ("xds://127.0.0.1:18000/videos", "xds:///videos"),
    ],
)
def test_a_target_that_grpc_can_resolve(target: str, resolved: str) -> None:
    assert resolver_target(target) == resolved


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("", "is not HOST:PORT"),
        ("localhost", "is not HOST:PORT"),
        (":50051", "is not HOST:PORT"),
        ("localhost:", "is not HOST:PORT"),
        ("localhost:http", "is not HOST:PORT"),
        ("localhost:0", "is not HOST:PORT"),
        ("localhost:65536", "is not HOST:PORT"),
        ("localhost:²", "is not HOST:PORT"),
        ("127.0.0.1:1,", "is not HOST:PORT"),
        ("127.0.0.1:1,localhost:2", "several addresses must all be IPv4"),
        ("a:1,b:2", "several addresses must all be IPv4"),
        ("http://127.0.0.1:80", "is not HOST:PORT"),
        ("::1:50051", "is not HOST:PORT"),
        ("dns://127.0.0.1:53", "is not HOST:PORT"),
        ("dns://127.0.0.1:53/replicas.lab", "'replicas.lab' is not HOST:PORT"),
        ("dns://127.0.0.1/replicas.lab:1", "'127.0.0.1' is not HOST:PORT"),
        ("xds:///videos", "'' is not HOST:PORT"),
        ("xds://127.0.0.1:18000", "is not xds://HOST:PORT/NAME"),
        ("xds://127.0.0.1:18000/", "is not xds://HOST:PORT/NAME"),
    ],
)
def test_a_target_that_grpc_cannot_resolve(target: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolver_target(target)


def test_only_a_target_with_a_control_plane_has_a_bootstrap() -> None:
    assert xds_bootstrap("127.0.0.1:50051") is None
    found = json.loads(xds_bootstrap("xds://127.0.0.1:18000/videos") or "")
    assert [server["server_uri"] for server in found["xds_servers"]] == ["127.0.0.1:18000"]


def test_the_driver_leaves_the_policy_to_the_control_plane(capsys: pytest.CaptureFixture[str]) -> None:
    target = "xds://127.0.0.1:18000/videos"
    assert parse([target]).service_config is None
    assert parse(["127.0.0.1:18000"]).service_config is not None
    with pytest.raises(SystemExit):
        parse(["--policy", "ring_hash", target])
    assert "--policy: the control plane says how to balance; leave it out" in capsys.readouterr().err
