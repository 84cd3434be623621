"""Reads the kernel's counters ten times a second while a cell's load runs.

A figure that the system does not offer (no /proc, no PSI, no frequency) is None. No reader here fails.
"""

import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from harness.analysis.machine_samples import Sample, summarise_machine
from harness.record.cell_record import MachineRecord

EVERY_S = 0.1
FREQUENCY_EVERY = 10  # samples; some kernels interrupt every core for an answer
PROC = Path("/proc")
CPUS = Path("/sys/devices/system/cpu")


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


class Counters(NamedTuple):
    """/proc/stat: CPU seconds of all processes and of other virtual machines; running processes; cores."""

    busy_s: float
    steal_s: float | None
    running: int | None
    cores: int


def read_counters(proc: Path, tick_s: float) -> Counters | None:
    """Return the counters of `proc`/stat; None where there is no such file.

    busy_s leaves interrupts out: mostly the lab's own packets cause them.
    """
    fields = dict(line.partition(" ")[::2] for line in (_text(proc / "stat") or "").splitlines())
    ticks = [int(number) for number in fields.get("cpu", "").split()]
    if len(ticks) < 3:
        return None
    cores = sum(name.startswith("cpu") and name != "cpu" for name in fields)
    running = fields.get("procs_running", "").strip()
    steal_s = ticks[7] * tick_s if len(ticks) > 7 else None
    return Counters(sum(ticks[:3]) * tick_s, steal_s, int(running) if running else None, cores)


def read_pressure_s(proc: Path) -> float | None:
    """Return the seconds in which some process waited for a core (PSI); None where the kernel has no PSI."""
    pressure = _text(proc / "pressure" / "cpu") or ""
    total_us = re.search(r"^some .*\btotal=(\d+)", pressure, re.MULTILINE)
    return int(total_us[1]) / 1e6 if total_us else None


def read_frequency_mhz(cpus: Path, proc: Path) -> float | None:
    """Return the mean frequency of the cores; None if the system does not show it."""
    texts = [(_text(path) or "").strip() for path in cpus.glob("cpu[0-9]*/cpufreq/scaling_cur_freq")]
    found = [int(khz) / 1000 for khz in texts if khz.isdecimal()]
    if not found:
        cpuinfo = _text(proc / "cpuinfo") or ""
        found = [float(mhz) for mhz in re.findall(r"^cpu MHz\s*:\s*([\d.]+)", cpuinfo, re.MULTILINE)]
    return sum(found) / len(found) if found else None


class ProcessTrees:
    """Adds up the CPU time of processes and of all their descendants. `roots`: the processes' current ids.

    The first look counts as zero. CPU time between the last look and a process's end is lost.
    """

    def __init__(self, proc: Path, roots: Callable[[], list[int]], tick_s: float) -> None:
        self._proc, self._roots, self._tick_s = proc, roots, tick_s
        # Pid and start time (pids are used again) -> ticks; None before the first look.
        self._seen: dict[tuple[int, str], int] | None = None
        self._ticks = 0

    def cpu_s(self) -> float | None:
        """Return the CPU seconds since the first look; None where the kernel lists no children."""
        if self._children(os.getpid()) is None:
            return None
        seen: dict[tuple[int, str], int] = {}
        for pid in self._pids():
            if (stat := _text(self._proc / str(pid) / "stat")) is not None:
                fields = stat.rpartition(")")[2].split()  # a name may have spaces and brackets
                process, ticks = (pid, fields[19]), int(fields[11]) + int(fields[12])
                seen[process] = ticks
                before = ticks if self._seen is None else self._seen.get(process, 0)
                self._ticks += max(0, ticks - before)
        self._seen = seen
        return self._ticks * self._tick_s

    def _pids(self) -> set[int]:
        found: set[int] = set()
        todo = self._roots()
        while todo:
            pid = todo.pop()
            if pid not in found:
                found.add(pid)
                todo += map(int, (self._children(pid) or "").split())
        return found

    def _children(self, pid: int) -> str | None:
        """Return the children of the process's first thread: the lab starts processes from no other."""
        return _text(self._proc / str(pid) / "task" / str(pid) / "children")


class MachineWatch:
    """Takes a sample every EVERY_S from a thread of its own, from `start` to `stop`."""

    def __init__(self, epoch_ns: int, proc: Path = PROC, cpus: Path = CPUS) -> None:
        self._epoch_ns, self._proc, self._cpus = epoch_ns, proc, cpus
        self._tick_s = 1 / os.sysconf("SC_CLK_TCK")
        self._samples: list[Sample] = []
        self._cores = os.cpu_count() or 1
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._lab: ProcessTrees | None = None
        self._load: ProcessTrees | None = None

    def start(self, pids: Mapping[str, int], load_pid: int) -> None:
        """Begin. `pids`: part -> process; it may grow; empty if unknown, and then so is the lab's CPU time.

        `load_pid`: the load's process; 0 if unknown.
        """
        if pids:
            self._lab = ProcessTrees(self._proc, lambda: [os.getpid(), *pids.values()], self._tick_s)
        if load_pid:
            self._load = ProcessTrees(self._proc, lambda: [load_pid], self._tick_s)
        self._thread = threading.Thread(target=self._watch, name="machine", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, if it has begun."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()

    def summary(self, start_ns: int, end_ns: int) -> MachineRecord:
        """Return machine.json for a measured window, in nanoseconds from the cell's start."""
        return summarise_machine(self._samples, self._cores, start_ns, end_ns)

    def _watch(self) -> None:
        due_s = time.monotonic()
        while True:
            now_s = time.monotonic()
            self._samples.append(self._sample(max(0.0, now_s - due_s)))
            due_s = max(due_s + EVERY_S, now_s)
            if self._ending.wait(max(0.0, due_s - time.monotonic())):
                return

    def _sample(self, late_s: float) -> Sample:
        at_ns = time.monotonic_ns() - self._epoch_ns
        counters = read_counters(self._proc, self._tick_s)
        if counters is not None and counters.cores:
            self._cores = counters.cores
        reads_frequency = len(self._samples) % FREQUENCY_EVERY == 0
        return Sample(
            at_ns=at_ns,
            steal_s=counters.steal_s if counters else None,
            busy_s=counters.busy_s if counters else None,
            lab_s=self._lab.cpu_s() if self._lab else None,
            load_s=self._load.cpu_s() if self._load else None,
            pressure_s=read_pressure_s(self._proc),
            running=counters.running if counters else None,
            frequency_mhz=read_frequency_mhz(self._cpus, self._proc) if reads_frequency else None,
            late_s=late_s,
        )
