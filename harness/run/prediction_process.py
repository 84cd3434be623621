"""The process that predicts runs. It starts with the command, so its imports go on beside those of the run.

This module imports no models: a command starts the process before it imports anything heavy itself.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from time import monotonic

from harness.leftovers.parent import end_with_parent
from harness.paths import ROOT

PREDICTED_TESTBEDS = ("local", "docker")
# Numpy would start a thread for each core, and the simulator uses none of them.
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"}


class PredictionProcess:
    """Predicts one run after the other: see harness.testbed.simulated.predict.serve.

    It computes between `ask` and `answer` only, and once at its start. Otherwise it waits in a read. It ends
    with this process, however that ends: its standard input closes, and the kernel kills it.
    """

    def __init__(self) -> None:
        self._process = self._started()
        self._asked = False

    def ask(self, run: Path) -> None:
        """Have the run of this directory predicted, in the background."""
        if self._process.poll() is not None:
            self.end()
            self._process = self._started()
        assert self._process.stdin is not None
        self._asked = True
        try:
            self._process.stdin.write(json.dumps(str(run)).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has just died: `answer` says why

    def answer(self, patience_s: float) -> str | None:
        """Wait for the prediction. Return None once prediction.json is there, or why there is none.

        A process that takes longer is ended; the next `ask` starts another.
        """
        line = self._line(patience_s)
        if line is None:
            self.end()
            return f"the prediction took more than {patience_s:g} s"
        self._asked = False
        if line:
            reason: str | None = json.loads(line)
        else:
            _, problem = self._process.communicate()
            last = problem.decode(errors="replace").strip().rpartition("\n")[2]
            reason = last or f"status {self._process.returncode}"
        return None if reason is None else f"the prediction failed: {reason}"

    def drop(self) -> None:
        """End the process if nobody waits any more for what it was asked."""
        if self._asked:
            self.end()

    def end(self) -> None:
        """End the process."""
        self._asked = False
        self._process.kill()  # does nothing if it has ended
        self._process.communicate()  # closes the pipes

    def _line(self, patience_s: float) -> bytes | None:
        """Return the next line of the process; b"" if it has ended, None if there is none in time."""
        assert self._process.stdout is not None
        until_s, line = monotonic() + patience_s, b""
        with DefaultSelector() as selector:
            selector.register(self._process.stdout, EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, until_s - monotonic())):
                    return None
                if not (data := os.read(self._process.stdout.fileno(), 65536)):
                    return b""
                line += data
        return line

    @staticmethod
    def _started() -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-m", "harness.testbed.simulated.predict"],
            cwd=ROOT,
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # so that Ctrl-C in the terminal reaches only the harness
            preexec_fn=end_with_parent,  # noqa: PLW1509 - it calls the kernel, and nothing else
        )


@contextmanager
def prediction_process(wanted: bool) -> Iterator[PredictionProcess | None]:
    """Give a process that predicts, and end it at the end; None if none is wanted."""
    if not wanted:
        yield None
        return
    process = PredictionProcess()
    try:
        yield process
    finally:
        process.end()
