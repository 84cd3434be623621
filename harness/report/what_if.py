"""The what-if of a report: what the page's simulator is given, and what the run measured beside it.

The simulator of the page (assets/whatif_*.js) is that of simulator/fast.py in JavaScript. It knows equal
replicas that nothing happens to, and the policies of POLICIES. Other arms, and runs without such an arm, have
no what-if.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from harness.analysis.validity import is_unspoiled
from harness.metrics.metric import show
from harness.plan.capacity import mean_ms_of_call
from harness.plan.question import has_alike_replicas
from harness.record.machine_costs import MachineCosts, RunCosts, known_costs, with_run
from harness.record.run_directory import Run
from harness.record.summary import ArmSummary, RepeatSummary, Summary
from harness.report.tables import named
from harness.spec.arm import OWN_WORKLOAD, Arm
from harness.spec.experiment import Experiment

# The page's name of a policy -> its meaning for people. POLICIES in whatif_answer.js has the same names.
POLICIES = {
    "round_robin": "round robin: the replicas in turn",
    "least_request": "least request: two are drawn, and the less busy one is taken",
    "random": "random: any, for each request",
    "sticky": "sticky: in turn for each new session, which then stays",
    "hash": "hashing: any for each session, which then stays",
}
SLIDERS = {
    "clients": "Clients",
    "rate_per_s": "Rate of all clients together",
    "skew": "Skew of their rates (0: all alike)",
    "replicas": "Replicas",
    "slots": "Slots of a replica",
    "service_ms": "Mean service time",
}
FIGURES = {"max_over_mean": "spread.max_over_mean", "p50_ms": "latency_ms.p50", "p99_ms": "latency_ms.p99"}
_MODELLED = {"route", "policy", "options", *OWN_WORKLOAD} - {"calls", "messages_per_stream", "message_gap_ms"}
_UNARY = {"AddVideo", "ListVideos"}
_DOUBTS = "The lab does not count all cells of this run. What they measured is left out here."


@dataclass(frozen=True)
class WhatIf:
    """What the page shows. data: a JSON object, see `what_if_of`. note: what the simulator leaves out."""

    data: Mapping[str, Any]
    note: str

    @property
    def arms(self) -> list[str]:
        """The names of the arms that were measured and can be simulated."""
        return [arm["name"] for arm in self.data["arms"]]

    @property
    def policies(self) -> Mapping[str, str]:
        """Name in the page -> meaning."""
        return POLICIES

    @property
    def sliders(self) -> Mapping[str, str]:
        """Name of a setting -> its label."""
        return SLIDERS

    @property
    def figures(self) -> Mapping[str, Markup]:
        """Name of a figure -> the name of its metric for people."""
        return {name: named(metric) for name, metric in FIGURES.items()}

    @property
    def script_data(self) -> Markup:
        """The data as JSON that may stand in a <script> element: no text in it can end the element."""
        return htmlsafe_json_dumps(self.data, separators=(",", ":"))


def what_if_of(run: Run, summary: Summary) -> WhatIf | None:
    """Return the what-if of a run; None where no arm of it can be simulated by the page."""
    if summary.search is not None:
        return None  # the page has no search, and there is no one rate to begin with
    experiment = run.experiment
    if run.manifest.testbed == "external" or not has_alike_replicas(experiment.replicas):
        return None
    arms = list(_arms(experiment, summary))
    if not arms:
        return None
    work, replicas = experiment.workload, experiment.replicas
    costs = known_costs(with_run(MachineCosts(), "this", summary), "this", "envoy")
    added_ms = round(costs.to_proxy + costs.to_replica + costs.way_back, 3) if costs else 0.0
    data = {
        "word": "computed" if run.manifest.testbed == "simulated" else "measured",
        "load": {
            "warm_up_s": work.warm_up_s,
            "duration_s": work.duration_s,
            "distribution": replicas.service_time_ms.distribution,
            "added_ms": added_ms,
        },
        "arms": arms,
    }
    doubts = [_DOUBTS] if summary.invalid_reasons else []
    return WhatIf(data, " ".join([_note(costs, added_ms), *doubts]))


def _arms(experiment: Experiment, summary: Summary) -> Iterator[dict[str, Any]]:
    """Yield each arm that the page can simulate: its name, its settings, what was measured."""
    replicas = experiment.replicas
    time_ms = replicas.service_time_ms
    if time_ms.dear is not None or time_ms.distribution == "pareto":
        return  # the page's model draws no such times
    for name, variant in experiment.variants.items():
        policy, work = policy_of(variant.arm), experiment.workload_of(variant.arm)
        measured, rate_per_s = summary.arms.get(name), work.mean_rate_per_s
        changing = experiment.events_of(variant.arm) or work.changes or work.trace is not None
        if policy is None or changing or rate_per_s is None or measured is None:
            continue
        if not set(work.calls) <= _UNARY:
            continue
        mean_ms = mean_ms_of_call(time_ms, work)
        if not mean_ms or not _usable(measured, FIGURES["max_over_mean"]):
            continue
        settings = {
            "clients": work.clients,
            "rate_per_s": rate_per_s,
            "skew": work.skew,
            "replicas": replicas.count,
            "slots": replicas.slots,
            "service_ms": mean_ms,
            "policy": policy,
        }
        yield {"name": name, "settings": settings, "measured": _measured(measured, rate_per_s)}


def policy_of(arm: Arm) -> str | None:
    """Return what POLICIES calls the arm's policy; None for an arm that the page cannot simulate."""
    own = arm.model_dump(exclude_defaults=True)
    if arm.route != "envoy" or not set(own) <= _MODELLED or "deadline_ms" in own:
        return None
    options = dict(arm.options)
    if arm.policy in ("ring_hash", "maglev"):
        options.pop("table_size", None)
        return None if options else "hash"
    if arm.policy == "sticky" and options == {"first_pick": "random"}:
        return "hash"
    return arm.policy if arm.policy in POLICIES and not options else None


def _measured(arm: ArmSummary, rate_per_s: float) -> dict[str, Any]:
    """Return the figures of an arm, and the requests a second of its busiest replica, of the next, ..."""
    figures = {name: _figure(arm, metric) for name, metric in FIGURES.items()}
    shares = [repeat.share_by_rank for repeat in _usable(arm, FIGURES["max_over_mean"])]
    ranks = [statistics.median(of_rank) for of_rank in zip(*shares, strict=False)]
    return {**figures, "ranks_per_s": [round(share * rate_per_s, 2) for share in ranks]}


def _figure(arm: ArmSummary, metric: str) -> dict[str, Any] | None:
    """Return the median over the usable repeats; what it is at least, where it is known only that."""
    usable = _usable(arm, metric)
    at_least = any(metric in repeat.at_least for repeat in usable)
    values = [repeat.at_least.get(metric, repeat.metrics.get(metric)) for repeat in usable]
    known = [value for value in values if value is not None]
    return {"value": round(statistics.median(known), 4), "at_least": at_least} if known else None


def _usable(arm: ArmSummary, metric: str) -> Sequence[RepeatSummary]:
    return [repeat for repeat in arm.repeats if is_unspoiled(repeat.invalid_reasons, metric)]


def _note(costs: RunCosts | None, added_ms: float) -> str:
    if costs is None:
        added = "Network, proxy and clients take no time here: what is measured is some milliseconds longer"
    else:
        added = (
            f"Network, proxy and clients add {show(round(added_ms, 1))} ms to each latency, as they did in "
            "the calmest arm of this run"
        )
    return (
        f"{added}. All replicas are alike. Nothing fails, and nobody gives up. A connection carries any "
        "number of requests at once."
    )
