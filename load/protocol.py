"""The messages between master and workers. They travel as Locust's custom messages; `data` of each is a dict.

Sender and receiver know the same secret (load.encrypted_sockets), so no other messages arrive.

The worker sends first:

    PING {sent_ns}                              -> PONG {sent_ns, master_ns, clock}
    HELLO {name, host, code, offset_ns, uncertainty_ns}
                                                -> ORDER {name, order, clients}, or BYE: all places are taken
    READY {phase, channels}                     -> START {phase, start_ns}     start_ns on the master's clock
    ROWS {messages, requests, rows, measured, failures}     CSV text without headers; load.row_batches
    ENDED {state, rows}                         -> BYE {last}
    FAILED {error}                              -> BYE {last}
                                                <- STOP {}                     at any time
"""

import hashlib
from functools import cache
from pathlib import Path

PING, PONG = "lab_ping", "lab_pong"
HELLO, ORDER = "lab_hello", "lab_order"
READY, START = "lab_ready", "lab_start"
ROWS, ENDED, FAILED = "lab_rows", "lab_ended", "lab_failed"
STOP, BYE = "lab_stop", "lab_bye"

TO_MASTER = (PING, HELLO, READY, ROWS, ENDED, FAILED)
TO_WORKER = (PONG, ORDER, START, STOP, BYE)

# A process that has sent nothing for this long counts as lost. Locust sends a heartbeat every second.
SILENCE_TIMEOUT_S = 10.0


@cache
def code_digest() -> str:
    """Return a digest of the code that plans and makes the calls. Workers with another one are refused."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for path in sorted(file for package in ("lb", "load") for file in (root / package).glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
