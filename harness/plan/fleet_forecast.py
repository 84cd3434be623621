"""What each policy makes of a fleet: placements are drawn, and each is simulated under the same requests.

The requests of a placement are drawn once and shared by all policies, as in a run. Another rate uses the same
requests closer together or further apart, so that a search over rates compares like with like.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from harness.errors import UserError
from harness.metrics.metric import RANKS
from harness.plan.placements import busiest_shares, deal, hashed, shares_of
from harness.plan.pool import Pool, ThisMachine
from harness.plan.question import MAX_REQUESTS, MAX_TARGETS, FleetQuestion, Objective
from services.service_time import LOGNORMAL_SIGMA, pareto
from simulator.bounded import BYTES_PER_REQUEST, serve_bounded
from simulator.fast import FIRST_ROOM, FastMachine, Fleet, free_bytes
from simulator.histogram import new_counts, quantile_s

Rule = Literal["round_robin", "least_request", "sticky", "hash", "bounded_hash"]
RULES: tuple[Rule, ...] = ("round_robin", "least_request", "sticky", "hash", "bounded_hash")

BOUND_PERCENT = 125  # of bounded_hash, as Envoy's documentation suggests
PLACED: tuple[Rule, ...] = ("sticky", "hash")  # chance decides once for each session, so placements differ
FEW_PLACEMENTS = 19  # of other policies, whose placements are alike if requests are many
ENOUGH_REQUESTS = 160_000  # of all of them together
MOST_PLACEMENTS, LEAST_PLACEMENTS = 40, 8  # that are simulated for a band
MOST_SEARCHED, LEAST_SEARCHED = 40, 8  # that are simulated at each step of a search
REQUESTS_FOR_BANDS, REQUESTS_FOR_SEARCH = 3_600_000, 1_600_000  # of all placements of a policy together
SEARCH_STEPS = 7  # bisections: a rate is found within 1 % of what the fleet can serve
MAX_TIMES_TARGETS = 8  # a search gives up at so many times the targets that the rate needs at least
BYTES_PER_DRAWN = 28  # time, service time, client, hash of a drawn request
BYTES_PER_CLIENT, BYTES_PER_TARGET = 64, 16 + 16 * FIRST_ROOM


@dataclass(frozen=True)
class Band:
    """What 90 % of placements and seeds stay within, and their median."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Band":
        """Return the band of some simulated values."""
        low, median, high = np.quantile(np.asarray(values), (0.05, 0.5, 0.95)).tolist()
        return cls(low, median, high)


@dataclass(frozen=True)
class Outlook:
    """What to expect of one policy at the asked rate.

    busiest: busiest target over fair share. overload: probability that some target gets more than it can
    serve. p50_ms, p99_ms, goal_ms: latency; goal_ms is the percentile of the objective.
    """

    busiest: Band
    overload: float
    p50_ms: Band
    p99_ms: Band
    goal_ms: Band


@dataclass(frozen=True)
class Answer(Outlook):
    """What to expect of one policy, and what it can carry.

    capacity_per_s: the highest rate at which the objective holds; 0: at none. capacity_is_least: no higher
    rate was tried. targets: how many the objective needs at the asked rate; None: more than `targets_tried`.
    """

    capacity_per_s: float
    capacity_is_least: bool
    targets: int | None
    targets_tried: int


@dataclass(frozen=True)
class Drawn:
    """The requests of one placement: times as if one came a second on average, clients, service times."""

    at: Any
    client: Any
    service_s: Any
    seed: int


@dataclass(frozen=True)
class Simulated:
    """One simulated placement: requests of each target, and a histogram of latencies."""

    requests: Any
    latencies: Any

    def latency_ms(self, percentile: str) -> float:
        """Return a percentile of the latency."""
        return quantile_s(self.latencies, RANKS[percentile]) * 1000


def memory_bytes(question: FleetQuestion, placements: int | None = None) -> int:
    """Return the memory that an answer takes at most. placements: that are drawn here; None: all.

    28 bytes for each drawn request of each placement, 12 for each that one simulation may have under way, 64
    for each client, 272 + 8 x slots for each target.
    """
    drawn = _drawn_requests(question) * (placements or _placements(question))
    targets = max(question.targets, _most_targets(question))
    return (
        BYTES_PER_DRAWN * drawn
        + BYTES_PER_REQUEST * _drawn_requests(question)
        + BYTES_PER_CLIENT * question.clients
        + targets * (BYTES_PER_TARGET + 8 * question.slots)
    )


def confirm_memory(
    question: FleetQuestion, limit_bytes: int | None = None, placements: int | None = None
) -> None:
    """Raise UserError if the answer would take more than `limit_bytes` (None: what is free).

    placements: that are drawn here; None: all.
    """
    needed, limit = memory_bytes(question, placements), free_bytes() if limit_bytes is None else limit_bytes
    if needed > limit:
        expected = "a smaller fleet or rate" + (
            "" if question.placements is None else ", or fewer --placements"
        )
        raise UserError(
            f"--clients {question.clients:,}, --targets {question.targets:,}: the answer takes "
            f"{needed / 1e9:.2g} GB, and {limit / 1e9:.2g} GB are free; expected {expected}"
        )


def _placements(question: FleetQuestion) -> int:
    if question.placements is not None:
        return question.placements
    wanted = REQUESTS_FOR_BANDS / (question.rate_per_s * question.duration_s)
    return max(LEAST_PLACEMENTS, min(MOST_PLACEMENTS, int(wanted)))


def _searched(question: FleetQuestion) -> int:
    if question.placements is not None:
        return question.placements
    wanted = REQUESTS_FOR_SEARCH / (question.rate_per_s * question.duration_s)
    return max(LEAST_SEARCHED, min(MOST_SEARCHED, int(wanted)))


def _few(question: FleetQuestion, least: int) -> int:
    """Return how many placements are enough for a policy whose placements are alike: more of small ones."""
    return max(least, math.ceil(ENOUGH_REQUESTS / (question.rate_per_s * question.duration_s)))


def _most_rate(question: FleetQuestion) -> float:
    """Return the highest rate that a search tries: what all targets can serve, if that can be simulated."""
    served = question.targets * question.target_per_s
    return served if question.recorded is not None else min(served, MAX_REQUESTS / question.duration_s)


def _drawn_requests(question: FleetQuestion) -> int:
    if question.recorded is not None:
        return len(question.recorded.at_s)
    most = max(question.rate_per_s, _most_rate(question)) * question.duration_s
    return math.ceil(most + 6 * math.sqrt(most)) + 1


def _most_targets(question: FleetQuestion) -> int:
    needed = math.ceil(question.rate_per_s / question.target_per_s)
    return min(MAX_TARGETS, max(question.targets, MAX_TIMES_TARGETS * needed))


def simulate(
    question: FleetQuestion,
    rule: Rule,
    drawn: Drawn,
    rate_per_s: float | None = None,
    targets: int | None = None,
    session_s: float | None = None,
) -> Simulated:
    """Simulate a placement, at the question's rate and targets or at others.

    session_s: how long a session lasts before its client begins a new one; None: as long as the load.
    """
    own = question
    rate, count = rate_per_s or own.rate_per_s, targets or own.targets
    at_s = drawn.at / rate
    size = int(np.searchsorted(at_s, own.duration_s))
    at_s, client, service_s = at_s[:size], drawn.client[:size], drawn.service_s[:size]
    sessions, session = own.clients, client
    if session_s is not None:
        sessions, session = _renewed(own.clients, client, at_s, session_s, drawn.seed)
    random = np.random.default_rng([drawn.seed, count])
    if rule == "bounded_hash":
        return _bounded(at_s, session, service_s, hashed(sessions, count, random), count, own.slots)
    fleet = Fleet(
        *(sessions, count, max(1, size), rate, own.service_ms / 1000),
        slots=own.slots,
        rule="least_request" if rule == "least_request" else "round_robin",
        sticky=rule in PLACED,
        seed=drawn.seed,
    )
    machine = FastMachine(fleet)
    if fleet.sticky:
        machine.place((deal if rule == "sticky" else hashed)(sessions, count, random))
    try:
        machine.serve(at_s, session, service_s)
    except ValueError as error:
        raise UserError(str(error)) from error
    outcome = machine.outcome()
    return Simulated(outcome.replica_requests, outcome.latencies)


class FleetForecast:
    """Answers a question, policy by policy. Draws the requests once; `draws`: those of each placement, or
    what stands for them in the pool.
    """

    def __init__(
        self, question: FleetQuestion, placements: int | None = None, pool: Pool | None = None
    ) -> None:
        """Draw the requests. Raises UserError for a fleet that does not fit into memory.

        placements: how many are drawn; None: as many as are simulated in a few seconds. pool: where; None:
        on this machine.
        """
        self._pool = pool or ThisMachine()
        confirm_memory(question, placements=1 if self._pool.is_elsewhere else placements)
        self.question = question
        self._shared = self._pool.share(question)
        numbers = range(placements or _placements(question))
        self.draws = self._pool.keep(draw_placement, [self._shared] * len(numbers), numbers)

    def answer(self, rule: Rule) -> Answer:
        """Simulate one policy, and search its capacity and the targets that it needs."""
        outlook, goal = self.outlook(rule), self.question.goal
        return Answer(**vars(outlook), **self._capacity(rule, goal), **self._targets(rule, goal))

    def outlook(self, rule: Rule) -> Outlook:
        """Simulate one policy at the asked rate."""
        own = self.draws if rule in PLACED else self.draws[: _few(self.question, FEW_PLACEMENTS)]
        found = list(self._simulated(rule, own))
        return Outlook(*self._busiest(rule, found), *self._latencies(found))

    def with_sessions(self, session_s: float) -> Outlook:
        """Simulate sticky sessions that last so many seconds, after which their client begins a new one."""
        searched = self.draws[: _searched(self.question)]
        found = list(self._simulated("sticky", searched, session_s=session_s))
        # No placement stays: what counts is what each target got during the whole load.
        return Outlook(*self._busiest("round_robin", found), *self._latencies(found))

    def _simulated(
        self,
        rule: Rule,
        draws: Sequence[Any],
        rate_per_s: float | None = None,
        targets: int | None = None,
        session_s: float | None = None,
    ) -> Iterator[Simulated]:
        """Yield the simulation of each placement. draws: some of `self.draws`; the rest as in `simulate`."""
        common = ((value,) * len(draws) for value in (rate_per_s, targets, session_s))
        of_each = ((self._shared,) * len(draws), (rule,) * len(draws), draws, *common)
        return self._pool.map(simulate, *of_each)

    def _latencies(self, found: Sequence[Simulated]) -> list[Band]:
        names = ("p50", "p99", self.question.goal.percentile)
        return [Band.of([one.latency_ms(name) for one in found]) for name in names]

    def _busiest(self, rule: Rule, found: Sequence[Simulated]) -> tuple[Band, float]:
        """Return the busiest target over fair share, and the probability that one is overloaded.

        Where sessions stay, both are those of the placement. Else they are what was simulated.
        """
        own = self.question
        if rule in PLACED:
            shares = busiest_shares(shares_of(own), own.targets, own.seed, dealt=rule == "sticky")
        else:
            shares = np.array([one.requests.max() / one.requests.sum() for one in found])
        overloaded = float(np.mean(shares * own.rate_per_s > own.target_per_s))
        return Band.of((shares * own.targets).tolist()), overloaded

    def _holds(self, rule: Rule, goal: Objective, rate_per_s: float, targets: int) -> bool:
        """Return whether the objective holds in all searched placements but one in twenty."""
        count = _searched(self.question)
        if rule not in PLACED:
            count = min(count, _few(self.question, LEAST_SEARCHED))
        searched = self.draws[:count]
        allowed = math.floor(len(searched) * 0.05 + 0.5)
        for found in self._simulated(rule, searched, rate_per_s, targets):
            if found.latency_ms(goal.percentile) > goal.at_most_ms:
                allowed -= 1
                if allowed < 0:
                    return False
        return True

    def _capacity(self, rule: Rule, goal: Objective) -> dict[str, Any]:
        """Return the fields of an Answer about the highest rate at which the objective holds."""
        own = self.question
        low, high = 0.0, _most_rate(own)
        if high < own.targets * own.target_per_s and self._holds(rule, goal, high, own.targets):
            return {"capacity_per_s": high, "capacity_is_least": True}
        for _ in range(SEARCH_STEPS):
            middle = (low + high) / 2
            low, high = (middle, high) if self._holds(rule, goal, middle, own.targets) else (low, middle)
        return {"capacity_per_s": low, "capacity_is_least": False}

    def _targets(self, rule: Rule, goal: Objective) -> dict[str, Any]:
        """Return the fields of an Answer about the fewest targets with which the objective holds."""
        own = self.question
        most = _most_targets(own)
        low, high = math.ceil(own.rate_per_s / own.target_per_s) - 1, 0
        step = max(1, low // 8)
        while True:
            high = min(most, low + step)
            if self._holds(rule, goal, own.rate_per_s, high):
                break
            if high >= most:
                return {"targets": None, "targets_tried": most}
            low, step = high, step * 2
        while high - low > max(1, high // 50):
            middle = (low + high) // 2
            low, high = (low, middle) if self._holds(rule, goal, own.rate_per_s, middle) else (middle, high)
        return {"targets": high, "targets_tried": most}


def draw_placement(question: FleetQuestion, number: int) -> Drawn:
    """Return the requests of one placement, for the highest rate that is tried."""
    count = _drawn_requests(question)
    random = np.random.default_rng([question.seed, number])
    if question.recorded is None:
        edges = np.cumsum(shares_of(question))
        client = np.minimum(np.searchsorted(edges, random.random(count)), question.clients - 1)
    mean_s = question.service_ms / 1000
    if question.distribution == "exponential":
        service_s = random.exponential(mean_s, count)
    elif question.distribution == "lognormal":
        sigma = LOGNORMAL_SIGMA  # E[X] = exp(mu + sigma^2 / 2), as in services/service_time.py
        service_s = random.lognormal(math.log(mean_s) - sigma**2 / 2, sigma, count)
    elif question.distribution == "pareto":
        service_s = pareto(mean_s, random.random(count))
    else:
        service_s = np.full(count, mean_s)
    if question.recorded is None:
        at = np.cumsum(random.standard_exponential(count))
    else:
        at, client = question.recorded.at_s * question.recorded.rate_per_s, question.recorded.client
    return Drawn(at, client.astype(np.int32), service_s, question.seed * 1_000 + number)


def _renewed(clients: int, client: Any, at_s: Any, session_s: float, seed: int) -> tuple[int, Any]:
    """Return the number of sessions, and the session of each request: a client begins one after the other.

    Each client's first session has begun at a random time before the load.
    """
    begun = np.random.default_rng([seed, 1]).random(clients) * session_s
    turn = ((at_s + begun[client]) / session_s).astype(np.int64)
    numbers, session = np.unique(client * (int(turn.max(initial=0)) + 1) + turn, return_inverse=True)
    return max(1, len(numbers)), session.astype(np.int32)


def _bounded(at_s: Any, session: Any, service_s: Any, place: Any, targets: int, slots: int) -> Simulated:
    requests, latencies = np.zeros(targets, np.int64), new_counts()
    free_s = np.zeros((targets, slots))
    # Any number that belongs to the session seeds the order in which other targets are tried.
    key = session.astype(np.uint64) * np.uint64(0x9E3779B9)
    serve_bounded(at_s, place[session], key, service_s, BOUND_PERCENT, free_s, requests, latencies)
    return Simulated(requests, latencies)
