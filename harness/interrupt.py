"""Turns the signals that end a program into one KeyboardInterrupt."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def one_interrupt() -> Iterator[None]:
    """Make Ctrl-C, SIGTERM and a closed terminal raise KeyboardInterrupt once.

    Later signals are ignored for good, so that they do not interrupt the clean-up. A signal that was ignored
    before, as SIGHUP is under nohup, stays ignored.
    """
    interrupted = False
    numbers = [number for number in ENDING if signal.getsignal(number) != signal.SIG_IGN]

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


def ignore_interrupts() -> None:
    """Ignore these signals from now on. For a program that has its exit status and only has to end."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
