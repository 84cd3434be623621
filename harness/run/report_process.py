"""Makes the reports of runs in a process beside this one, which draws the plots on all cores.

So the next experiment can start meanwhile. Nothing is drawn while anything is measured: a load waits until
the report before it is made.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import sys
import traceback
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from harness.errors import LabError
from harness.leftovers.parent import end_with_parent
from harness.output.safe_text import say
from harness.run.prediction_process import AskedProcess

if TYPE_CHECKING:
    from harness.report.page import JudgedRun

Result = TypeVar("Result")


class Reports:
    """Makes one report after the other. Leaving the context drops one that is not made yet; see `finish`.

    A report without plots is made at once, in this process. The process beside is started when it is first
    needed, and kept for the next report.
    """

    def __init__(self) -> None:
        self._process: AskedProcess | None = None
        self._made: JudgedRun | None = None
        self._problem: str | None = None
        self._waited = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.end()

    def prepare(self) -> None:
        """Start the process if it does not run yet. Its imports take most of a second."""
        if self._process is None:
            self._process = AskedProcess("harness.run.report_process")

    def make(self, found: JudgedRun) -> None:
        """Have the report of a judged run made, in the background. Finishes the one before."""
        self.finish()
        if not found.plots:
            _finish(found)
            return
        self.prepare()
        assert self._process is not None
        self._process.ask(pickle.dumps(found))
        self._made, self._waited = found, False

    def wait(self) -> None:
        """Wait until no report is being made. A problem is that of `finish`."""
        if not self._waited:
            assert self._process is not None
            self._problem, self._waited = self._process.answer(), True

    def finish(self) -> None:
        """Wait until the last report is made. If the process could not make it, this process does.

        Raises UserError when the run's directory cannot be written.
        """
        self.wait()
        found, self._made = self._made, None
        if found is not None and self._problem is not None:
            self._problem = None
            _finish(found)


def _finish(found: JudgedRun) -> None:
    # Jinja and polars are imported after the last cell, not before the first.
    from harness.report.page import finish_report

    finish_report(found)


def prepare() -> None:
    """Import what draws, with matplotlib, once for all forks."""
    import harness.report.plots
    import harness.report.plotting  # noqa: F401


def serve() -> None:
    """Make the reports of the runs that standard input has, until it closes: see AskedProcess.

    Each is made in a fork. So polars, which works with threads, never works in this process, and it may fork.
    """
    from harness.report.page import finish_report

    while True:
        try:
            found = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the harness
        except EOFError:
            return
        try:
            in_forks([lambda: finish_report(found, in_forks)])  # noqa: B023 - called before the next
            reason = None
        except LabError as error:
            reason = str(error)
        say(json.dumps(reason))


def in_forks(jobs: Sequence[Callable[[], Result]]) -> list[Result]:
    """Carry out at most 256 jobs in forks of this process, one for each core; return their results in order.

    Raises LabError when a job fails. Call it in a process in which no other thread works.
    """
    turns, write = os.pipe()
    os.write(write, bytes(range(len(jobs))))
    os.close(write)
    workers = [_fork(jobs, turns) for _ in range(min(len(jobs), len(os.sched_getaffinity(0))))]
    os.close(turns)
    done: dict[int, Result] = {}
    problems = []
    for pid, answer in workers:
        with os.fdopen(answer, "rb") as file:
            found = file.read()
        _, status = os.waitpid(pid, 0)
        if status:
            problems.append(found.decode(errors="replace") or f"status {os.waitstatus_to_exitcode(status)}")
        else:
            done |= pickle.loads(found)  # noqa: S301 - from this process's fork
    if problems:
        raise LabError(problems[0])
    return [done[number] for number in range(len(jobs))]


def _fork(jobs: Sequence[Callable[[], Result]], turns: int) -> tuple[int, int]:
    """Start a fork that takes numbers of jobs from the pipe `turns`; return its pid and a pipe of results."""
    read, write = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        os.close(write)
        return pid, read
    status = 1
    try:
        gc.disable()  # the fork lives for some seconds, and matplotlib makes many objects
        end_with_parent()
        if os.getppid() != parent:
            os._exit(1)  # the parent ended before that took effect
        os.close(read)
        with os.fdopen(write, "wb") as file:
            try:
                results = {number: jobs[number]() for (number,) in iter(lambda: os.read(turns, 1), b"")}
                file.write(pickle.dumps(results))
                status = 0
            except Exception as error:
                traceback.print_exc()
                file.write(f"{type(error).__name__}: {error}".encode())
    finally:
        os._exit(status)
