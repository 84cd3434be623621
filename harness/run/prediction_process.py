"""Processes that work for the runs of a command, and the one that predicts them.

That one starts with the command, so its imports go on beside those of the run. This module imports no models:
a command starts the process before it imports anything heavy itself.
"""

import gc
import importlib
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
# Numpy would start a thread for each core, and these processes use none of them.
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"}


class AskedProcess:
    """Runs `prepare` and `serve` of a module, which carries out one task after the other, as it is asked to.

    It reads a task from standard input, and writes a line of JSON when it has carried it out: null,
    or why it could not. It computes between `ask` and `answer` only, and once at its start. Otherwise it
    waits in a read. It ends with this process, however that ends: its standard input closes, and the kernel
    kills it.
    """

    def __init__(self, module: str) -> None:
        self._module = module
        self._process = self._started()
        self._asked = False

    def ask(self, task: bytes) -> None:
        """Have a task carried out, in the background. An ended process is started again."""
        if self._process.poll() is not None:
            self.end()
            self._process = self._started()
        assert self._process.stdin is not None
        self._asked = True
        try:
            self._process.stdin.write(task)
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has just died: `answer` says why

    def answer(self, patience_s: float | None = None) -> str | None:
        """Wait until the task is carried out. Return None then, or why it could not be.

        A process that takes longer than `patience_s` is ended; None: it may take any time.
        """
        line = self._line(patience_s)
        if line is None:
            self.end()
            return f"it took more than {patience_s:g} s"
        self._asked = False
        if line:
            reason: str | None = json.loads(line)
            return reason
        _, problem = self._process.communicate()
        last = problem.decode(errors="replace").strip().rpartition("\n")[2]
        return last or f"status {self._process.returncode}"

    def drop(self) -> None:
        """End the process if nobody waits any more for what it was asked."""
        if self._asked:
            self.end()

    def end(self) -> None:
        """End the process."""
        self._asked = False
        self._process.kill()  # does nothing if it has ended
        self._process.communicate()  # closes the pipes

    def _line(self, patience_s: float | None) -> bytes | None:
        """Return the next line of the process; b"" if it has ended, None if there is none in time."""
        assert self._process.stdout is not None
        until_s = None if patience_s is None else monotonic() + patience_s
        line = b""
        with DefaultSelector() as selector:
            selector.register(self._process.stdout, EVENT_READ)
            while not line.endswith(b"\n"):
                left_s = None if until_s is None else max(0.0, until_s - monotonic())
                if not selector.select(left_s):
                    return None
                if not (data := os.read(self._process.stdout.fileno(), 65536)):
                    return b""
                line += data
        return line

    def _started(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "harness.run.prediction_process", self._module],
            cwd=ROOT,
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # so that Ctrl-C in the terminal reaches only the harness
            preexec_fn=end_with_parent,  # noqa: PLW1509 - it calls the kernel, and nothing else
        )


class PredictionProcess(AskedProcess):
    """Predicts one run after the other: see harness.testbed.simulated.predict.serve."""

    def __init__(self) -> None:
        super().__init__("harness.testbed.simulated.predict")

    def predict(self, run: Path) -> None:
        """Have prediction.json of this directory written, in the background."""
        self.ask(json.dumps(str(run)).encode() + b"\n")


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


def main(module: str) -> None:
    """Import a module, and call its `prepare` and `serve`."""
    gc.disable()  # it would take a tenth of the imports' CPU time, and find nothing
    serving = importlib.import_module(module)
    serving.prepare()
    gc.freeze()
    gc.enable()
    serving.serve()
    sys.stdout.flush()
    os._exit(0)  # the interpreter would take a while to take the simulator's machine code apart


if __name__ == "__main__":
    main(sys.argv[1])
