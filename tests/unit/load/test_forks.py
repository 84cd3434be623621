"""A forked load worker that is killed before it gets its port."""

import subprocess
import sys

from harness.paths import ROOT

KILLED_FIRST = """
import os, signal
from load.forks import PortFork
worker = PortFork("load-worker-0", lambda port: 0)
os.kill(worker.fork.pid, signal.SIGKILL)
while worker.fork.is_running():
    pass
worker.send_port(1)
print(worker.fork.is_running())
"""


def test_a_port_for_a_worker_that_has_died_is_no_error() -> None:
    """The master then finds that this worker died, and names it."""
    command = [sys.executable, "-c", KILLED_FIRST]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")
