"""The state of one simulation: arrays of records that the kernels read and write."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Records = npt.NDArray[Any]

NONE = -1  # no record: the end of a list, nobody
RECENT_LOADS = 128  # lb.probing.RECENT: answers from which a client knows how busy replicas usually are
RECENT_ATTEMPTS = 64  # services.latency_estimate.RECENT: from which a replica knows what a request takes

# What happens, and to which record.
AT_BALANCER = 0  # call
AT_REPLICA = 1  # attempt
FINISHED = 2  # attempt
BACK_AT_BALANCER = 3  # attempt
ANSWERED = 4  # call
CHANGE = 5  # change: see simulator.changes
CHECK, CHECK_TIMES_OUT = 6, 7  # node x replicas + replica
LOOK_AT_EJECTIONS = 8  # none
RETRY = 9  # call
ATTEMPT_TIMES_OUT = 10  # attempt
PROBE = 11  # client x replicas + replica
HEDGE = 12  # attempt

# States of a call: its place on the way.
PLANNED, WAITS_FOR_ANSWER, WAITS_FOR_STREAM, UNDER_WAY, ENDED = 0, 1, 2, 3, 4
# States of an attempt.
TO_REPLICA, QUEUED, RUNNING, DONE, GONE = 0, 1, 2, 3, 4

# States of a replica's process.
UP, PAUSED, STOPPING, DOWN = range(4)
# What a change does.
BEHAVE, KILL, STOP, END, START, PAUSE, RESUME, NOT_SERVING, SERVING, DRAIN, REMOVE, JOIN = range(12)
# What an active health check finds out.
NO_CHECKS, ASKS_HEALTH, ASKS_SERVER, ASKS_PORT = range(4)
# States of an endpoint in the proxy, as the log has them.
HEALTHY, UNHEALTHY, EJECTED, DRAINING, ABSENT = range(5)

# Rules of picking.
ROUND_ROBIN, RANDOM, LEAST_REQUEST, FULL_SCAN, RING_HASH, MAGLEV, WEIGHTED, PICK_FIRST, PROBING = range(9)
# Who picks.
PROXY, CONNECTION, CLIENT = range(3)
# What a call waits for before it is sent.
NOTHING, FIRST_ANSWER, EACH_ANSWER = range(3)

CALL = np.dtype(
    [
        *((name, np.int32) for name in ("client", "session", "channel", "replica")),
        *((name, np.int32) for name in ("attempt", "carried", "next", "tries")),
        *((name, np.int8) for name in ("state", "code", "measured")),
        *((name, np.int64) for name in ("planned_ns", "work_ns", "sent_ns", "answered_ns")),
        ("nth_sent", np.int32),  # entry n: the call that was sent as the nth
        ("key", np.uint64),
    ]
)
ATTEMPT = np.dtype(
    [
        *((name, np.int32) for name in ("call", "replica", "in_flight", "next", "before")),
        *(
            (name, np.int8)
            for name in ("state", "code", "cache", "counted", "held", "late", "reset", "fails", "told")
        ),
        *((name, np.int64) for name in ("arrived_ns", "started_ns", "finished_ns", "queue_ns", "service_ns")),
    ]
)
REPLICA = np.dtype(
    [
        *((name, np.int32) for name in ("slots", "held", "in_flight", "first", "last")),
        *((name, np.float64) for name in ("slow_factor", "slow_share", "fail_share", "weight")),
        *((name, np.int8) for name in ("fail_code", "fail_after_work", "fail_after_headers")),
        # Process, health service, what the proxy is told of it, and the state that the log shows.
        *((name, np.int8) for name in ("state", "serving", "listed", "draining", "shown")),
        ("deadline", np.float64),  # of weighted turns
        ("mean_ns", np.float64),  # recent service time; 0: none yet
        # Where clients probe: attempts answered with OK, and of the last ones requests in flight and latency.
        ("learnt", np.int64),
        *((name, np.int64, RECENT_ATTEMPTS) for name in ("learnt_in_flight", "learnt_ns")),
        # Of maglev, where replicas come and go: first slot and step; the place in the order of dealing slots.
        *((name, np.uint64) for name in ("maglev_first", "maglev_step")),
        ("maglev_place", np.int32),
    ]
)
# A replica as one node of the proxy has it. known: the node may send there. spare: it gets only what others
# cannot carry. usable: a cookie may name it.
ENDPOINT = np.dtype(
    [
        *((name, np.int8) for name in ("known", "spare", "healthy", "ejected", "usable")),
        *((name, np.int32) for name in ("passes", "fails", "errors", "ejections")),
        ("ejected_ns", np.int64),
    ]
)
# A node of the proxy. count, spare: replicas that it may pick. first_percent: of the requests to the former.
NODE = np.dtype([(name, np.int64) for name in ("count", "spare", "first_percent", "active")])
# Calls that wait in line: for a stream of a channel, or an answer. picker: who counts the calls under way.
CHANNEL = np.dtype(
    [
        *((name, np.int32) for name in ("open", "first", "last", "worker", "node", "picker", "replica")),
        *((name, np.uint64) for name in ("turn", "key")),
        # Of clients that probe: answers kept, and heard so far; whether the worst goes next; what is due.
        *((name, np.int64) for name in ("kept", "heard", "removes_oldest")),
        *((name, np.float64) for name in ("probes_due", "removals_due")),
    ]
)
PENDING = np.dtype([("at_ns", np.int64), ("order", np.int64), ("kind", np.int32), ("record", np.int32)])
CHANGES = np.dtype(
    [
        *((name, np.int64) for name in ("at_ns", "kind", "replica")),
        *((name, np.float64) for name in ("slow_factor", "slow_share", "fail_share")),  # of BEHAVE
        *((name, np.int8) for name in ("fail_code", "fail_after_work", "fail_after_headers")),
    ]
)
SEEN = np.dtype([("at_ns", np.int64), ("replica", np.int32), ("state", np.int8)])
GATE = np.dtype([("closed", np.int8), ("opened", np.int8), ("first", np.int32), ("last", np.int32)])
# An answer to a probe that a client keeps.
KEPT = np.dtype(
    [
        *((name, np.int32) for name in ("replica", "in_flight", "left")),
        *((name, np.int64) for name in ("latency_ns", "at_ns")),
    ]
)
WORLD = np.dtype(
    [
        *((name, np.int64) for name in ("now_ns", "start_ns", "order", "pending")),
        # Calls: planned and sent so far; those whose deadline has passed or that ended before.
        *((name, np.int64) for name in ("planned", "sent", "expired", "open_calls", "attempts")),
        *((name, np.int64) for name in ("to_balancer_ns", "to_replica_ns", "back_ns", "to_client_ns")),
        *(
            (name, np.int64)
            for name in ("deadline_ns", "warm_up_ns", "give_up_ns", "stream_limit", "cache_sessions")
        ),
        *((name, np.int64) for name in ("rule", "balancer", "waits", "choices", "bounded_percent")),
        *((name, np.int64) for name in ("checks", "check_ns", "check_timeout_ns", "panic_percent")),
        *((name, np.int64) for name in ("unhealthy_after", "healthy_after", "seen")),
        *(
            (name, np.int64)
            for name in ("eject_after", "eject_look_ns", "ejection_ns", "max_ejected_percent")
        ),
        *((name, np.int64) for name in ("max_tries", "backoff_ns", "attempt_timeout_ns", "max_active")),
        *((name, np.int64) for name in ("retry_codes", "ring_size", "min_ring", "max_ring", "max_queue")),
        *((name, np.int64) for name in ("probe_ns", "probe_age_ns", "hedge_tries", "hedge_ns")),
        *((name, np.int8) for name in ("keep_draining", "changing", "deadline_aware")),
        *((name, np.int8) for name in ("sticky", "strict", "has_cache", "measuring")),
        *((name, np.float64) for name in ("hit_factor", "virtual_time", "probe_uses", "hot_quantile")),
        *((name, np.float64) for name in ("probes_per_request", "removed_per_request")),
        *((name, np.uint64) for name in ("random", "seed")),
    ]
)


class State(NamedTuple):
    """All that changes. `world`: one record. heap: what is to happen.

    cookies: session -> replica that its cookie names, or NONE.

    endpoints: (node, replica) -> the replica as this node of the proxy has it; all clients have one node.
    usable: (node, place) -> a replica that node n may pick, in order, the first nodes[n].count; behind the
    rows of all nodes those of their spare replicas. active: (picker, replica) -> requests that this node of
    the proxy, or this client, has under way there. turns: worker -> picks so far, plus its start; with spare
    replicas, behind those of all workers their turns among these. ring_points, ring_hosts: of ring_hash;
    table: of Maglev. used: (replica, session) -> when the replica's cache last used the session, 0 if it does
    not have it; (0, 0) without caches.

    changes: what happens to replicas, from the start of measuring. seen: what became of endpoints, the first
    world.seen entries. points: (replica, number) -> hash of a point of a ring; empty where nothing changes.

    Where clients probe: kept: (client, place) -> an answer, the oldest first; heard: (client, number) ->
    requests in flight in recent answers. Otherwise these are empty.
    """

    world: Records
    heap: Records
    calls: Records
    attempts: Records
    replicas: Records
    channels: Records
    gates: Records
    cookies: npt.NDArray[np.int32]
    usable: npt.NDArray[np.int32]
    nodes: Records
    endpoints: Records
    active: npt.NDArray[np.int32]
    turns: npt.NDArray[np.uint64]
    ring_points: npt.NDArray[np.uint64]
    ring_hosts: npt.NDArray[np.int32]
    table: npt.NDArray[np.int32]
    used: npt.NDArray[np.int64]
    changes: Records
    seen: Records
    points: npt.NDArray[np.uint64]
    kept: Records
    heard: npt.NDArray[np.int64]
