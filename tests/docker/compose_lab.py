"""Runs docker-compose.yml as its own Compose project, on free ports."""

import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

import docker
from docker.models.containers import Container
from lab_process import ROOT

READY_S = 40
PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
Found = TypeVar("Found")


def compose_commands() -> dict[str, list[str]]:
    """Return the installed versions of Compose: "1" or "2" -> its command."""
    found = {}
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            version = subprocess.run([*command, "version", "--short"], capture_output=True, text=True)
            if version.returncode == 0:
                found.setdefault(version.stdout.strip().lstrip("v")[0], command)
    return found


class ComposeLab:
    """The project of docker-compose.yml, including its load."""

    def __init__(self, command: list[str], engine: docker.DockerClient, image: str, replicas: int) -> None:
        self.project = f"lb-lab-test-{uuid.uuid4().hex[:12]}"
        self._engine = engine
        self._command = [
            *command,
            "-p",
            self.project,
            "-f",
            str(ROOT / "docker-compose.yml"),
            "--profile",
            "load",
        ]
        self._environment = os.environ | {
            "LB_LAB_IMAGE": image,
            "LB_LAB_PORT": "0",
            "LB_LAB_WEB_PORT": "0",
            "LB_LAB_REPLICAS": str(replicas),
        }

    def compose(self, *arguments: str) -> str:
        """Run Compose and return its output; fail if Compose fails."""
        done = subprocess.run(
            [*self._command, *arguments], env=self._environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def containers(self, service: str) -> list[Container]:
        labels = [f"{PROJECT}={self.project}", f"{SERVICE}={service}"]
        return list(self._engine.containers.list(all=True, filters={"label": labels}))

    def container(self, service: str) -> Container:
        (container,) = self.containers(service)
        return container

    def names(self) -> set[str]:
        """Return the names of the replicas."""
        return {str(container.attrs["Config"]["Hostname"]) for container in self.containers("replica")}

    def address(self, service: str) -> str:
        """Return the address where the only port of that service is published."""
        ((published, *_),) = self.container(service).ports.values()
        return f"{published['HostIp']}:{published['HostPort']}"

    def run(self, service: str, *command: str) -> tuple[int, str]:
        """Run a command in that service's container; return exit status and output."""
        status, output = self.container(service).exec_run(list(command))
        return int(status), output.decode()

    def left(self) -> list[str]:
        """Return the names of the project's objects that the engine still has."""
        filters: dict[str, Any] = {"label": f"{PROJECT}={self.project}"}
        engine = self._engine
        things = [
            *engine.containers.list(all=True, filters=filters),
            *engine.networks.list(filters=filters),
            *engine.volumes.list(filters=filters),
        ]
        return [str(thing.name) for thing in things]


def answering_replicas(address: str, *options: str) -> set[str]:
    """Run `python -m lb.driver` and return the replicas that answered; fail if a call fails."""
    command = [sys.executable, "-m", "lb.driver", *options, address]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    table = done.stdout.split("share\n")[1].split("codes:")[0]
    return {line.split()[0] for line in table.splitlines()}


def awaited(get: Callable[[], Found], done: Callable[[Found], bool]) -> Found:
    """Call `get` until `done(result)`, and return the result; fail after READY_S.

    A failed call of `get` is tried again.
    """
    deadline_s = time.monotonic() + READY_S
    last: object = None
    while time.monotonic() < deadline_s:
        try:
            if done(found := get()):
                return found
            last = found
        except (AssertionError, OSError) as error:
            last = error
        time.sleep(0.3)
    raise AssertionError(f"after {READY_S} s still: {last}")
