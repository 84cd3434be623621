"""A load process for each test that asks for one, and the secret that its workers know."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from clients import SETTINGS
from load_process import OPEN, SECRET, LoadProcess, StartLoad

from load.order import LoadOrder
from load.secret import SECRET_VARIABLE


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    """The secret in the environment of all processes that the test starts."""
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)
    return SECRET


@pytest.fixture
def start_load(tmp_path: Path) -> Iterator[StartLoad]:
    started: list[LoadProcess] = []

    def start(target: str, program: str | None = None, **order: Any) -> LoadProcess:
        settings = replace(SETTINGS, target=target, messages_per_stream=2, epoch_ns=time.monotonic_ns())
        folder = tmp_path / f"load-{len(started)}"
        folder.mkdir()
        times = {"warm_up_s": 0.3, "duration_s": 0.7}
        made = LoadOrder(**{"load": OPEN, "settings": settings, "folder": folder, **times, **order})
        started.append(LoadProcess(made, program))
        return started[-1]

    yield start
    for run in started:
        run.process.kill()
        run.process.communicate()
