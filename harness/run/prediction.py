"""Has a run predicted by a child process, which does nothing any more when the first load begins."""

import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.output.safe_text import say
from harness.paths import ROOT
from harness.record.prediction import NOT_COMPILED, PREDICTION, Prediction, read_prediction
from harness.record.record_file import write_record
from harness.record.run_directory import RunWriter
from harness.run.prediction_process import PREDICTED_TESTBEDS, PredictionProcess

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
    """Has one run predicted beside the start of its testbed. `finish` waits until that is done.

    process: None: the run is not predicted.
    """

    def __init__(self, writer: RunWriter, process: PredictionProcess | None) -> None:
        self._writer = writer
        self._process = process if writer.manifest.testbed in PREDICTED_TESTBEDS else None

    def __enter__(self) -> Self:
        """Start the prediction, if the testbed's parts are the lab's own."""
        if self._process is not None:
            self._process.predict(self._writer.path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End a prediction that nobody waits for any more."""
        if self._process is not None:
            self._process.drop()

    def finish(self) -> None:
        """Wait for the prediction. One that fails or takes too long is skipped, and the record says why."""
        process, self._process = self._process, None
        if process is None:
            return
        problem = process.answer(PATIENCE_S)
        if problem is not None:
            skipped = Prediction(skipped=f"the prediction failed: {problem}")
            write_record(self._writer.path / PREDICTION, skipped)
        self._writer.seal_prediction()
