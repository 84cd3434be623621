"""Only locked files are installed: exact versions with hashes. And the audit of known weaknesses."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = ["requirements.txt", "requirements-dev.txt", "requirements-setup.txt"]
AUDIT = ROOT / ".ci" / "audit.py"
# A version and a continued line, then hashes. No address and no option that could name another source.
VERSION = re.compile(r"[a-z0-9-]+==[\w.]+ \\")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")


@pytest.mark.parametrize("name", FILES)
def test_every_locked_version_has_hashes_and_nothing_else(name: str) -> None:
    lines = [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
    assert lines
    after_version = False
    for number, line in enumerate(lines):
        if VERSION.fullmatch(line):
            assert not after_version
            after_version = True
            continue
        found = HASH.fullmatch(line)
        assert found, line
        last = number + 1 == len(lines) or not lines[number + 1].startswith(" ")
        assert bool(found[1]) != last, line
        after_version = False
    assert not after_version


def test_no_package_is_locked_twice() -> None:
    names = re.findall(r"^([a-z0-9-]+)==", "".join((ROOT / name).read_text() for name in FILES), re.M)
    assert len(names) == len(set(names)) > 100


# The Makefile installs uv with pip, and the rest with uv or pip.
@pytest.mark.parametrize(("file", "times"), [("Makefile", 3), ("Dockerfile", 1)])
def test_an_installation_wants_the_hashes(file: str, times: int) -> None:
    installs = re.findall(r"pip install .*-r (?:requirements|\$).*", (ROOT / file).read_text())
    assert len(installs) == times
    assert all("--require-hashes" in line for line in installs)


def test_pip_refuses_a_package_with_another_hash(tmp_path: Path) -> None:
    package = tmp_path / "lab_test_package-1.0-py3-none-any.whl"
    package.write_bytes(b"not what was locked")
    (tmp_path / "requirements.txt").write_text(f"lab-test-package==1.0 \\\n    --hash=sha256:{'0' * 64}\n")
    words = ["install", "--require-hashes", "--no-index", "--find-links", ".", "--dry-run"]
    words += ["-r", "requirements.txt", "--target", "here"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *words], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "DO NOT MATCH THE HASHES" in done.stderr


def audit(tmp_path: Path, output: object, status: int = 0, complaint: str = "") -> tuple[int, str]:
    """Exit status and text of the audit when pip-audit writes `output` and ends with `status`."""
    program = tmp_path / "pip-audit"
    text = output if isinstance(output, str) else json.dumps({"dependencies": output, "fixes": []})
    (tmp_path / "output").write_text(text)
    program.write_text(f"#!/bin/sh\ncat {tmp_path}/output\necho '{complaint}' >&2\nexit {status}\n")
    program.chmod(0o755)
    done = subprocess.run(
        [sys.executable, AUDIT, program, "requirements.txt"], capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout + done.stderr


GOOD = {"name": "good", "version": "1", "vulns": []}
BAD = {"name": "bad", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}
UNKNOWN = {"name": "unknown", "skip_reason": "not found"}


def test_the_audit_tells_what_is_known(tmp_path: Path) -> None:
    assert audit(tmp_path, [GOOD]) == (0, "audit: 1 packages, no known weakness\n")
    status, text = audit(tmp_path, [GOOD, BAD], 1)
    assert (status, text) == (1, "bad 2: CVE-1, mended in 3\naudit: 2 packages, 1 with a known weakness\n")


def test_the_audit_says_what_it_could_not_ask(tmp_path: Path) -> None:
    assert audit(tmp_path, [GOOD, UNKNOWN]) == (
        0,
        "audit: skipped for unknown: the service does not know it\naudit: 1 packages, no known weakness\n",
    )
    assert audit(tmp_path, [UNKNOWN]) == (0, "audit: skipped: the service knows none of the packages\n")
    status, text = audit(tmp_path, "", 1, "ConnectionError: no route")
    assert (status, text) == (0, "audit: skipped: no advisory service answers (ConnectionError: no route)\n")
