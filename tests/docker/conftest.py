"""Fixtures for a real Docker engine and the lab's image. Without an engine these tests are skipped.

With the environment variable LB_LAB_DOCKER=required, as in continuous integration, they fail instead.
LB_LAB_BASE names the base image, and LB_LAB_BUILD_NETWORK the network of the build.
"""

import gc
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.errors import DockerException

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "real"))  # lab_process, tls_calls

from harness.testbed.docker.engine import ensure_image

REQUIRED = os.environ.get("LB_LAB_DOCKER") == "required"
TEST_TAKES_S = 900  # at most; the first test builds the image


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests in this folder more time than the others."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(TEST_TAKES_S))


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """A client of the Docker engine that the environment names."""
    client, reason = _connect()
    if client is None:
        if REQUIRED:
            pytest.fail(f"{reason}; and LB_LAB_DOCKER is `required`")
        pytest.skip(reason)
    yield client
    client.close()


def _connect() -> tuple[docker.DockerClient | None, str]:
    """Return a client of the engine and ""; without an engine, None and the reason."""
    try:
        return docker.from_env(), ""
    except DockerException as error:
        reason = f"no Docker engine: {error}"
    # The library does not close the socket that could not connect. The garbage collector warns about it.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    return None, reason


@pytest.fixture(scope="session")
def image(engine: docker.DockerClient) -> str:
    """The tag of the image that --testbed docker uses. The image is built if it is missing."""
    return ensure_image(engine, print)
