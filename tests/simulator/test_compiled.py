"""Whether the simulator is compiled is asked of this copy of it: Numba compiles each copy anew."""

import shutil
import subprocess
import sys
from pathlib import Path

import tests.simulator.kernels  # noqa: F401
from harness.paths import ROOT
from simulator.compiled import is_compiled

ASK = "from simulator.compiled import is_compiled; print(is_compiled('engine.run'))"


def test_a_copy_at_another_place_is_not_compiled(tmp_path: Path) -> None:
    assert is_compiled("engine.run")
    shutil.copytree(ROOT / "simulator", tmp_path / "simulator", ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [sys.executable, "-c", ASK], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("False\n", "")
