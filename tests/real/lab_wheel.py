"""Builds a wheel of the lab, as `pip install .` does, without a network."""

import shutil
import subprocess
import sys
from pathlib import Path

from harness.paths import ROOT


def tracked_files() -> list[str]:
    """Return the files of the clone, as git has them."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def build_wheel(folder: Path) -> Path:
    """Return the wheel of a copy of the clone in `folder`: a build writes into its sources."""
    for name in tracked_files():
        copied = folder / "clone" / name
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copied)
    pip("wheel", "--no-build-isolation", "--wheel-dir", str(folder), str(folder / "clone"))
    (path,) = folder.glob("*.whl")
    shutil.rmtree(folder / "clone")
    return path


def pip(*words: str, python: Path | None = None) -> None:
    """Run pip (for another interpreter: `python`) without an index and without dependencies."""
    command = [sys.executable, "-m", "pip", *(["--python", str(python)] if python else []), words[0]]
    command += ["--quiet", "--no-deps", "--no-index", *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
