"""What is simulated: replicas, policy, proxy, clients and their calls, as plain data.

Instants and durations (`*_ns`) are nanoseconds. Codes are gRPC's numbers.
"""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Integers: TypeAlias = npt.NDArray[np.int64]

OK, CANCELLED, UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNIMPLEMENTED = 0, 1, 2, 4, 8, 12
INTERNAL, UNAVAILABLE, DATA_LOSS = 13, 14, 15

Rule = Literal[
    "round_robin",
    "random",
    "least_request",
    "full_scan",
    "ring_hash",
    "maglev",
    "weighted",
    "pick_first",
    "probing",
]
Balancer = Literal["proxy", "connection", "client"]


@dataclass(frozen=True)
class Replica:
    """One replica. `address`: "host:port", which the hash tables hash. The rest as in an experiment file."""

    address: str
    slots: int
    slow_factor: float = 1.0
    slow_share: float = 1.0
    fail_share: float = 0.0
    fail_code: int = UNAVAILABLE
    fail_after_work: bool = False
    fail_after_headers: bool = False
    weight: int = 1


@dataclass(frozen=True)
class Cache:
    """A session cache of each replica: how many sessions, and service time of a hit / of a miss."""

    sessions: int
    hit_factor: float


@dataclass(frozen=True)
class Probes:
    """How clients probe: see lb.policies.ProbingOptions.

    kept: answers that a client keeps at most. uses: requests that may use one answer, a mean.
    """

    per_request: float
    removed_per_request: float
    kept: int
    max_age_ns: int
    hot_quantile: float
    uses: float


@dataclass(frozen=True)
class Policy:
    """How a replica is picked.

    balancer: who picks: a proxy each request, a proxy each connection, or the client each request. rule: what
    picks. sticky: a session stays on the replica of its first answer; strict: also while that is away.
    choices: of least_request. ring_size: least and most points of the ring; table_size: slots of Maglev's
    table; bounded_load_percent: None without a bound. shuffle: of pick_first. probes: of probing.
    """

    balancer: Balancer
    rule: Rule
    sticky: bool = False
    strict: bool = False
    choices: int = 2
    ring_size: tuple[int, int] = (1024, 4096)
    table_size: int = 65_537
    bounded_load_percent: int | None = None
    shuffle: bool = False
    probes: Probes | None = None


@dataclass(frozen=True)
class Costs:
    """What the parts and the network between them take besides queue and service.

    to_balancer_ns: client to proxy; to_replica_ns: balancer to replica; back_ns: replica to balancer;
    to_client_ns: proxy to client.
    """

    to_balancer_ns: int = 0
    to_replica_ns: int = 0
    back_ns: int = 0
    to_client_ns: int = 0


@dataclass(frozen=True)
class HealthChecks:
    """The proxy's health checks. asks: the health service, the server (any answer will do) or the port."""

    asks: Literal["health", "server", "port"]
    interval_ns: int
    timeout_ns: int
    unhealthy_after: int
    healthy_after: int


@dataclass(frozen=True)
class OutlierDetection:
    """The proxy's ejections: see harness.spec.arm.OutlierDetection."""

    consecutive_errors: int
    interval_ns: int
    ejection_ns: int
    max_ejection_percent: int


@dataclass(frozen=True)
class Retries:
    """The proxy's retries: attempts in all, on which codes, first backoff; time of an attempt, 0: any."""

    attempts: int
    codes: tuple[int, ...]
    backoff_ns: int
    attempt_timeout_ns: int = 0


@dataclass(frozen=True)
class Hedging:
    """Further attempts of clients that take turns: attempts in all, and the time until the next one."""

    attempts: int
    after_ns: int


ChangeKind = Literal[
    "behave",
    "kill",
    "stop",
    "end",
    "start",
    "pause",
    "resume",
    "not_serving",
    "serving",
    "drain",
    "remove",
    "join",
]


@dataclass(frozen=True)
class Change:
    """What happens to a replica (its number) at a time from the start of measuring.

    behaviour: of "behave", the replica as it is then. "stop": calls in hand go on; "end" breaks them off.
    "join": the endpoint is there, and not draining.
    """

    at_ns: int
    kind: ChangeKind
    replica: int
    behaviour: Replica | None = None


@dataclass(frozen=True)
class System:
    """A fleet behind its balancer. `seed`: of everything that the parts draw at random.

    nodes: of the proxy; each knows of its own requests only, and makes checks of its own. spread: connection
    c goes to node c % nodes; otherwise chance picks the node. zones: replica -> its zone, from 0, where node
    n sends to those of zone n % zones alone, or with spill_over first; (): each node sends to all. workers:
    threads of each node, each with turns of its own; all know of the node's requests in flight, as Envoy's
    do. first_turn: the replica at which the turns of every worker begin; None: drawn, as Envoy does.
    stream_limit: calls that one connection carries at once; 0: no limit. max_active: of the circuit breaker
    of each node, 0: none. max_queue: calls that may wait at a replica, which refuses one more; None: any
    number. deadline_aware: replicas refuse what they could not answer in time: see services.load_shedding.
    joining: the last replicas, which are not there until a change lets them join. keep_draining: sessions
    stay on a replica that drains.
    """

    replicas: tuple[Replica, ...]
    policy: Policy
    costs: Costs = field(default_factory=Costs)
    cache: Cache | None = None
    workers: int = 1
    nodes: int = 1
    spread: bool = False
    zones: tuple[int, ...] = ()
    spill_over: bool = False
    first_turn: int | None = None
    stream_limit: int = 0
    deadline_ns: int = 10_000_000_000
    seed: int = 0
    checks: HealthChecks | None = None
    outliers: OutlierDetection | None = None
    retries: Retries | None = None
    hedging: Hedging | None = None
    panic_percent: int = 1
    max_active: int = 0
    max_queue: int | None = None
    deadline_aware: bool = False
    keep_draining: bool = False
    changes: tuple[Change, ...] = ()
    joining: int = 0


@dataclass(frozen=True)
class Calls:
    """All calls of all clients, each array (calls,); in the order of phase and planned time.

    client, session, channel: numbers from 0, over all clients. measured: whether the call belongs to the
    second phase, which starts when all calls of the first have ended. planned_ns: from the phase's start.
    work_ns: service time on a replica that is not slowed. key: hash of what a hash policy looks at.

    warm_up_ns: length of the first phase. waits: "first": a session's calls wait for the answer to its first
    one; "each": a client's call waits for the answer to the call before; "none". give_up_ns: in "each", calls
    that would be sent later than this after the second phase's start are not sent.
    """

    client: Integers
    session: Integers
    channel: Integers
    measured: npt.NDArray[np.bool_]
    planned_ns: Integers
    work_ns: Integers
    key: npt.NDArray[np.uint64]
    warm_up_ns: int = 0
    waits: Literal["first", "each", "none"] = "none"
    give_up_ns: int = 2**62

    def __len__(self) -> int:
        return len(self.client)


@dataclass(frozen=True)
class Attempts:
    """What the replicas saw: one entry for each call that reached one.

    call: number of the call. in_flight: calls that the replica had then, this one included. cache: 1 hit,
    0 miss, -1 without a cache, or where the call got no slot.
    """

    call: Integers
    replica: Integers
    arrived_ns: Integers
    started_ns: Integers
    finished_ns: Integers
    queue_ns: Integers
    service_ns: Integers
    in_flight: Integers
    cache: Integers
    code: Integers


@dataclass(frozen=True)
class Outcome:
    """What became of each call, (calls,); instants from the simulation's start.

    replica: who answered, -1: nobody. node: of the proxy, which has the call's connection. sent_ns: -1 for a
    call that was never sent. tries: how often the balancer sent it to a replica. queue_ns, service_ns,
    in_flight, cache: of the last attempt. measure_start_ns: when the second phase began. endpoints: when, of
    which replica, and what the proxy made of it from then on.
    """

    replica: Integers
    node: Integers
    planned_ns: Integers
    sent_ns: Integers
    started_ns: Integers
    finished_ns: Integers
    answered_ns: Integers
    code: Integers
    tries: Integers
    queue_ns: Integers
    service_ns: Integers
    in_flight: Integers
    cache: Integers
    attempts: Attempts
    measure_start_ns: int
    endpoints: tuple[tuple[int, int, str], ...] = ()
