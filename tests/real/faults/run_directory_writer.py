"""Writes one run directory, and kills itself at its Nth change of the file system: `... FOLDER N`.

Exit status 0: the whole run directory needed fewer than N changes.
"""

import os
import signal
import sys
from pathlib import Path

from audit_events import report_harmful_events

from harness.record.cell_record import CellRecord
from harness.record.manifest import Host, Manifest
from harness.record.run_directory import RunWriter

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
    messages_per_stream=1,
    planned_rate_per_s=None,
    epoch_unix_ns=0,
)


def main(folder: str, last: str) -> None:
    experiment = (Path(__file__).resolve().parents[3] / "experiments" / "sticky.yaml").read_text()
    changes = 0

    def count_change(_: str) -> None:
        nonlocal changes
        changes += 1
        if changes == int(last):
            os.kill(os.getpid(), signal.SIGKILL)

    report_harmful_events(count_change)
    writer = RunWriter.create(Path(folder), MANIFEST, experiment)
    writer.write_cell(writer.cell("sticky", 1), CELL)
    writer.finish("completed")
    writer.link_latest()


if __name__ == "__main__":
    main(*sys.argv[1:])
