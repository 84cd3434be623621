"""Event kinds of processes: each does to real parts what its entry in the registry says."""

from pathlib import Path

import pytest
from kind_stories import confirm_kind, kind_file, kinds
from lab_process import StartLab

from harness.events.kind import EventKind


@pytest.mark.parametrize("kind", kinds(containers=False), ids=lambda kind: kind.name)
def test_it_does_what_it_says(kind: EventKind, start_lab: StartLab, tmp_path: Path) -> None:
    lab = start_lab("run", kind_file(tmp_path, kind))
    status, out, err = lab.end(150)
    assert status in (0, 3), out + err
    confirm_kind(kind, lab)
