"""The load process: Locust conducts, the asyncio clients of lb/ play.

`python -m load.conductor ORDER.json` plays one order (load.order), alone or as the master of those that
play. SIGTERM ends it early with every finished row written. Exit status: 0 played to the end, 3 stopped
early; anything else: failed.
"""

import os

# Before locust: grpc.aio needs real threads and sockets.
os.environ.setdefault("LOCUST_SKIP_MONKEY_PATCH", "1")
# Before grpc: without its event engine between socket and event loop a call costs a quarter less CPU.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client")
# Before grpc: without it ring_hash takes no key from a header, and every call ends with INTERNAL.
os.environ.setdefault("GRPC_EXPERIMENTAL_RING_HASH_SET_REQUEST_HASH_KEY", "true")

import logging
import sys
from pathlib import Path

from load.master import conduct
from load.order import LoadOrder
from load.solo import play_alone


def main(argv: list[str] | None = None) -> int:
    """Play the order whose path is the one argument."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    (path,) = sys.argv[1:] if argv is None else argv
    order = LoadOrder.read(Path(path))
    return conduct(order) if order.distributed else play_alone(order)


if __name__ == "__main__":
    sys.exit(main())
