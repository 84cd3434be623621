"""What processes use: CPU, memory of their own, open files; and what else the machine does meanwhile."""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import psutil

MIB = 2**20


@dataclass(frozen=True)
class Sample:
    """At one instant: calls answered so far, CPU seconds so far of each process."""

    at_s: float
    answered: int
    cpu_s: Mapping[str, float]


class Usage:
    """Watches processes, given as name -> process id. Several of a kind are called KIND-0, KIND-1, ..."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._samples: list[Sample] = []
        self._memory: dict[str, dict[str, float]] = {}
        self._started_s = time.monotonic()
        self._others = _all_others(set(pids.values()))

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
        self._samples.append(Sample(time.monotonic(), answered, cpu_s))

    def memory(self) -> None:
        """Note memory and open files, once: it holds the processes up for some milliseconds."""
        if not self._memory:
            self._memory = {name: _memory(process) for name, process in self._processes.items()}

    def used(self) -> dict[str, Any]:
        """Between the first sample and the last, for JSON; of a kind the mean of one process.

        calls_per_s; cores: kind -> CPU seconds a second; other_cores: of all processes that are not watched
        and lived from the start to now; uss_mib, open_files: kind -> amounts.
        """
        first, last = self._samples[0], self._samples[-1]
        cores = {name: (last.cpu_s[name] - first.cpu_s[name]) / self.seconds for name in last.cpu_s}
        others = _all_others({process.pid for process in self._processes.values()})
        other_s = sum(cpu_s - self._others.get(pid, cpu_s) for pid, cpu_s in others.items())
        memory = {
            unit: _by_kind({name: amounts[unit] for name, amounts in self._memory.items()})
            for unit in ("uss_mib", "open_files")
        }
        return {
            "calls_per_s": round((last.answered - first.answered) / self.seconds, 1),
            "cores": _by_kind(cores),
            "other_cores": round(other_s / (time.monotonic() - self._started_s), 3),
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


def _all_others(but: Collection[int]) -> dict[int, float]:
    """CPU seconds so far of every process of the machine, by process id."""
    # The kernel's own sums over the machine are sampled, and so less than those of its processes at times.
    others = {process.pid: process.info["cpu_times"] for process in psutil.process_iter(["cpu_times"])}
    return {pid: times.user + times.system for pid, times in others.items() if times and pid not in but}


def _memory(process: psutil.Process) -> dict[str, float]:
    return {"uss_mib": process.memory_full_info().uss / MIB, "open_files": float(process.num_fds())}
