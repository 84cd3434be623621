"""The table of the stages of a request."""

from __future__ import annotations

from harness.metrics.stages import STAGES
from harness.report.tables import Arms, Table, figure


def stages_table(arms: Arms) -> Table | None:
    """Median, 99th percentile and mean of each stage, per arm; None where no request could be cut."""
    there = [
        name
        for name in STAGES
        if any(arm.metrics[f"stage_ms.{name}.mean"] is not None for arm in arms.values())
    ]
    if not there:
        return None
    rows = []
    for name, arm in arms.items():
        for stage in there:
            figures = [arm.metrics[f"stage_ms.{stage}.{one}"] for one in ("p50", "p99", "mean", "slowest")]
            if any(value is not None for value in figures):
                rows.append([f"{name}, {STAGES[stage].label}", *map(figure, figures)])
    meanings = " ".join(
        f"{STAGES[name].label.capitalize()}: {_plain(STAGES[name].meaning)}." for name in there
    )
    return Table(
        ["Milliseconds", "p50", "p99", "mean", "mean of the slowest 1 %"],
        rows,
        "The time of each request of the measured window, cut into stages; medians over repeats. The means "
        "of an arm's stages add up to its mean latency, percentiles do not. A request that was given up is "
        "in the stage that it had reached for the rest of its time. "
        f"{meanings} The files in joined/ have the stages of every request.",
    )


def _plain(meaning: str) -> str:
    return meaning.replace("`", "")
