"""Waits for instants of the monotonic clock, which all processes of a machine share."""

import asyncio
import ctypes
import functools
import heapq
import itertools
import os
import time
import weakref
from collections.abc import Callable

from lb.plan import NS_PER_S

NS_PER_MS = 1_000_000

# <sys/timerfd.h>. Python has these calls from 3.13 on.
TFD_NONBLOCK, TFD_CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC


class _TimerSpec(ctypes.Structure):
    """struct itimerspec."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class Alarm:
    """Calls functions of one event loop, each at its instant. Create it on that loop.

    uvloop's timers have whole milliseconds. The kernel's timerfd wakes within some microseconds.

    Each turn of the event loop calls one function. When the process is late, many are due at once. Then the
    loop still reads the answers that have arrived before the next request is sent.
    """

    def __init__(self) -> None:
        self._sleepers: list[tuple[int, int, Callable[[], object]]] = []  # a heap
        self._numbers = itertools.count()  # of two equal instants the one that came first goes first
        self._set_ns = 0  # instant to which the timer is set; 0: it is off
        self._ringing = False  # the timer is set when the function has returned, which may add sleepers
        self._next_turn: asyncio.Handle | None = None  # of a sleeper that is due already
        libc = ctypes.PyDLL(None, use_errno=True)  # these calls do not block, so they keep the interpreter
        self._set_timer = libc.timerfd_settime
        self._fd: int = libc.timerfd_create(time.CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        weakref.finalize(self, os.close, self._fd).atexit = False  # the loop may still run then
        asyncio.get_running_loop().add_reader(self._fd, self._ring)

    def call_at(self, instant_ns: int, due: Callable[[], object]) -> None:
        """Call `due` when the monotonic clock has reached `instant_ns`. It must not raise."""
        number = next(self._numbers)
        heapq.heappush(self._sleepers, (instant_ns, number, due))
        if self._sleepers[0][1] == number and not self._ringing:
            self._arm()

    def at(self, instant_ns: int) -> asyncio.Future[None]:
        """Return a future that is done when the monotonic clock has reached `instant_ns`."""
        sleeper = asyncio.get_running_loop().create_future()
        self.call_at(instant_ns, functools.partial(_wake, sleeper))
        return sleeper

    def fileno(self) -> int:
        """Return the file descriptor that is readable when the first sleeper is due."""
        return self._fd

    def _ring(self) -> None:
        """Call the first function that is due, and prepare for the next one."""
        self._next_turn = None
        sleepers = self._sleepers
        if sleepers and sleepers[0][0] <= time.monotonic_ns():
            _, _, due = heapq.heappop(sleepers)
            self._ringing = True
            try:
                due()
            finally:
                self._ringing = False
        self._arm()

    def _arm(self) -> None:
        """Ring at the first sleeper's instant, or in the loop's next turn if that has passed.

        A timer for a past instant would do the same, but the process would sleep and wait for a core.
        """
        first_ns = self._sleepers[0][0] if self._sleepers else 0
        now_ns = time.monotonic_ns()
        if self._sleepers and first_ns <= now_ns:
            self._next_turn = self._next_turn or asyncio.get_running_loop().call_soon(self._ring)
            first_ns = 0
        if first_ns != self._set_ns:  # setting the timer also ends that its descriptor is readable
            # From now on, and not at an instant: libfaketime takes every instant for one of the wall clock.
            spec = _TimerSpec(0, 0, *divmod(first_ns and first_ns - now_ns, NS_PER_S))
            self._set_timer(self._fd, 0, ctypes.byref(spec), None)
            self._set_ns = first_ns


_alarms: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Alarm] = weakref.WeakKeyDictionary()


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():  # it is cancelled when its coroutine is
        sleeper.set_result(None)


def _alarm() -> Alarm:
    loop = asyncio.get_running_loop()
    alarm = _alarms.get(loop)
    if alarm is None:
        alarm = _alarms[loop] = Alarm()
    return alarm


def call_at(instant_ns: int, due: Callable[[], object]) -> None:
    """Call `due` on the running event loop when the monotonic clock has reached `instant_ns`.

    Of several that are due each is called in a turn of the event loop of its own, in the order of their
    instants. `due` must not raise.
    """
    _alarm().call_at(instant_ns, due)


def turn_at(instant_ns: int) -> asyncio.Future[None]:
    """Return a future that is done when the monotonic clock has reached `instant_ns` and its turn has come.

    Turns are those of call_at.
    """
    return _alarm().at(instant_ns)


async def sleep_until(instant_ns: int) -> None:
    """Return when the monotonic clock has reached `instant_ns`; at once if it has."""
    if instant_ns > time.monotonic_ns():
        await turn_at(instant_ns)
