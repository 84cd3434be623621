"""Locust, as a library: statistics, users and the web page; never its command line."""

import gc
import signal
import sys
from collections.abc import Callable
from typing import Any

import gevent
import gevent.event
from locust.env import Environment

from load.users import GrpcClientUser

BATCH_S = 0.2
SOON_S = 0.02  # while nothing is measured: the harness times its events from the start that it is told
# A batch keeps the interpreter busy for milliseconds; the event loop waits this long for it, not 5 ms.
SWITCH_INTERVAL_S = 0.0005


class LabEnvironment(Environment):
    """Locust's environment, with what its users wait for."""

    def __init__(self, target: str, **locusts_own: Any) -> None:
        super().__init__(user_classes=[GrpcClientUser], host=target, stop_timeout=0, **locusts_own)
        self.performance_ended = gevent.event.Event()

    def open_web_page(self, port: int | None) -> None:
        """Open Locust's page on loopback, where it was asked for."""
        if port is not None:
            self.create_web_ui("127.0.0.1", port)

    def close_web_page(self) -> None:
        """Close the page, if there is one."""
        page: Any = self.web_ui
        if page:
            page.stop()


def listen_for_stop(environment: Any, stop: Callable[[], object]) -> None:
    """Let SIGTERM, and Stop pressed on the web page, end the performance, not only Locust's users."""
    gevent.signal_handler(signal.SIGTERM, stop)
    environment.events.test_stopping.add_listener(lambda **_: stop())


def settle() -> None:
    """What a process does once, before it plays."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.freeze()  # what start-up left behind is never garbage: shorter collections while measuring
