"""Writes one run directory, and is killed at its Nth change of the file system: `... FOLDER N`.

Exit status 0: it made fewer changes than N, and all of them.
"""

import os
import signal
import sys
from pathlib import Path

from started_things import listen

from harness.record.cell_record import CellRecord
from harness.record.manifest import Host, Manifest
from harness.record.writer import RunWriter

MANIFEST = Manifest(
    experiment="sticky",
    seed=1,
    versions={},
    host=Host(system="", machine="", cpus=None, memory_bytes=0),
    git_commit=None,
    cells=[],
)
CELL = CellRecord(
    arm="sticky",
    repeat=1,
    order=0,
    route="envoy",
    policy="sticky",
    initial_replicas=[],
    proxy_workers=1,
    planned_requests=0,
    planned_rate_per_s=None,
    epoch_unix_ns=0,
)


def main(folder: str, last: str) -> None:
    experiment = (Path(__file__).resolve().parents[3] / "experiments" / "sticky.yaml").read_text()
    changes = 0

    def hear(_: str) -> None:
        nonlocal changes
        changes += 1
        if changes == int(last):
            os.kill(os.getpid(), signal.SIGKILL)

    listen(hear)
    writer = RunWriter.create(Path(folder), MANIFEST, experiment)
    writer.write_cell(writer.cell("sticky", 1), CELL)
    writer.finish("completed")


if __name__ == "__main__":
    main(*sys.argv[1:])
