"""Measures CPU, memory and open files of processes, and the CPU that all other processes use meanwhile."""

import os
import time
from collections import defaultdict
from statistics import fmean

import psutil


class Usage:
    """Watches processes, given as name -> process id, and this one. KIND-0, KIND-1, ... are of one kind."""

    def __init__(self, pids: dict[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in (pids | {"bench": os.getpid()}).items()}
        self.times_s: list[float] = []  # of the samples, monotonic
        self._cpu_s: list[dict[str, float]] = []  # so far, by process and of the "machine"
        self.sizes: dict[str, dict[str, float]] = {}

    @property
    def seconds(self) -> float:
        """Seconds from the first to the last sample."""
        return self.times_s[-1] - self.times_s[0]

    def sample(self) -> bool:
        """Record the CPU time used so far. Returns False and records nothing if a process has just ended."""
        try:
            cpu_s = {name: sum(process.cpu_times()[:2]) for name, process in self._processes.items()}
        except psutil.NoSuchProcess:
            return False
        self.times_s.append(time.monotonic())
        self._cpu_s.append(cpu_s | {"machine": _machine_cpu_s()})
        return True

    def measure_sizes(self) -> None:
        """Record memory (USS) and open files. Call this once: it delays each process by some milliseconds."""
        self.sizes["mib"] = {n: p.memory_full_info().uss / 2**20 for n, p in self._processes.items()}
        self.sizes["files"] = {n: float(p.num_fds()) for n, p in self._processes.items()}

    def columns(self) -> dict[str, float]:
        """Return KIND_cores, KIND_mib and KIND_files (means over the processes of a kind) and other_cores.

        Cores are CPU seconds per second from the first to the last sample. other_cores: of other processes.
        """
        first, last = self._cpu_s[0], self._cpu_s[-1]
        cores = {name: (last[name] - first[name]) / self.seconds for name in last}
        found = {"other_cores": round(cores.pop("machine") - sum(cores.values()), 3)}
        for unit, amounts in {"cores": cores, **self.sizes}.items():
            kinds = defaultdict(list)
            for name, amount in amounts.items():
                kinds[name.partition("-")[0]].append(amount)
            found |= {f"{kind}_{unit}": round(fmean(several), 4) for kind, several in kinds.items()}
        return found


def _machine_cpu_s() -> float:
    """Return the CPU seconds of the machine so far, plus a constant: the time of all cores minus idle time.

    The kernel measures idle time exactly, but only samples busy time.
    """
    times = psutil.cpu_times()
    return (os.cpu_count() or 1) * time.monotonic() - float(times.idle + getattr(times, "iowait", 0.0))
