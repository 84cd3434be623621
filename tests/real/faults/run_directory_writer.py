"""Writes one run directory, and kills itself at its Nth change of the file system: `... FOLDER N`.

Exit status 0: the whole run directory needed fewer than N changes.
"""

import os
import signal
import sys
from pathlib import Path

from audit_events import report_harmful_events

from harness.record.directory import RunWriter

MANIFEST = {"seed": 1, "versions": {}, "host": {}, "git_commit": None, "overrides": {}, "cells": []}


def main(folder: str, last: str) -> None:
    experiment = (Path(__file__).resolve().parents[3] / "experiments" / "sticky.yaml").read_text()
    changes = 0

    def count_change(_: str) -> None:
        nonlocal changes
        changes += 1
        if changes == int(last):
            os.kill(os.getpid(), signal.SIGKILL)

    report_harmful_events(count_change)
    writer = RunWriter.create(Path(folder), "sticky", MANIFEST, experiment)
    writer.write_cell(writer.cell("sticky", 1), {"arm": "sticky"})
    writer.finish("completed")


if __name__ == "__main__":
    main(*sys.argv[1:])
