"""The picture of a plan: latency and capacity of each policy, as SVG."""

from __future__ import annotations

import io
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from harness.plan.advice import LABELS, Plan
from harness.plan.question import duration
from harness.report.plotting import ARM_COLOURS, FAIR, RC, WIDTH_IN

_HEIGHT_IN = 3.4


def plan_svg(plan: Plan) -> str:
    """Return the picture as SVG text.

    Left: the objective's percentile of each policy, median and the band of 90 % of placements. Right: the
    highest rate at which the objective holds.
    """
    with rc_context(RC):
        figure = Figure(figsize=(WIDTH_IN, _HEIGHT_IN), layout="constrained")
        latency, capacity = figure.subplots(1, 2, sharey=True)
        _draw_latency(latency, plan)
        _draw_capacity(capacity, plan)
        text = io.StringIO()
        # The date would make every picture differ.
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": "lb-lab"})
    return text.getvalue()


def _draw_latency(axes: Any, plan: Plan) -> None:
    goal = plan.question.goal
    for place, answer in enumerate(plan.answers.values()):
        band, colour = answer.goal_ms, ARM_COLOURS[place]
        axes.plot([band.low, band.high], [place, place], color=colour, linewidth=7, alpha=0.4)
        axes.plot(band.median, place, "o", color=colour)
    axes.axvline(goal.at_most_ms, **FAIR)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: duration(value)))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    axes.set_yticks(range(len(plan.answers)), [LABELS[rule] for rule in plan.answers])
    axes.invert_yaxis()
    axes.set_xlabel(f"{goal.percentile} of the latency: median and 90 % of placements (log scale)")
    axes.set_title(f"Latency at {plan.question.rate_per_s:,.5g} requests/s; dashed: the objective")


def _draw_capacity(axes: Any, plan: Plan) -> None:
    for place, answer in enumerate(plan.answers.values()):
        axes.barh(place, answer.capacity_per_s, color=ARM_COLOURS[place], height=0.6)
    axes.axvline(plan.question.rate_per_s, **FAIR)
    axes.set_xlabel("requests/s at which the objective holds in 19 of 20 placements")
    axes.set_title(f"Capacity with {plan.question.targets:,} targets; dashed: the asked rate")
