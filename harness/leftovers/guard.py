"""Removes a folder after the process that owns it has ended: `python guard.py FOLDER`.

The owner holds the other end of standard input, which closes when the owner ends in any way. This program
imports nothing of the lab, so that it starts quickly.
"""

import shutil
import signal
import sys
import time
from pathlib import Path

PATIENCE_S = 10.0  # processes that write into the folder may end later than the owner


def main(folder: Path) -> None:
    """Wait until standard input closes, then remove the folder."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they are for the owner
    sys.stdin.buffer.read()
    deadline_s = time.monotonic() + PATIENCE_S
    while folder.exists() and time.monotonic() < deadline_s:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
