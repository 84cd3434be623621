"""`make demo`: a run without a verdict is not an error of make; a lab that fails is."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
@pytest.mark.parametrize(("status", "of_make"), [(0, 0), (3, 0), (1, 2), (4, 2), (130, 2)])
def test_only_an_inconclusive_demo_is_forgiven(tmp_path: Path, status: int, of_make: int) -> None:
    """Make runs a stand-in for Python that ends as the lab would; nothing is set up."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "ran: $@"\nexit {status}\n')
    python.chmod(0o755)
    done = subprocess.run(
        ["make", "demo", f"BIN={tmp_path}", "--old-file=.venv/.complete"],
        cwd=ROOT,
        env={
            name: value for name, value in os.environ.items() if not name.startswith("MAKE")
        },  # not a sub-make
        capture_output=True,
        text=True,
    )
    assert done.returncode == of_make, done.stdout + done.stderr
    assert "ran: run_experiment.py sticky" in done.stdout
    assert ("There is no verdict this time" in done.stdout.splitlines()[-1]) == (status == 3)
    assert ("Error" in done.stderr) == (of_make != 0)
