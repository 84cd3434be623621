"""Damaged run directories, some hundred or ten thousand: each is reported, or refused in one line."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_process import ROOT

RUNS = int(os.environ.get("LB_LAB_FUZZED_RUNS", "40"))
SEED = 1
AT_ONCE = 200  # cases of one process; after a crash the next one goes on behind the case
THEY_TAKE_S = 120 + 2 * RUNS  # on a busy machine, with the least priority
PROGRAM = Path(__file__).parent / "fuzzed_runs.py"


def fuzz(first: int, last: int, folder: Path) -> tuple[int, dict[str, Any]]:
    """Try the cases from `first` on; return the next one, and counts and findings so far."""
    done = subprocess.run(
        ["nice", sys.executable, str(PROGRAM), *map(str, (first, last, SEED, folder))],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'real'}"},
        capture_output=True,
        text=True,
    )
    if done.returncode == 0:
        return last, dict(json.loads(done.stdout))
    tally = dict(json.loads((folder / "tally").read_text()))
    said = (folder / "traceback").read_text() or (folder / "err").read_text(errors="replace") + done.stderr
    tally["findings"].append(f"case {tally['case']} ended with {done.returncode}: {said[-2000:]}")
    return tally["case"] + 1, tally


def tried(folder: Path) -> Iterator[dict[str, Any]]:
    case = 0
    while case < RUNS:
        case, tally = fuzz(case, min(case + AT_ONCE, RUNS), folder)
        yield tally


@pytest.mark.timeout(THEY_TAKE_S)
def test_every_damaged_run_is_reported_or_refused_in_one_line(tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    findings: list[str] = []
    for tally in tried(tmp_path):
        del tally["case"]
        findings += tally.pop("findings")
        counts.update(tally)
        (tmp_path / "tally.json").write_text(json.dumps({"counts": counts, "findings": findings}, indent=1))
    assert findings == [], "\n".join(findings)
    assert counts["fine"] + counts["refused"] == RUNS
    assert counts["fine"] > 0.1 * RUNS  # both outcomes occur
    assert counts["refused"] > 0.3 * RUNS
