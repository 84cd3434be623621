"""CPU and memory of the parts of a cell: rows of usage.csv, and what they come to in the measured window."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from harness.errors import UserError
from harness.record.record_file import there_is
from harness.record.run_directory import Cell
from harness.record.summary import Usage

USAGE_FILE = "usage.csv"
# ns from the cell's epoch; replica-N, envoy or load; CPU time since a start in ns; memory in bytes.
USAGE_COLUMNS = ("t_ns", "part", "cpu_ns", "memory_bytes")


def usage_of(cells: Sequence[Cell]) -> dict[str, Usage]:
    """Return part -> what it used in an arm's cells: the median of the CPU means, and the most memory.

    {} where the testbed wrote nothing.
    """
    usages: dict[str, list[Usage]] = {}
    for cell in cells:
        start_ns, end_ns = cell.record.measure_start_ns, cell.record.measure_end_ns
        for part, usage in read_usage(cell.folder / USAGE_FILE, start_ns, end_ns).items():
            usages.setdefault(part, []).append(usage)
    return {
        part: Usage(
            cpu_cores=median(usage.cpu_cores for usage in found),
            memory_bytes=max(usage.memory_bytes for usage in found),
        )
        for part, found in usages.items()
    }


def read_usage(path: Path, start_ns: int, end_ns: int) -> dict[str, Usage]:
    """Return part -> what it used from `start_ns` to `end_ns` (from the cell's epoch).

    {} without a file. It counts from the last sample before the window to the first one after it. If a part
    was started anew, its CPU time began at 0 again.

    Raises UserError naming the file when it holds anything else than such rows.
    """
    if not there_is(path):
        return {}
    samples: dict[str, list[tuple[int, int, int]]] = {}
    try:
        with path.open(newline="") as file:
            rows = list(csv.reader(file))[1:]
        # The last line of a run that was killed may be cut off.
        whole = [row for row in rows if len(row) == len(USAGE_COLUMNS) and row[-1]]
        for t_ns, part, cpu_ns, memory_bytes in whole:
            samples.setdefault(part, []).append((int(t_ns), int(cpu_ns), int(memory_bytes)))
    except (ValueError, csv.Error, OSError) as error:
        raise UserError(f"{path}: expected rows of {','.join(USAGE_COLUMNS)} ({error})") from error
    found = {part: _usage(of_part, start_ns, end_ns) for part, of_part in samples.items()}
    return {part: usage for part, usage in found.items() if usage is not None}


def _usage(samples: list[tuple[int, int, int]], start_ns: int, end_ns: int) -> Usage | None:
    before = [sample for sample in samples if sample[0] <= start_ns][-1:]
    after = [sample for sample in samples if sample[0] >= end_ns][:1]
    seen = before + [sample for sample in samples if start_ns < sample[0] < end_ns] + after
    if len(seen) < 2 or seen[-1][0] <= seen[0][0]:
        return None
    t_ns, cpu_ns, memory_bytes = zip(*seen, strict=True)
    used_ns = sum(max(0, later - sooner) for sooner, later in itertools.pairwise(cpu_ns))
    return Usage(cpu_cores=used_ns / (t_ns[-1] - t_ns[0]), memory_bytes=max(memory_bytes))
