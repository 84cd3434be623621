"""What the parts of a cell use, asked of the engine while the load runs."""

import csv
import threading
import time
from pathlib import Path
from typing import Any

from harness.record.usage import USAGE_COLUMNS
from harness.testbed.docker.container import ENGINE_ERRORS, Part

EVERY_S = 0.5  # the engine's own answer takes up to a second more: it counts once a second


class UsageWatch:
    """Writes a row a part about every second into `path`; see harness.record.usage. A thread a part asks."""

    def __init__(self, parts: list[Part], path: Path, epoch_ns: int) -> None:
        self._epoch_ns = epoch_ns
        self._ending = threading.Event()
        self._file = path.open("w", newline="")
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._rows.writerow(USAGE_COLUMNS)
        self._writing = threading.Lock()
        self._threads = [
            threading.Thread(target=self._watch, args=(part,), name=f"usage-{part.name}", daemon=True)
            for part in parts
        ]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Ask no more; what has been asked is still awaited by `close`."""
        self._ending.set()

    def close(self) -> None:
        """End, with all rows on disk."""
        self.end()
        for thread in self._threads:
            thread.join()
        self._file.close()

    def _watch(self, part: Part) -> None:
        while not self._ending.is_set():
            try:
                used = _usage(part)
                with self._writing:
                    self._rows.writerow((time.monotonic_ns() - self._epoch_ns, part.name, *used))
            except (*ENGINE_ERRORS, KeyError):
                pass  # one that does not run uses nothing
            self._ending.wait(EVERY_S)


def _usage(part: Part) -> tuple[int, int]:
    """CPU time since its start in ns, and memory in bytes. Raises KeyError for one that does not run."""
    stats: Any = part.container.stats(stream=False, one_shot=True)
    memory = stats["memory_stats"]
    # As docker stats has it: without what the kernel can drop. Its name depends on the kernel's cgroups.
    files = memory["stats"].get("inactive_file", memory["stats"].get("total_inactive_file", 0))
    return stats["cpu_stats"]["cpu_usage"]["total_usage"], memory["usage"] - files
