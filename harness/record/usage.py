"""CPU and memory of the parts of a cell: rows of usage.csv, and what they come to in the measured window."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

from harness.errors import UserError
from harness.record.reader import Cell
from harness.record.summary import Usage

USAGE_FILE = "usage.csv"
# ns from the cell's epoch; replica-N, envoy or load; CPU time since its start in ns; memory in bytes.
USAGE_COLUMNS = ("t_ns", "part", "cpu_ns", "memory_bytes")


def usage_of(cells: Sequence[Cell]) -> dict[str, Usage]:
    """Return part -> what it used in an arm's cells: the median of the CPU means, and the most memory.

    {} where the testbed wrote nothing.
    """
    found = [
        read_usage(cell.folder / USAGE_FILE, cell.record.measure_start_ns, cell.record.measure_end_ns)
        for cell in cells
    ]
    parts = dict.fromkeys(part for usages in found for part in usages)
    return {
        part: Usage(
            cpu_cores=median(usages[part].cpu_cores for usages in found if part in usages),
            memory_bytes=max(usages[part].memory_bytes for usages in found if part in usages),
        )
        for part in parts
    }


def read_usage(path: Path, start_ns: int, end_ns: int) -> dict[str, Usage]:
    """Return part -> what it used from `start_ns` to `end_ns` (from the cell's epoch).

    {} where nothing was written. Counted between the last sample before the window and the first one after
    it. A part that was started anew meanwhile counts from there, since its CPU time did, too.

    Raises UserError naming the file when it holds anything else than such rows.
    """
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        try:
            rows = [(int(t_ns), part, int(cpu), int(memory)) for t_ns, part, cpu, memory in _rows(file)]
        except ValueError as error:
            raise UserError(f"{path}: expected rows of {','.join(USAGE_COLUMNS)} ({error})") from error
    parts = dict.fromkeys(part for _, part, _, _ in rows)
    found = {part: _of_part([row for row in rows if row[1] == part], start_ns, end_ns) for part in parts}
    return {part: usage for part, usage in found.items() if usage is not None}


def _rows(file: Iterable[str]) -> list[list[str]]:
    _header, *rows = csv.reader(file)
    # The last line of a run that was killed may be cut off.
    return [row for row in rows if len(row) == len(USAGE_COLUMNS) and row[-1]]


def _of_part(rows: list[tuple[int, str, int, int]], start_ns: int, end_ns: int) -> Usage | None:
    before = [row for row in rows if row[0] <= start_ns][-1:]
    after = [row for row in rows if row[0] >= end_ns][:1]
    seen = before + [row for row in rows if start_ns < row[0] < end_ns] + after
    if len(seen) < 2:
        return None
    used_ns = sum(max(0, later[2] - sooner[2]) for sooner, later in itertools.pairwise(seen))
    return Usage(cpu_cores=used_ns / (seen[-1][0] - seen[0][0]), memory_bytes=max(row[3] for row in seen))
