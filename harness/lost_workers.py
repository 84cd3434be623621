"""Load workers that were lost: what the record lacks of theirs."""

from __future__ import annotations

from harness.metric import NS_PER_MS
from harness.record import Cell


def lost_workers(cell: Cell) -> tuple[str, ...]:
    """A sentence for each load worker that did not play to its end."""
    return tuple(_told(cell, worker) for worker in cell.load_workers if worker["ended"] == "lost")


def _told(cell: Cell, worker: dict[str, object]) -> str:
    start_ns, ended_ns = int(cell.info["measure_start_ns"]), int(str(worker["ended_ns"]))
    when = "before measuring"
    if start_ns and ended_ns >= start_ns:
        when = f"{(ended_ns - start_ns) / NS_PER_MS / 1000:.1f} s into measuring"
    planned, measured = worker["planned_requests"], int(str(worker["measured_requests"]))
    missing = (
        "what its clients sent from then on is missing"
        if planned is None
        else f"{int(str(planned)) - measured} of its {planned} planned requests are missing"
    )
    return f"load worker {worker['name']} was lost {when}: {missing}"
