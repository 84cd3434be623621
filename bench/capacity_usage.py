"""What processes use: CPU, memory of their own, open files; and what else the machine does meanwhile."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psutil

MIB = 2**20


@dataclass(frozen=True)
class Sample:
    """At one instant: calls answered so far, CPU seconds so far of each process and of the whole machine."""

    at_s: float
    answered: int
    cpu_s: Mapping[str, float]
    busy_s: float


class Usage:
    """Watches processes, given as name -> process id, and this one, "bench".

    Several of a kind are called KIND-0, KIND-1, ...
    """

    def __init__(self, pids: dict[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in (pids | {"bench": os.getpid()}).items()}
        self._samples: list[Sample] = []
        self._memory: dict[str, dict[str, float]] = {}

    @property
    def seconds(self) -> float:
        """Between the first sample and the last."""
        return self._samples[-1].at_s - self._samples[0].at_s if self._samples else 0.0

    def sample(self, answered: int) -> None:
        """Note where all stand, `answered` calls having been answered so far; not if one is just ending."""
        try:
            cpu_s = {name: _cpu_s(process) for name, process in self._processes.items()}
        except psutil.NoSuchProcess:
            return
        self._samples.append(Sample(time.monotonic(), answered, cpu_s, _busy_s()))

    def memory(self) -> None:
        """Note memory and open files, once: it holds the processes up for some milliseconds."""
        if not self._memory:
            self._memory = {name: _memory(process) for name, process in self._processes.items()}

    def used(self) -> dict[str, Any]:
        """Between the first sample and the last, for JSON; of a kind the mean of one process.

        calls_per_s; cores: kind -> CPU seconds a second; other_cores: of all that is not watched; uss_mib,
        open_files: kind -> amounts.
        """
        first, last = self._samples[0], self._samples[-1]
        cores = {name: (last.cpu_s[name] - first.cpu_s[name]) / self.seconds for name in last.cpu_s}
        memory = {
            unit: _by_kind({name: amounts[unit] for name, amounts in self._memory.items()})
            for unit in ("uss_mib", "open_files")
        }
        return {
            "calls_per_s": round((last.answered - first.answered) / self.seconds, 1),
            "cores": _by_kind(cores),
            "other_cores": round((last.busy_s - first.busy_s) / self.seconds - sum(cores.values()), 3),
            **memory,
        }


def _by_kind(amounts: Mapping[str, float]) -> dict[str, float]:
    kinds: dict[str, list[float]] = {}
    for name, amount in amounts.items():
        kinds.setdefault(name.partition("-")[0], []).append(amount)
    return {kind: round(sum(several) / len(several), 4) for kind, several in kinds.items()}


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _busy_s() -> float:
    """CPU seconds of the machine so far, but for a constant: all that could be less all that was idle.

    Not what the kernel says was busy: that is sampled, idle time is measured.
    """
    times = psutil.cpu_times()
    return (os.cpu_count() or 1) * time.monotonic() - float(times.idle + getattr(times, "iowait", 0.0))


def _memory(process: psutil.Process) -> dict[str, float]:
    return {"uss_mib": process.memory_full_info().uss / MIB, "open_files": float(process.num_fds())}
