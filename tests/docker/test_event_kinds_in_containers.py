"""Event kinds that need containers: each does to real containers what its entry in the registry says."""

from pathlib import Path

import docker
import pytest
from kind_stories import confirm_kind, kind_file, kinds
from lab_process import Lab

from harness.events.kind import EventKind

pytestmark = pytest.mark.docker


@pytest.mark.parametrize("kind", kinds(containers=True), ids=lambda kind: kind.name)
def test_it_does_what_it_says(kind: EventKind, engine: docker.DockerClient, tmp_path: Path) -> None:
    lab = Lab(tmp_path, ("run", kind_file(tmp_path, kind), "--testbed", "docker"))
    status, out, err = lab.end(120)
    assert status in (0, 3), f"{out}\n{err}"
    confirm_kind(kind, lab)
