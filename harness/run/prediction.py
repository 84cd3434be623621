"""Has a run predicted by a child process, which ends before the first cell begins."""

import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.leftovers.parent import end_with_parent
from harness.output.safe_text import say
from harness.paths import ROOT
from harness.record.prediction import NOT_COMPILED, PREDICTION, Prediction, read_prediction
from harness.record.record_file import write_record
from harness.record.run_directory import RunWriter

PREDICTED_TESTBEDS = ("local", "docker")
PATIENCE_S = 10.0  # for start, imports and two seconds of simulation, on a busy machine

# Python complains of a process that is forgotten while it runs.
_IN_BACKGROUND: list[subprocess.Popen[bytes]] = []


def compile_when_idle(run: Path) -> None:
    """Have the simulator compiled by a process of its own, if the run had no prediction for want of that.

    It goes on when this process has ended, takes a core only while nobody else wants it, and ends by itself.
    Only somebody at a terminal gets it: a script is to leave no process behind.
    """
    prediction = read_prediction(run)
    if prediction is None or prediction.skipped != NOT_COMPILED or not sys.stderr.isatty():
        return
    _IN_BACKGROUND.append(
        subprocess.Popen(
            [sys.executable, "-m", "simulator.compile_now"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_yield_to_others,  # noqa: PLW1509 - it calls the kernel, and nothing else
        )
    )
    say("The simulator is compiled in the background, once: the next run is predicted.", error=True)


def _yield_to_others() -> None:
    os.nice(19)
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


class Predictor:
    """Predicts a run beside the start of its testbed. `finish` waits until that is done."""

    def __init__(self, writer: RunWriter, wanted: bool = True) -> None:
        self._writer = writer
        self._wanted = wanted and writer.manifest.testbed in PREDICTED_TESTBEDS
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start the prediction, if it is wanted and the testbed's parts are the lab's own."""
        if self._wanted:
            words = [sys.executable, "-m", "harness.testbed.simulated.predict", str(self._writer.path)]
            self._process = subprocess.Popen(  # noqa: S603 - fixed words and the lab's own path
                words,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                preexec_fn=end_with_parent,  # noqa: PLW1509 - it calls the kernel, and nothing else
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End a prediction that nobody waits for any more."""
        self._end()

    def finish(self) -> None:
        """Wait for the prediction. One that fails or takes too long is skipped, and the record says why."""
        process = self._process
        if process is None:
            return
        try:
            _, problem = process.communicate(timeout=PATIENCE_S)
            reason = problem.decode(errors="replace").strip().rpartition("\n")[2]
            skipped = f"the prediction failed: {reason}" if process.returncode else None
        except subprocess.TimeoutExpired:
            skipped = f"the prediction took more than {PATIENCE_S:g} s"
        self._end()
        if skipped is not None:
            write_record(self._writer.path / PREDICTION, Prediction(skipped=skipped))
        self._writer.seal_prediction()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            if process.poll() is None:
                process.kill()
            process.communicate()
