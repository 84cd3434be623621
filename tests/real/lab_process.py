"""Runs the lab as a user does: a small experiment file, a process, and its run directory."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
import psutil

from harness.testbed.base import LiveCell

ROOT = Path(__file__).resolve().parents[2]
MARK = "LB_LAB_TEST"

SMALL: dict[str, Any] = {
    "title": "A small one",
    "question": "Does it run?",
    "lesson": "It does.",
    "replicas": {"count": 3, "slots": 8, "service_time_ms": {"distribution": "constant", "mean": 1}},
    "workload": {
        **{"clients": 3, "rate_per_s": 150, "calls": {"AddVideo": 1}},
        **{"warm_up_s": 0.2, "duration_s": 0.5, "deadline_ms": 2000},
    },
    "arms": {
        "sticky": {"route": "envoy", "policy": "sticky"},
        "round_robin": {"route": "envoy", "policy": "round_robin"},
    },
    "repeats": 1,
    "expect": [],
}


def experiment_file(folder: Path, **changes: Any) -> Path:
    """Write SMALL with `changes` as small.yaml into `folder`, and return its path.

    A mapping changes single keys of a section, but replaces all arms.
    """
    tree = dict(SMALL)
    for key, value in changes.items():
        merged = isinstance(value, dict) and key != "arms"
        tree[key] = {**tree.get(key, {}), **value} if merged else value
    path = folder / "small.yaml"
    path.write_text(json.dumps(tree))
    return path


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def outlived(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those of the processes that still run after that time.

    Not those that have ended and that nobody has waited for: when their parent was killed that is up to the
    machine's first process, which may take its time.
    """
    _, left = psutil.wait_procs(processes, timeout=seconds)
    return [process for process in left if not has_ended(process)]


def has_ended(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


class Lab:
    """One `python run_experiment.py ...` process, run in `folder`. `program`: what Python runs instead."""

    def __init__(
        self,
        folder: Path,
        arguments: tuple[object, ...],
        program: tuple[str, ...] = (str(ROOT / "run_experiment.py"),),
    ) -> None:
        self.results = folder / "results"
        if arguments[0] == "run":
            arguments = (*arguments, "--results", "results", "--quiet")
            for option in ("prediction", "plots"):  # they take longer than many of these runs
                if f"--{option}" not in arguments:
                    arguments = (*arguments, f"--no-{option}")
        self.process = subprocess.Popen(
            [sys.executable, *program, *map(str, arguments)],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, timeout_s: float = 60) -> tuple[int, str, str]:
        """Wait for the end and return exit status, standard output and standard error."""
        out, err = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, out, err

    @property
    def run(self) -> Path:
        """The run directory. It must exist already."""
        (path,) = (path for path in self.results.glob("*/*") if not path.is_symlink())
        return path

    @property
    def manifest(self) -> dict[str, Any]:
        return dict(json.loads((self.run / "manifest.json").read_text()))

    def cell(self, arm: str, repeat: int = 1) -> Path:
        return self.run / "cells" / f"{arm}.{repeat}"

    def rows(self, arm: str) -> pl.DataFrame:
        return pl.read_parquet(self.cell(arm) / "requests.parquet")

    def await_state(self, state: str) -> Path:
        """Wait until a cell is in `state`, and return the cell's folder.

        The state is "starting" (the first component has a log) or a state of the load.
        """
        deadline_s = time.monotonic() + 30
        while time.monotonic() < deadline_s:
            assert self.process.poll() is None, self.end()
            for cell in self.results.glob("*/*/cells/*"):
                if state == "starting" and list(cell.glob("logs/*.log")):
                    return cell
                status = cell / "load-status.json"
                if status.exists() and json.loads(status.read_text())["state"] == state:
                    return cell
            time.sleep(0.01)
        raise AssertionError(f"no cell reached the state {state}")

    def family(self) -> list[psutil.Process]:
        """Return the lab's process and all its descendants."""
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]

    def component(self, name: str) -> psutil.Process:
        """Return the process of a component: "envoy", "load", "replica-0", ...

        It is the process whose standard error is the component's log.
        """
        for process in self.family():
            with suppress(psutil.Error, OSError):  # the process has ended
                if Path(f"/proc/{process.pid}/fd/2").readlink().name == f"{name}.log":
                    return process
        raise LookupError(f"{name} does not run")

    def await_component(self, name: str) -> psutil.Process:
        """Wait until a component runs, and return its process."""
        while True:
            assert self.process.poll() is None, self.end()
            with suppress(LookupError):
                return self.component(name)
            time.sleep(0.01)  # each look takes a core for some milliseconds


StartCell = Callable[..., LiveCell]
StartLab = Callable[..., Lab]
