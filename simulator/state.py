"""The state of one simulation: arrays of records that the kernels read and write."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Records = npt.NDArray[Any]

NONE = -1  # no record: the end of a list, nobody

# What happens, and to which record.
AT_BALANCER = 0  # call
AT_REPLICA = 1  # attempt
FINISHED = 2  # attempt
BACK_AT_BALANCER = 3  # attempt
ANSWERED = 4  # call

# States of a call: its place on the way.
PLANNED, WAITS_FOR_ANSWER, WAITS_FOR_STREAM, UNDER_WAY, ENDED = 0, 1, 2, 3, 4
# States of an attempt.
TO_REPLICA, QUEUED, RUNNING, DONE, GONE = 0, 1, 2, 3, 4

# Rules of picking.
ROUND_ROBIN, RANDOM, LEAST_REQUEST, FULL_SCAN, RING_HASH, MAGLEV, WEIGHTED, PICK_FIRST = range(8)
# Who picks.
PROXY, CONNECTION, CLIENT = range(3)
# What a call waits for before it is sent.
NOTHING, FIRST_ANSWER, EACH_ANSWER = range(3)

CALL = np.dtype(
    [
        *((name, np.int32) for name in ("client", "session", "channel", "replica")),
        *((name, np.int32) for name in ("attempt", "carried", "next")),
        *((name, np.int8) for name in ("state", "code", "measured")),
        *((name, np.int64) for name in ("planned_ns", "work_ns", "sent_ns", "answered_ns")),
        ("key", np.uint64),
    ]
)
ATTEMPT = np.dtype(
    [
        *((name, np.int32) for name in ("call", "replica", "in_flight", "next")),
        *((name, np.int8) for name in ("state", "code", "cache", "counted")),
        *((name, np.int64) for name in ("arrived_ns", "started_ns", "finished_ns", "queue_ns", "service_ns")),
    ]
)
REPLICA = np.dtype(
    [
        *((name, np.int32) for name in ("slots", "held", "in_flight", "active", "first", "last")),
        *((name, np.float64) for name in ("slow_factor", "slow_share", "fail_share", "weight")),
        *((name, np.int8) for name in ("fail_code", "usable")),
        ("deadline", np.float64),  # of weighted turns
    ]
)
# Calls that wait in line: for a stream of a channel, or for an answer.
CHANNEL = np.dtype(
    [
        *((name, np.int32) for name in ("open", "first", "last", "worker", "replica")),
        *((name, np.uint64) for name in ("turn", "key")),
    ]
)
PENDING = np.dtype([("at_ns", np.int64), ("order", np.int64), ("kind", np.int32), ("record", np.int32)])
GATE = np.dtype([("closed", np.int8), ("opened", np.int8), ("first", np.int32), ("last", np.int32)])
WORLD = np.dtype(
    [
        *((name, np.int64) for name in ("now_ns", "start_ns", "order", "pending")),
        # Calls: planned and sent so far; those whose deadline has passed or that ended before; under way.
        *((name, np.int64) for name in ("planned", "sent", "expired", "open_calls", "attempts", "active")),
        *((name, np.int64) for name in ("to_balancer_ns", "to_replica_ns", "back_ns", "to_client_ns")),
        *(
            (name, np.int64)
            for name in ("deadline_ns", "warm_up_ns", "give_up_ns", "stream_limit", "cache_sessions")
        ),
        *((name, np.int64) for name in ("rule", "balancer", "waits", "choices", "bounded_percent", "usable")),
        *((name, np.int8) for name in ("sticky", "strict", "has_cache", "measuring")),
        *((name, np.float64) for name in ("hit_factor", "virtual_time")),
        *((name, np.uint64) for name in ("random", "seed")),
    ]
)


class State(NamedTuple):
    """All that changes. `world`: one record. heap: what is to happen. sent: calls in the order of sending.

    cookies: session -> replica that its cookie names, or NONE.

    usable: the replicas that may be picked, in order, the first world.usable entries. turns: worker -> picks
    so far, plus its start. ring_points, ring_hosts: of ring_hash; table: of Maglev. used: (replica, session)
    -> when the replica's cache last used the session, 0 if it does not have it; (0, 0) without caches.
    """

    world: Records
    heap: Records
    sent: npt.NDArray[np.int32]
    calls: Records
    attempts: Records
    replicas: Records
    channels: Records
    gates: Records
    cookies: npt.NDArray[np.int32]
    usable: npt.NDArray[np.int32]
    turns: npt.NDArray[np.uint64]
    ring_points: npt.NDArray[np.uint64]
    ring_hosts: npt.NDArray[np.int32]
    table: npt.NDArray[np.int32]
    used: npt.NDArray[np.int64]
