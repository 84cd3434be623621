"""Event kinds that need containers: each does to real containers what its entry in the registry says."""

from collections.abc import Iterator

import docker
import pytest
from kind_stories import confirm_kind, kind_file, kinds
from lab_process import Lab

from harness.events.kind import EventKind

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def labs(
    engine: docker.DockerClient, image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Lab]]:
    """A run for each kind, all started at once: they wait most of the time."""
    started = {}
    for kind in kinds(containers=True):
        folder = tmp_path_factory.mktemp(kind.name)
        started[kind.name] = Lab(folder, ("run", kind_file(folder, kind), "--testbed", "docker"))
    yield started
    for lab in started.values():
        lab.end(120)


@pytest.mark.parametrize("kind", kinds(containers=True), ids=lambda kind: kind.name)
def test_it_does_what_it_says(kind: EventKind, labs: dict[str, Lab]) -> None:
    status, out, err = labs[kind.name].end(180)
    assert status in (0, 3), f"{out}\n{err}"
    confirm_kind(kind, labs[kind.name])
