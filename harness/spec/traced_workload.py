"""Fills in what a trace gives to an experiment: clients, rate and duration, and if wanted service times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.errors import UserError
from harness.spec.model import TraceSource
from harness.spec.trace_file import Recorded, file_digest, recorded_arrivals

MAX_MEAN_MS = 60_000.0  # of an experiment file
# Keys that a workload with a trace must not have -> why.
REFUSED = {
    "clients": "the trace gives it",
    "rate_per_s": "the trace gives it, and its speed",
    "duration_s": "the trace's window and speed give it",
    "skew": "the trace's clients have their own rates",
    "think_time_ms": "a trace is an open loop",
}


def fill_in_trace(tree: dict[str, Any], folder: Path) -> None:
    """Fill in the workload of an experiment file, in place, if it has a trace.

    folder: of the file; the trace's path is relative to it.
    Raises UserError that begins with the key. Leaves mistakes of types to the check of the fields.
    """
    work = tree.get("workload")
    if not isinstance(work, dict) or work.get("trace") is None:
        return
    try:
        source = TraceSource.model_validate(work["trace"])
    except ValidationError:
        # The check of the fields says what is wrong with the trace; it must not complain of these first.
        work.update(clients=1, rate_per_s=1.0, duration_s=1.0)
        return
    for key, why in REFUSED.items():
        if key in work:
            raise UserError(f"workload.{key}: {why}; leave it out")
    path = folder / source.file
    start_s, end_s = source.edges
    if start_s >= end_s:
        raise UserError(
            f"workload.trace.window: [{start_s:g}, {end_s:g}]; expected [from, to], from before to"
        )
    if source.sha256 is not None and file_digest(path) != source.sha256:
        raise UserError(f"workload.trace.sha256: {path} is another file than the one with this hash")
    warm_up_s = work.get("warm_up_s", 1.0)
    if not isinstance(warm_up_s, int | float) or not 0 <= warm_up_s <= 600:
        return
    try:
        recorded = _arrivals(source.model_copy(update={"file": str(path)}), float(warm_up_s))
    except UserError as error:
        raise UserError(f"workload.trace: {error}") from None
    work.update(
        clients=recorded.clients,
        rate_per_s=recorded.requests / source.seconds,
        duration_s=source.seconds,
        trace={**work["trace"], "file": str(path.absolute())},
    )
    if source.service_times == "recorded":
        _fill_in_service_time(tree, recorded)


def _fill_in_service_time(tree: dict[str, Any], recorded: Recorded) -> None:
    """Give the replicas the mean of the recorded service times; requests without one draw from it."""
    replicas = tree.get("replicas")
    if isinstance(replicas, dict):
        if "service_time_ms" in replicas:
            raise UserError("replicas.service_time_ms: the trace gives it (service_times); leave it out")
        mean_ms = min(recorded.mean_work_ms, MAX_MEAN_MS)
        replicas["service_time_ms"] = {"distribution": "exponential", "mean": mean_ms}


def recorded_of(source: TraceSource, warm_up_s: float) -> Recorded:
    """Return the arrivals of a workload that has been filled in."""
    return _arrivals(source, warm_up_s)


def _arrivals(source: TraceSource, warm_up_s: float) -> Recorded:
    recorded = source.service_times == "recorded"
    return recorded_arrivals(Path(source.file), source.edges, source.speed, warm_up_s, recorded)
