"""The load process: Locust conducts, the asyncio clients of lb/ play.

`python -m load.conductor ORDER.json` plays one order (load.order). SIGTERM ends it early with every
finished row written. Exit status: 0 played to the end, 3 stopped early; anything else: failed.
"""

import os

# Before locust: grpc.aio needs real threads and sockets.
os.environ.setdefault("LOCUST_SKIP_MONKEY_PATCH", "1")
# Before grpc: without its event engine between socket and event loop a call costs a quarter less CPU.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client")
# Before grpc: without it ring_hash takes no key from a header, and every call ends with INTERNAL.
os.environ.setdefault("GRPC_EXPERIMENTAL_RING_HASH_SET_REQUEST_HASH_KEY", "true")

import gc
import logging
import signal
import sys
from pathlib import Path
from typing import Any

import gevent
import gevent.event
from locust.env import Environment

from load.bookkeeper import Bookkeeper
from load.orchestra import Orchestra
from load.order import STOPPED_EARLY, LoadOrder
from load.users import GrpcClientUser

BATCH_S = 0.2
SOON_S = 0.02  # while nothing is measured: the harness times its events from the start that it is told
# A batch keeps the interpreter busy for milliseconds; the event loop waits this long for it, not 5 ms.
SWITCH_INTERVAL_S = 0.0005


def main(argv: list[str] | None = None) -> int:
    """Play the order whose path is the one argument."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    (path,) = sys.argv[1:] if argv is None else argv
    order = LoadOrder.read(Path(path))
    orchestra = Orchestra(order)
    environment = _environment(order, orchestra)
    bookkeeper = Bookkeeper(environment, orchestra.rows, order.folder)
    gevent.signal_handler(signal.SIGTERM, orchestra.stop)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.freeze()  # what start-up left behind is never garbage: shorter collections while measuring
    environment.runner.start(order.load.clients, spawn_rate=order.load.clients)
    try:
        orchestra.start()
        while not orchestra.finished():
            gevent.sleep(BATCH_S if orchestra.progress.state == "measure" else SOON_S)
            bookkeeper.batch(orchestra.progress)
    finally:
        bookkeeper.batch(orchestra.progress)
        bookkeeper.close()
        environment.performance_ended.set()
        environment.runner.quit()
        if environment.web_ui:
            environment.web_ui.stop()
    return 0 if orchestra.progress.state == "done" else STOPPED_EARLY


class LabEnvironment(Environment):
    """Locust's environment, with what its users wait for."""

    def __init__(self, target: str) -> None:
        super().__init__(user_classes=[GrpcClientUser], host=target, stop_timeout=0)
        self.performance_ended = gevent.event.Event()


def _environment(order: LoadOrder, orchestra: Orchestra) -> Any:
    """Locust, as a library: statistics, users, and the web UI on loopback where it was asked for."""
    environment: Any = LabEnvironment(order.settings.target)
    environment.create_local_runner()
    # Stop pressed in the web UI ends the performance, not only Locust's users.
    environment.events.test_stopping.add_listener(lambda **_: orchestra.stop())
    if order.web_port is not None:
        environment.create_web_ui("127.0.0.1", order.web_port)
    return environment


if __name__ == "__main__":
    sys.exit(main())
