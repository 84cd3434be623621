"""`docker compose up` gives a lab to play with, in Compose 1.29 and 2, and `down` removes all of it."""

import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from compose_lab import ComposeLab, awaited, compose_commands, who_answers
from lab_process import ROOT
from tls_calls import videos

from services.video_service_pb2 import GetVideoRequest, ListVideosRequest

pytestmark = pytest.mark.docker
REPLICAS = 2
SAMPLE = GetVideoRequest(id="sample-1")


@pytest.fixture(scope="module", params=["1", "2"])
def lab(request: pytest.FixtureRequest, engine: docker.DockerClient, image: str) -> Iterator[ComposeLab]:
    """The whole of docker-compose.yml, running."""
    found = compose_commands()
    if not found and os.environ.get("LB_LAB_DOCKER") == "required":
        pytest.fail("there is no Compose; and LB_LAB_DOCKER is `required`")
    if request.param not in found:
        pytest.skip(f"no Compose of version {request.param}")
    lab = ComposeLab(found[request.param], engine, image, REPLICAS)
    try:
        lab.compose("up", "--detach", "--no-build")
        awaited(lambda: who_answers(lab.address("envoy"), "-n", "20"), lambda names: names == lab.names())
        yield lab
    finally:
        lab.compose("down", "--volumes", "--timeout", "5")
    assert lab.left() == []


def test_a_cookie_keeps_a_client_on_one_replica(lab: ComposeLab) -> None:
    address = lab.address("envoy")
    assert len(who_answers(address, "--cookie-jar", "-n", "60")) == 1
    assert who_answers(address, "-n", "60") == lab.names()


def test_one_port_takes_clear_text_and_tls(lab: ComposeLab, tmp_path: Path) -> None:
    address = lab.address("envoy")
    authority = tmp_path / "authority.pem"
    status, text = lab.run("envoy", "sh", "-c", "cat /tmp/lb-lab-proxy-*/tls/authority.pem")
    assert status == 0, text
    authority.write_text(text)
    for trusted in (None, authority):
        with videos(address, trusted) as stub:
            assert [video.id for video in stub.GetVideo(iter([SAMPLE]), timeout=10)] == [SAMPLE.id]
            assert SAMPLE.id in {video.id for video in stub.ListVideos(ListVideosRequest(), timeout=10)}


def test_grpcurl_speaks_to_it_as_the_readme_says(lab: ComposeLab) -> None:
    grpcurl = shutil.which(os.environ.get("GRPCURL", "grpcurl"))
    if grpcurl is None:
        pytest.skip("no grpcurl on the PATH nor in the environment's GRPCURL")
    address = lab.address("envoy")
    service = "video_service.VideoService"
    listed = subprocess.run([grpcurl, "-plaintext", address, "list"], capture_output=True, text=True)
    assert service in listed.stdout, listed.stderr
    talk = [grpcurl, "-proto", "video_service.proto", "-insecure", "-vv", "-d", "@", address]
    talked = subprocess.run(
        [*talk, f"{service}/GetVideo"],
        cwd=ROOT / "services",
        input='{"id":"sample-1"}',
        capture_output=True,
        text=True,
    )
    assert '"id": "sample-1"' in talked.stdout, talked.stderr


def test_nothing_listens_beyond_loopback_and_nobody_is_privileged(lab: ComposeLab) -> None:
    for service in ("replica", "envoy", "load"):
        for container in lab.containers(service):
            host, config = container.attrs["HostConfig"], container.attrs["Config"]
            published = [one["HostIp"] for bound in container.ports.values() for one in bound or []]
            assert published == ([] if service == "replica" else ["127.0.0.1"])
            assert host["ReadonlyRootfs"] is True
            assert host["CapDrop"] == ["ALL"]
            assert not host["Privileged"]
            assert [option.replace("=", ":") for option in host["SecurityOpt"]] == ["no-new-privileges:true"]
            assert host["PidsLimit"] == 512
            assert config["User"] == "10001:10001"
            assert not container.attrs["Mounts"]


def test_locusts_page_shows_who_answers(lab: ComposeLab) -> None:
    url = f"http://{lab.address('load')}/stats/requests"

    def rows() -> dict[str, int]:
        with urllib.request.urlopen(url, timeout=5) as page:
            stats = json.load(page)["stats"]
        return {row["name"]: row["num_failures"] for row in stats if row["name"] != "Aggregated"}

    failures = awaited(rows, lambda rows: rows.keys() >= lab.names())
    assert all(failures[name] == 0 for name in lab.names())


def test_a_replica_says_how_it_is(lab: ComposeLab) -> None:
    probe = ("python", "-m", "services.health_probe")
    assert lab.run("envoy", *probe) == (0, "")  # through Envoy
    status, told = lab.run("load", *probe)  # where nobody serves
    assert status == 1
    assert told.startswith("127.0.0.1:50051: UNAVAILABLE:")


def test_a_replica_more_reaches_envoy(lab: ComposeLab) -> None:
    before = lab.names()
    lab.compose("up", "--detach", "--no-build", "--no-recreate", "--scale", f"replica={REPLICAS + 1}")
    after = lab.names()
    assert len(after) == REPLICAS + 1
    assert after > before
    awaited(lambda: who_answers(lab.address("envoy"), "-n", "30"), lambda names: names == after)
