"""`docker compose up` starts the lab, with Compose 1.29 and 2, and `down` removes all of it."""

import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from compose_lab import ComposeLab, answering_replicas, awaited, compose_commands
from lab_process import ROOT
from tls_calls import videos

from services.video_service_pb2 import GetVideoRequest, ListVideosRequest

pytestmark = pytest.mark.docker
REPLICAS = 2
SAMPLE = GetVideoRequest(id="sample-1")


@pytest.fixture(scope="module", params=["1", "2"])
def lab(request: pytest.FixtureRequest, engine: docker.DockerClient, image: str) -> Iterator[ComposeLab]:
    """All services of docker-compose.yml, running."""
    found = compose_commands()
    if not found and os.environ.get("LB_LAB_DOCKER") == "required":
        pytest.fail("Docker Compose is not installed, and LB_LAB_DOCKER is `required`")
    if request.param not in found:
        pytest.skip(f"Compose {request.param} is not installed")
    lab = ComposeLab(found[request.param], engine, image, REPLICAS)
    try:
        lab.compose("up", "--detach", "--no-build")
        awaited(
            lambda: answering_replicas(lab.address("envoy"), "-n", "20"), lambda names: names == lab.names()
        )
        yield lab
    finally:
        lab.compose("down", "--volumes", "--timeout", "5")
    assert lab.left() == []


def test_a_cookie_keeps_a_client_on_one_replica(lab: ComposeLab) -> None:
    address = lab.address("envoy")
    assert len(answering_replicas(address, "--cookie-jar", "-n", "60")) == 1
    assert answering_replicas(address, "-n", "60") == lab.names()


def test_one_port_accepts_clear_text_and_tls(lab: ComposeLab, tmp_path: Path) -> None:
    address = lab.address("envoy")
    authority = tmp_path / "authority.pem"
    status, text = lab.run("envoy", "sh", "-c", "cat /tmp/lb-lab-proxy-*/tls/authority.pem")
    assert status == 0, text
    authority.write_text(text)
    for trusted in (None, authority):
        with videos(address, trusted) as stub:
            assert [video.id for video in stub.GetVideo(iter([SAMPLE]), timeout=10)] == [SAMPLE.id]
            assert SAMPLE.id in {video.id for video in stub.ListVideos(ListVideosRequest(), timeout=10)}


def test_the_grpcurl_commands_of_the_readme_work(lab: ComposeLab) -> None:
    grpcurl = shutil.which(os.environ.get("GRPCURL", "grpcurl"))
    if grpcurl is None:
        pytest.skip("no grpcurl on the PATH or in the environment variable GRPCURL")
    address = lab.address("envoy")
    service = "video_service.VideoService"
    listed = subprocess.run([grpcurl, "-plaintext", address, "list"], capture_output=True, text=True)
    assert service in listed.stdout, listed.stderr
    command = [grpcurl, "-proto", "video_service.proto", "-insecure", "-vv", "-d", "@", address]
    answered = subprocess.run(
        [*command, f"{service}/GetVideo"],
        cwd=ROOT / "services",
        input='{"id":"sample-1"}',
        capture_output=True,
        text=True,
    )
    assert '"id": "sample-1"' in answered.stdout, answered.stderr


def test_ports_are_on_loopback_and_containers_are_unprivileged(lab: ComposeLab) -> None:
    for service in ("replica", "envoy", "load"):
        for container in lab.containers(service):
            host, config = container.attrs["HostConfig"], container.attrs["Config"]
            published = [port["HostIp"] for bound in container.ports.values() for port in bound or []]
            assert published == ([] if service == "replica" else ["127.0.0.1"])
            assert host["ReadonlyRootfs"] is True
            assert host["CapDrop"] == ["ALL"]
            assert not host["Privileged"]
            assert [option.replace("=", ":") for option in host["SecurityOpt"]] == ["no-new-privileges:true"]
            assert host["PidsLimit"] == 512
            assert config["User"] == "10001:10001"
            assert not container.attrs["Mounts"]


def test_locusts_page_has_a_row_for_each_replica(lab: ComposeLab) -> None:
    url = f"http://{lab.address('load')}/stats/requests"

    def rows() -> dict[str, int]:
        with urllib.request.urlopen(url, timeout=5) as page:
            stats = json.load(page)["stats"]
        return {row["name"]: row["num_failures"] for row in stats if row["name"] != "Aggregated"}

    failures = awaited(rows, lambda rows: rows.keys() >= lab.names())
    assert all(failures[name] == 0 for name in lab.names())


def test_the_health_probe_reports_a_server_or_its_absence(lab: ComposeLab) -> None:
    probe = ("python", "-m", "services.health_probe")
    assert lab.run("envoy", *probe) == (0, "")  # it calls Envoy
    status, output = lab.run("load", *probe)  # no server runs there
    assert status == 1
    assert output.startswith("127.0.0.1:50051: UNAVAILABLE:")


def test_envoy_learns_of_an_added_replica(lab: ComposeLab) -> None:
    before = lab.names()
    lab.compose("up", "--detach", "--no-build", "--no-recreate", "--scale", f"replica={REPLICAS + 1}")
    after = lab.names()
    assert len(after) == REPLICAS + 1
    assert after > before
    awaited(lambda: answering_replicas(lab.address("envoy"), "-n", "30"), lambda names: names == after)
