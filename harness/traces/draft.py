"""Makes an experiment from a trace's model: a first draft, scaled to what one machine can send."""

from __future__ import annotations

import math
import textwrap
from datetime import UTC, datetime
from typing import Any

from harness.spec.experiment import Experiment
from harness.spec.yaml_file import dump_tree
from harness.traces.figures import TraceFigures
from harness.traces.model import WorkloadModel
from harness.traces.zipf import shares, skew_with_top_share

MAX_RATE_PER_S, MIN_RATE_PER_S = 600.0, 100.0  # a load that one laptop sends punctually, and one that shows
MAX_REPLICAS, MAX_CLIENTS, MAX_SLOTS = 64, 240, 10_000
MAX_SERVICE_MS, MAX_SLOW = 60_000.0, 1000.0
BUSY = 0.5  # utilisation of the busiest target, which no log tells
DURATION_S = 6


def draft_yaml(figures: TraceFigures, model: WorkloadModel) -> str:
    """Return an experiment file with the trace's targets, clients, skew and service times, sticky and not.

    The rate is scaled to MIN_RATE_PER_S .. MAX_RATE_PER_S, and the slots with it, so that utilisation stays.
    """
    scale = min(1.0, MAX_RATE_PER_S / model.rate_per_s)
    scale = max(scale, MIN_RATE_PER_S / model.rate_per_s)
    targets = figures.targets[:MAX_REPLICAS]
    clients, skew, of_clients = _clients(model)
    slots = _slots(figures, scale)
    tree: dict[str, Any] = {
        "title": "The traffic of a log, sticky and not",
        "question": "Where would the traffic of this log go with stickiness, and where without?",
        "lesson": _lesson(figures, model, scale, slots, of_clients),
        "replicas": {
            "count": max(1, len(targets)),
            "slots": slots,
            "service_time_ms": {
                "distribution": model.distribution,
                "mean": round(min(MAX_SERVICE_MS, model.service_ms or 0.0), 3),
            },
            "different": {
                f"replica-{number}": {"slow_factor": round(min(MAX_SLOW, model.slow[target.name]), 2)}
                for number, target in enumerate(targets)
                if target.name in model.slow
            },
        },
        "workload": {
            "clients": clients,
            "rate_per_s": round(model.rate_per_s * scale, 3),
            "skew": skew,
            "calls": {"AddVideo": 1.0},
            "warm_up_s": 1.0,
            "duration_s": float(DURATION_S),
        },
        "arms": {
            "sticky": {"route": "envoy", "policy": "sticky"},
            "round_robin": {"route": "envoy", "policy": "round_robin"},
        },
    }
    if not tree["replicas"]["different"]:
        del tree["replicas"]["different"]
    Experiment.model_validate({"name": "draft", **tree})
    return (
        "# Written by `observe --write` from a log: a draft. Read the lesson: it says what was assumed.\n"
        f"{dump_tree(tree)}"
    )


def _clients(model: WorkloadModel) -> tuple[int, float, str]:
    """Return clients, skew, and a sentence about them."""
    fit = model.skew
    if fit is None:
        return 12, 0.0, "The log does not tell clients apart, so 12 clients at equal rates are a guess."
    quality = f"Zipf's law with exponent {fit.skew:.2f} describes the log's clients: {fit.quality}."
    if model.clients <= MAX_CLIENTS:
        return model.clients, round(min(10.0, fit.skew), 3), quality
    top = float(shares(fit.skew, fit.clients)[0])
    skew = round(min(10.0, skew_with_top_share(top, MAX_CLIENTS)), 3)
    return (
        MAX_CLIENTS,
        skew,
        (
            f"{quality} The log has {model.clients:,} clients and the experiment {MAX_CLIENTS}. The exponent "
            "is chosen such that the busiest client keeps its share, unless an even share is already more."
        ),
    )


def _slots(figures: TraceFigures, scale: float) -> int:
    busiest = max((target.in_flight or 0.0 for target in figures.targets), default=0.0)
    return max(1, min(MAX_SLOTS, math.ceil(busiest * scale / BUSY)))


def _lesson(figures: TraceFigures, model: WorkloadModel, scale: float, slots: int, of_clients: str) -> str:
    started = datetime.fromtimestamp(figures.start_ns / 1e9, UTC)
    parts = [
        f"This draft comes from a log of {figures.requests:,} requests that begins on {started:%Y-%m-%d} at "
        f"{started:%H:%M} UTC and lasts {figures.span_s:,.0f} s.",
        f"The log has {model.rate_per_s:,.4g} requests a second. The experiment sends {scale:.3g} times as "
        "many.",
        of_clients,
        f"A log does not tell how many requests a target works on at once. With {slots} slots, the busiest "
        f"target of the log would be about {100 * BUSY:.0f} % busy or less. Set your own number.",
    ]
    if model.service_ms is None:
        parts.append("The log has no times of targets, so requests take no time here.")
    if model.burstiness.dispersion:
        seconds, index = next(iter(model.burstiness.dispersion.items()))
        parts.append(
            f"Arrivals here are Poisson. In the log, variance over mean of the arrivals in {seconds:g} s is "
            f"{index:.3g}, where Poisson has 1."
        )
    if len(figures.targets) > MAX_REPLICAS:
        parts.append(f"The log has {len(figures.targets):,} targets, and the experiment {MAX_REPLICAS}.")
    return "\n\n".join("\n".join(textwrap.wrap(part, 100)) for part in parts)
