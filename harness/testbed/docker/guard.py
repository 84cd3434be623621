"""Removes a run's containers and network after its harness has ended.

`python -m harness.testbed.docker.guard LABEL`. LABEL names the run: see harness.leftovers.owner.

The harness holds the other end of standard input. It closes when the harness ends for any reason.
"""

import signal
import sys

import docker

from harness.testbed.docker.engine import remove_all


def main(label: str) -> None:
    """Wait until standard input closes, then remove everything that has the owner `label`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the harness handles Ctrl-C
    sys.stdin.read()
    remove_all(docker.from_env(), label)


if __name__ == "__main__":
    main(sys.argv[1])
