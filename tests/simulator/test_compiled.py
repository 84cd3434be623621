"""Whether the simulator is compiled is asked of this copy of it: Numba compiles each copy anew."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tests.simulator.kernels  # noqa: F401
from harness.paths import ROOT
from simulator import compile_now
from simulator.compiled import KEPT_VERSIONS, cache_folder, is_compiled

ASK = "from simulator.compiled import is_compiled; print(is_compiled('engine.run'))"


def test_a_copy_at_another_place_is_not_compiled(tmp_path: Path) -> None:
    assert is_compiled("engine.run")
    shutil.copytree(ROOT / "simulator", tmp_path / "simulator", ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [sys.executable, "-c", ASK], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_only_one_process_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    simulated = []
    monkeypatch.setattr(compile_now, "simulate", lambda *_: simulated.append(1))
    with (cache_folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        compile_now.main()
    assert simulated == []
    monkeypatch.undo()
    compile_now.main()  # the kernels of all tests are those of this call
    assert is_compiled("engine.run")


def test_the_versions_that_were_used_last_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    own = cache_folder()
    (own / "engine.nbi").touch()
    os.utime(own, (1, 1))
    others = [own.parent / f"other-{number}" for number in range(KEPT_VERSIONS)]
    for age, other in enumerate(others):
        other.mkdir()
        os.utime(other, (10 - age, 10 - age))
    assert cache_folder() == own
    assert (own / "engine.nbi").exists()
    assert set(own.parent.iterdir()) == {own, *others[:-1]}
