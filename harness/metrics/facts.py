"""What was counted in one cell: the facts that metrics, plots and the judge are functions of.

Whatever is counted is of the measured window, by planned send; the ledgers alone include the warm-up.
harness.analysis.facts gathers them from a run directory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.fields import Status
from harness.metrics.event_facts import EventEffects

if TYPE_CHECKING:
    # The checks of an experiment file import the metrics, and must stay quick: no numpy at run time.
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Places = NDArray[np.int64]


@dataclass(frozen=True)
class Ledgers:
    """Counts of one cell, warm-up included. Rows without a request id (not the lab's calls) are not counted.

    client, envoy, replica: rows of each ledger; envoy is 0 where Envoy keeps no ledger of requests. None: the
    lab cannot read the ledger (CellRecord.missing_ledgers), nor what it alone would have. Every attempt at a
    request that reaches a replica is a row there, so replica / client is how many attempts a request took.
    matched: answered requests with exactly one row in every ledger, all naming the same replica. Where
    requests may be tried again: with one row of the client, between one row and as many as there may be
    attempts in each other ledger, and in each of those a row of the replica that the client names. Of an
    Envoy that was killed or restarted rows may lack. None where there is no ledger but the client's.
    unanswered: requests without an answer, given up by the client; they may be in any ledger or in none. So
    may those that did not end with OK on a replica that was killed: it had no time to write its row. Every
    row of a request that ended with OK was written before its answer left.
    Requests that a client sent whose load worker was lost (CellRecord.lost_clients) may be in the other
    ledgers alone; they are rows there, and count as nothing else.
    only_client (answered), only_envoy, only_replica: requests that no other ledger has.
    disagree: any other requests: another replica, or another number of rows.
    envoy_bytes: bytes of the bodies that Envoy carried for these requests, both ways; None where it keeps no
    ledger of requests, or one without bytes.
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
        """Nothing is wrong: every answered request is matched, and no ledger has requests of its own.

        None: the client's ledger is the only one, and there is nothing to hold it against.
        """
        wrong = self.only_client or self.only_envoy or self.only_replica or self.disagree
        return False if wrong else None if self.matched is None else True


@dataclass(frozen=True)
class Sessions:
    """Sessions with an answered request; `requests`: their answered requests.

    top_requests: sum over sessions of the requests on the session's most used replica; group_requests: the
    same for target groups, None where there are none.
    breaks: times that a session's next request, in the order in which the client made them, changed replica.
    random_max_over_mean: what placing these sessions at random predicts, see harness/analysis/sessions.py.
    """

    count: int
    requests: int
    top_requests: int
    group_requests: int | None
    breaks: int
    random_max_over_mean: float | None


@dataclass(frozen=True)
class Streams:
    """Streams of which a message was answered. pure: those whose messages all name one replica.

    message_latency_ns: percentiles of received - planned over their messages; empty without any.
    """

    count: int = 0
    pure: int = 0
    message_latency_ns: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Timeline:
    """The measured window cut into equal time windows, by planned send. Arrays: (windows, replicas).

    starts_s: start of each window, seconds after the start of measuring; width_s: their width.
    requests: answered requests. queue_ns: 99th percentile; in_flight: mean; NaN where none was answered.
    """

    starts_s: Floats
    width_s: float
    requests: Floats
    queue_ns: Floats
    in_flight: Floats


@dataclass(frozen=True)
class WindowSeries:
    """The window cut into equal steps, by planned send. Arrays: (steps,); ribbon arrays: (sessions, steps).

    starts_s: start of each step, seconds after the start of measuring; width_s: their width.
    good, failed: requests that did and did not end with OK. p50_ns, p99_ns: latency from the planned send,
    whatever the outcome; NaN where nothing was planned.
    sessions: (client, session) of the ribbon's rows: the MAX_SESSIONS that lasted longest, the lower
    numbers among equals, in the order of the replicas that answered them first.
    replicas: place of the replica of a session's last answer in a step, -1 where it has none; lapses: its
    requests that did not end with OK.
    """

    starts_s: Floats
    width_s: float
    good: Floats
    failed: Floats
    p50_ns: Floats
    p99_ns: Floats
    sessions: list[tuple[int, int]]
    replicas: Places
    lapses: Places


@dataclass(frozen=True)
class Healthy:
    """Least and mean (over time) number of healthy replicas; None where Envoy was not watched."""

    least: int | None = None
    mean: float | None = None


@dataclass(frozen=True)
class CellFacts:
    """One cell, aggregated. Percentiles ("p50" ... "max") are empty where there was no request.

    errors: gRPC code -> requests, without OK. replica_requests: every replica -> requests it answered.
    client_requests: client -> the same counts in the order of replica_requests.
    short_run_unfairness: see harness.metrics.spread.
    units: what else is spread over the replicas -> its amount on each, in that order: "connections" and
    "sessions" that a replica answered a request of, "messages" it sent, "busy_time" (ns of service).
    connections: of clients, on which a request was answered; None where nobody tells them apart.
    cache_lookups: answers that say whether the session was in the replica's cache; cache_hits: where it was.
    planned_rate_per_s: None in a closed loop, where nothing is planned ahead.
    awaits_answers: clients sent on only after their last answer; their lag counts from that.
    answers_lost: requests that a replica finished with OK and whose client got something else; None where
    the replicas' ledgers cannot be had.
    longest_gap_ns: see session_outages; None without a request. healthy: Envoy's view. events: by time.
    initial_replicas: how many there were when measuring began. series: where it was asked for, of a window
    with requests. lost_workers: a sentence for each load worker that did not play to its end.
    """

    arm: str
    repeat: int
    status: Status
    window_s: float
    requests: int
    errors: dict[str, int]
    replica_requests: dict[str, int]
    client_requests: dict[int, list[int]]
    short_run_unfairness: float | None
    units: dict[str, list[int]]
    connections: int | None
    cache_lookups: int
    cache_hits: int
    sessions: Sessions
    latency_ns: dict[str, float]
    latency_from_send_ns: dict[str, float]
    lag_ns: dict[str, float]
    queue_ns: dict[str, float]
    in_flight: dict[str, float]
    planned_rate_per_s: float | None
    achieved_rate_per_s: float
    streams: Streams
    timeline: Timeline
    ledgers: Ledgers
    awaits_answers: bool = False
    answers_lost: int | None = 0
    longest_gap_ns: float | None = None
    initial_replicas: int = 0
    healthy: Healthy = field(default_factory=Healthy)
    events: Sequence[EventEffects] = ()
    series: WindowSeries | None = None
    lost_workers: tuple[str, ...] = ()
