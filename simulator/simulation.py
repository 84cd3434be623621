"""`simulate`: what becomes of the calls of a load on a fleet."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from simulator.hashing import build_maglev, build_ring
from simulator.state import (
    ATTEMPT,
    CALL,
    CHANNEL,
    CLIENT,
    CONNECTION,
    EACH_ANSWER,
    FIRST_ANSWER,
    FULL_SCAN,
    GATE,
    LEAST_REQUEST,
    MAGLEV,
    NONE,
    NOTHING,
    PENDING,
    PICK_FIRST,
    PROXY,
    RANDOM,
    REPLICA,
    RING_HASH,
    ROUND_ROBIN,
    WEIGHTED,
    WORLD,
    Records,
    State,
)
from simulator.system import Attempts, Balancer, Calls, Outcome, Rule, System

RULES: Mapping[Rule, int] = {
    "round_robin": ROUND_ROBIN,
    "random": RANDOM,
    "least_request": LEAST_REQUEST,
    "full_scan": FULL_SCAN,
    "ring_hash": RING_HASH,
    "maglev": MAGLEV,
    "weighted": WEIGHTED,
    "pick_first": PICK_FIRST,
}
BALANCERS: Mapping[Balancer, int] = {"proxy": PROXY, "connection": CONNECTION, "client": CLIENT}
WAITS = {"none": NOTHING, "first": FIRST_ANSWER, "each": EACH_ANSWER}


def simulate(system: System, calls: Calls) -> Outcome:
    """Return what becomes of the calls. The same system and calls give the same outcome."""
    from simulator.engine import run

    state = new_state(system, calls)
    run(state)
    return _outcome(state)


def new_state(system: System, calls: Calls) -> State:
    """Return the state before anything has happened."""
    random = np.random.default_rng(system.seed)
    sessions = int(calls.session.max(initial=-1)) + 1
    clients = int(calls.client.max(initial=-1)) + 1
    addresses = [replica.address for replica in system.replicas]
    policy, count = system.policy, len(system.replicas)
    points, hosts = np.empty(0, np.uint64), np.empty(0, np.int32)
    table = np.empty(0, np.int32)
    if policy.rule == "ring_hash":
        points, hosts = build_ring(addresses, *policy.ring_size)
    elif policy.rule == "maglev":
        table = build_maglev(addresses, policy.table_size)
    turns = random.integers(2**63, size=system.workers, dtype=np.uint64)
    if system.first_turn is not None:
        turns[:] = system.first_turn
    cached = (count, sessions) if system.cache is not None else (0, 0)
    return State(
        world=_world(system, calls),
        heap=np.zeros(len(calls) + 1, PENDING),
        sent=np.empty(len(calls), np.int32),
        calls=_calls(calls),
        attempts=np.zeros(len(calls), ATTEMPT),
        replicas=_replicas(system),
        channels=_channels(system, calls, random),
        gates=_gates(clients if calls.waits == "each" else sessions),
        cookies=np.full(sessions, NONE, np.int32),
        usable=np.arange(count, dtype=np.int32),
        turns=turns,
        ring_points=points,
        ring_hosts=hosts,
        table=table,
        used=np.zeros(cached, np.int64),
    )


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
        "usable": len(system.replicas),
        "sticky": policy.sticky,
        "strict": policy.strict,
        "random": system.seed,
        "seed": system.seed,
    }
    if system.cache is not None:
        own = {"has_cache": 1, "cache_sessions": system.cache.sessions, "hit_factor": system.cache.hit_factor}
        values |= own
    for name, value in values.items():
        world[name] = value
    return world


def _calls(calls: Calls) -> Records:
    records = np.zeros(len(calls), CALL)
    for name in ("client", "session", "channel", "measured", "planned_ns", "work_ns", "key"):
        records[name] = getattr(calls, name)
    for name in ("replica", "attempt", "carried", "next", "sent_ns", "answered_ns"):
        records[name] = NONE
    return records


def _replicas(system: System) -> Records:
    records = np.zeros(len(system.replicas), REPLICA)
    for name in ("slots", "slow_factor", "slow_share", "fail_share", "fail_code", "weight"):
        records[name] = [getattr(replica, name) for replica in system.replicas]
    records["usable"] = 1
    records["first"] = records["last"] = NONE
    records["deadline"] = 1 / records["weight"]
    return records


def _channels(system: System, calls: Calls, random: np.random.Generator) -> Records:
    """Connections: the kernel deals them out to the proxy's workers at random."""
    records = np.zeros(int(calls.channel.max(initial=-1)) + 1, CHANNEL)
    records["first"] = records["last"] = records["replica"] = NONE
    records["worker"] = random.integers(system.workers, size=len(records))
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
        planned_ns=calls["planned_ns"] + np.where(measured, start_ns, 0),
        sent_ns=calls["sent_ns"],
        started_ns=of_last("started_ns", NONE),
        finished_ns=of_last("finished_ns", NONE),
        answered_ns=calls["answered_ns"],
        code=calls["code"].astype(np.int64),
        queue_ns=of_last("queue_ns"),
        service_ns=of_last("service_ns"),
        in_flight=of_last("in_flight"),
        cache=of_last("cache", NONE),
        attempts=Attempts(**{name: reached[name].astype(np.int64) for name in names}),
        measure_start_ns=start_ns,
    )
