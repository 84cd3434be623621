"""Translates one planned cell into what the simulator takes: a System and the Calls of its clients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

from harness.events.schedule import new_replicas
from harness.fields import PROXIED, proxy_names
from harness.plan.cells import CellPlan
from harness.policies.registry import options_of, traits_of
from harness.spec.arm import Arm
from harness.spec.experiment import Experiment
from harness.spec.zones import zone_of, zones_of
from harness.testbed.simulated.codes import CODES
from harness.testbed.simulated.proxy import keeps_draining, proxy_of
from harness.testbed.simulated.timeline import Happening, happenings_of
from lb.plan import NOT_RECORDED, NS_PER_S, Phase, drawn_lifetime_s, first_phase, open_loop
from lb.policies import RING_SIZE_CAP, ProbingOptions
from lb.rows import REQUEST_IDS_PER_CLIENT
from lb.source_address import source_address
from services.service_time import first_work_ns
from services.settings import ServiceTime

if TYPE_CHECKING:
    # The simulator imports numba, which takes as long as the rest of a command.
    import numpy as np
    import numpy.typing as npt

    from simulator.system import Calls, Costs, Hedging, Policy, Probes, Replica, System

MAX_STREAMS = 128  # of one connection to the proxy, as envoy/proxy.yaml.j2 and an ALB have it
FIRST_PORT = 40_000


def system_of(experiment: Experiment, plan: CellPlan) -> System:
    """Return the fleet of a cell as the simulator has it. limits.not_modelled must be empty."""
    from simulator.system import Cache, System

    arm, settings = plan.arm, experiment.replicas
    replicas = _replicas(experiment, plan)
    seed = sha256(f"{plan.load.seed}/{plan.load.repeat}/{plan.arm_name}".encode()).digest()
    changes = [change for one in happenings(experiment, plan, replicas) for change in one.changes]
    return System(
        replicas=tuple(replicas),
        policy=_policy(plan, len(replicas)),
        costs=costs_of(arm.route),
        cache=None if settings.cache is None else Cache(settings.cache.sessions, settings.cache.hit_factor),
        workers=arm.proxy_workers,
        nodes=arm.proxies,
        spread=arm.proxy_use == "spread",
        zones=_zones(experiment, plan),
        spill_over=arm.cross_zone == "spill_over",
        stream_limit=MAX_STREAMS if arm.route == "envoy" else 0,
        deadline_ns=round(plan.workload.deadline_ms * 1e6),
        seed=int.from_bytes(seed[:6]),
        changes=tuple(changes),
        max_queue=None if arm.shedding is None else arm.shedding.max_queue,
        deadline_aware=arm.shedding is not None and arm.shedding.deadline_aware,
        joining=new_replicas(plan.events),
        hedging=_hedging(arm),
        **(proxy_of(arm) if arm.route == "envoy" else {"keep_draining": keeps_draining(arm)}),
    )


def replica_names(experiment: Experiment, plan: CellPlan) -> list[str]:
    """Return the names of all replicas of a cell, with those that join later."""
    count = experiment.replicas.count + new_replicas(plan.events)
    return [f"replica-{number}" for number in range(count)]


def _zones(experiment: Experiment, plan: CellPlan) -> tuple[int, ...]:
    """Return the number of each replica's zone; () where nodes send to all zones alike."""
    arm = plan.arm
    if arm.cross_zone is True:
        return ()
    numbers = {zone: number for number, zone in enumerate(arm.zones)}
    return tuple(numbers[zone] for zone in zone_of(arm, replica_names(experiment, plan)).values())


def zones_by_number(experiment: Experiment, plan: CellPlan) -> tuple[Sequence[str], Sequence[str]] | None:
    """Return the zone of each node of the proxy, and of each replica; None without zones."""
    arm = plan.arm
    if not arm.zones:
        return None
    nodes = proxy_names(arm.proxies)
    zones = zones_of(arm, nodes, replica_names(experiment, plan))
    return [zones[node] for node in nodes], [zone for name, zone in zones.items() if name not in nodes]


def happenings(experiment: Experiment, plan: CellPlan, replicas: Sequence[Replica]) -> list[Happening]:
    """Return the events of a cell. replicas: all of them, as they begin."""
    return happenings_of(plan, replicas, experiment.replicas.names)


def costs_of(route: str) -> Costs:
    """Return what client, network and proxy take besides queue and service, on a machine that is not busy."""
    from simulator.system import Costs

    if route not in PROXIED:
        return Costs(to_replica_ns=800_000, back_ns=700_000)
    return Costs(to_balancer_ns=600_000, to_replica_ns=500_000, back_ns=300_000, to_client_ns=600_000)


def _replicas(experiment: Experiment, plan: CellPlan) -> list[Replica]:
    from simulator.system import Replica

    weights = traits_of(plan.arm.route, plan.arm.policy, plan.arm.options).weights
    replicas = []
    for number, name in enumerate(replica_names(experiment, plan)):
        work = experiment.replicas.work_of(name)
        replicas.append(
            Replica(
                address=f"127.0.0.1:{FIRST_PORT + number}",
                slots=work.slots,
                slow_factor=work.slow_factor,
                slow_share=work.slow_share,
                fail_share=work.fail_share,
                fail_code=CODES[work.fail_code],
                weight=weights[number] if number < len(weights) else 1,
            )
        )
    return replicas


def _policy(plan: CellPlan, replicas: int) -> Policy:
    from simulator.system import Policy

    arm = plan.arm
    options: Any = options_of(arm.route, arm.policy, arm.options)
    name = arm.policy
    if arm.route == "envoy-l4":
        return Policy("connection", "maglev" if name == "source_address_hash" else "round_robin")
    if not arm.has_proxy:
        if name == "least_request":
            return Policy("client", "least_request", choices=options.choices)
        if name == "probing":
            return Policy("client", "probing", probes=_probes(options, replicas))
        if name == "pick_first":
            return Policy("client", "pick_first", shuffle=options.shuffle)
        if name == "ring_hash":
            size = (options.min_ring_size, min(options.max_ring_size, RING_SIZE_CAP))
            return Policy("client", "ring_hash", ring_size=size)
        if name == "sticky":
            return Policy("client", "round_robin", sticky=arm.cookie_jar)
        return Policy("client", "round_robin")
    if name == "sticky":
        return Policy("proxy", options.first_pick, sticky=arm.cookie_jar, strict=options.strict)
    if name == "least_request":
        rule: Literal["full_scan", "least_request"] = "full_scan" if options.full_scan else "least_request"
        return Policy("proxy", rule, choices=options.choices)
    if name == "ring_hash":
        size = (options.min_ring_size, options.max_ring_size)
        return Policy("proxy", "ring_hash", ring_size=size, bounded_load_percent=options.bounded_load_percent)
    if name == "maglev":
        bound = options.bounded_load_percent
        return Policy("proxy", "maglev", table_size=options.table_size, bounded_load_percent=bound)
    if name == "weighted":
        return Policy("proxy", "weighted")
    return Policy("proxy", "random" if name == "random" else "round_robin")


def _probes(options: ProbingOptions, replicas: int) -> Probes:
    from simulator.system import Probes

    return Probes(
        per_request=options.probes_per_request,
        removed_per_request=options.removed_per_request,
        kept=options.kept_of(replicas),
        max_age_ns=round(options.max_age_ms * 1e6),
        hot_quantile=options.hot_quantile,
        uses=options.uses_of_an_answer(replicas),
    )


def _hedging(arm: Arm) -> Hedging | None:
    from simulator.system import Hedging

    hedging = arm.hedging
    return None if hedging is None else Hedging(hedging.attempts, round(hedging.after_ms * 1e6))


@dataclass(frozen=True)
class DrawnCalls:
    """The calls of a load, (calls,), by phase and planned time. All arms with the same workload have them.

    number: which of its client's calls it is, from 0. The rest as in simulator.system.Calls.
    """

    measured: npt.NDArray[np.bool_]
    planned_ns: npt.NDArray[np.int64]
    client: npt.NDArray[np.int64]
    number: npt.NDArray[np.int64]
    work_ns: npt.NDArray[np.int64]

    @property
    def request_id(self) -> npt.NDArray[np.int64]:
        """The id of each request, (calls,)."""
        return self.client * REQUEST_IDS_PER_CLIENT + self.number


def draw_calls(experiment: Experiment, plan: CellPlan) -> DrawnCalls:
    """Return the calls of a cell: the same times, ids and service times as in a real run."""
    import numpy as np

    load = plan.load
    # measured, planned_ns, client, number of its call, recorded service time
    rows: list[tuple[bool, int, int, int, int]] = []
    for one in range(load.clients):
        count = 0
        for phase, seconds in _phases(plan):
            opens = phase == first_phase(plan.workload.warm_up_s)
            for call in open_loop(load, one, phase, seconds, opens):
                rows.append((phase == "measure", call.at_ns, one, count, call.work_ns))
                count += 1
    rows.sort()
    measured, planned_ns, client, number, recorded = np.array(rows, dtype=np.int64).reshape(-1, 5).T.copy()
    request_id = client * REQUEST_IDS_PER_CLIENT + number
    own = _service_times(experiment.replicas.service_time_ms, load.draw, client, request_id)
    work_ns = np.where(recorded == NOT_RECORDED, own, recorded)
    return DrawnCalls(measured.astype(bool), planned_ns, client, number, work_ns)


def calls_of(
    experiment: Experiment, plan: CellPlan, drawn: DrawnCalls | None = None
) -> tuple[Calls, npt.NDArray[np.int64]]:
    """Return the calls of a cell, and the request id of each, (calls,).

    drawn: draw_calls of the cell, or of another one with the same workload and repeat; None: they are drawn.
    """
    import numpy as np

    from simulator.hashing import hash_keys
    from simulator.system import Calls

    arm, work = plan.arm, plan.workload
    drawn = draw_calls(experiment, plan) if drawn is None else drawn
    client = drawn.client
    connections = arm.connections if isinstance(arm.connections, int) else 1
    if arm.proxy_use == "spread":
        connections *= arm.proxies  # one to each node, which the client takes in turn
    channel = client * connections + drawn.number % connections
    if arm.connections == "shared":
        channel = np.zeros_like(client)
    session, names = sessions_of(plan, drawn)
    calls = Calls(
        client=client,
        session=session,
        channel=channel,
        measured=drawn.measured,
        planned_ns=drawn.planned_ns,
        work_ns=drawn.work_ns,
        key=_keys(plan, channel, drawn, session, names, hash_keys),
        warm_up_ns=round(work.warm_up_s * NS_PER_S),
        waits="each" if arm.await_each_answer else "first" if arm.await_first_answer else "none",
        give_up_ns=round((work.duration_s + work.deadline_ms / 1000) * NS_PER_S),
    )
    return calls, drawn.request_id


def _phases(plan: CellPlan) -> list[tuple[Phase, float]]:
    work = plan.workload
    warm_up: list[tuple[Phase, float]] = [("warm_up", work.warm_up_s)] if work.warm_up_s else []
    return [*warm_up, ("measure", work.duration_s)]


def sessions_of(plan: CellPlan, drawn: DrawnCalls) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Return the session of each call, (calls,), and the name of each session. Numbers are over all clients.

    As lb.client.Client has them: a call that is planned after the end of a session opens the next one. The
    measured window follows the warm-up at once; in a real run it begins some milliseconds later.
    """
    import numpy as np

    arm, work = plan.arm, plan.workload
    if arm.session_lifetime_s is None:
        return drawn.client, [f"{client}.0" for client in range(plan.load.clients)]
    at_ns = drawn.planned_ns + np.where(drawn.measured, round(work.warm_up_s * NS_PER_S), 0)
    session = np.empty_like(drawn.client)
    names: list[str] = []
    open_now: dict[int, tuple[int, int, int]] = {}  # client -> its session, which of its sessions, its end
    for call, (client, now_ns) in enumerate(zip(drawn.client.tolist(), at_ns.tolist(), strict=True)):
        _, number, ends_ns = open_now.get(client, (0, -1, 0))
        if number < 0 or now_ns >= ends_ns:
            number, lasts_s = number + 1, arm.session_lifetime_s
            if arm.session_lifetimes == "exponential":
                lasts_s = drawn_lifetime_s(lasts_s, plan.load.draw, client, number)
            open_now[client] = (len(names), number, now_ns + round(lasts_s * NS_PER_S))
            names.append(f"{client}.{number}")
        session[call] = open_now[client][0]
    return session, names


def _keys(
    plan: CellPlan, channel: Any, drawn: DrawnCalls, session: Any, names: Sequence[str], hash_keys: Any
) -> Any:
    """Return the hash of each call's key, (calls,). session, names: see sessions_of.

    Envoy makes a cookie of the connection's addresses. Here the connection's number stands for these.
    """
    import numpy as np

    arm, client = plan.arm, drawn.client
    key = traits_of(arm.route, arm.policy, arm.options).hash_key
    if key is None or not len(client):
        return np.zeros(len(client), np.uint64)
    if key == "cookie":
        connections = [f"connection {number}" for number in range(int(channel.max()) + 1)]
        first = channel if not plan.cookies else _first_channels(session, channel)[session]
        return hash_keys(connections)[first]
    if key == "header":
        return hash_keys(names)[session]
    clients = range(plan.load.clients)
    if key == "source_address" and arm.source_addresses == "own":
        return hash_keys([source_address(number) for number in clients])[client]
    return hash_keys(["127.0.0.1" for _ in clients])[client]


def _first_channels(session: Any, channel: Any) -> Any:
    """Return session -> the channel of its first call, over which it gets its cookie."""
    import numpy as np

    first = np.zeros(int(session.max()) + 1, np.int64)
    first[session[::-1]] = channel[::-1]
    return first


def _service_times(service_time: ServiceTime, draw: str, client: Any, request_id: Any) -> Any:
    """Return the service time of each request in ns, (calls,): what any replica draws for it."""
    import numpy as np

    times = [
        first_work_ns(service_time, draw, one, own)
        for own, one in zip(client.tolist(), request_id.tolist(), strict=True)
    ]
    return np.array(times, np.int64)
