"""Writes the Compose file of one cell, and runs Compose to create the containers."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import LabError, UserError
from harness.leftovers.owner import owner
from harness.paths import IMAGE_FILES
from harness.testbed.docker.engine import OWNER, LabNetwork

FILE = IMAGE_FILES / "docker-compose.yml"
TIMEOUT_S = 120.0
VERSION_TIMEOUT_S = 10.0


def compose_command() -> list[str]:
    """Return the command of Compose: version 2 if it exists, else 1.29. Raises UserError without either."""
    docker, old = shutil.which("docker"), shutil.which("docker-compose")
    if docker and _answers([docker, "compose", "version"]):
        return [docker, "compose"]
    if old:
        return [old]
    raise UserError(
        "--testbed docker: Docker Compose was not found; install docker compose (v2) or docker-compose 1.29"
    )


def _answers(command: list[str]) -> bool:
    try:
        asked = subprocess.run(command, capture_output=True, timeout=VERSION_TIMEOUT_S, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return False
    return asked.returncode == 0


def service(command: list[str], place: Mapping[str, Any], user: str, folders: list[Path]) -> dict[str, Any]:
    """Return the Compose service of one component of a cell. It extends `replica` of docker-compose.yml.

    `command`: what the container runs; `place`: its entry below `networks` in the Compose file; `folders`:
    shared with the harness, at the same path inside and outside the container.
    """
    return {
        "extends": {"file": str(FILE), "service": "replica"},
        "scale": 1,
        "command": [_literal(argument) for argument in command],
        "user": user,
        "volumes": [{"type": "bind", "source": _literal(path), "target": _literal(path)} for path in folders],
        "networks": {"lab": dict(place)},
        "labels": {OWNER: owner(), "lb-lab": "run"},
        "healthcheck": {"disable": True},  # it would take CPU time from the measurement
        "restart": "no",
    }


def write_compose(path: Path, services: Mapping[str, Any], network: LabNetwork) -> None:
    """Write a cell's Compose file as JSON, which is also YAML."""
    networks = {"lab": {"external": True, "name": network.name}}
    path.write_text(json.dumps({"services": services, "networks": networks}, indent=1) + "\n")


def create(command: list[str], path: Path, project: str, image: str, log: Path) -> None:
    """Run Compose to create, but not start, the containers of the file at `path`.

    Raises LabError with the last line of Compose's output when it fails; `log` has all lines.
    """
    arguments = [*command, "-p", project, "-f", str(path), "up", "--no-start", "--no-build"]
    try:
        with log.open("ab") as output:
            done = subprocess.run(  # noqa: S603
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "LB_LAB_IMAGE": image, "COMPOSE_IGNORE_ORPHANS": "1"},
                timeout=TIMEOUT_S,
                check=False,
            )
    except subprocess.TimeoutExpired as error:
        raise LabError(f"Compose created no containers within {TIMEOUT_S:g} s; see {log}") from error
    if done.returncode:
        reason = (log.read_text(errors="replace").strip().splitlines() or ["it printed no reason"])[-1]
        raise LabError(f"Compose created no containers: {reason}; see {log}")


def _literal(value: object) -> str:
    """Return `value` as Compose must read it: Compose replaces $NAME, and $$ stands for a dollar sign."""
    return str(value).replace("$", "$$")
