"""A real Docker engine, and the lab's image in it. Without an engine these tests skip, and say why.

With LB_LAB_DOCKER=required in the environment, as in continuous integration, they fail instead. LB_LAB_BASE
and LB_LAB_BUILD_NETWORK say what the image is built on, and in which network.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.errors import DockerException

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "real"))  # lab_process, tls_calls

from harness.testbed.engine import ensure_image

REQUIRED = os.environ.get("LB_LAB_DOCKER") == "required"


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """A client of the engine that the environment names."""
    try:
        client = docker.from_env()
        client.ping()
    except DockerException as error:
        reason = f"no Docker engine: {str(error).split('(Caused')[0].strip()}"
        if REQUIRED:
            pytest.fail(f"{reason}; and LB_LAB_DOCKER is `required`")
        pytest.skip(reason)
    yield client
    client.close()


@pytest.fixture(scope="session")
def image(engine: docker.DockerClient) -> str:
    """The tag of the image of this source, as --testbed docker has it; built where it is missing."""
    return ensure_image(engine, print)
