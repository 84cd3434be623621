"""Starts a real load process for tests, of one process or several."""

import csv
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab_process import ROOT

from lb.plan import Load
from lb.rows import MESSAGE_COLUMNS, REQUEST_COLUMNS
from load.order import LoadOrder

MIX = {"AddVideo": 3.0, "ListVideos": 1.0, "GetVideos": 1.0, "GetVideo": 1.0}
SECRET = "a secret that the tests share"
OPEN = Load(clients=5, rate_per_s=120, think_time_ms=None, skew=1.0, calls=MIX, seed=7, repeat=1)


class LoadProcess:
    """A load process for one order. `program`: Python code to run instead of load.main."""

    def __init__(self, order: LoadOrder, program: str | None = None) -> None:
        order.write(order.folder / "order.json")
        self.folder = order.folder
        self.epoch_ns = order.settings.epoch_ns
        what = ["-m", "load.main"] if program is None else ["-c", program]
        self.process = subprocess.Popen(
            [sys.executable, *what, str(order.folder / "order.json")],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self) -> int:
        _, self.stderr = self.process.communicate(timeout=30)
        return self.process.returncode

    def rows(self, name: str = "requests.csv") -> list[dict[str, Any]]:
        kinds = REQUEST_COLUMNS | MESSAGE_COLUMNS
        with (self.folder / name).open() as file:
            return [{key: kinds[key](text) for key, text in row.items()} for row in csv.DictReader(file)]

    def status(self) -> dict[str, Any]:
        path = self.folder / "load-status.json"
        return dict(json.loads(path.read_text())) if path.exists() else {"state": "none", "answered": 0}

    def await_answers(self, count: int) -> None:
        while self.status()["answered"] < count:
            assert self.process.poll() is None, self.end()
            time.sleep(0.01)


StartLoad = Callable[..., LoadProcess]


def workers_of(folder: Path) -> list[dict[str, Any]]:
    return list(json.loads((folder / "load-workers.json").read_text()))
