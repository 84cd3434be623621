"""Ten thousand fuzzed experiment files: each is an experiment or refused in one line, and starts nothing."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from lab_process import ROOT, experiment_file

FILES = int(os.environ.get("LB_LAB_FUZZED_FILES", "10000"))
SEEDS = (5, 6)  # one process for each seed
SAMPLE = 10  # refused files of each process that are also tried on the command line
HERE = Path(__file__).parent
THEY_TAKE_S = 120 + FILES / 20  # the first test that asks for them waits for all

# Python runs this before a program. It writes a line to the file AUDIT for everything that the program starts
# or writes.
SITE = """
import os
from audit_events import report_harmful_events
_log = os.open(os.environ["AUDIT"], os.O_WRONLY | os.O_APPEND)
report_harmful_events(lambda what: os.write(_log, (what + "\\n").encode()))
"""


def fuzz(count: int, seed: int, folder: Path, keep: int = 0) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(HERE / "fuzzed_files.py"), *map(str, (count, seed, folder, keep))],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def tallies(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], Path]:
    folder = tmp_path_factory.mktemp("fuzzed")
    with ThreadPoolExecutor() as pool:
        fuzzed = [pool.submit(fuzz, FILES // len(SEEDS), seed, folder, SAMPLE) for seed in SEEDS]
    return [each.result() for each in fuzzed], folder


@pytest.mark.timeout(THEY_TAKE_S)
def test_every_fuzzed_file_is_an_experiment_or_one_line(tallies: tuple[list[dict[str, Any]], Path]) -> None:
    for tally in tallies[0]:
        assert tally["findings"] == [], "\n".join(tally["findings"])
        files = FILES // len(SEEDS)
        assert tally["accepted"] + tally["refused"] == files
        assert tally["accepted"] > 0.02 * files  # both outcomes occur
        assert tally["refused"] > 0.5 * files


def start(path: Path, folder: Path) -> tuple[subprocess.Popen[str], Path]:
    """Start `run` with a file; return the process and the file that lists what it starts or writes."""
    (folder / "sitecustomize.py").write_text(SITE)
    audit = folder / f"{path.stem}.audit"
    audit.touch()
    # The process that predicts starts before the file is read; it starts and measures nothing of the lab.
    command = [sys.executable, "-B", str(ROOT / "run_experiment.py"), "run", "--no-prediction", str(path)]
    lab = subprocess.Popen(
        [*command, "--results", str(folder / "results")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(HERE)]), "AUDIT": str(audit)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return lab, audit


def refuse(path: Path, folder: Path) -> tuple[int, str, str, str]:
    """`run` a file; return exit status, output, errors, and what it started or wrote."""
    lab, audit = start(path, folder)
    out, err = lab.communicate(timeout=60)
    return lab.returncode, out, err, audit.read_text()


@pytest.mark.timeout(THEY_TAKE_S)
def test_nothing_is_started_for_a_refused_file(
    tallies: tuple[list[dict[str, Any]], Path], tmp_path: Path
) -> None:
    paths = sorted(tallies[1].glob("refused-*.yaml"))
    assert len(paths) == SAMPLE * len(SEEDS)
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda path: refuse(path, tmp_path), paths))
    for path, (status, out, err, started) in zip(paths, results, strict=True):
        assert (status, out) == (2, ""), err + path.read_text(errors="replace")
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert started == "", path.read_text(errors="replace")
    assert not (tmp_path / "results").exists()


def test_the_audit_lists_what_a_valid_file_starts(tmp_path: Path) -> None:
    """The check above can fail: processes, folders and files are listed."""
    lab, audit = start(experiment_file(tmp_path), tmp_path)
    try:
        while not {"subprocess.Popen", "os.mkdir", "open"} <= set(audit.read_text().split()):
            assert lab.poll() is None, lab.communicate()
            time.sleep(0.01)
    finally:
        lab.terminate()
        lab.communicate()
