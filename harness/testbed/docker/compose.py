"""What Compose is given for one cell: docker-compose.yml's services, each with its own words and address."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import LabError, UserError
from harness.paths import ROOT
from harness.testbed.docker.engine import OWNER, LabNetwork, owner

FILE = ROOT / "docker-compose.yml"
TIMEOUT_S = 120.0
VERSION_TIMEOUT_S = 10.0


def compose_command() -> list[str]:
    """The words that Compose answers to: version 2, or else 1.29. Raises UserError where there is none."""
    docker, old = shutil.which("docker"), shutil.which("docker-compose")
    if docker and _answers([docker, "compose", "version"]):
        return [docker, "compose"]
    if old:
        return [old]
    raise UserError(
        "--testbed docker: there is no Compose; install docker compose (v2) or docker-compose 1.29"
    )


def _answers(words: list[str]) -> bool:
    try:
        asked = subprocess.run(words, capture_output=True, timeout=VERSION_TIMEOUT_S, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return False
    return asked.returncode == 0


def service(command: list[str], place: Mapping[str, Any], user: str, folders: list[Path]) -> dict[str, Any]:
    """One part of a cell as a Compose service: a `replica` of docker-compose.yml with words of its own.

    `command`: its words; `place`: its address in the network, as Compose has it; `folders`: those that it
    shares with the harness, each at the same path inside and outside.
    """
    return {
        "extends": {"file": str(FILE), "service": "replica"},
        "scale": 1,
        "command": [_literal(word) for word in command],
        "user": user,
        "volumes": [{"type": "bind", "source": _literal(path), "target": _literal(path)} for path in folders],
        "networks": {"lab": dict(place)},
        "labels": {OWNER: owner(), "lb-lab": "run"},
        "healthcheck": {"disable": True},  # it would take CPU time from what is measured
        "restart": "no",
    }


def write_compose(path: Path, services: Mapping[str, Any], network: LabNetwork) -> None:
    """Write a cell's Compose file (JSON, which is YAML as well)."""
    networks = {"lab": {"external": True, "name": network.name}}
    path.write_text(json.dumps({"services": services, "networks": networks}, indent=1) + "\n")


def create(command: list[str], path: Path, project: str, image: str, log: Path) -> None:
    """Have Compose create the containers of the file at `path`; none is started.

    Raises LabError with Compose's last line when it fails; `log` has all of them.
    """
    words = [*command, "-p", project, "-f", str(path), "up", "--no-start", "--no-build"]
    try:
        with log.open("ab") as output:
            done = subprocess.run(  # noqa: S603
                words,
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
        lines = log.read_text(errors="replace").strip().splitlines()
        raise LabError(f"Compose created no containers: {lines[-1] if lines else 'no word why'}; see {log}")


def _literal(value: object) -> str:
    """Compose replaces $NAME in what it reads; a doubled dollar is one."""
    return str(value).replace("$", "$$")
