"""Signals that end a program: each becomes one KeyboardInterrupt, and ignored ones stay ignored."""

import os
import signal
from collections.abc import Iterator

import pytest

from harness.interrupt import one_interrupt

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _handlers_are_put_back() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in ENDING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_interrupts_once_and_later_ones_are_ignored(number: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt), one_interrupt():
        os.kill(os.getpid(), number)
    assert [signal.getsignal(other) for other in ENDING] == [signal.SIG_IGN] * 3


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_that_was_ignored_stays_ignored(number: signal.Signals) -> None:
    """As nohup does with SIGHUP, and a shell with Ctrl-C for what it runs in the background."""
    signal.signal(number, signal.SIG_IGN)
    with one_interrupt():
        os.kill(os.getpid(), number)
        assert signal.getsignal(number) == signal.SIG_IGN
    assert signal.getsignal(number) == signal.SIG_IGN


def test_without_a_signal_the_handlers_are_those_of_before() -> None:
    before = [signal.getsignal(number) for number in ENDING]
    with one_interrupt():
        assert [signal.getsignal(number) for number in ENDING] != before
    assert [signal.getsignal(number) for number in ENDING] == before
