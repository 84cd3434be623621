"""Where the simulations of a campaign run: on this machine, or on a cluster (harness.plan.dask_pool).

Each simulation depends on its arguments alone, so its result is the same wherever it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

STEP_S = 0.2
THREADS = 2  # that simulate on this machine; the kernels run side by side


class Pool(Protocol):
    """Calls functions of modules. Arguments are values, or what `keep` and `share` have returned."""

    @property
    def is_elsewhere(self) -> bool:
        """Whether results are kept in the memory of other machines."""

    def share(self, value: Any) -> Any:
        """Return what stands for a value that many calls take."""

    def keep(self, function: Callable[..., Any], *columns: Iterable[Any]) -> list[Any]:
        """Call the function as `map` does. Return what stands for each result, which stays where it is."""

    def map(self, function: Callable[..., Any], *columns: Iterable[Any]) -> Iterator[Any]:
        """Yield the result of each call, in order: of the columns' first values, then of the second ones."""

    def threads(self) -> AbstractContextManager[ThreadPoolExecutor]:
        """Yield threads for callers of `map`. After an error they begin nothing more."""


class ThisMachine:
    """Calls each function at once, in the thread of its caller. `map` stops where its caller does."""

    is_elsewhere = False

    def share(self, value: Any) -> Any:
        """Return the value."""
        return value

    def keep(self, function: Callable[..., Any], *columns: Iterable[Any]) -> list[Any]:
        """Return the results."""
        return list(map(function, *columns))

    def map(self, function: Callable[..., Any], *columns: Iterable[Any]) -> Iterator[Any]:
        """Yield the results, each computed when it is asked for."""
        return map(function, *columns)

    def threads(self) -> AbstractContextManager[ThreadPoolExecutor]:
        """Yield THREADS threads."""
        return ended_threads(THREADS)


def wait_for(futures: Collection[Future[Any]]) -> None:
    """Wait until all have ended. Raises the error of one that has failed.

    The wait is in short steps, because Python handles Ctrl-C between them: the system may give the signal to
    another thread, and does not end the main thread's wait then.
    """
    while True:
        done, waiting = wait(futures, timeout=STEP_S, return_when=FIRST_EXCEPTION)
        if not waiting or any(one.exception() for one in done):
            break
    for one in done:
        one.result()


@contextmanager
def ended_threads(count: int, before_end: Callable[[], None] = lambda: None) -> Iterator[ThreadPoolExecutor]:
    """Yield threads. After an error, call `before_end`, and begin nothing that waits for a thread."""
    with ThreadPoolExecutor(count) as threads:
        try:
            yield threads
        except BaseException:
            before_end()
            threads.shutdown(wait=False, cancel_futures=True)
            raise
