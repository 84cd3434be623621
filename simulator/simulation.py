"""`simulate`: what becomes of the calls of a load on a fleet."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from simulator.fast import free_bytes
from simulator.hashing import (
    build_maglev,
    build_ring,
    maglev_order,
    maglev_steps,
    points_per_host,
    ring_hashes,
)
from simulator.state import (
    ABSENT,
    ASKS_HEALTH,
    ASKS_PORT,
    ASKS_SERVER,
    ATTEMPT,
    BEHAVE,
    CALL,
    CHANGES,
    CHANNEL,
    CLIENT,
    CONNECTION,
    DRAIN,
    DRAINING,
    EACH_ANSWER,
    EJECTED,
    END,
    ENDPOINT,
    FIRST_ANSWER,
    FULL_SCAN,
    GATE,
    HEALTHY,
    JOIN,
    KEPT,
    KILL,
    LEAST_REQUEST,
    MAGLEV,
    NODE,
    NONE,
    NOT_SERVING,
    NOTHING,
    PAUSE,
    PENDING,
    PICK_FIRST,
    PROBING,
    PROXY,
    RANDOM,
    RECENT_LOADS,
    REMOVE,
    REPLICA,
    RESUME,
    RING_HASH,
    ROUND_ROBIN,
    SEEN,
    SERVING,
    START,
    STOP,
    UNHEALTHY,
    WEIGHTED,
    WORLD,
    Records,
    State,
)
from simulator.system import Attempts, Balancer, Calls, ChangeKind, Outcome, Rule, System

RULES: Mapping[Rule, int] = {
    "round_robin": ROUND_ROBIN,
    "random": RANDOM,
    "least_request": LEAST_REQUEST,
    "full_scan": FULL_SCAN,
    "ring_hash": RING_HASH,
    "maglev": MAGLEV,
    "weighted": WEIGHTED,
    "pick_first": PICK_FIRST,
    "probing": PROBING,
}
BALANCERS: Mapping[Balancer, int] = {"proxy": PROXY, "connection": CONNECTION, "client": CLIENT}
CHECKS = {"health": ASKS_HEALTH, "server": ASKS_SERVER, "port": ASKS_PORT}
CHANGE_KINDS: Mapping[ChangeKind, int] = {
    **{
        "behave": BEHAVE,
        "kill": KILL,
        "stop": STOP,
        "end": END,
        "start": START,
        "pause": PAUSE,
        "resume": RESUME,
    },
    **{"not_serving": NOT_SERVING, "serving": SERVING, "drain": DRAIN, "remove": REMOVE, "join": JOIN},
}
ENDPOINT_STATES = {
    **{HEALTHY: "healthy", UNHEALTHY: "unhealthy", EJECTED: "ejected", DRAINING: "draining"},
    ABSENT: "absent",
}
BEHAVIOUR = (
    *("slow_factor", "slow_share", "fail_share", "fail_code", "fail_after_work", "fail_after_headers"),
)
MAX_SEEN = 10_000  # changes of endpoints that are recorded
WAITS = {"none": NOTHING, "first": FIRST_ANSWER, "each": EACH_ANSWER}


def memory_bytes(system: System, calls: Calls) -> int:
    """Return the memory that a simulation takes: so much for each call and each of its attempts.

    With session caches, 8 bytes for each replica and session come on top.
    """
    sessions = int(calls.session.max(initial=-1)) + 1
    clients = int(calls.channel.max(initial=-1)) + 1
    per_call = CALL.itemsize + _tries(system) * ATTEMPT.itemsize
    pending = _most_pending(system, calls) * PENDING.itemsize
    cached = 8 * len(system.replicas) * sessions if system.cache is not None else 0
    probes = system.policy.probes
    probing = 0 if probes is None else (8 * RECENT_LOADS + KEPT.itemsize * probes.kept) * clients
    counted = 4 * len(system.replicas) * _pickers(system, calls)
    return per_call * len(calls) + pending + cached + probing + counted + (GATE.itemsize + 4) * sessions


def simulate(system: System, calls: Calls, limit_bytes: int | None = None) -> Outcome:
    """Return what becomes of the calls. The same system and calls give the same outcome.

    Raises ValueError when it would take more memory than `limit_bytes` (None: than is free).
    """
    from simulator.engine import run

    needed, limit = memory_bytes(system, calls), free_bytes() if limit_bytes is None else limit_bytes
    if needed > limit:
        raise ValueError(
            f"{len(calls):,} calls take {needed / 1e9:.2g} GB to simulate, and {limit / 1e9:.2g} GB "
            "are free; expected fewer calls"
        )
    state = new_state(system, calls)
    run(state)
    return _outcome(state)


def new_state(system: System, calls: Calls) -> State:
    """Return the state before anything has happened."""
    random = np.random.default_rng(system.seed)
    sessions = int(calls.session.max(initial=-1)) + 1
    clients = int(calls.client.max(initial=-1)) + 1
    count = len(system.replicas)
    tables = _tables(system)
    turns = random.integers(
        2**63, size=(1 + system.spill_over) * system.nodes * system.workers, dtype=np.uint64
    )
    if system.first_turn is not None:
        turns[:] = system.first_turn
    cached = (count, sessions) if system.cache is not None else (0, 0)
    return State(
        world=_world(system, calls),
        heap=np.zeros(_most_pending(system, calls), PENDING),
        calls=_calls(calls),
        attempts=np.zeros(len(calls) * _tries(system), ATTEMPT),
        replicas=_replicas(system),
        channels=_channels(system, calls, random),
        gates=_gates(clients if calls.waits == "each" else sessions),
        cookies=np.full(sessions, NONE, np.int32),
        usable=np.zeros((2 * system.nodes, count), np.int32),
        nodes=np.zeros(system.nodes, NODE),
        endpoints=_endpoints(system),
        active=np.zeros((_pickers(system, calls), count), np.int32),
        turns=turns,
        used=np.zeros(cached, np.int64),
        changes=_changes(system),
        seen=np.zeros(MAX_SEEN, SEEN),
        **_of_probing(system, calls),
        **tables,
    )


def _endpoints(system: System) -> Records:
    records = np.zeros((system.nodes, len(system.replicas)), ENDPOINT)
    records["healthy"] = records["known"] = 1
    if system.zones:
        zones = max(system.zones) + 1
        other = np.arange(system.nodes)[:, None] % zones != np.array(system.zones)
        records["spare" if system.spill_over else "known"] = other if system.spill_over else ~other
    return records


def _tries(system: System) -> int:
    again = system.retries or system.hedging
    return 1 if again is None else again.attempts


def _pickers(system: System, calls: Calls) -> int:
    """Return how many count requests in flight, each its own: nodes of a proxy, or clients that pick."""
    if system.policy.balancer == "client" and system.policy.rule in ("least_request", "probing"):
        return int(calls.channel.max(initial=-1)) + 1
    return system.nodes


def _most_pending(system: System, calls: Calls) -> int:
    """Return how much is to happen at once at most: see what simulator.timeline.push is called with."""
    timed = system.retries is not None and system.retries.attempt_timeout_ns > 0
    of_call = 2 + _tries(system) * (timed or 2 * (system.hedging is not None))
    probes = 0 if system.policy.probes is None else math.ceil(system.policy.probes.per_request) + 1
    return (of_call + probes) * len(calls) + len(system.changes) + 2 * system.nodes * len(system.replicas) + 2


def _of_probing(system: System, calls: Calls) -> dict[str, Any]:
    """Return what clients keep of the answers to probes; nothing where none probe."""
    probes = system.policy.probes
    clients = 0 if probes is None else int(calls.channel.max(initial=-1)) + 1
    return {
        "kept": np.zeros((clients, 0 if probes is None else probes.kept), KEPT),
        "heard": np.zeros((clients, RECENT_LOADS), np.int64),
    }


def _tables(system: System) -> dict[str, Any]:
    """Return the hash tables of the replicas that are there, and what their changes need."""
    policy = system.policy
    there = [replica.address for replica in system.replicas[: len(system.replicas) - system.joining]]
    everybody = [replica.address for replica in system.replicas]
    tables: dict[str, Any] = {
        **{"ring_points": np.empty(0, np.uint64), "ring_hosts": np.empty(0, np.int32)},
        **{"table": np.empty(0, np.int32), "points": np.empty((0, 0), np.uint64)},
    }
    if policy.rule == "maglev":
        tables["table"] = build_maglev(there, policy.table_size)
    elif policy.rule == "ring_hash":
        tables["ring_points"], tables["ring_hosts"] = build_ring(there, *policy.ring_size)
        if _changing(system):
            most = points_per_host(1, *policy.ring_size)[0]
            counts = range(1, len(everybody) + 1)
            room = max(sum(points_per_host(count, *policy.ring_size)) for count in counts)
            tables["points"] = np.array([ring_hashes(address, most) for address in everybody])
            tables["ring_points"] = np.resize(tables["ring_points"], room)
            tables["ring_hosts"] = np.resize(tables["ring_hosts"], room)
    return tables


def _changing(system: System) -> bool:
    """Return whether the proxy may come to use other replicas than at the start."""
    return bool(system.changes) or system.outliers is not None


def _changes(system: System) -> Records:
    records = np.zeros(len(system.changes), CHANGES)
    for record, one in zip(records, system.changes, strict=True):
        record["at_ns"], record["kind"], record["replica"] = one.at_ns, CHANGE_KINDS[one.kind], one.replica
        if one.behaviour is not None:
            for name in BEHAVIOUR:
                record[name] = getattr(one.behaviour, name)
    return records


def _world(system: System, calls: Calls) -> Records:
    world, policy = np.zeros(1, WORLD), system.policy
    values: dict[str, Any] = vars(system.costs) | {
        "deadline_ns": system.deadline_ns,
        "warm_up_ns": calls.warm_up_ns,
        "give_up_ns": calls.give_up_ns,
        "stream_limit": system.stream_limit,
        "rule": RULES[policy.rule],
        "balancer": BALANCERS[policy.balancer],
        "waits": WAITS[calls.waits],
        "choices": policy.choices,
        "bounded_percent": policy.bounded_load_percent or 0,
        "panic_percent": system.panic_percent,
        "max_active": system.max_active,
        "max_queue": NONE if system.max_queue is None else system.max_queue,
        "deadline_aware": system.deadline_aware,
        "keep_draining": system.keep_draining,
        "changing": _changing(system),
        "max_tries": _tries(system),
        "min_ring": policy.ring_size[0],
        "max_ring": policy.ring_size[1],
        "ring_size": _ring_size(system),
        "sticky": policy.sticky,
        "strict": policy.strict,
        "random": system.seed,
        "seed": system.seed,
    }
    if system.cache is not None:
        own = {"has_cache": 1, "cache_sessions": system.cache.sessions, "hit_factor": system.cache.hit_factor}
        values |= own
    if (checks := system.checks) is not None:
        values |= {"checks": CHECKS[checks.asks], "check_ns": checks.interval_ns}
        values |= {"check_timeout_ns": checks.timeout_ns}
        values |= {"unhealthy_after": checks.unhealthy_after, "healthy_after": checks.healthy_after}
    if system.outliers is not None:
        found = system.outliers
        values |= {"eject_after": found.consecutive_errors, "eject_look_ns": found.interval_ns}
        values |= {"ejection_ns": found.ejection_ns, "max_ejected_percent": found.max_ejection_percent}
    if system.retries is not None:
        again = system.retries
        values |= {"retry_codes": sum(1 << code for code in again.codes), "backoff_ns": again.backoff_ns}
        values |= {"attempt_timeout_ns": again.attempt_timeout_ns}
    values |= _of_clients(system)
    for name, value in values.items():
        world[name] = value
    return world


def _of_clients(system: System) -> dict[str, float]:
    """Return what the world knows of clients that probe or hedge."""
    values: dict[str, float] = {}
    if (probes := system.policy.probes) is not None:
        values |= {"probes_per_request": probes.per_request, "probe_uses": probes.uses}
        values |= {"removed_per_request": probes.removed_per_request, "hot_quantile": probes.hot_quantile}
        values |= {"probe_age_ns": probes.max_age_ns, "probe_ns": sum(vars(system.costs).values())}
    if system.hedging is not None:
        values |= {"hedge_tries": system.hedging.attempts, "hedge_ns": system.hedging.after_ns}
    return values


def _ring_size(system: System) -> int:
    if system.policy.rule != "ring_hash":
        return 0
    return sum(points_per_host(len(system.replicas) - system.joining, *system.policy.ring_size))


def _calls(calls: Calls) -> Records:
    records = np.zeros(len(calls), CALL)
    for name in ("client", "session", "channel", "measured", "planned_ns", "work_ns", "key"):
        records[name] = getattr(calls, name)
    for name in ("replica", "attempt", "carried", "next", "sent_ns", "answered_ns"):
        records[name] = NONE
    return records


def _replicas(system: System) -> Records:
    records = np.zeros(len(system.replicas), REPLICA)
    for name in ("slots", "weight", *BEHAVIOUR):
        records[name] = [getattr(replica, name) for replica in system.replicas]
    records["serving"] = 1
    records["listed"][: len(records) - system.joining] = 1
    records["shown"] = NONE
    records["first"] = records["last"] = NONE
    records["deadline"] = 1 / records["weight"]
    if system.policy.rule == "maglev" and _changing(system):
        addresses = [replica.address for replica in system.replicas]
        records["maglev_first"], records["maglev_step"] = maglev_steps(addresses, system.policy.table_size)
        records["maglev_place"][maglev_order(addresses)] = np.arange(len(records))
    return records


def _channels(system: System, calls: Calls, random: np.random.Generator) -> Records:
    """Connections: to nodes of the proxy, and there the kernel deals them out to workers at random."""
    records = np.zeros(int(calls.channel.max(initial=-1)) + 1, CHANNEL)
    records["first"] = records["last"] = records["replica"] = NONE
    records["worker"] = random.integers(system.workers, size=len(records))
    if system.nodes > 1:
        places = (
            np.arange(len(records)) if system.spread else random.integers(system.nodes, size=len(records))
        )
        records["node"] = places % system.nodes
        records["worker"] += records["node"] * system.workers
    by_client = _pickers(system, calls) != system.nodes
    records["picker"] = np.arange(len(records)) if by_client else records["node"]
    records["key"][calls.channel] = calls.key
    policy = system.policy
    if policy.rule != "pick_first" or policy.shuffle:
        records["turn"] = random.integers(2**63, size=len(records), dtype=np.uint64)
    return records


def _gates(count: int) -> Records:
    records = np.zeros(count, GATE)
    records["first"] = records["last"] = NONE
    return records


def _outcome(state: State) -> Outcome:
    calls, made = state.calls, state.attempts[: int(state.world["attempts"][0])]
    last = np.where(calls["attempt"] == NONE, 0, calls["attempt"])
    known = (calls["attempt"] != NONE) & (calls["replica"] != NONE)
    measured = calls["measured"].astype(bool)
    start_ns = int(state.world["start_ns"][0])

    def of_last(name: str, otherwise: int = 0) -> Any:
        if not len(made):
            return np.full(len(calls), otherwise)
        return np.where(known, made[name][last], otherwise).astype(np.int64)

    reached = made[made["arrived_ns"] != NONE]
    names = Attempts.__dataclass_fields__
    return Outcome(
        replica=calls["replica"].astype(np.int64),
        node=state.channels["node"][calls["channel"]].astype(np.int64),
        planned_ns=calls["planned_ns"] + np.where(measured, start_ns, 0),
        sent_ns=calls["sent_ns"],
        started_ns=of_last("started_ns", NONE),
        finished_ns=of_last("finished_ns", NONE),
        answered_ns=calls["answered_ns"],
        code=calls["code"].astype(np.int64),
        tries=calls["tries"].astype(np.int64),
        queue_ns=of_last("queue_ns"),
        service_ns=of_last("service_ns"),
        in_flight=of_last("in_flight"),
        cache=of_last("cache", NONE),
        attempts=Attempts(**{name: reached[name].astype(np.int64) for name in names}),
        measure_start_ns=start_ns,
        endpoints=tuple(
            (int(entry["at_ns"]), int(entry["replica"]), ENDPOINT_STATES[entry["state"]])
            for entry in state.seen[: int(state.world["seen"][0])]
        ),
    )
