"""Simulations on a dask cluster: `--dask ADDRESS`.

The tasks name functions of the lab, and workers import them. So each task first compares the versions of its
worker with those of this machine: another version might count otherwise.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import platform
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from importlib.metadata import version
from types import TracebackType
from typing import Any, NoReturn, Self

from harness.errors import LabError, UserError
from harness.paths import ROOT
from harness.plan.pool import Pool, ThisMachine, ended_threads

CONNECT_S, WORKER_S = 10.0, 10.0  # how long the scheduler, and its first worker, are waited for
LOOK_S = 0.5  # between two looks whether the caller goes on and there are workers
MAX_LOOKS = 40  # in a row without a worker
CLOSE_S = 5.0
AT_ONCE = 32  # results that are fetched together
THREADS = 8  # that wait for results: as many as `plan` asks questions
_ADDRESS = re.compile(r"(?:(?:tcp|tls)://)?(?:[\w.-]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}")
_PACKAGES = ("harness", "lb", "services", "simulator")  # whose code a simulation uses
_VERSIONED = ("numba", "numpy")


@functools.cache
def own_versions() -> dict[str, str]:
    """Return what a result depends on besides its arguments: the lab's source, Python, numba, numpy."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
    found = {"the lab": f"source {digest.hexdigest()[:12]}", "Python": platform.python_version()}
    return found | {package: version(package) for package in _VERSIONED}


def carry_out(*arguments: Any, function: Callable[..., Any], versions: Mapping[str, str]) -> Any:
    """Call the function on a worker. Raises UserError for other versions than those of the caller."""
    own = own_versions()
    for part, wanted in versions.items():
        if own[part] != wanted:
            from distributed import get_worker

            raise UserError(
                f"the worker {get_worker().address} has {part} {own[part]}, and this machine {wanted}; "
                "install the same versions on all machines"
            )
    return function(*arguments)


@contextmanager
def pool_at(dask: str | None) -> Iterator[Pool]:
    """Yield the cluster of the scheduler at this address; None: this machine. Raises UserError."""
    if dask is None:
        yield ThisMachine()
        return
    with DaskPool(dask) as pool:
        yield pool


def _itself(value: Any) -> Any:
    return value


class DaskPool:
    """A client of a running cluster. When it is closed, by an error too, its tasks leave the cluster."""

    is_elsewhere = True

    def __init__(self, address: str) -> None:
        """Connect. Raises UserError, one line, where there is no scheduler, no worker or no dask."""
        if not _ADDRESS.fullmatch(address):
            raise UserError(
                f"--dask: {address[:80]!r}: expected the address of a dask scheduler, as 127.0.0.1:8786 or "
                "tls://10.0.0.5:8786"
            )
        try:
            from distributed import Client
        except ImportError as error:
            raise UserError(
                f"--dask: {error.name} is not installed; install the extra: pip install 'lb-lab[dask]'"
            ) from error
        _silence()
        self._address = address
        self._ended = threading.Event()  # dask's client must not close while a thread waits in it
        try:
            self._client = Client(address, timeout=CONNECT_S, set_as_default=False, name="lb-lab")
        except Exception as error:  # among them OSError, TypeError without certificates, ValueError
            raise UserError(f"--dask {address}: no scheduler can be reached: {_line(error)}") from error
        try:
            self._client.wait_for_workers(1, timeout=WORKER_S)
        except TimeoutError as error:
            self.close()
            raise UserError(
                f"--dask {address}: the scheduler has no worker; start one: dask worker {address}"
            ) from error

    def __enter__(self) -> Self:
        """Return the pool."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Leave the cluster, which forgets what was asked of it. May be called again."""
        with suppress(TimeoutError, OSError, CancelledError):
            self._client.close(timeout=CLOSE_S)

    def share(self, value: Any) -> Any:
        """Return a future of the value. It is a task's result, which dask makes again if a worker dies."""
        return self._client.submit(_itself, value, pure=False)

    def keep(self, function: Callable[..., Any], *columns: Iterable[Any]) -> list[Any]:
        """Return a future of each result, which stays on its worker."""
        try:
            return list(
                self._client.map(carry_out, *columns, pure=False, function=function, versions=own_versions())
            )
        except Exception as error:
            self._raise(error)

    def map(self, function: Callable[..., Any], *columns: Iterable[Any]) -> Iterator[Any]:
        """Yield the results. All are computed side by side, whether or not they are asked for."""
        futures = self.keep(function, *columns)
        try:
            self._wait(futures)
            while futures:
                yield from self._client.gather(futures[:AT_ONCE])
                del futures[:AT_ONCE]
        except Exception as error:
            self._raise(error)

    def threads(self) -> AbstractContextManager[ThreadPoolExecutor]:
        """Yield THREADS threads. After an error none of them waits on."""
        return ended_threads(THREADS, self._ended.set)

    def _wait(self, futures: list[Any]) -> None:
        """Wait for all. Dask repeats what a dead worker had; without any worker it would wait for ever."""
        from distributed import wait

        looks = 0
        while looks < MAX_LOOKS:
            if self._ended.is_set():
                raise CancelledError
            try:
                with self._client.as_current():
                    wait(futures, timeout=LOOK_S)
                return
            except TimeoutError:
                looks = 0 if self._client.nthreads() else looks + 1
        raise LabError(f"--dask {self._address}: no worker is left; see the workers' own output")

    def _raise(self, error: Exception) -> NoReturn:
        """Raise what went wrong on the cluster as one line."""
        from distributed import KilledWorker

        if isinstance(error, LabError):
            raise type(error)(f"--dask {self._address}: {error}") from error
        if isinstance(error, ImportError) or "deserialization of the task graph" in str(error):
            raise UserError(
                f"--dask {self._address}: scheduler or worker cannot import the lab ({_line(error)}); "
                "install lb-lab[dask] there, in the same version"
            ) from error
        if isinstance(error, KilledWorker):
            raise LabError(
                f"--dask {self._address}: workers died, one after the other, of the same simulation; "
                "see their own output (mostly too little memory)"
            ) from error
        if isinstance(error, CancelledError | OSError | TimeoutError | RuntimeError):
            raise LabError(f"--dask {self._address}: the scheduler is gone: {_line(error)}") from error
        raise error


def _silence() -> None:
    """Take dask's own handlers from its loggers: what goes wrong is said in one line here."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).handlers[:] = [logging.NullHandler()]


def _line(error: BaseException) -> str:
    """Return the first line of an error's text."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
