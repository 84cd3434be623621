"""Waits for instants of the monotonic clock, which all processes of a machine share."""

import asyncio
import ctypes
import heapq
import itertools
import os
import time
import weakref

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
    """Wakes the coroutines of one event loop, each at its instant. Create it on that loop.

    uvloop's timers have whole milliseconds. The kernel's timerfd wakes within some microseconds.

    Each turn of the event loop wakes one coroutine. When the process is late, many are due at once. Then the
    loop still reads the answers that have arrived before it wakes the next sender.
    """

    def __init__(self) -> None:
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []  # a heap
        self._numbers = itertools.count()  # of two equal instants the one that came first goes first
        self._set_ns = 0  # instant to which the timer is set; 0: it is off
        self._next_turn: asyncio.Handle | None = None  # of a sleeper that is due already
        libc = ctypes.PyDLL(None, use_errno=True)  # these calls do not block, so they keep the interpreter
        self._set_timer = libc.timerfd_settime
        self._fd: int = libc.timerfd_create(time.CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        weakref.finalize(self, os.close, self._fd).atexit = False  # the loop may still run then
        asyncio.get_running_loop().add_reader(self._fd, self._ring)

    def at(self, instant_ns: int) -> asyncio.Future[None]:
        """Return a future that is done when the monotonic clock has reached `instant_ns`."""
        sleeper = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (instant_ns, next(self._numbers), sleeper))
        if self._sleepers[0][2] is sleeper:
            self._arm()
        return sleeper

    def fileno(self) -> int:
        """Return the file descriptor that is readable when the first sleeper is due."""
        return self._fd

    def _ring(self) -> None:
        """Wake the first sleeper that is due, and prepare for the next one."""
        self._next_turn = None
        sleepers, now_ns = self._sleepers, time.monotonic_ns()
        while sleepers and sleepers[0][0] <= now_ns:
            _, _, sleeper = heapq.heappop(sleepers)
            if not sleeper.done():  # it is cancelled when its coroutine is
                sleeper.set_result(None)
                break
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


def turn_at(instant_ns: int) -> asyncio.Future[None]:
    """Return a future that is done when the monotonic clock has reached `instant_ns` and its turn has come.

    Of several that are due each comes in a turn of the event loop of its own, in the order of their instants.
    """
    loop = asyncio.get_running_loop()
    alarm = _alarms.get(loop)
    if alarm is None:
        alarm = _alarms[loop] = Alarm()
    return alarm.at(instant_ns)


async def sleep_until(instant_ns: int) -> None:
    """Return when the monotonic clock has reached `instant_ns`; at once if it has."""
    if instant_ns > time.monotonic_ns():
        await turn_at(instant_ns)
