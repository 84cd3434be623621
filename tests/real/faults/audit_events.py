"""Reports what a Python process starts or writes, with the interpreter's audit events (PEP 578)."""

import sys
from collections.abc import Callable
from typing import Any

STARTS = ("subprocess.", "os.fork", "os.posix_spawn", "os.exec", "os.system", "pty.", "socket.")
CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.truncate")


def is_harmful(name: str, arguments: tuple[Any, ...]) -> bool:
    """Return whether the event starts a process, uses the network, or changes the file system."""
    if name == "open":
        mode, flags = arguments[1], arguments[2]
        return bool(set(mode or "") & set("wax+")) or bool(flags & 0o3 if mode is None else False)
    return name.startswith((*STARTS, *CHANGES))


def report_harmful_events(report: Callable[[str], None]) -> None:
    """Call `report` for each harmful event of this process from now on. This cannot be undone."""

    def hook(name: str, arguments: tuple[Any, ...]) -> None:
        if is_harmful(name, arguments):
            report(f"{name} {arguments!r:.80}")

    sys.addaudithook(hook)
