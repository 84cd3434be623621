"""The whole load in one process: no master, no messages."""

import json
import time
from dataclasses import asdict
from pathlib import Path

import gevent

from lb.plan import NS_PER_S, Phase
from load.bookkeeper import Bookkeeper
from load.environment import BATCH_S, SOON_S, LabEnvironment, listen_for_stop, settle
from load.orchestra import Orchestra
from load.order import CHANNELS_FILE, STOPPED_EARLY, LoadOrder
from load.readback import ClientChannels
from load.rowfiles import RowFiles

LEAD_IN_S = 0.02  # between "everybody is ready" and a phase's first planned instant


class OwnCues:
    """Phases follow each other at once. What is in force in the clients is left in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def connected(self, channels: list[ClientChannels]) -> None:
        """See Cues."""
        (self._folder / CHANNELS_FILE).write_text(json.dumps([asdict(client) for client in channels]))

    async def begin(self, phase: Phase) -> int:  # noqa: ARG002 - both begin alike
        """See Cues."""
        return time.monotonic_ns() + round(LEAD_IN_S * NS_PER_S)


def play_alone(order: LoadOrder) -> int:
    """Play the whole order; the exit status. Raises what makes it fail."""
    orchestra = Orchestra(order, range(order.load.clients), OwnCues(order.folder))
    environment = LabEnvironment(order.settings.target)
    runner = environment.create_local_runner()
    environment.open_web_page(order.web_port)
    files = RowFiles(order.folder)
    bookkeeper = Bookkeeper(environment, orchestra.rows, files.put)
    listen_for_stop(environment, orchestra.stop)
    settle()
    runner.start(order.load.clients, spawn_rate=order.load.clients)
    try:
        orchestra.start()
        while not orchestra.finished():
            gevent.sleep(BATCH_S if orchestra.progress.state == "measure" else SOON_S)
            bookkeeper.batch(orchestra.progress)
            files.tell(orchestra.progress)
    finally:
        bookkeeper.batch(orchestra.progress)
        files.tell(orchestra.progress)
        files.close()
        environment.performance_ended.set()
        runner.quit()
        environment.close_web_page()
    return 0 if orchestra.progress.state == "done" else STOPPED_EARLY
