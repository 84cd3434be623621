"""What `check` says of the measurement to come: p99 and overload of each arm, simulated, and the machine."""

import math
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.errors import UserError
from harness.metrics.metric import show
from harness.metrics.registry import CAPACITY
from harness.paths import PROGRAM
from harness.plan.capacity import needed_cores
from harness.plan.placements import RARE
from harness.plan.question import duration, question_of
from harness.record.machine_costs import read_costs
from harness.record.prediction import ArmPrediction, Prediction
from harness.spec.experiment import Arm, Experiment

if TYPE_CHECKING:
    from harness.plan.fleet_forecast import Rule

SIMULATIONS = (19,)  # the fewest that have a band of 90 %
P99 = "latency_ms.p99"
ENDLESS = "a failed request"  # which counts as longer than any answer
NEARLY_ALL = 0.8  # of the cores: above it a process waits for a core now and then
BAD, PLAIN, WARNING = "bold red", "", "bold yellow"

Line = tuple[str, str, str]  # label, text, style


def outlook(experiment: Experiment) -> Iterator[Line]:
    """Yield label, text and style of each line: the arms as simulated, then what the machine can carry."""
    yield from _machine(experiment)
    from simulator.compiled import is_compiled

    if not is_compiled("engine.run"):
        how = f"`{PROGRAM} sticky --testbed simulated` compiles the simulator (30 s)"  # any experiment does
        yield "outlook", f"not simulated yet: {how}", PLAIN
        return
    from harness.testbed.simulated.predict import predict

    prediction = predict(experiment, "local", read_costs(), SIMULATIONS)
    if prediction.skipped is None:
        yield from _of_arms(prediction)
    else:
        yield from _of_fleet(experiment)


def _machine(experiment: Experiment) -> Iterator[Line]:
    cores = os.cpu_count() or 1
    needed = max(_needed_cores(experiment, variant.arm) for variant in experiment.variants.values())
    if needed > NEARLY_ALL * cores:
        yield (
            "warning",
            f"A cell takes about {needed:.1f} cores with all parts on this machine, which has {cores} "
            "(docs/capacity.md). The load generator will probably send late. Use fewer replicas, clients or "
            "calls.",
            WARNING,
        )


def _needed_cores(experiment: Experiment, arm: Arm) -> float:
    work = experiment.workload_of(arm)
    rate_per_s = work.peak_rate_per_s or 0  # of a closed loop it is not known
    return needed_cores(
        experiment.replicas.count, work.clients, rate_per_s, proxied=arm.route.startswith("envoy")
    )


def _of_arms(prediction: Prediction) -> Iterator[Line]:
    label = "outlook"
    for name, arm in prediction.arms.items():
        yield label, f"{name}: {_arm(arm)}", _style(arm.overload)
        label = ""


def _style(overload: float | None) -> str:
    return BAD if overload is not None and overload >= RARE else PLAIN


def _arm(arm: ArmPrediction) -> str:
    if arm.not_modelled:
        return f"not simulated, not modelled: {', '.join(arm.not_modelled)}"
    if CAPACITY in arm.metrics:
        found = arm.metrics[CAPACITY]
        low, median, high = map(show, (found.low, found.median, found.high))
        share = f"90% of {arm.simulations} simulated searches"
        return f"capacity {median} requests/s ({low} to {high} in {share})"
    band = arm.metrics.get(P99)
    if band is None:
        latency = "too few requests for a p99"
    else:
        low, median, high = map(_time, (band.low, band.median, band.high))
        latency = f"p99 {median} ({low} to {high} in 90% of {arm.simulations} simulated cells)"
        if low == median == high == ENDLESS:
            latency = f"p99 is {ENDLESS} in all {arm.simulations} simulated cells"
    return f"{latency}; {_overload(arm.overload or 0.0)}"


def _time(ms: float | None) -> str:
    return ENDLESS if ms is None or math.isinf(ms) else duration(ms)


def _overload(probability: float) -> str:
    if not probability:
        return "no replica is overloaded"
    return f"a replica gets more than it can serve in {probability:.0%} of them"


def _of_fleet(experiment: Experiment) -> Iterator[Line]:
    """Yield the arms of an experiment that is too large to simulate event by event: as `plan` has them."""
    from harness.plan.fleet_forecast import FleetForecast

    work = experiment.workload
    try:
        question = replace(question_of(experiment), seconds=work.warm_up_s + work.duration_s)
        forecast = FleetForecast(question, placements=SIMULATIONS[0])
    except UserError as error:
        yield "outlook", f"not simulated: {error}", PLAIN
        return
    label = "outlook"
    for name, variant in experiment.variants.items():
        rule = _rule_of(variant.arm)
        if rule is None:
            yield label, f"{name}: not simulated, too many calls for this policy", PLAIN
        else:
            found = forecast.outlook(rule)
            low, median, high = (duration(ms) for ms in vars(found.p99_ms).values())
            text = f"p99 {median} ({low} to {high} in 90% of {SIMULATIONS[0]} placements)"
            yield label, f"{name}: {text}; {_overload(found.overload)}", _style(found.overload)
        label = ""


def _rule_of(arm: Arm) -> "Rule | None":
    """Return the planner's policy that an arm has; None if it has none like it."""
    if arm.route == "envoy-l4" or arm.retries is not None or arm.options.get("full_scan"):
        return None
    if any((arm.hedging, arm.subsetting, arm.shedding, arm.adaptive_concurrency, arm.admission_control)):
        return None
    if (arm.route, arm.policy) == ("direct", "least_request"):
        return None  # the planner's sees the requests of all clients
    bounded = arm.options.get("bounded_load_percent")
    if arm.policy in ("ring_hash", "maglev"):
        from harness.plan.fleet_forecast import BOUND_PERCENT

        return "hash" if bounded is None else "bounded_hash" if bounded == BOUND_PERCENT else None
    rules: dict[str, Rule] = {"round_robin": "round_robin", "least_request": "least_request"}
    if arm.cookie_jar:
        rules["sticky"] = "sticky"
    return rules.get(arm.policy)
