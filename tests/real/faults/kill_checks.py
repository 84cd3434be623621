"""What must be true after a case of the kill campaign."""

import json
import re
import signal
import threading
import time
import traceback
from dataclasses import replace
from pathlib import Path

from harness.errors import UserError
from harness.record.run_directory import read_run
from harness.report.page import build_report
from tests.real.faults.after_a_kill import ports_of, processes_of, run_of, taken
from tests.real.faults.kill_cases import FORK_SERVERS, Case
from tests.real.faults.struck_run import Struck, hold_and_end, start_lab

GONE_S = 10.0  # three seconds, on a machine that is not busy: test_harness_killed.py
BY_ITSELF = {0, 3}  # nothing was expected; or the measurement was too much disturbed to decide
INTERRUPTED, FAILED, KILLED = 130, 4, -9
MANIFEST_SAYS = {  # of a run that ended with that exit status
    0: ("completed",),
    3: ("completed",),
    INTERRUPTED: ("interrupted", "completed"),
    KILLED: ("interrupted", "completed"),
    FAILED: ("failed",),
}
_drawing = threading.Lock()  # matplotlib is not made for threads


def findings_of(case: Case, struck: Struck, folder: Path) -> list[str]:
    """Return what is not as promised, a line for each."""
    out, err = ((folder / name).read_text(errors="replace") for name in ("stdout", "stderr"))
    findings = _left_behind(folder)
    if struck.status not in (expected := expected_statuses(case, struck)):
        findings.append(f"exit status {struck.status}, expected one of {sorted(expected)}; {err.strip()}")
    findings += _what_it_said(case, struck, folder, out, err)
    findings += _run_directory(struck, folder)
    return findings + _temporary_files(case, struck, folder)


def expected_statuses(case: Case, struck: Struck) -> set[int]:
    """Return the exit statuses that the command line documents for this case."""
    ends = {0} if case.kind == "up" else BY_ITSELF
    if struck.at_stage is None:
        return ends
    if case.target == "harness":
        return _of_the_harness(case, struck, ends)
    # A part that is frozen for too long while it starts fails the run, which then must name the part.
    if not (struck.load_to_come and struck.target_ended):
        return {*ends, FAILED}
    if case.target.startswith("load-worker"):
        return {3, FAILED}  # the others go on without it
    # An event may be about to end the replica anyway.
    return {*ends, FAILED} if case.kind == "events" else {FAILED}


def _of_the_harness(case: Case, struck: Struck, ends: set[int]) -> set[int]:
    if case.signal == "STOP, CONT":
        return ends
    deadly = {KILLED} if case.signal.endswith("KILL") else {INTERRUPTED}
    if struck.at_stage == "start":  # perhaps before the first line of the program
        deadly = deadly | {-signal.Signals[f"SIG{case.signal.rpartition(' ')[2]}"]}
    if case.kind == "up" and deadly != {KILLED}:
        return {0} if struck.at_stage == "held open" else deadly | ends
    return deadly if struck.load_to_come else deadly | ends


def _left_behind(folder: Path) -> list[str]:
    deadline_s = time.monotonic() + GONE_S
    while (left := processes_of(folder)) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    findings = [f"still runs: {process}" for process in left]
    for process in left:
        process.kill()
    if ports := taken(ports_of([folder])):
        findings.append(f"ports still taken: {ports}")
    return findings


def _what_it_said(case: Case, struck: Struck, folder: Path, out: str, err: str) -> list[str]:
    findings = ["a traceback"] if "Traceback" in out + err else []
    if struck.status != FAILED:
        if err and not err.startswith("warning: "):
            findings.append(f"unexpected on stderr: {err}")
        surely_hit = struck.load_to_come and struck.target_ended and case.target != "harness"
        if surely_hit and struck.status == 3 and case.target not in out + _reasons(folder):
            findings.append(f"{case.target} is not named: {_reasons(folder)}")
        return findings
    # `up` shows the end of the log before the error, because it deletes the log.
    lines = err.splitlines()[-1:] if case.kind == "up" else err.splitlines()
    if len(lines) != 1 or not lines[0].startswith("error: "):
        findings.append(f"not one line: {err}")
    if ("fork server" if case.target in FORK_SERVERS else case.target) not in err:
        findings.append(f"does not name {case.target}: {err}")
    log = re.search(r"see (\S+\.log)", err)
    if case.kind != "up" and (log is None or not (folder / log[1]).exists()):
        findings.append(f"names no log: {err}")
    return findings


def _reasons(folder: Path) -> str:
    run = run_of(folder)
    if run is None or not (run / "summary.json").exists():
        return ""
    return str(json.loads((run / "summary.json").read_text())["invalid_reasons"])


def _run_directory(struck: Struck, folder: Path) -> list[str]:
    """Check that the run directory can be read and reported, and that its status fits the exit status."""
    run = run_of(folder)
    if run is None:
        return []
    try:
        status = read_run(run).manifest.status
        if not (run / "report.html").exists():
            with _drawing:
                build_report(run)
    except UserError as error:
        return [f"the report's error is not one line: {error}"] if "\n" in str(error) else []
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return [f"no report: {type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"]
    if struck.status is None or status in MANIFEST_SAYS.get(struck.status, (status,)):
        return []
    return [f"exit status {struck.status}, but the manifest says {status}"]


def _temporary_files(case: Case, struck: Struck, folder: Path) -> list[str]:
    """Check that nothing is left there; after SIGKILL of the harness, that the next start removes it."""
    temporary = folder / "temporary"
    if struck.status == KILLED and any(temporary.iterdir()):
        next_start = folder / "next"
        next_start.mkdir()
        words = replace(case, kind="up").command(next_start)
        out, err = ((next_start / name).open("wb") for name in ("stdout", "stderr"))
        (next_start / "temporary").symlink_to(temporary)
        with out, err:
            hold_and_end(start_lab(next_start, words, out.fileno(), err.fileno()), next_start)
    return [f"left in the temporary folder: {path.name}" for path in sorted(temporary.iterdir())]
