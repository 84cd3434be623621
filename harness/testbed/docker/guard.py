"""Takes a run's containers and network down when its harness has died.

`python -m harness.testbed.docker.guard LABEL`; LABEL: the run's owner, see harness.testbed.docker.engine.

The harness holds the other end of standard input, which closes however the harness ends.
"""

import signal
import sys

import docker

from harness.testbed.docker.engine import remove_all


def main(label: str) -> None:
    """Wait for standard input to close, then remove all that has the owner `label`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the harness
    sys.stdin.read()
    remove_all(docker.from_env(), label)


if __name__ == "__main__":
    main(sys.argv[1])
