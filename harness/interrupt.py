"""Turns the signals that end a program into one KeyboardInterrupt."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_interrupt() -> Iterator[None]:
    """Make Ctrl-C, SIGTERM and a closed terminal raise KeyboardInterrupt once.

    Later signals are ignored for good, so that they do not interrupt the clean-up.
    """
    interrupted = False
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def interrupt(*_: object) -> None:
        nonlocal interrupted
        interrupted = True
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            if not interrupted:
                signal.signal(number, handler)
