"""docker-compose.yml, up as a project of its own, on ports that the kernel picks."""

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
    """The Composes that there are here: "1" or "2" -> the words that it answers to."""
    found = {}
    for words in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(words[0]):
            asked = subprocess.run([*words, "version", "--short"], capture_output=True, text=True)
            if asked.returncode == 0:
                found.setdefault(asked.stdout.strip().lstrip("v")[0], words)
    return found


class ComposeLab:
    """`docker compose up` of the lab to play with, its load as well."""

    def __init__(self, words: list[str], engine: docker.DockerClient, image: str, replicas: int) -> None:
        self.project = f"lb-lab-test-{uuid.uuid4().hex[:12]}"
        self._engine = engine
        self._words = [
            *words,
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

    def compose(self, *words: str) -> str:
        """What Compose prints; fails where Compose does."""
        done = subprocess.run(
            [*self._words, *words], env=self._environment, capture_output=True, text=True, timeout=120
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
        """What the replicas call themselves."""
        return {str(container.attrs["Config"]["Hostname"]) for container in self.containers("replica")}

    def address(self, service: str) -> str:
        """Where the one port of that service is published."""
        ((published, *_),) = self.container(service).ports.values()
        return f"{published['HostIp']}:{published['HostPort']}"

    def run(self, service: str, *words: str) -> tuple[int, str]:
        """Run a command in that service's container: exit status, and what it prints."""
        status, output = self.container(service).exec_run(list(words))
        return int(status), output.decode()

    def left(self) -> list[str]:
        """What the engine has of this project, stopped or not."""
        filters: dict[str, Any] = {"label": f"{PROJECT}={self.project}"}
        engine = self._engine
        things = [
            *engine.containers.list(all=True, filters=filters),
            *engine.networks.list(filters=filters),
            *engine.volumes.list(filters=filters),
        ]
        return [str(thing.name) for thing in things]


def who_answers(address: str, *options: str) -> set[str]:
    """The replicas that answered `python -m lb.driver`; fails when a call did."""
    words = [sys.executable, "-m", "lb.driver", *options, address]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    table = done.stdout.split("share\n")[1].split("codes:")[0]
    return {line.split()[0] for line in table.splitlines()}


def awaited(ask: Callable[[], Found], is_so: Callable[[Found], bool]) -> Found:
    """What `ask` says once that is so; fails when it is not in READY_S. Nobody who refuses counts."""
    deadline_s = time.monotonic() + READY_S
    answer: object = None
    while time.monotonic() < deadline_s:
        try:
            if is_so(found := ask()):
                return found
            answer = found
        except (AssertionError, OSError) as error:
            answer = error
        time.sleep(0.3)
    raise AssertionError(f"after {READY_S} s still: {answer}")
