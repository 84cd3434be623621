"""`python -m bench.simulator` measures the simulator: picks a second, a large fleet, a SimPy model beside it.

A figure is the median of several rounds, with the smallest and the largest. CPU time of one core counts, so
that other programs on the machine disturb it less; the large fleet is also measured by the clock.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import simpy

from simulator.fast import (
    CHUNK,
    Draws,
    FastMachine,
    FastOutcome,
    FastRule,
    Fleet,
    memory_bytes,
    simulate_fast,
)
from simulator.simulation import simulate
from simulator.system import Calls, Outcome, Policy, Replica, System

Result = TypeVar("Result")

ROOT = Path(__file__).resolve().parent.parent
PICKS: tuple[tuple[str, FastRule, bool, float], ...] = (
    ("round robin", "round_robin", False, 20e6),
    ("sticky", "round_robin", True, 20e6),
    ("two choices", "least_request", False, 6e6),
)
SIZES = ((12, 4), (1_000, 100), (1_000_000, 10_000))  # clients, replicas
SMALL = Fleet(clients=12, replicas=4, requests=20_000, rate_per_s=600, mean_service_s=0.01, slots=2, skew=1.0)
LARGE = Fleet(
    clients=1_000_000,
    replicas=10_000,
    requests=100_000_000,
    rate_per_s=3_200_000,
    mean_service_s=0.01,
    slots=4,
    skew=0.5,
    rule="least_request",
)
LARGE_BUDGET_S, LARGE_BUDGET_BYTES = 60.0, 4e9


def main() -> None:
    """Measure all, and print one line a figure."""
    parser = argparse.ArgumentParser(prog="python -m bench.simulator", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="repetitions of each measurement (default 5)")
    rounds = parser.parse_args().rounds
    print("Simulated requests a second of CPU time, one core, policy and queue (medians, range):")
    for clients, replicas in SIZES:
        for name, rule, sticky, budget in PICKS:
            fleet = _loaded(clients, replicas, rule, sticky)
            rates = [_served_per_s(fleet) for _ in range(rounds)]
            _print(f"{name}, {clients:,} clients, {replicas:,} replicas, M/s", rates, 1e6, budget, least=True)
    _print_beside_simpy(rounds)
    _print_large(min(rounds, 3))
    seconds = [_command_s() for _ in range(rounds)]
    _print("the command: `sticky` simulated, with its report, s of CPU", seconds, 1.0)


def _loaded(clients: int, replicas: int, rule: FastRule, sticky: bool) -> Fleet:
    rate_per_s = 0.8 * 4 * replicas / 0.01
    return Fleet(clients, replicas, 1, rate_per_s, 0.01, slots=4, skew=0.5, rule=rule, sticky=sticky)


def _served_per_s(fleet: Fleet, chunks: int = 100) -> float:
    """Return requests a second of CPU time: picks, queues and histograms, but not the drawing of requests."""
    machine, draws = FastMachine(fleet), Draws(fleet)
    machine.serve(*draws.next(CHUNK))
    spent_s = 0.0
    for _ in range(chunks):
        drawn = draws.next(CHUNK)
        started_s = time.process_time()
        machine.serve(*drawn)
        spent_s += time.process_time() - started_s
    return chunks * CHUNK / spent_s


def _print_beside_simpy(rounds: int) -> None:
    """The same small fleet, the same requests: fast, event by event, and as a SimPy model."""
    at_s, client, service_s = Draws(replace(SMALL, requests=CHUNK)).next(CHUNK)
    calls = _calls(at_s, client, service_s)
    for rule in ("round_robin", "least_request"):
        own = replace(SMALL, rule=rule)
        system = System(
            tuple(Replica(f"10.0.0.{number}:80", own.slots) for number in range(own.replicas)),
            Policy("proxy", rule),  # type: ignore[arg-type]
            first_turn=0,
            deadline_ns=10**15,
        )
        found: dict[str, list[float]] = {}
        for _ in range(rounds):
            by_simpy_s, waits_s = _cpu_s(lambda own=own: simpy_waits_s(own, at_s, service_s))
            exact_s, outcome = _cpu_s(lambda system=system: simulate(system, calls))
            machine = FastMachine(own)
            fast_s, _ = _cpu_s(lambda machine=machine: machine.serve(at_s, client, service_s))
            for name, seconds in (("SimPy", by_simpy_s), ("event by event", exact_s), ("fast", fast_s)):
                found.setdefault(name, []).append(CHUNK / seconds)
            _confirm_alike(waits_s, outcome, machine.outcome())
        for name, rates in found.items():
            _print(f"{rule}, 4 replicas, {name}, k requests/s of CPU", rates, 1e3)


def _confirm_alike(waits_s: list[float], outcome: Outcome, fast: FastOutcome) -> None:
    """Raise AssertionError unless the three have simulated the same system: mean waits within 10 %."""
    mean_s = statistics.fmean(waits_s)
    assert abs(outcome.queue_ns.mean() / 1e9 / mean_s - 1) < 0.1, (outcome.queue_ns.mean() / 1e9, mean_s)
    assert (
        abs(fast.latency_s(0.5) / np.quantile(outcome.answered_ns - outcome.planned_ns, 0.5) * 1e9 - 1) < 0.1
    )


def _calls(at_s: object, client: object, service_s: object) -> Calls:
    who = np.asarray(client).astype(np.int64)
    return Calls(
        client=who,
        session=who,
        channel=who,
        measured=np.ones(len(who), bool),
        planned_ns=np.round(np.asarray(at_s) * 1e9).astype(np.int64),
        work_ns=np.round(np.asarray(service_s) * 1e9).astype(np.int64),
        key=np.zeros(len(who), np.uint64),
    )


def simpy_waits_s(fleet: Fleet, at_s: object, service_s: object) -> list[float]:
    """Return each request's wait for a slot in a SimPy model of the fleet: a Resource for each replica."""
    environment = simpy.Environment()
    replicas = [simpy.Resource(environment, fleet.slots) for _ in range(fleet.replicas)]
    random = np.random.default_rng(0)
    waits_s: list[float] = []

    def request(number: int, lasts_s: float):  # type: ignore[no-untyped-def]
        if fleet.rule == "round_robin":
            replica = replicas[number % len(replicas)]
        else:
            one, other = (replicas[place] for place in random.integers(len(replicas), size=2))
            busy = [len(each.queue) + each.count for each in (one, other)]
            replica = other if busy[1] < busy[0] else one
        arrived_s = environment.now
        with replica.request() as slot:
            yield slot
            waits_s.append(environment.now - arrived_s)
            yield environment.timeout(lasts_s)

    def arrivals():  # type: ignore[no-untyped-def]
        pairs = zip(np.asarray(at_s).tolist(), np.asarray(service_s).tolist(), strict=True)
        for number, (due_s, lasts_s) in enumerate(pairs):
            yield environment.timeout(due_s - environment.now)
            environment.process(request(number, lasts_s))

    environment.process(arrivals())
    environment.run()
    return waits_s


def _print_large(rounds: int) -> None:
    wall_s, cpu_s = [], []
    for seed in range(rounds):
        started_s = time.perf_counter()
        spent_s, outcome = _cpu_s(lambda seed=seed: simulate_fast(replace(LARGE, seed=seed)))
        wall_s.append(time.perf_counter() - started_s)
        cpu_s.append(spent_s)
    what = f"{LARGE.clients:,} clients, {LARGE.replicas:,} replicas, {LARGE.requests:,} requests"
    print(f"\n{what}, two choices, one core:")
    _print("by the clock, s", wall_s, 1.0, LARGE_BUDGET_S)
    _print("of CPU, s", cpu_s, 1.0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    _print("memory of the process at most, MB", [peak], 1e6, LARGE_BUDGET_BYTES)
    print(f"  by the formula {memory_bytes(LARGE) / 1e6:.0f} MB besides Python, NumPy and Numba")
    print(f"  p50 {outcome.latency_s(0.5) * 1000:.1f} ms, p99 {outcome.latency_s(0.99) * 1000:.1f} ms")


def _command_s() -> float:
    """Return the CPU seconds of the command that simulates `sticky`."""
    with tempfile.TemporaryDirectory() as results:
        words = ["run_experiment.py", "sticky", "--testbed", "simulated", "-q", "--results", results]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], cwd=ROOT, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _cpu_s(task: Callable[[], Result]) -> tuple[float, Result]:
    started_s = time.process_time()
    result = task()
    return time.process_time() - started_s, result


def _print(
    what: str, values: list[float], unit: float, budget: float | None = None, *, least: bool = False
) -> None:
    """Print the median and the range, and whether the median is within the budget."""
    median = statistics.median(values)
    line = f"  {what:<62}{median / unit:>8.2f}  ({min(values) / unit:.2f} to {max(values) / unit:.2f})"
    if budget is not None:
        within = median >= budget if least else median <= budget
        line += f"  {'within' if within else 'OVER'} {budget / unit:g}"
    print(line, flush=True)


if __name__ == "__main__":
    main()
