"""What a Python process starts or writes, told by the interpreter itself (audit events, PEP 578)."""

import sys
from collections.abc import Callable
from typing import Any

STARTS = ("subprocess.", "os.fork", "os.posix_spawn", "os.exec", "os.system", "pty.", "socket.")
CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.truncate")


def harmful(name: str, arguments: tuple[Any, ...]) -> bool:
    """Whether this event starts a process, touches the network, or changes the file system."""
    if name == "open":
        mode, flags = arguments[1], arguments[2]
        return bool(set(mode or "") & set("wax+")) or bool(flags & 0o3 if mode is None else False)
    return name.startswith((*STARTS, *CHANGES))


def listen(hear: Callable[[str], None]) -> None:
    """Call `hear` with each such event of this process from now on; there is no way back."""

    def hook(name: str, arguments: tuple[Any, ...]) -> None:
        if harmful(name, arguments):
            hear(f"{name} {arguments!r:.80}")

    sys.addaudithook(hook)
