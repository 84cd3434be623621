"""A run never waits long for the record of its origin (git commit, versions)."""

import time
from pathlib import Path

import pytest

from harness.run import provenance
from harness.run.provenance import git_commit


def fake_git(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    git = folder / "git"
    git.write_text(f"#!/bin/sh\n{script}\n")
    git.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")


def test_a_slow_git_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_git(tmp_path, "exec sleep 30", monkeypatch)
    monkeypatch.setattr(provenance, "GIT_TIMEOUT_S", provenance.GIT_TIMEOUT_S / 10)
    start_s = time.monotonic()
    assert git_commit() is None
    assert time.monotonic() - start_s < 10


def test_what_git_says_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_git(tmp_path, "echo 0123abc-dirty", monkeypatch)
    assert git_commit() == "0123abc-dirty"
