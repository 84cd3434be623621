"""The mark of a process that owns what may outlive it, and whether that process still exists."""

import os
from pathlib import Path

PROC = Path("/proc")


def owner() -> str:
    """Return the mark of this process: PID namespace, process id and start time, with points between them.

    The start time is needed because the kernel uses process ids again.
    """
    return f"{_namespace()}.{os.getpid()}.{_start_ticks(os.getpid())}"


def is_alive(mark: str) -> bool:
    """Return whether the process with this mark exists.

    A process in another PID namespace is not visible here and counts as alive. Raises ValueError for a text
    that is no mark.
    """
    namespace, pid, ticks = map(int, mark.split("."))
    try:
        return namespace != _namespace() or _start_ticks(pid) == ticks
    except OSError:
        return False


def _namespace() -> int:
    return (PROC / "self" / "ns" / "pid").stat().st_ino


def _start_ticks(pid: int) -> int:
    """Return when a process started, in clock ticks since boot (proc(5)). Raises OSError if there is none."""
    return int((PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[19])
