"""What holds for all tests: a time-out ends uvloop's loop, too, and no signal is ignored from the start."""

import asyncio
import signal
from typing import Any

import pytest
import uvloop

# A shell ignores Ctrl-C in what it starts in the background, and nohup SIGHUP. The lab leaves ignored signals
# alone, and tests send it both: their processes must not inherit that.
for _number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def _a_time_out_ends_uvloops_loop() -> None:
    """Let what pytest-timeout raises end the loop: uvloop logs what a signal handler raises, and goes on."""
    go_on = uvloop.Loop.call_exception_handler

    def call_exception_handler(self: uvloop.Loop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, pytest.fail.Exception):
            return go_on(self, context)
        for task in asyncio.all_tasks(self):
            task.cancel(str(error))
        return None

    uvloop.Loop.call_exception_handler = call_exception_handler  # type: ignore[method-assign]
