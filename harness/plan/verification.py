"""The experiment that verifies a plan on real parts, scaled to what this machine carries."""

import math
import os
from dataclasses import dataclass, replace
from typing import Any

from harness.errors import UserError
from harness.plan.capacity import CELL_CALLS_PER_CORE_S
from harness.plan.fleet_forecast import BOUND_PERCENT, FleetForecast, Rule
from harness.plan.question import FleetQuestion, Objective, duration
from harness.spec.yaml_file import dump_tree

# What one core carries with room to spare, and how many replicas and clients: see docs/capacity.md.
CALLS_PER_CORE_S, TARGETS_PER_CORE, CLIENTS_PER_CORE = 0.3 * CELL_CALLS_PER_CORE_S, 8, 400
WARM_UP_S, LEAST_S, MOST_S, REQUESTS = 2.0, 20.0, 120.0, 1_000  # of a cell; a p99 needs some hundreds
MAX_SERVICE_MS, MAX_DEADLINE_MS = 60_000.0, 3_600_000.0
ROOM = 1.5  # an expected latency may be so much more than predicted: real parts add costs of their own
COSTS_MS = 20.0  # and so much more than that
UNCERTAIN = 0.8  # of what is predicted to be exceeded, an expectation asks for so much

ARMS: dict[Rule, dict[str, Any]] = {
    "round_robin": {"route": "envoy", "policy": "round_robin"},
    "least_request": {"route": "envoy", "policy": "least_request"},
    "sticky": {"route": "envoy", "policy": "sticky"},
    "hash": {"route": "envoy", "policy": "maglev"},
    "bounded_hash": {
        "route": "envoy",
        "policy": "maglev",
        "options": {"bounded_load_percent": BOUND_PERCENT},
    },
}


@dataclass(frozen=True)
class Verification:
    """An experiment file as text, and what was scaled, each in a sentence; often nothing."""

    text: str
    scaled: list[str]


def scaled_question(question: FleetQuestion, cores: int) -> tuple[FleetQuestion, list[str]]:
    """Return the question as this machine can carry it, and what was scaled, each in a sentence.

    Fewer targets get less of the rate, so that each is utilised as before. Then time is stretched: requests
    come more slowly, and each takes longer. That changes no placement and no queue.
    """
    words = []
    targets = min(question.targets, TARGETS_PER_CORE * cores)
    rate = question.rate_per_s * targets / question.targets
    if targets < question.targets:
        words.append(
            f"{targets} targets instead of {question.targets:,}, each as utilised as before. Each is a "
            "larger part of the fleet, so they share more evenly than the whole fleet would."
        )
    clients = min(question.clients, CLIENTS_PER_CORE * cores)
    if clients < question.clients:
        words.append(
            f"{clients} clients instead of {question.clients:,}. Fewer clients are spread less evenly."
        )
    stretch = max(1.0, math.ceil(10 * rate / (CALLS_PER_CORE_S * cores)) / 10)
    service_ms = question.service_ms * stretch
    if service_ms > MAX_SERVICE_MS:
        raise UserError(
            f"--write: {question.rate_per_s:g}/s is {stretch:g} times what this machine carries, and a "
            f"request would take {duration(service_ms)}; expected at most {duration(MAX_SERVICE_MS)}: a "
            "lower --rate"
        )
    if stretch > 1:
        words.append(
            f"Time is stretched {stretch:g} times: {rate / stretch:.4g} requests/s instead of "
            f"{rate:.4g}/s, and {duration(service_ms)} a request. Placements and utilisation stay; every "
            f"latency is {stretch:g} times as long."
        )
    goal = question.goal
    scaled = replace(
        question,
        targets=targets,
        clients=clients,
        rate_per_s=rate / stretch,
        service_ms=service_ms,
        objective=Objective(goal.percentile, goal.at_most_ms * stretch),
        seconds=min(MOST_S, max(LEAST_S, math.ceil(REQUESTS * stretch / rate))),
    )
    return scaled, words


def verification_of(question: FleetQuestion, name: str, cores: int | None = None) -> Verification:
    """Return the experiment that verifies an answer. cores: of this machine; None: as found."""
    scaled, words = scaled_question(question, cores or os.cpu_count() or 1)
    tree = _tree(scaled, name)
    head = [
        "# Written by `plan --write`. It verifies the plan on real parts.",
        *(f"# Scaled to this machine: {line}" for line in words),
    ]
    return Verification("\n".join([*head, dump_tree(tree)]), words)


def _tree(scaled: FleetQuestion, name: str) -> dict[str, Any]:
    goal = scaled.goal
    return {
        "title": f"Verify the plan {name}",
        "question": f"Which policies keep {goal.in_words()}, and where do sticky sessions go?",
        "lesson": "Compare the busiest target and the latency of each arm with the plan.",
        "replicas": {
            "count": scaled.targets,
            "slots": scaled.slots,
            "service_time_ms": {"distribution": scaled.distribution, "mean": scaled.service_ms},
        },
        "workload": {
            "clients": scaled.clients,
            "rate_per_s": scaled.rate_per_s,
            "skew": scaled.skew,
            "calls": {"AddVideo": 1},
            "warm_up_s": WARM_UP_S,
            "duration_s": scaled.duration_s,
            # A request that waits in a long queue is to be measured, not given up.
            "deadline_ms": min(MAX_DEADLINE_MS, max(60_000.0, 100 * scaled.service_ms)),
        },
        "arms": dict(ARMS),
        "repeats": 3,
        "seed": scaled.seed,
        "expect": _expectations(scaled),
    }


def _expectations(scaled: FleetQuestion) -> list[dict[str, Any]]:
    """Return what the plan predicts clearly enough that a measurement should show it."""
    forecast = FleetForecast(replace(scaled, placements=None))  # bands need no more
    sticky, turns = forecast.outlook("sticky"), forecast.outlook("round_robin")
    expected: list[dict[str, Any]] = [
        {
            "arm": "sticky",
            "metric": "spread.max_over_mean",
            "at_least": round(1 + UNCERTAIN * (sticky.busiest.low - 1), 2),
        }
    ]
    metric = f"latency_ms.{scaled.goal.percentile}"
    expected.append(
        {
            "arm": "round_robin",
            "metric": metric,
            "at_most": round(ROOM * turns.goal_ms.high + COSTS_MS, 1),
        }
    )
    times = UNCERTAIN * sticky.goal_ms.low / turns.goal_ms.median
    if times > 1:
        expected.append(
            {"arm": "sticky", "metric": metric, "at_least_times": round(times, 2), "of": "round_robin"}
        )
    return expected
