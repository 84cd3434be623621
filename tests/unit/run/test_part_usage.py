"""What parts use is counted from the kernel's counters; a part that ends or starts anew is no error."""

import os
import shutil
from pathlib import Path

from test_machine_watch import process

from harness.run.part_usage import PartUsage

TICKS_PER_S, PAGE_BYTES = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
S = 10**9


def part(proc: Path, pid: int, seconds: int, *children: int, started: int = 1) -> None:
    process(proc, pid, seconds * TICKS_PER_S, *children, started=started)
    (proc / str(pid) / "statm").write_text("100 10 5 1 0 20 0\n")


def cpu_ns(watch: PartUsage, pids: dict[str, int]) -> dict[str, int]:
    rows = list(watch.samples(pids))
    assert {memory for _, _, _, memory in rows} == {10 * PAGE_BYTES}
    return {name: cpu for _, name, cpu, _ in rows}


def test_parts_count_with_their_children_from_their_first_sample(tmp_path: Path) -> None:
    watch, pids = PartUsage(tmp_path / "usage.csv", 0, tmp_path), {"load": 7, "replica-0": 9}
    part(tmp_path, os.getpid(), 0)
    part(tmp_path, 7, 3, 8)
    part(tmp_path, 8, 2)
    part(tmp_path, 9, 1)
    assert cpu_ns(watch, pids) == {"load": 0, "replica-0": 0}
    part(tmp_path, 7, 4, 8)
    part(tmp_path, 8, 5)
    shutil.rmtree(tmp_path / "9")  # it was killed
    assert cpu_ns(watch, pids) == {"load": 4 * S}
    part(tmp_path, 10, 2, started=2)
    pids["replica-0"] = 10  # and started anew
    assert cpu_ns(watch, pids) == {"load": 4 * S, "replica-0": 2 * S}
