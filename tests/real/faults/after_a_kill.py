"""What a run has left behind: processes, ports, and its run directory."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

import psutil

from tests.real.lab_process import MARK

MOMENT = "LB_LAB_MOMENT"  # in the environment of all processes of a run: the name of its folder
HAVE_ADDRESSES = ("cell.json", "admin*", "envoy.yaml", "load-order.json", "stdout")


def environment_of(folder: Path) -> dict[str, str]:
    """Return the environment in which to start the run in `folder`; its processes inherit it."""
    return {**os.environ, MOMENT: folder.name}


def processes_of(folder: Path) -> list[psutil.Process]:
    """Return the processes of the run in `folder`."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except psutil.Error:  # it has ended, or is a zombie
            continue
        if environment.get(MOMENT) == folder.name and environment.get(MARK) == os.environ[MARK]:
            found.append(process)
    return found


def ports_of(folders: Iterable[Path]) -> set[int]:
    """Return the ports on loopback that the files of these runs name."""
    texts = [path.read_text() for folder in folders for name in HAVE_ADDRESSES for path in folder.rglob(name)]
    return {int(port) for text in texts for port in re.findall(r"127\.0\.0\.1:(\d+)", text)} - {0}


def taken(ports: set[int]) -> set[int]:
    """Return those of the ports on which an unknown process still listens."""
    listening = [each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
    return ports & {each.laddr[1] for each in listening if each.pid is None}


def run_of(folder: Path) -> Path | None:
    """Return the run directory; None if it does not exist."""
    runs = [path for path in folder.glob("results/*/[!.]*") if not path.is_symlink()]
    assert len(runs) <= 1
    return runs[0] if runs else None
