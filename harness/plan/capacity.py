"""What replicas can serve by their settings, and how much of that the plan asks of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from harness.plan.cells import load_of
from harness.spec.experiment import Experiment, Replicas, Workload
from lb.plan import client_rate_per_s
from services.service_time import client_cost, mean_ms_of_method
from services.settings import ServiceTime, WorkSettings

if TYPE_CHECKING:
    import polars as pl

Amount = TypeVar("Amount", float, "pl.Series")

# What one core carries of a whole cell: load, proxy and replicas together. See docs/capacity.md.
CELL_CALLS_PER_CORE_S = 800.0


@dataclass(frozen=True)
class Law:
    """The CPU of one process: a + b * calls/s + c * clients. See the table of laws on docs/capacity.md."""

    idle_cores: float
    call_us: float
    client_us: float  # for each client and second

    def cores(self, calls_per_s: Amount, clients: Amount) -> Amount:
        """Return the cores that it uses. `clients`: those with a connection to it. Numbers, or columns."""
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
    that asks for the most work, and no others. everything: this one gets all calls.
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
    each_ms = mean_ms_of_call(work.service_time_ms, workload) * slowed * (1 - work.fail_share)
    return work.slots * 1000 / each_ms if each_ms else None


def mean_ms_of_call(service_time: ServiceTime, workload: Workload) -> float:
    """Return the mean time that a call of the workload holds a slot, milliseconds.

    GetVideo takes a service time for every message. Where clients differ in cost, each counts with its share
    of the calls.
    """
    total = sum(workload.calls.values())
    alike_ms = sum(
        weight
        / total
        * mean_ms_of_method(service_time, name)
        * (workload.messages_per_stream if name == "GetVideo" else 1)
        for name, weight in workload.calls.items()
    )
    return alike_ms * math.fsum(_work_of_clients(service_time, workload))


def relative_costs(service_time: ServiceTime, workload: Workload) -> list[float]:
    """Return the mean cost of each client's calls / that of all calls of the workload."""
    mean = math.fsum(_work_of_clients(service_time, workload))
    return [client_cost(service_time, client) / mean for client in range(workload.clients)]


def _work_of_clients(service_time: ServiceTime, workload: Workload) -> list[float]:
    """Return each client's share of the calls, times its cost; their sum is 1 where clients are alike.

    In a closed loop all clients count the same: dear ones call less often there, but how much is not known.
    """
    if not differs_by_client(service_time):
        return [1.0]
    costs = [client_cost(service_time, client) for client in range(workload.clients)]
    rate_per_s = workload.mean_rate_per_s
    if rate_per_s is None:
        return [cost / workload.clients for cost in costs]
    load = load_of(workload, 1, 1)
    return [client_rate_per_s(load, client) / rate_per_s * cost for client, cost in enumerate(costs)]


def differs_by_client(service_time: ServiceTime) -> bool:
    """Return whether the calls of some clients cost more than those of others."""
    return service_time.dear is not None and service_time.dear.by == "client"


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
    return Utilisation(
        everything / experiment.replicas.count,
        everything * _most_of_a_client(experiment.replicas.service_time_ms, workload),
        everything,
    )


def _most_of_a_client(service_time: ServiceTime, workload: Workload) -> float:
    """Return the share of all work that the client with the most work asks for."""
    if differs_by_client(service_time):
        work = _work_of_clients(service_time, workload)
        return max(work) / math.fsum(work)
    load = load_of(workload, 1, 1)
    return client_rate_per_s(load, 0) / (load.rate_per_s or math.inf)
