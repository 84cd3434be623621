"""Ctrl-C, SIGTERM and SIGHUP while the program's modules are imported, and while the interpreter ends."""

import signal
import subprocess
import sys

import pytest

from harness.interrupt import ENDING
from harness.paths import ROOT

# Runs run_experiment.py, and sends the signal when `typer` is looked for, or when the interpreter ends.
EARLY = """
import os, runpy, sys
class Sender:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Sender())
"""
LATE = """
import atexit, os, runpy, sys
atexit.register(os.kill, os.getpid(), {number})
"""
RUN = """
sys.argv = ["run_experiment.py", "list"]
runpy.run_path("run_experiment.py", run_name="__main__")
"""


def run(code: str, number: signal.Signals) -> tuple[int, str]:
    """Return the exit status of the program, and what it wrote on standard error."""
    command = [sys.executable, "-c", code.format(number=int(number)) + RUN]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_during_the_imports_is_an_interruption(number: signal.Signals) -> None:
    assert run(EARLY, number) == (130, "")


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_after_the_outcome_does_not_change_the_exit_status(number: signal.Signals) -> None:
    assert run(LATE, number) == (0, "")
