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
_Sample = tuple[int, int, int]  # t_ns, cpu_ns and memory_bytes of one part
ROUND_NS = 100_000_000  # the samples of all parts are taken together, one after another


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

    {} without a file. CPU cores are a mean over the time from the load's last sample before the window to its
    first one after it (or to its last one, or between those of the part that was seen longest if there is no
    load). So a part that ended sooner or began later has used fewer. If a part was started anew, its CPU time
    began at 0 again.

    Raises UserError naming the file when it holds anything else than such rows.
    """
    if not there_is(path):
        return {}
    samples: dict[str, list[_Sample]] = {}
    try:
        with path.open(newline="") as file:
            rows = list(csv.reader(file))[1:]
        # The last line of a run that was killed may be cut off.
        whole = [row for row in rows if len(row) == len(USAGE_COLUMNS) and row[-1]]
        for t_ns, part, cpu_ns, memory_bytes in whole:
            samples.setdefault(part, []).append((int(t_ns), int(cpu_ns), int(memory_bytes)))
    except (ValueError, csv.Error, OSError) as error:
        raise UserError(f"{path}: expected rows of {','.join(USAGE_COLUMNS)} ({error})") from error
    seen = {part: _seen(of_part, start_ns, end_ns) for part, of_part in samples.items()}
    clock = seen.get("load", [])
    if not _span_ns(clock):
        clock = max(seen.values(), key=_span_ns, default=[])
    if not _span_ns(clock):
        return {}
    first_ns, last_ns = clock[0][0] - ROUND_NS, clock[-1][0] + ROUND_NS
    found = {part: [row for row in rows if first_ns <= row[0] <= last_ns] for part, rows in samples.items()}
    return {part: _usage(rows, _span_ns(clock)) for part, rows in found.items() if len(rows) >= 2}


def _seen(samples: list[_Sample], start_ns: int, end_ns: int) -> list[_Sample]:
    """Return a part's samples in the window, and the ones next to it."""
    before = [sample for sample in samples if sample[0] <= start_ns][-1:]
    after = [sample for sample in samples if sample[0] >= end_ns][:1]
    return before + [sample for sample in samples if start_ns < sample[0] < end_ns] + after


def _span_ns(samples: Sequence[_Sample]) -> int:
    return samples[-1][0] - samples[0][0] if samples else 0


def _usage(samples: list[_Sample], span_ns: int) -> Usage:
    _, cpu_ns, memory_bytes = zip(*samples, strict=True)
    used_ns = sum(max(0, later - sooner) for sooner, later in itertools.pairwise(cpu_ns))
    return Usage(cpu_cores=used_ns / span_ns, memory_bytes=max(memory_bytes))
