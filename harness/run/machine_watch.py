"""Reads the kernel's counters ten times a second while a cell's load runs.

A figure that the system does not offer (no /proc, no PSI, no frequency) is None. No reader here fails.
"""

import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import NamedTuple

from harness.analysis.interruptions import find_interruptions
from harness.analysis.machine_samples import Sample, summarise_machine
from harness.record.cell_record import MachineRecord

EVERY_S = 0.1
FREQUENCY_EVERY = 10  # samples; some kernels interrupt every core for an answer
PROC = Path("/proc")
STOPPED_STATES = ("T", "t")  # by a signal, by a debugger: proc(5)
FORK_SERVER = "a fork server"
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


class Stopped(NamedTuple):
    """A process that is stopped: its name, at most 15 characters, and the id of its parent."""

    name: str
    parent: int


class ProcessTrees:
    """Adds up the CPU time of processes and of all their descendants. `roots`: the processes' current ids.

    `stopped`: those that were stopped at the last look, by a signal or a debugger.

    The first look counts as zero. CPU time between the last look and a process's end is lost.
    """

    def __init__(self, proc: Path, roots: Callable[[], list[int]], tick_s: float) -> None:
        self._proc, self._roots, self._tick_s = proc, roots, tick_s
        # Pid and start time (pids are used again) -> ticks; None before the first look.
        self._seen: dict[tuple[int, str], int] | None = None
        self._ticks = 0
        self.stopped: dict[int, Stopped] = {}  # at the last look

    def cpu_s(self) -> float | None:
        """Return the CPU seconds since the first look; None where the kernel lists no children."""
        if self._children(os.getpid()) is None:
            return None
        seen: dict[tuple[int, str], int] = {}
        stopped: dict[int, Stopped] = {}
        for pid in self._pids():
            if (stat := _text(self._proc / str(pid) / "stat")) is not None:
                name, _, rest = stat.rpartition(")")  # a name may have spaces and brackets
                fields = rest.split()
                if fields[0] in STOPPED_STATES:
                    stopped[pid] = Stopped(name.partition("(")[2], int(fields[1]))
                process, ticks = (pid, fields[19]), int(fields[11]) + int(fields[12])
                seen[process] = ticks
                before = ticks if self._seen is None else self._seen.get(process, 0)
                self._ticks += max(0, ticks - before)
        self._seen, self.stopped = seen, stopped
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


def read_waited_s(proc: Path) -> float | None:
    """Return how long this process's threads have waited for a core, all together (schedstat: proc(5)).

    None where the kernel does not count that.
    """
    texts = [_text(path) for path in (proc / "self" / "task").glob("*/schedstat")]
    counts = [text.split() for text in texts if text]
    return sum(int(count[1]) for count in counts) / 1e9 if counts else None


def read_asleep_s() -> float:
    """Return how long this machine has slept since its boot: the monotonic clock stops then (time(7))."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return 0.0
    # Where something else has the core between the two clocks, the difference is too large: the least counts.
    return min(_ahead_ns() for _ in range(3)) / 1e9


def _ahead_ns() -> int:
    monotonic_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - monotonic_ns


class MachineWatch:
    """Takes a sample every EVERY_S from a thread of its own, from `start` to `stop`.

    `stopped`: parts of the lab that were stopped in the last sample, although no event had stopped them.
    `asleep_s`: returns how long the machine has slept.
    """

    def __init__(
        self,
        epoch_ns: int,
        proc: Path = PROC,
        cpus: Path = CPUS,
        asleep_s: Callable[[], float] = read_asleep_s,
    ) -> None:
        self._epoch_ns, self._proc, self._cpus, self._asleep_s = epoch_ns, proc, cpus, asleep_s
        self.stopped: frozenset[str] = frozenset()
        self._parts: Callable[[], dict[int, str]] = dict
        self._paused: Set[str] = frozenset()
        self._tick_s = 1 / os.sysconf("SC_CLK_TCK")
        self._samples: list[Sample] = []
        self._cores = os.cpu_count() or 1
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._lab: ProcessTrees | None = None
        self._load: ProcessTrees | None = None

    def start(self, pids: Mapping[str, int], load_pid: int, paused: Set[str] = frozenset()) -> None:
        """Begin. `pids`: part -> process; it may grow; empty if unknown, and then so is the lab's CPU time.

        `load_pid`: the load's process; 0 if unknown. `paused`: parts that an event has stopped; may change.
        """
        self._parts = lambda: {pid: name for name, pid in [*pids.items(), ("load", load_pid)]}
        self._paused = paused
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
        record = summarise_machine(self._samples, self._cores, start_ns, end_ns)
        record.interruptions = find_interruptions(self._samples, self._cores, start_ns, end_ns)
        return record

    def _watch(self) -> None:
        due_s = time.monotonic()
        while True:
            now_s = time.monotonic()
            self._samples.append(self._sample(max(0.0, now_s - due_s)))
            due_s = max(due_s + EVERY_S, now_s)
            if self._ending.wait(max(0.0, due_s - time.monotonic())):
                return

    def _sample(self, late_s: float) -> Sample:
        at_ns, asleep_s = time.monotonic_ns() - self._epoch_ns, self._asleep_s()
        counters = read_counters(self._proc, self._tick_s)
        if counters is not None and counters.cores:
            self._cores = counters.cores
        lab_s = self._lab.cpu_s() if self._lab else None
        load_s = self._load.cpu_s() if self._load else None
        self.stopped = self._stopped_parts()
        reads_frequency = len(self._samples) % FREQUENCY_EVERY == 0
        return Sample(
            at_ns=at_ns,
            steal_s=counters.steal_s if counters else None,
            busy_s=counters.busy_s if counters else None,
            lab_s=lab_s,
            load_s=load_s,
            pressure_s=read_pressure_s(self._proc),
            running=counters.running if counters else None,
            frequency_mhz=read_frequency_mhz(self._cpus, self._proc) if reads_frequency else None,
            late_s=late_s,
            stopped=self.stopped,
            asleep_s=asleep_s,
            waited_s=read_waited_s(self._proc),
        )

    def _stopped_parts(self) -> frozenset[str]:
        """Return the parts that are stopped, without those that an event has stopped."""
        trees = self._lab or self._load
        if trees is None or not trees.stopped:
            return frozenset()
        parts, own = self._parts(), os.getpid()
        names = [
            parts.get(pid, FORK_SERVER if process.parent == own else process.name)
            for pid, process in trees.stopped.items()
        ]
        return frozenset(names) - self._paused
