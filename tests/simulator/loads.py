"""Calls and fleets for tests of the simulator."""

from typing import Any

import numpy as np

from simulator.hashing import hash_keys
from simulator.system import Calls, Change, ChangeKind, HealthChecks, Policy, Replica, System

MS = 1_000_000
TURNS = Policy("proxy", "round_robin")
CHECKS = HealthChecks("health", 100 * MS, 100 * MS, unhealthy_after=2, healthy_after=2)


def change(at_ms: float, kind: ChangeKind, replica: int = 0, **own: Any) -> Change:
    """Return a change of one replica."""
    return Change(round(at_ms * MS), kind, replica, **own)


def fleet(count: int, policy: Policy, slots: int = 1, **settings: Any) -> System:
    """Return a system of equal replicas."""
    replicas = tuple(Replica(f"127.0.0.1:{40_000 + number}", slots) for number in range(count))
    return System(replicas, policy, **settings)


def poisson(
    calls: int, rate_per_s: float, mean_ms: float, clients: int = 50, seed: int = 1, **own: Any
) -> Calls:
    """Return Poisson arrivals of equal clients, with exponential service times; all measured."""
    random = np.random.default_rng(seed)
    client = random.integers(clients, size=calls)
    fields: dict[str, Any] = {
        "client": client,
        "session": client,
        "channel": client,
        "measured": np.ones(calls, bool),
        "planned_ns": np.cumsum(random.exponential(1e9 / rate_per_s, size=calls)).astype(np.int64),
        "work_ns": random.exponential(mean_ms * MS, size=calls).astype(np.int64),
        "key": hash_keys([f"{number}.0" for number in range(clients)])[client],
    }
    return Calls(**(fields | own))
