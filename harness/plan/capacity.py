"""What replicas can serve by their settings, and how much of that the plan asks of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.plan.cells import load_of
from harness.spec.experiment import Experiment, Replicas, Workload
from lb.plan import client_rate_per_s
from services.settings import WorkSettings

# What one core carries of a whole cell: load, proxy and replicas together. See docs/capacity.md.
CELL_CALLS_PER_CORE_S = 800.0


@dataclass(frozen=True)
class Law:
    """The CPU of one process in a cell. See the table of laws on docs/capacity.md."""

    idle_cores: float
    call_us: float
    client_us: float  # for each client and second

    def cores(self, calls_per_s: float, clients: float) -> float:
        """Return the cores that it uses. `clients`: those with a connection to it."""
        return self.idle_cores + (self.call_us * calls_per_s + self.client_us * clients) / 1e6


LAWS = {
    "load process": Law(0.110, 246, 44),
    "Envoy, one worker": Law(0.093, 208, 22),
    "replica (asyncio)": Law(0.010, 796, 32),
}


def needed_cores(replicas: int, clients: int, calls_per_s: float, proxied: bool) -> float:
    """Return about how many cores the parts of a cell use. `proxied`: with Envoy."""
    load, envoy, replica = LAWS.values()
    each = replica.cores(calls_per_s / replicas, 1 if proxied else clients)
    proxy = envoy.cores(calls_per_s, clients) if proxied else 0
    return load.cores(calls_per_s, clients) + proxy + replicas * each


@dataclass(frozen=True)
class AlikeReplicas:
    """Replicas with the same capacity: their names, and what one of them can serve. None: without limit."""

    names: Sequence[str]
    capacity_per_s: float | None


@dataclass(frozen=True)
class Utilisation:
    """The planned load on one of some alike replicas, as a share of what it can serve.

    evenly: the load is spread evenly over all replicas. busiest_client: this one gets the calls of the client
    with the highest rate, and no others. everything: this one gets all calls.
    """

    evenly: float
    busiest_client: float
    everything: float


def capacity_per_s(work: WorkSettings, workload: Workload) -> float | None:
    """Return how many calls a second of this workload a replica with these settings can serve.

    It is slots / the mean time that a call holds a slot. That time has in it what `slow_factor` adds for
    `slow_share` of the calls; calls that fail at once hold no slot. What a session cache saves is left out,
    since it depends on how many sessions come back. None: calls take no time, so there is no limit.
    """
    slowed = 1 + work.slow_share * (work.slow_factor - 1)
    each_ms = work.service_time_ms.mean * slowed * (1 - work.fail_share) * service_times_per_call(workload)
    return work.slots * 1000 / each_ms if each_ms else None


def service_times_per_call(workload: Workload) -> float:
    """Return the mean number of service times in a call: GetVideo takes one for every message."""
    total = sum(workload.calls.values())
    return sum(
        weight / total * (workload.messages_per_stream if name == "GetVideo" else 1)
        for name, weight in workload.calls.items()
    )


def alike_replicas(replicas: Replicas, workload: Workload) -> list[AlikeReplicas]:
    """Return the replicas in groups of the same capacity; those that can serve least come first."""
    groups: dict[float | None, list[str]] = {}
    for name in replicas.names:
        groups.setdefault(capacity_per_s(replicas.work_of(name), workload), []).append(name)
    ascending = sorted(groups, key=lambda capacity: math.inf if capacity is None else capacity)
    return [AlikeReplicas(groups[capacity], capacity) for capacity in ascending]


def utilisation_of(group: AlikeReplicas, experiment: Experiment, workload: Workload) -> Utilisation | None:
    """Return the load that an open loop plans for one of these replicas, at its highest rate.

    None for a closed loop, which plans no rate, and for replicas without limit.
    """
    mean, peak = workload.mean_rate_per_s, workload.peak_rate_per_s
    if mean is None or peak is None or group.capacity_per_s is None:
        return None
    everything = peak / group.capacity_per_s
    busiest_per_s = client_rate_per_s(load_of(workload, experiment.seed, 1), 0) * peak / mean
    return Utilisation(
        everything / experiment.replicas.count, busiest_per_s / group.capacity_per_s, everything
    )
