"""Starts the run of a case and sends its target the signal."""

import json
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from load.order import LoadOrder, LoadStatus
from tests.real.faults.after_a_kill import environment_of
from tests.real.faults.kill_cases import FORK_SERVERS, STAGES, STAGES_OF_UP, Case
from tests.real.lab_process import ROOT, has_ended

POLL_S = 0.02
ENDS_S = 90.0  # no such run takes longer
REACTS_S = 2.0  # `up` looks at its processes five times a second
SURELY_S = 0.5  # of the window, still to come when the signal arrives: then the load certainly goes on
NOTICED_S = 0.4  # a process that ends because of the signal does so within this time
UP_IS_READY = "Ctrl-C"
STAGE_OF_LOAD = {"starting": "parts", "waiting": "parts", "stopped": "done", "failed": "done"}


@dataclass
class Struck:
    """What happened. `at_stage`: of the run, at the (last) signal; None: the run ended before the first one.

    `load_to_come`: there was certainly load to come for a while after the signal; with `up`: true.
    `target_ended`: the target ended at the signal. `status`: exit status of the run; None: it did not end.
    """

    at_stage: str | None = None
    at_s: float = 0.0
    load_to_come: bool = False
    target_ended: bool = False
    status: int | None = None


def strike(case: Case, folder: Path) -> Struck:
    """Run the case in `folder`, which then has `stdout`, `stderr`, `temporary` and the results."""
    words = case.command(folder)
    struck = Struck()
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        began_s = time.monotonic()
        lab = start_lab(folder, words, out.fileno(), err.fileno())
        try:
            if _await_stage(lab, case, folder):
                with suppress(subprocess.TimeoutExpired):
                    lab.wait(case.after_s)
            if (target := _await_target(lab, case, folder)) is not None:
                struck.at_s = round(time.monotonic() - began_s, 3)
                _send(case, folder, target, struck)
            struck.status = _end(lab, case, folder)
        finally:
            lab.kill()
            lab.wait()
    return struck


def start_lab(folder: Path, words: list[str], out: int, err: int) -> "subprocess.Popen[bytes]":
    """Start the lab in `folder`, with a folder of its own for temporary files."""
    temporary = folder / "temporary"
    temporary.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, str(ROOT / "run_experiment.py"), *words],
        cwd=folder,
        env=environment_of(folder) | {"TMPDIR": str(temporary)},
        stdout=out,
        stderr=err,
    )


def _await_stage(lab: "subprocess.Popen[bytes]", case: Case, folder: Path) -> bool:
    """Wait until the run has reached the stage of the case; return whether it did."""
    stages = list(STAGES_OF_UP if case.kind == "up" else STAGES)
    deadline_s = time.monotonic() + ENDS_S
    while lab.poll() is None and time.monotonic() < deadline_s:
        if stages.index(stage_of(case, folder)) >= stages.index(case.stage):
            return True
        time.sleep(POLL_S)
    return False


def _await_target(lab: "subprocess.Popen[bytes]", case: Case, folder: Path) -> psutil.Process | None:
    """Return the target as soon as it exists; None if the run has ended before."""
    deadline_s = time.monotonic() + ENDS_S
    while lab.poll() is None and time.monotonic() < deadline_s:
        with suppress(psutil.Error, OSError):
            if (found := _find(psutil.Process(lab.pid), case.target)) is not None:
                return found
        if case.kind == "up" and UP_IS_READY in (folder / "stdout").read_text():
            return None
        time.sleep(POLL_S)
    return None


def _find(harness: psutil.Process, target: str) -> psutil.Process | None:
    if target == "harness":
        return harness
    if target in FORK_SERVERS:
        words = ["harness.testbed.forkserver", FORK_SERVERS[target]]
        return next((child for child in harness.children() if child.cmdline()[-2:] == words), None)
    for child in harness.children(recursive=True):
        with suppress(psutil.Error, OSError):  # it has ended
            # The standard error of a part is its log; a load worker shares the log of the load.
            log = Path(f"/proc/{child.pid}/fd/2").readlink().name
            is_worker = child.name().startswith("load-worker")
            if (child.name() if is_worker else log.removesuffix(".log")) == target:
                return child
    return None


def _send(case: Case, folder: Path, target: psutil.Process, struck: Struck) -> None:
    first, *second = case.signal.split(", ")
    struck.at_stage = stage_of(case, folder)
    with suppress(psutil.Error):
        target.send_signal(signal.Signals[f"SIG{first}"])
    for name in second:
        time.sleep(case.frozen_s)
        struck.at_stage = stage_of(case, folder)
        with suppress(psutil.Error):
            target.send_signal(signal.Signals[f"SIG{name}"])
    struck.load_to_come = _goes_on(case, folder)
    deadline_s = time.monotonic() + NOTICED_S
    while not has_ended(target) and time.monotonic() < deadline_s:
        time.sleep(POLL_S)
    struck.target_ended = has_ended(target)


def stage_of(case: Case, folder: Path) -> str:
    """Return how far the run is. In its second cell it is back at "parts"."""
    if case.kind == "up":
        if UP_IS_READY in (folder / "stdout").read_text():
            return "held open"
        return "parts" if list(folder.glob("temporary/*/logs/replica*")) else "start"
    if (cell := _latest_cell(folder)) is not None:
        state = LoadStatus.read(cell).state
        return {"starting": "parts", "waiting": "parts", "stopped": "done", "failed": "done"}.get(
            state, state
        )
    return "run directory" if list(folder.glob("results/*/*/manifest.json")) else "start"


def _latest_cell(folder: Path) -> Path | None:
    cells = [path for path in folder.glob("results/*/*/cells/*") if (path / "events.jsonl").exists()]
    return max(cells, key=lambda path: (path / "events.jsonl").stat().st_ctime_ns, default=None)


def _goes_on(case: Case, folder: Path) -> bool:
    """Return whether load is certainly still to come, for SURELY_S at least."""
    stage = stage_of(case, folder)
    cell = _latest_cell(folder)
    with suppress(FileNotFoundError, json.JSONDecodeError):
        if stage == "measure" and cell is not None:
            epoch_ns = LoadOrder.read(cell / "load-order.json").settings.epoch_ns
            end_ns = epoch_ns + LoadStatus.read(cell).measure_end_ns
            return end_ns - time.monotonic_ns() > SURELY_S * 1e9
    return stage not in ("measure", "done")


def _end(lab: "subprocess.Popen[bytes]", case: Case, folder: Path) -> int | None:
    """Wait for the end, and return the exit status. `up` gets Ctrl-C if it goes on."""
    with suppress(subprocess.TimeoutExpired):
        if case.kind != "up":
            return lab.wait(ENDS_S)
        return hold_and_end(lab, folder)
    return None


def hold_and_end(lab: "subprocess.Popen[bytes]", folder: Path) -> int:
    """Wait until `up` is ready and has had time to notice something, then end it; return the exit status."""
    deadline_s = time.monotonic() + ENDS_S
    while lab.poll() is None and UP_IS_READY not in (folder / "stdout").read_text():
        if time.monotonic() > deadline_s:
            raise subprocess.TimeoutExpired(lab.args, ENDS_S)
        time.sleep(POLL_S)
    try:
        return lab.wait(REACTS_S)
    except subprocess.TimeoutExpired:
        lab.send_signal(signal.SIGINT)
        return lab.wait(ENDS_S)
