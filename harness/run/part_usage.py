"""Writes what the parts of a cell on this machine use: CPU time and memory. harness.record.usage reads it."""

import csv
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from harness.record.usage import USAGE_COLUMNS
from harness.run.machine_watch import PROC, ProcessTrees

EVERY_S = 0.5


class PartUsage:
    """Takes a sample of every part each EVERY_S from a thread of its own, from `start` to `stop`.

    A part counts with its child processes, as several load processes are. `path`: of the file.
    """

    def __init__(self, path: Path, epoch_ns: int, proc: Path = PROC) -> None:
        self._path, self._epoch_ns, self._proc = path, epoch_ns, proc
        self._tick_s = 1 / os.sysconf("SC_CLK_TCK")
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")
        self._trees: dict[str, ProcessTrees] = {}
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, pids: Mapping[str, int]) -> None:
        """Begin. `pids`: part -> its process now; it may grow, and a part may get another process."""
        self._thread = threading.Thread(target=self._watch, args=(pids,), name="usage", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, if it has begun; when this returns, all rows are on disk."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self, pids: Mapping[str, int]) -> None:
        # A full disk ends the rows here. The files that a verdict needs fail as well, and say so.
        with suppress(OSError), self._path.open("w", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(USAGE_COLUMNS)
            ended = False
            while True:
                rows.writerows(self.samples(pids))
                if ended:
                    return
                ended = self._ending.wait(EVERY_S)

    def samples(self, pids: Mapping[str, int]) -> Iterator[tuple[int, str, int, int]]:
        """Yield a row of USAGE_COLUMNS for each part that runs. CPU time counts from its first sample."""
        for part, pid in list(pids.items()):
            if part not in self._trees:
                self._trees[part] = ProcessTrees(self._proc, partial(_one, pids, part), self._tick_s)
            memory, cpu_s = self._memory(pid), self._trees[part].cpu_s()
            if memory is not None and cpu_s is not None:
                yield time.monotonic_ns() - self._epoch_ns, part, round(cpu_s * 1e9), memory

    def _memory(self, pid: int) -> int | None:
        """Return the resident bytes of a process; None once it has ended (proc(5), statm)."""
        try:
            return int((self._proc / str(pid) / "statm").read_text().split()[1]) * self._page_bytes
        except (OSError, IndexError):
            return None


def _one(pids: Mapping[str, int], part: str) -> list[int]:
    """Return the process of a part as it is now: an event may have started it anew."""
    return [pids[part]]
