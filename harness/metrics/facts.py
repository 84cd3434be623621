"""The facts of one cell: the counts and percentiles from which metrics, plots and the judge work.

All facts are about the measured window, by planned send. Only the ledgers' counts include the warm-up.
harness.analysis.facts collects them from a run directory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.fields import DisturbanceCause, Status

if TYPE_CHECKING:
    # The checks of an experiment file import the metrics, and must stay quick: no numpy at run time.
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Ledgers:
    """Counts of one cell's ledgers, warm-up included.

    Rows without a request id are not counted: the lab did not send these calls.
    client, envoy, replica: rows of each ledger. envoy is 0 where Envoy keeps no ledger of requests. A count
    is None where the lab cannot read that ledger (CellRecord.missing_ledgers). A replica writes one row for
    each attempt, so replica / client is the number of attempts per request.
    matched: answered requests that have exactly one row in every ledger, and all rows name the same replica.
    With retries such a request has one row of the client, and in each other ledger between one row and the
    largest number of attempts. In each of those ledgers, one row is of the replica that the client names.
    Rows of an Envoy that was killed or restarted may be missing. None if only the client's ledger can be
    read.
    unanswered: requests that the client gave up. They may be in any ledger or in none. A request that did not
    end with OK on a killed replica counts here too, because the replica had no time to write its row. A
    replica writes the row of a request that ends with OK before it answers.
    only_client (answered), only_envoy, only_replica: requests that no other ledger has.
    disagree: all other requests. Their rows name different replicas, or the number of rows is wrong.
    envoy_bytes: bytes of the bodies that Envoy carried for these requests, both ways. None where Envoy keeps
    no ledger of requests, or one without bytes.

    Requests of clients whose load worker was lost (CellRecord.lost_clients) may be missing in the client's
    ledger. Their rows in other ledgers count as rows and as nothing else.
    """

    client: int
    envoy: int | None
    replica: int | None
    matched: int | None
    unanswered: int
    only_client: int | None
    only_envoy: int | None
    only_replica: int | None
    disagree: int
    envoy_bytes: int | None = None

    @property
    def reconciled(self) -> bool | None:
        """Whether every answered request is matched and no ledger has requests of its own.

        None if the client's ledger is the only one: then there is nothing to compare it with.
        """
        wrong = self.only_client or self.only_envoy or self.only_replica or self.disagree
        return False if wrong else None if self.matched is None else True


@dataclass(frozen=True)
class Placement:
    """Busiest replica / fair share over random placements of a cell's sessions: mean, and the 5th and 95th
    percentiles. See harness.analysis.sessions.random_placement.
    """

    mean: float
    p5: float
    p95: float


@dataclass(frozen=True)
class Sessions:
    """Counts of the sessions that have an answered request.

    count: sessions. requests: their answered requests.
    top_requests: for each session the requests on its most used replica, summed over the sessions.
    group_requests: the same for target groups; None without target groups.
    breaks: how often the next request of a session went to another replica. A client's requests are in the
    order in which it made them.
    random_placement: what random placement of these sessions predicts.
    """

    count: int
    requests: int
    top_requests: int
    group_requests: int | None
    breaks: int
    random_placement: Placement | None


@dataclass(frozen=True)
class Streams:
    """Counts of the streams that have an answered message.

    count: streams. pure: streams whose messages all name one replica.
    message_latency_ns: percentiles of received - planned over their messages; empty without messages.
    missing: messages of all streams that were sent, with an answer or without, which never came;
    None: it is not known how many there were to be.
    """

    count: int = 0
    pure: int = 0
    message_latency_ns: dict[str, float] = field(default_factory=dict)
    missing: int | None = 0


@dataclass(frozen=True)
class Latency:
    """Percentiles ("p50" ... "max") of a latency in nanoseconds. Empty where there is no request.

    of_all_ns: of all requests. A failed request counts as longer than any answer, so the value is infinity
    where the percentile falls on a failed request.
    at_least_ns: what the percentile of all requests is at least. Where that is known, it is that. Else
    that of the time until the end, of answers and failures alike, and no less than a lower percentile.
    of_ok_ns: of the requests that ended with OK.
    """

    of_all_ns: dict[str, float] = field(default_factory=dict)
    at_least_ns: dict[str, float] = field(default_factory=dict)
    of_ok_ns: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ReplicaSeries:
    """Each replica over time. The measured window is cut into equal time windows, by planned send.

    starts_s: (windows,), start of each window, seconds after the start of measuring. width_s: their width.
    requests, queue_ns, in_flight: (windows, replicas). requests: answered requests. queue_ns: the longest
    queue time. in_flight: mean. The last two are of all attempts that the replica saw, also of requests that
    were given up, and NaN where it saw none.
    """

    starts_s: Floats
    width_s: float
    requests: Floats
    queue_ns: Floats
    in_flight: Floats


@dataclass(frozen=True)
class NodeSeries:
    """Each of several nodes of the proxy over time. The windows are those of ReplicaSeries.

    nodes: names. requests: (windows, nodes), answered requests.
    """

    nodes: Sequence[str]
    requests: Floats


@dataclass(frozen=True)
class WindowSeries:
    """The whole load and some sessions over time, in equal steps of the measured window, by planned send.

    starts_s: (steps,), start of each step, seconds after the start of measuring. width_s: their width.
    good, failed: (steps,), requests that did and did not end with OK.
    p50_ns, max_ns: (steps,), median and maximum of the latency from the planned send of the requests that
    ended with OK; NaN where there is none. A step has too few requests for its 99th percentile.
    sessions: (client, session) of the MAX_SESSIONS sessions that lasted longest; among equals, those with the
    lower numbers. They are sorted by the replica that answered them first.
    replicas: (sessions, steps), index of the replica that gave the session's last answer in the step; -1
    without an answer.
    failures: (sessions, steps), requests of the session in the step that did not end with OK.
    """

    starts_s: Floats
    width_s: float
    good: Floats
    failed: Floats
    p50_ns: Floats
    max_ns: Floats
    sessions: list[tuple[int, int]]
    replicas: Ints
    failures: Ints


@dataclass(frozen=True)
class RateEffects:
    """What a rate that changes did to the requests, see harness.analysis.rate_effects.

    planned_per_s: (steps,), the mean planned rate of all clients in each step of the measured window; the
    steps are those of WindowSeries. width_s: their width.
    usual_ns: the 95th percentile latency of the requests with OK of the first eighth of the window; None
    without one. A request is late if it failed or took more than twice that. A step is late if a tenth of its
    requests are, and so are those of the step before or after.
    recovery_s: from the end of the last step that was planned to have more than the mean rate to the end of
    the last late step after it; 0 when none was late. None where the window ends with such a rate.
    knee_per_s: the planned rate of the first late step; None without one.
    """

    planned_per_s: Floats
    width_s: float
    usual_ns: float | None
    recovery_s: float | None
    knee_per_s: float | None


@dataclass(frozen=True)
class Healthy:
    """Minimum and mean (over time) number of healthy replicas; None where the lab did not watch Envoy."""

    minimum: int | None = None
    mean: float | None = None


@dataclass(frozen=True)
class SessionMigration:
    """Counts of the sessions that an event moved to another replica, or could have moved.

    seen: sessions with two answers or more before the event. "Before" begins when the previous event had
    taken
    effect (for the first event: at the start of measuring) and ends when this event was asked for.
    pinned: seen sessions whose answers all came from one replica.
    moved: pinned sessions whose last answer of the interval came from another replica.
    needed: pinned sessions that had to move. Their replica was a target that the event removed, or their last
    answer came from another replica that the event returned.
    returned_share: a share of the sessions that were pinned to a target before the last event that removed
    it,
    and that have an answer in the interval: those whose last answer came from that target. None where there
    is no such session, or the event returns no replica.
    """

    seen: int = 0
    pinned: int = 0
    moved: int = 0
    needed: int = 0
    returned_share: float | None = None

    @property
    def moved_over_needed(self) -> float | None:
        """Return moved / needed; a needed of 0 counts as 1.

        None where less than half of the sessions seen were pinned: then those were pinned by chance.
        """
        if not self.pinned or 2 * self.pinned < self.seen:
            return None
        return self.moved / max(1, self.needed)


@dataclass(frozen=True)
class EventEffects:
    """The facts of one event and its interval.

    The interval begins when the event was asked for, and ends with the next event or the measured window.
    A request belongs to the interval in which it was planned. A failed request belongs to the event that
    caused the failure, see harness.analysis.event_effects.attribute_failures. Durations count from the event.

    at_s: when the event was asked for, seconds from the start of measuring. length_s: length of the interval.
    requests: all requests of the interval. ok: those that ended with OK. good_answers: requests with OK, of
    any interval, whose answer came in this one.
    errors: gRPC code -> failed requests. failed_sessions: sessions with a failed request.
    last_failure_ns: until the last failed request ended; 0 when none failed.
    delayed: requests that ended with OK but took longer than DELAYED_TIMES the usual latency. The usual
    latency is the 99th percentile of the requests with OK that were planned before the first event. None
    without these.
    longest_outage_ns: see harness.analysis.sessions.session_outages; None without a request.
    migration: the sessions that moved.
    breaks: how often the next answer of a session came from another replica, in this interval.
    first_answer_ns: until a replica that the event returned answered a request that was planned after the
    event. None where no such answer came, or the event returns no replica.
    fair_share_after_ns: see harness.analysis.sessions; None if the event returns no replica.
    present: number of replicas that take part after the event.
    answered: requests that name a replica. on_targets: those that a target answered, or had as a node of the
    proxy; None if no target is known.
    attempts: rows in the replicas' ledgers for the interval's requests.
    lost_answers: see harness.analysis.ledgers.
    latency: of the interval's requests, from the planned send.
    took_effect_ns: until the last of `effects`.
    effects: (seconds from the start of measuring, target, what was seen).
    steps: (seconds from the start of measuring, action, target).
    details: the event's own parameters.
    """

    number: int
    do: str
    targets: tuple[str, ...]
    undoes: int | None
    notification: str
    at_s: float
    length_s: float
    requests: int
    ok: int
    good_answers: int
    errors: dict[str, int]
    failed_sessions: int
    last_failure_ns: float
    delayed: int | None
    longest_outage_ns: float | None
    migration: SessionMigration
    breaks: int
    first_answer_ns: float | None
    fair_share_after_ns: float | None
    present: int
    answered: int
    on_targets: int | None
    attempts: int
    lost_answers: int
    latency: Latency
    took_effect_ns: float | None = None
    effects: tuple[tuple[float, str, str], ...] = ()
    steps: tuple[tuple[float, str, str], ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StageTimes:
    """The times of one stage in the requests of a cell, ns.

    percentiles: "p50" ... "max", without those for which the cell has too few requests. mean: over all
    requests. slowest: the mean over the requests whose latency is at least its 99th percentile.
    """

    percentiles: Mapping[str, float]
    mean: float
    slowest: float


@dataclass(frozen=True)
class GeneratorShare:
    """The load generator's own share of the latencies, see harness.analysis.generator_share.

    own_ns: percentiles of the share. latency, latency_from_send: of each latency less the share in it.
    """

    own_ns: dict[str, float] = field(default_factory=dict)
    latency: Latency = field(default_factory=Latency)
    latency_from_send: Latency = field(default_factory=Latency)


@dataclass(frozen=True)
class CellFacts:
    """All facts of one cell. Percentiles ("p50" ... "max") are left out where there are too few requests for
    them, see harness.metrics.metric.min_values; of lag_ns all are there if there is a request.

    good_answers: requests with OK whose answer came inside the window.
    unsent: requests planned in the window that the clients' ledger lacks, without those of lost load workers;
    None in a closed loop.

    errors: gRPC code -> failed requests. replica_requests: replica -> requests that it answered, all
    replicas.
    client_requests: client -> the same counts, in the order of replica_requests.
    replica_attempts: replica -> attempts of the window's requests in its ledger; None where the lab cannot
    read the replicas' ledgers.
    short_run_unfairness: see harness.analysis.window_series.
    wasted_share: see harness.analysis.attempts; None where the lab cannot read the replicas' ledgers.
    units: unit -> its amount on each replica, in the order of replica_requests. The units are the
    "connections" and "sessions" that the replica served, the "messages" that it sent, and its "busy_time" (ns
    of service).
    connections: connections of clients with an answered request; None where the lab cannot tell them apart.
    latency, latency_from_send: from the planned and from the actual send.
    queue_ns, in_flight: of all attempts that replicas saw, see harness.analysis.attempts; where the lab
    cannot read the replicas' ledgers, of the answered requests.
    cache_lookups: answers that say whether the replica remembered the session. cache_hits: those that say
    yes.
    planned_rate_per_s: None in a closed loop, which plans no send times.
    lag_ns: of sent - ready, see lb.rows.
    awaits_answers: whether a client waits for each answer before it sends again.
    answers_lost: requests that a replica finished with OK while the client got an error; None where the lab
    cannot read the replicas' ledgers.
    longest_outage_ns: see harness.analysis.sessions.session_outages; None without a request.
    rate: None where the rate does not change.
    initial_replicas: number of replicas when measuring began. healthy: Envoy's view. events: by time.
    series: None where the caller did not ask for it, or the window has no request.
    lost_workers: one sentence for each load worker that was lost. interruptions: one clause for each time in
    which a part of the lab, or the machine, stood still, although no event did that.
    stages: stage -> its times, see harness.metrics.stages; empty where the replicas' ledgers cannot be read.
    generator: the load generator's own share.
    contradictions: one sentence for each way in which the record contradicts itself.
    disturbed: why the machine has spoilt the cell, which was not measured again; None: it has not.
    disturbed_by: what took the machine then.
    least_latency: what the planned work alone causes, see harness.analysis.least_latency; None where that is
    not known, or where the machine was not taken.
    zone_requests: (zone of the proxy node, zone of the replica) -> answered requests; None without zones,
    or where the nodes are not known.
    node_series: None where the proxy has one node, or the clients are not told which one had a request.
    cpu_cores: part (replica-N, envoy, load) -> CPU cores that it used; empty where nobody counted them.
    """

    arm: str
    repeat: int
    status: Status
    window_s: float
    requests: int
    good_answers: int
    unsent: int | None
    errors: dict[str, int]
    replica_requests: dict[str, int]
    client_requests: dict[int, list[int]]
    replica_attempts: dict[str, int] | None
    short_run_unfairness: float | None
    units: dict[str, list[int]]
    connections: int | None
    cache_lookups: int
    cache_hits: int
    sessions: Sessions
    latency: Latency
    latency_from_send: Latency
    lag_ns: dict[str, float]
    queue_ns: dict[str, float]
    in_flight: dict[str, float]
    planned_rate_per_s: float | None
    achieved_rate_per_s: float
    streams: Streams
    replica_series: ReplicaSeries
    ledgers: Ledgers
    awaits_answers: bool = False
    answers_lost: int | None = 0
    longest_outage_ns: float | None = None
    rate: RateEffects | None = None
    initial_replicas: int = 0
    healthy: Healthy = field(default_factory=Healthy)
    events: Sequence[EventEffects] = ()
    series: WindowSeries | None = None
    lost_workers: tuple[str, ...] = ()
    interruptions: tuple[str, ...] = ()
    stages: Mapping[str, StageTimes] = field(default_factory=dict)
    generator: GeneratorShare = field(default_factory=GeneratorShare)
    contradictions: tuple[str, ...] = ()
    disturbed: str | None = None
    disturbed_by: DisturbanceCause | None = None
    least_latency: Latency | None = None
    zone_requests: Mapping[tuple[str, str], int] | None = None
    wasted_share: float | None = None
    node_series: NodeSeries | None = None
    cpu_cores: Mapping[str, float] = field(default_factory=dict)

    @property
    def crossed_zones(self) -> int | None:
        """Answered requests that crossed zones; None where `zone_requests` is."""
        return None if self.zone_requests is None else crossed(self.zone_requests)


def crossed(zone_requests: Mapping[tuple[str, str], int]) -> int:
    """Return how many requests a proxy node sent to a replica of another zone: see CellFacts."""
    return sum(count for (of, to), count in zone_requests.items() if of != to)
