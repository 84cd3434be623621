"""The Docker engine of this machine: the lab's image, its networks, and the removal of what runs leave."""

import hashlib
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from itertools import islice
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, BuildError, DockerException, ImageNotFound, NotFound
from docker.types import IPAMConfig, IPAMPool

from harness.errors import LabError, UserError
from harness.leftovers.owner import is_alive, owner
from harness.leftovers.scratch import scratch_folder
from harness.paths import IMAGE_FILES, IN_CLONE, ROOT
from harness.testbed.docker.subnets import free_subnets, host_routes

OWNER = "lb-lab.owner"  # label of everything that a run creates in the engine; its value is the owner's mark
IMAGE = "lb-lab"
BUILT_WITH = ("Dockerfile", ".dockerignore", "requirements.txt", "LICENSE")
PACKAGES = ("services", "lb", "load", "simulator", "harness")
ONLY_IN_A_CLONE = ("run_experiment.py", "envoy", "experiments")  # a wheel has the last two in harness/data
BASE = "LB_LAB_BASE"  # environment variable: the base image
BUILD_NETWORK = "LB_LAB_BUILD_NETWORK"  # environment variable: the network for the build, such as `host`
KEPT_IMAGES = 4  # a machine may have several clones of the lab
FIRST_HOST = 16  # in a subnet; the engine uses the addresses before it
SUBNET_TRIES = 20
REMOVE_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class LabNetwork:
    """The Docker network of one run."""

    name: str
    subnet: IPv4Network

    @property
    def gateway(self) -> str:
        """This machine's address in the network."""
        return str(self.subnet.network_address + 1)

    def host(self, number: int) -> str:
        """Return the address of container `number`, 0 and up."""
        return str(IPv4Address(int(self.subnet.network_address) + FIRST_HOST + number))


def connect() -> docker.DockerClient:
    """Return a client of the engine. Raises UserError if no engine answers, or if it runs elsewhere."""
    try:
        client = docker.from_env()
        host = str(client.api.base_url)
        info = client.info()
    except DockerException as error:
        reason = str(error).split("(Caused")[0].strip()
        raise UserError(
            f"--testbed docker: no Docker engine answers ({reason}); start it, or leave --testbed out"
        ) from error
    # docker-py uses this address for Unix sockets.
    if host != "http+docker://localhost" or "Docker Desktop" in info["OperatingSystem"]:
        # The containers must share clock, sockets and files with this machine.
        raise UserError(
            f"--testbed docker: the engine ({info['OperatingSystem']}, {host}) does not run directly on "
            "this Linux machine; run the lab on the machine that runs the engine"
        )
    return client


def rootless(client: docker.DockerClient) -> bool:
    """Return whether the engine is rootless: root in a container is then the user who runs the engine."""
    return any("rootless" in option for option in client.info().get("SecurityOptions") or [])


def source_digest() -> str:
    """Return 12 hex digits of a hash over the files of the image."""
    digest = hashlib.sha256(os.environ.get(BASE, "").encode())
    for name, path in _sources():
        digest.update(f"{name}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _sources() -> Iterator[tuple[str, Path]]:
    """Yield the files with which the image is built, always in the same order: name in its context, path."""
    yield from ((name, IMAGE_FILES / name) for name in BUILT_WITH)
    for name in (*PACKAGES, *(ONLY_IN_A_CLONE if IN_CLONE else ())):
        paths = [ROOT / name, *sorted((ROOT / name).rglob("*"))]
        found = (path for path in paths if path.is_file() and "__pycache__" not in path.parts)
        yield from ((str(path.relative_to(ROOT)), path) for path in found)


@contextmanager
def _build_context() -> Iterator[Path]:
    """Give a folder with the files of the image, from a clone or from the packages that pip has installed."""
    with scratch_folder("image") as folder:
        for name, path in _sources():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / name)
        yield folder


def ensure_image(client: docker.DockerClient, report: Callable[[str], object]) -> str:
    """Return the tag of the image of this source; build the image if it is missing.

    Before a build, `report` is called with one line. The latest KEPT_IMAGES images are kept, older ones are
    removed. Raises LabError when the build fails.
    """
    tag = f"{IMAGE}:src-{source_digest()}"
    try:
        client.images.get(tag)
    except ImageNotFound:
        report(f"building the image {tag} (some minutes the first time, seconds later)")
        _build(client, tag)
        _remove_old_images(client)
    return tag


def _remove_old_images(client: docker.DockerClient) -> None:
    images = sorted(client.images.list(IMAGE), key=lambda image: image.attrs["Created"], reverse=True)
    tags = [tag for image in images for tag in image.tags if tag.startswith(f"{IMAGE}:src-")]
    for tag in tags[KEPT_IMAGES:]:
        with suppress(APIError):  # a run uses it
            client.images.remove(tag)


def _build(client: docker.DockerClient, tag: str) -> None:
    arguments = {"BASE": os.environ[BASE]} if BASE in os.environ else {}
    network = os.environ.get(BUILD_NETWORK)
    try:
        with _build_context() as context:
            client.images.build(
                path=str(context),
                tag=tag,
                buildargs=arguments,
                network_mode=network,
                rm=True,
                forcerm=True,
            )
    except BuildError as error:
        lines = [line["stream"].strip() for line in error.build_log if line.get("stream", "").strip()]
        raise LabError(
            f"the image {tag} could not be built: {error.msg}; {' | '.join(lines[-3:])}"
        ) from error
    except APIError as error:
        raise LabError(f"the image {tag} could not be built: {error.explanation}") from error


def make_network(client: docker.DockerClient, name: str) -> LabNetwork:
    """Create an internal network, in a subnet that neither the engine nor a route of this machine uses.

    Raises LabError if the engine makes none.
    """
    # Not seeded: two runs at once must not try the same subnets in the same order.
    for subnet in islice(free_subnets(host_routes(), random.SystemRandom()), SUBNET_TRIES):
        network = LabNetwork(name, subnet)
        pool = IPAMPool(subnet=str(subnet), gateway=network.gateway)
        try:
            client.networks.create(
                name, internal=True, ipam=IPAMConfig(pool_configs=[pool]), labels={OWNER: owner()}
            )
            return network
        except APIError as error:
            if "overlap" not in str(error.explanation).lower():
                raise LabError(f"the engine did not create a network: {error.explanation}") from error
    raise LabError(
        "there is no room for a network: this machine's routes and the engine's networks use all private "
        f"subnets that were tried (at most {SUBNET_TRIES})"
    )


def remove_all(client: docker.DockerClient, label: str) -> None:
    """Remove the containers, networks and volumes of the owner `label`.

    Raises LabError with the names of those that still exist after REMOVE_TIMEOUT_S.
    """
    filters: dict[str, str | list[str] | bool] = {"label": f"{OWNER}={label}"}
    deadline_s = time.monotonic() + REMOVE_TIMEOUT_S
    while True:
        left: list[Any] = [
            *client.containers.list(all=True, filters=filters, ignore_removed=True),
            *client.networks.list(filters=filters),
            *client.volumes.list(filters=filters),
        ]
        if not left:
            return
        for thing in left:
            with suppress(NotFound, APIError):  # it is being removed, or it is a network that is still in use
                thing.remove(force=True) if hasattr(thing, "logs") else thing.remove()
        if time.monotonic() > deadline_s:
            raise LabError(f"the engine did not remove {', '.join(str(thing.name) for thing in left)}")


def remove_leftovers(client: docker.DockerClient) -> None:
    """Remove what ended runs left: those killed together with their guard, and those before a reboot."""
    things = [
        *client.containers.list(all=True, filters={"label": OWNER}, ignore_removed=True),
        *client.networks.list(filters={"label": OWNER}),
    ]
    labels = {(thing.attrs.get("Labels") or thing.attrs["Config"]["Labels"])[OWNER] for thing in things}
    for label in labels:
        if not is_alive(label):
            remove_all(client, label)
