"""Starts the calls of an open loop at their planned times, each in the turn in which its timer rings.

A call is a coroutine that runs without a task. A task for each call, and the group that waits for all tasks,
need four more turns of the event loop and cost a tenth of the CPU time of a call. So code inside a call must
not ask for the current task: `asyncio.timeout` and `asyncio.TaskGroup` do.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from lb.clock import call_at
from lb.plan import PlannedCall

MakeCall = Callable[[PlannedCall, int], Coroutine[Any, Any, Any]]


class OpenLoop:
    """The calls of one plan. Create it on the event loop that runs them.

    `make_call`: returns the coroutine of a call and gets the call and its planned time (monotonic ns).
    `start_ns`: start of the plan (monotonic ns).
    """

    def __init__(self, plan: Iterator[PlannedCall], start_ns: int, make_call: MakeCall) -> None:
        self._plan = plan
        self._start_ns = start_ns
        self._make_call = make_call
        self._open: set[_OpenCall] = set()
        self._next: PlannedCall | None = None
        self._stopped = False
        self._error: BaseException | None = None
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Start each call at its time and return when all have ended.

        Raises the error of a call that failed; the calls that are open then are cancelled. Cancelling this
        cancels them, too.
        """
        self._plan_next()
        try:
            await asyncio.shield(self._ended)
        except asyncio.CancelledError:
            self._stop()
            await self._ended
            raise
        if self._error is not None:
            raise self._error

    def _plan_next(self) -> None:
        self._next = next(self._plan, None)
        if self._next is not None:
            call_at(self._start_ns + self._next.at_ns, self._start_next)
        self._end_if_over()

    def _start_next(self) -> None:
        call = self._next
        if call is None:  # the loop was stopped
            return
        opened = _OpenCall(self._make_call(call, self._start_ns + call.at_ns), self._end_call)
        self._open.add(opened)
        opened.step()
        if not self._stopped:
            self._plan_next()

    def _end_call(self, call: "_OpenCall", error: BaseException | None) -> None:
        self._open.discard(call)
        if error is not None and not (self._stopped and isinstance(error, asyncio.CancelledError)):
            self._error = self._error or error
            self._stop()
        self._end_if_over()

    def _end_if_over(self) -> None:
        if self._next is None and not self._open and not self._ended.done():
            self._ended.set_result(None)

    def _stop(self) -> None:
        """Start no more calls, and cancel those that are open."""
        self._stopped, self._next = True, None
        for call in list(self._open):
            call.cancel()
        self._end_if_over()


class _OpenCall:
    """A coroutine that runs from one future that it awaits to the next. `ended` gets the error it raised."""

    __slots__ = ("_coroutine", "_ended", "_waits_for")

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, Any],
        ended: "Callable[[_OpenCall, BaseException | None], None]",
    ) -> None:
        self._coroutine = coroutine
        self._ended = ended
        self._waits_for: asyncio.Future[Any] | None = None

    def step(self, _done: object = None) -> None:
        """Run until the coroutine awaits a future that is not done."""
        try:
            awaited = self._coroutine.send(None)
        except StopIteration:
            self._ended(self, None)
        except BaseException as error:
            self._ended(self, error)
        else:
            if awaited is None:  # asyncio.sleep(0)
                awaited = asyncio.get_running_loop().create_future()
                awaited.set_result(None)
            awaited._asyncio_future_blocking = False  # as a task does
            self._waits_for = awaited
            awaited.add_done_callback(self.step)

    def cancel(self) -> None:
        """Cancel what the coroutine waits for, so that it gets a CancelledError."""
        if self._waits_for is not None:
            self._waits_for.cancel()
