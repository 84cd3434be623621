"""The planner's question: clients, rate and targets of a fleet, and the objective that it is to keep."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.errors import UserError, did_you_mean
from harness.metrics.metric import RANKS
from harness.plan.capacity import mean_ms_of_call
from harness.spec.experiment import Experiment, Replicas
from harness.spec.model import TraceSource
from harness.spec.trace_file import requests_of_trace
from services.settings import Distribution

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MAX_CLIENTS, MAX_TARGETS, MAX_SLOTS, MAX_SLOTS_IN_ALL = 1_000_000, 10_000, 10_000, 1_000_000
MAX_SKEW, MAX_RATE_PER_S = 10.0, 1e9
MAX_REQUESTS = 200_000  # that one placement is simulated with
DEFAULT_SECONDS, LEAST_SECONDS, MAX_SECONDS = 60.0, 5.0, 86_400.0
LEAST_REQUESTS = 2_000  # of the default time: a p99 of fewer requests says little
DEFAULT_OBJECTIVE = 10  # the objective without --slo: p99 at most so many mean service times
UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "min": 60_000.0}
LEAST_PLACEMENTS, MAX_PLACEMENTS = 8, 100_000  # that --placements may ask for
PERCENTILES = tuple(name for name in RANKS if name != "max")

# What bad input is called: by the command's options, or by the keys of an experiment file.
NAMES = {
    "clients": "--clients",
    "rate_per_s": "--rate",
    "skew": "--skew",
    "targets": "--targets",
    "slots": "--slots",
    "service_ms": "--service-time",
    "seconds": "--seconds",
    "placements": "--placements",
}


@dataclass(frozen=True)
class Objective:
    """What the fleet is to keep: a percentile of the latency, and the most that it may be."""

    percentile: str
    at_most_ms: float

    def in_words(self) -> str:
        """Return the objective as "p99 at most 300 ms"."""
        return f"{self.percentile} at most {duration(self.at_most_ms)}"


@dataclass(frozen=True, eq=False)
class RecordedLoad:
    """The arrivals of a trace, by time. at_s: seconds from the first one, (requests,). client: who sent it,
    (requests,); clients are numbered from the busiest.
    """

    at_s: npt.NDArray[np.float64]
    client: npt.NDArray[np.int32]

    @property
    def rate_per_s(self) -> float:
        """Requests per second, all clients together."""
        return len(self.at_s) / float(self.at_s[-1])

    @property
    def requests_of(self) -> npt.NDArray[np.int64]:
        """Requests of each client, (clients,), the most first."""
        import numpy as np

        return np.bincount(self.client)


@dataclass(frozen=True)
class FleetQuestion:
    """A fleet and its load, as the planner sees it.

    skew: client k sends in proportion to 1 / k ** skew. service_ms: mean time for which a request holds one
    of a target's `slots`. seconds: how long the load lasts. recorded: the arrivals of a trace, which are then
    played at the rate; None: clients send at random. notes: what of an experiment the planner leaves
    out, each in a sentence. placements: how many are simulated; None: as many as a few seconds allow.
    """

    clients: int
    rate_per_s: float
    skew: float
    targets: int
    service_ms: float
    slots: int = 8
    distribution: Distribution = "lognormal"
    objective: Objective | None = None
    seconds: float | None = None
    seed: int = 1
    notes: tuple[str, ...] = ()
    recorded: RecordedLoad | None = None
    placements: int | None = None

    def __post_init__(self) -> None:
        """Raise UserError, one line, for a value that cannot be answered."""
        _confirm_whole("clients", self.clients, MAX_CLIENTS)
        _confirm_whole("targets", self.targets, MAX_TARGETS)
        _confirm_whole("slots", self.slots, MAX_SLOTS)
        _confirm("rate_per_s", self.rate_per_s, 0, MAX_RATE_PER_S)
        _confirm("service_ms", self.service_ms, 0, UNITS_MS["min"])
        if not 0 <= self.skew <= MAX_SKEW:
            raise UserError(f"--skew: {self.skew:g}: expected 0 to {MAX_SKEW:g}")
        if self.seconds is not None:
            _confirm("seconds", self.seconds, 0, MAX_SECONDS)
        if self.placements is not None:
            _confirm_whole("placements", self.placements, MAX_PLACEMENTS, LEAST_PLACEMENTS)
        if self.targets * self.slots > MAX_SLOTS_IN_ALL:
            raise UserError(
                f"--targets {self.targets:,}, --slots {self.slots:,}: {self.targets * self.slots:,} slots in "
                f"all; expected at most {MAX_SLOTS_IN_ALL:,}"
            )
        if self.rate_per_s * self.duration_s > MAX_REQUESTS * (1 + 1e-9):
            raise UserError(
                f"--rate: {self.rate_per_s:g}/s for {self.duration_s:g} s are "
                f"{self.rate_per_s * self.duration_s:,.3g} requests, and each placement is simulated with at "
                f"most {MAX_REQUESTS:,}; expected at most {MAX_REQUESTS / self.duration_s:,.0f}/s"
                + ("" if self.seconds is None else ", or fewer --seconds")
            )

    @property
    def duration_s(self) -> float:
        """How long the load lasts, in seconds: as asked, or a minute, less where requests are too many."""
        if self.recorded is not None:
            return len(self.recorded.at_s) / self.rate_per_s
        if self.seconds is not None:
            return self.seconds
        most = max(LEAST_SECONDS, MAX_REQUESTS / self.rate_per_s)
        return min(max(DEFAULT_SECONDS, LEAST_REQUESTS / self.rate_per_s), most, MAX_SECONDS)

    @property
    def target_per_s(self) -> float:
        """How many requests a second one target can serve."""
        return self.slots * 1000 / self.service_ms

    @property
    def utilisation(self) -> float:
        """Requests that arrive / requests that all targets together can serve."""
        return self.rate_per_s / (self.targets * self.target_per_s)

    @property
    def goal(self) -> Objective:
        """The objective; without one, p99 at most DEFAULT_OBJECTIVE mean service times."""
        return self.objective or Objective("p99", DEFAULT_OBJECTIVE * self.service_ms)

    def with_targets(self, targets: int) -> FleetQuestion:
        """Return the same question for another number of targets."""
        return replace(self, targets=targets)


def _confirm_whole(name: str, value: int, most: int, least: int = 1) -> None:
    if not least <= value <= most:
        raise UserError(f"{NAMES[name]}: {value}: expected a whole number from {least} to {most:,}")


def _confirm(name: str, value: float, above: float, most: float) -> None:
    if not above < value <= most:  # false for NaN, too
        unit = " ms" if name == "service_ms" else ""
        raise UserError(
            f"{NAMES[name]}: {value:g}{unit}: expected more than {above:g}, at most {most:g}{unit}"
        )


def duration(ms: float) -> str:
    """Return a time for people: "250 ms", "1.3 s", "2.1 min"."""
    if ms < 1000:
        return f"{ms:.3g} ms"
    if ms < 100_000:
        return f"{ms / 1000:.3g} s"
    return f"{ms / 60_000:.3g} min"


def parse_duration_ms(text: str, option: str) -> float:
    """Return a time like "40ms" or "0.2s" in milliseconds. Raises UserError for anything else."""
    found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([a-z]+)\s*", text)
    if found is None or found[2] not in UNITS_MS:
        shown = text if len(text) <= 40 else f"{text[:37]}..."
        hint = did_you_mean(found[2], tuple(UNITS_MS)) if found else ""
        raise UserError(f"{option}: {shown!r}: expected a time with a unit (us, ms, s, min), as 40ms{hint}")
    return float(found[1]) * UNITS_MS[found[2]]


def parse_objective(text: str) -> Objective:
    """Return the objective that a text like "p99=300ms" names. Raises UserError for anything else."""
    percentile, equals, time = (part.strip() for part in text.partition("="))
    if not equals or percentile not in PERCENTILES:
        shown = text if len(text) <= 40 else f"{text[:37]}..."
        hint = did_you_mean(percentile, PERCENTILES) if equals else ""
        raise UserError(
            f"--slo: {shown!r}: expected a percentile ({', '.join(PERCENTILES)}) and a time, "
            f"as p99=300ms{hint}"
        )
    at_most_ms = parse_duration_ms(time, "--slo")
    if not 0 < at_most_ms <= UNITS_MS["min"] * 60:
        raise UserError(f"--slo: {time}: expected more than 0, at most an hour")
    return Objective(percentile, at_most_ms)


Field = Literal["clients", "rate_per_s", "skew", "targets", "service_ms", "slots"]


def question_of(experiment: Experiment) -> FleetQuestion:
    """Return the question that an experiment file asks, for its workload and its common replica settings.

    Raises UserError for a closed loop and for requests that take no time: these have no capacity to plan.
    """
    work, replicas = experiment.workload, experiment.replicas
    peak = work.peak_rate_per_s
    if peak is None:
        raise UserError(
            f"{experiment.name}: workload.think_time_ms is a closed loop, which has no rate to plan with; "
            "expected workload.rate_per_s"
        )
    mean_ms = mean_ms_of_call(replicas.service_time_ms, work)
    if not mean_ms:
        raise UserError(
            f"{experiment.name}: replicas.service_time_ms.mean is 0, so no target can be overloaded; "
            "expected more than 0"
        )
    recorded = None if work.trace is None else recorded_load(Path(work.trace.file), work.trace)
    return FleetQuestion(
        clients=work.clients if recorded is None else len(recorded.requests_of),
        rate_per_s=peak if recorded is None else recorded.rate_per_s,
        skew=work.skew,
        targets=replicas.count,
        service_ms=mean_ms,
        slots=replicas.slots,
        distribution=replicas.service_time_ms.distribution,
        seed=experiment.seed,
        notes=tuple(_left_out(experiment)),
        recorded=recorded,
    )


def recorded_load(path: Path, source: TraceSource | None = None) -> RecordedLoad:
    """Return the arrivals of a trace: those of the source's window, at its speed; None: all of them.

    Of more than MAX_REQUESTS it is that many in a row, where they come fastest. Raises UserError for a file
    that is no trace, and for less than two requests.
    """
    import numpy as np

    at_s, client = requests_of_trace(path, None if source is None else source.edges)
    if len(at_s) > MAX_REQUESTS:
        first = int(np.argmin(at_s[MAX_REQUESTS - 1 :] - at_s[: len(at_s) - MAX_REQUESTS + 1]))
        at_s, client = at_s[first : first + MAX_REQUESTS], client[first : first + MAX_REQUESTS]
    if len(at_s) < 2 or at_s[-1] <= at_s[0]:
        raise UserError(f"{path}: {len(at_s)} requests; expected two at least, at different times")
    _, number, counts = np.unique(client, return_inverse=True, return_counts=True)
    rank = np.empty(len(counts), np.int32)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts), dtype=np.int32)
    speed = 1.0 if source is None else source.speed
    return RecordedLoad((at_s - at_s[0]) / speed, rank[number])


def has_alike_replicas(replicas: Replicas) -> bool:
    """Return whether all replicas are the same and healthy, and remember no sessions."""
    plain = {"slow_factor", "slow_share", "fail_share", "outage", "cache"}
    return not replicas.different and not replicas.model_dump(include=plain, exclude_defaults=True)


def _left_out(experiment: Experiment) -> list[str]:
    notes = []
    if not has_alike_replicas(experiment.replicas):
        notes.append("All targets are alike and healthy: slow, failing and caching ones are left out.")
    if (work := experiment.workload).changes:
        notes.append(f"The rate changes: this is for its peak. The mean is {work.mean_rate_per_s:,.4g}/s.")
    if experiment.replicas.service_time_ms.dear is not None:
        notes.append("All requests are alike: dear ones are left out, and with them the long waits.")
    if experiment.events:
        notes.append("Nothing happens meanwhile: the events are left out.")
    if list(experiment.workload.calls) != ["AddVideo"]:
        notes.append("Each call is one request with the mean time of the calls.")
    return notes
