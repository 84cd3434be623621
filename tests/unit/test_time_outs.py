"""A test that hangs fails, wherever it hangs."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_time_out_ends_a_loop_of_events(run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    def time_out(*_: object) -> None:  # as pytest-timeout does it, with another signal
        pytest.fail("it took too long")

    before = signal.signal(signal.SIGUSR1, time_out)
    try:
        with pytest.raises((pytest.fail.Exception, asyncio.CancelledError), match="it took too long"):
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
            run(asyncio.sleep(5))
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_there_is_a_time_out_for_every_test(request: pytest.FixtureRequest) -> None:
    assert request.config.getini("timeout")
    assert request.config.getini("timeout_method") == "signal"  # `thread` would end the whole process
