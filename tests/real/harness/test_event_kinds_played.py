"""Event kinds of processes: each does to real parts what its entry in the registry says."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kind_stories import confirm_kind, kind_file, kinds
from lab_process import Lab

from harness.events.kind import EventKind

TOGETHER = 4  # the runs wait most of the time
KINDS = kinds(containers=False)
GROUPS = [KINDS[first : first + TOGETHER] for first in range(0, len(KINDS), TOGETHER)]


@pytest.fixture
def labs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[tuple[EventKind, Lab]]]:
    """A run for each kind of the group, all started at once."""
    started = []
    for kind in request.param:
        (folder := tmp_path / kind.name).mkdir()
        started.append((kind, Lab(folder, ("run", kind_file(folder, kind)))))
    yield started
    for _, lab in started:
        lab.process.kill()
        lab.process.communicate()


@pytest.mark.parametrize(
    "labs", GROUPS, indirect=True, ids=lambda group: "-".join(kind.name for kind in group)
)
def test_each_does_what_it_says(labs: list[tuple[EventKind, Lab]]) -> None:
    for kind, lab in labs:
        status, out, err = lab.end(150)
        assert status in (0, 3), f"{kind.name}: {out}{err}"
        confirm_kind(kind, lab)
