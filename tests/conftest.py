"""Fixtures of all tests: a time-out also ends uvloop's loop, and no signal is ignored at the start.

Properties are checked without a deadline, because a busy machine is not a mistake.
"""

import asyncio
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import uvloop
from hypothesis import settings

from tests.unit.thorough import examples

settings.register_profile("lab", deadline=None, max_examples=examples(100))
settings.load_profile("lab")

# Processes that a shell starts in the background ignore Ctrl-C; with nohup they ignore SIGHUP. The lab keeps
# signals ignored. Tests send it both signals, so its processes must not inherit that.
for _number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def _a_time_out_ends_uvloops_loop() -> None:
    """Let the error that pytest-timeout raises end the loop. By default uvloop logs it and continues."""
    go_on = uvloop.Loop.call_exception_handler

    def call_exception_handler(self: uvloop.Loop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, pytest.fail.Exception):
            return go_on(self, context)
        for task in asyncio.all_tasks(self):
            task.cancel(str(error))
        return None

    uvloop.Loop.call_exception_handler = call_exception_handler  # type: ignore[method-assign]


@pytest.fixture
def without_plots() -> Iterator[None]:
    """Reports of this test have no plots, which take most of a report's time."""
    from harness.report.plots import PLOTS

    kept = dict(PLOTS)
    PLOTS.clear()
    yield
    PLOTS.clear()
    PLOTS.update(kept)  # in their order: the first plot that shows a metric stands beside it
