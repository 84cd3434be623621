"""What the parts of a cell use, asked of the engine while the load runs."""

import csv
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.testbed.container import ENGINE_ERRORS, Part
from harness.usage import USAGE_COLUMNS

EVERY_S = 0.5


class UsageWatch:
    """Writes a row a part every EVERY_S into `path`, from a thread of its own; see harness.usage."""

    def __init__(self, parts: list[Part], path: Path, epoch_ns: int) -> None:
        self._parts = parts
        self._path = path
        self._epoch_ns = epoch_ns
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="usage", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take a last row of each part, and end."""
        self._closing.set()
        self._thread.join()

    def _watch(self) -> None:
        with self._path.open("w", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(USAGE_COLUMNS)
            last = False
            while not last:
                last = self._closing.wait(EVERY_S)
                for part in self._parts:
                    with suppress(*ENGINE_ERRORS, KeyError):  # one that does not run uses nothing
                        rows.writerow([time.monotonic_ns() - self._epoch_ns, part.name, *_usage(part)])


def _usage(part: Part) -> tuple[int, int]:
    """CPU time since its start in ns, and memory in bytes. Raises KeyError for one that does not run."""
    stats: Any = part.container.stats(stream=False, one_shot=True)
    memory = stats["memory_stats"]
    # As docker stats has it: without what the kernel can drop. Its name depends on the kernel's cgroups.
    files = memory["stats"].get("inactive_file", memory["stats"].get("total_inactive_file", 0))
    return stats["cpu_stats"]["cpu_usage"]["total_usage"], memory["usage"] - files
