"""The load process: Locust manages the users, and the asyncio clients of lb/ make the calls.

`python -m load.main ORDER.json` carries out one load order (load.order). The process makes all calls itself,
or it is the master of the workers that make them. SIGTERM ends the load early; every finished row is written.
Exit status: 0 the load ran to its end, 3 it was stopped early, anything else: it failed.
"""

import os

# Set before Locust is imported: grpc.aio needs real threads and sockets.
os.environ.setdefault("LOCUST_SKIP_MONKEY_PATCH", "1")
# Set before gRPC is imported: a call takes a quarter less CPU time without gRPC's event engine.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client")
# Set before gRPC is imported: otherwise ring_hash reads no key from a header, and calls end with INTERNAL.
os.environ.setdefault("GRPC_EXPERIMENTAL_RING_HASH_SET_REQUEST_HASH_KEY", "true")

import json
import logging
import sys
import time
from dataclasses import asdict
from pathlib import Path

from lb.plan import NS_PER_S, Phase
from load.channelz import ClientChannels
from load.engine import LoadEngine, prepare_process
from load.locust_adapter import LabEnvironment, listen_for_stop
from load.master import run_master
from load.order import CHANNELS_FILE, STOPPED_EARLY, LoadOrder
from load.row_batches import RowCollector, RowFiles, record_to_end

START_DELAY_S = 0.02  # from the moment that the clients are ready to the start of the phase


class ImmediateGate:
    """A PhaseGate that starts each phase at once. It writes the channels file to `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def clients_connected(self, channels: list[ClientChannels]) -> None:
        """See PhaseGate."""
        (self._folder / CHANNELS_FILE).write_text(json.dumps([asdict(client) for client in channels]))

    async def wait_for_start(self, phase: Phase) -> int:  # noqa: ARG002 - both phases start alike
        """See PhaseGate."""
        return time.monotonic_ns() + round(START_DELAY_S * NS_PER_S)


def run_single_process(order: LoadOrder) -> int:
    """Make all calls of the order in this process and return the exit status.

    Raises the error of the load engine when the load fails.
    """
    engine = LoadEngine(order, range(order.load.clients), ImmediateGate(order.folder))
    environment = LabEnvironment(order.title)
    runner = environment.create_local_runner()
    environment.open_web_page(order.web_port)
    files = RowFiles(order.folder)
    collector = RowCollector(environment, engine.rows, files.append)
    listen_for_stop(engine.stop)
    prepare_process()
    runner.start(order.load.clients, spawn_rate=order.load.clients)
    try:
        record_to_end(engine, collector, files)
    finally:
        # Its users end with the process. Locust's quit() takes 20 ms to see who calls it (inspect.stack).
        environment.close_web_page()
    return 0 if engine.progress.state == "done" else STOPPED_EARLY


def main(argv: list[str] | None = None) -> int:
    """Carry out the load order whose path is the only argument; return the exit status."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    (path,) = sys.argv[1:] if argv is None else argv
    order = LoadOrder.read(Path(path))
    if order.distributed:
        return run_master(order)
    if order.locustfile is not None:
        # Locust's gevent changes the standard library of a process, and must do so first of all.
        os.execv(sys.executable, [sys.executable, "-m", "load.own_locustfile", path])  # noqa: S606
    return run_single_process(order)


if __name__ == "__main__":
    sys.exit(main())
