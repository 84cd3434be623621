"""What holds for all tests: a time-out ends a test in uvloop's loop, too."""

import asyncio
from typing import Any

import pytest
import uvloop


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
