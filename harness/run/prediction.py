"""Has a run predicted by a child process, which ends before the first cell begins."""

import subprocess
import sys
from types import TracebackType
from typing import Self

from harness.leftovers.parent import end_with_parent
from harness.paths import ROOT
from harness.record.prediction import PREDICTION, Prediction
from harness.record.record_file import write_record
from harness.record.run_directory import RunWriter

PREDICTED_TESTBEDS = ("local", "docker")
PATIENCE_S = 10.0  # for start, imports and two seconds of simulation, on a busy machine


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
