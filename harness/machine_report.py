"""What summary.json says of the machine and of disturbed cells, and the same for people. Pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from harness.machine_state import read_machine
from harness.record import Run
from harness.report_tables import ABSENT, Table

_SHOWN = {
    "lab_share": "lab",
    "others_share": "other processes",
    "steal_share": "other virtual machines",
    "pressure_share": "waiting for a core",
}


def machine_fields(run: Run, verdict: str) -> dict[str, Any]:
    """Return the fields of summary.json that this module knows: results/README.md explains them."""
    disturbed = [
        {
            "arm": cell.arm,
            "repeat": cell.repeat,
            "reason": cell.info["disturbed"],
            "cause": cell.info.get("disturbed_by", "unknown"),
            "planned_rate_per_s": cell.info.get("planned_rate_per_s"),
        }
        for cell in run.cells
        if cell.info.get("disturbed")
    ]
    machines = [(cell, read_machine(cell.folder)) for cell in run.cells]
    return {
        "repeated_cells": [
            {"arm": planned["arm"], "repeat": planned["repeat"], **attempt}
            for planned in run.manifest["cells"]
            for attempt in planned.get("disturbed", ())
        ],
        "disturbed_cells": disturbed,
        "machine": [
            {"arm": cell.arm, "repeat": cell.repeat, **machine} for cell, machine in machines if machine
        ],
        "advice": _advice(disturbed, run.manifest.get("redo", 0)) if verdict == "inconclusive" else None,
    }


def _advice(disturbed: Sequence[Mapping[str, Any]], redo: int) -> str | None:
    """What would help the user to a verdict; None where the machine is not what stands in the way."""
    if not disturbed:
        return None
    (cause, _), *_ = Counter(one["cause"] for one in disturbed).most_common(1)
    rate = max((one["planned_rate_per_s"] or 0.0 for one in disturbed), default=0.0)
    what = f"{rate:g} calls/s" if rate else "this load"
    less = f"--rate {_half(rate)}" if rate else "fewer clients (--clients)"
    again = "--redo 2, " if not redo else ""
    if cause == "load":
        return f"The load processes are too slow for {what}. Try {less}, or more of them (--processes)."
    if cause == "lab":
        return f"This machine is too slow for {what}. Try {less}, or a machine with more CPU cores."
    if cause == "hypervisor":
        return (
            f"This machine is too busy for {what}: other virtual machines take its CPU. "
            f"Try {again}{less}, or another machine."
        )
    return f"This machine is too busy for {what}. Try {again}{less}, or close other programs."


def _half(rate: float) -> str:
    return f"{round(rate / 2)}" if rate >= 20 else f"{rate / 2:g}"


def repeated_in_words(summary: Mapping[str, Any]) -> str | None:
    """Return how many cells were measured again, as a sentence; None where none was."""
    cells = {(one["arm"], one["repeat"]) for one in summary["repeated_cells"]}
    if not cells:
        return None
    times = len(summary["repeated_cells"])
    often = "" if times == len(cells) else f", {times} times in all"
    return f"{len(cells)} {'cell was' if len(cells) == 1 else 'cells were'} measured again{often}"


def repeated_lines(summary: Mapping[str, Any]) -> list[str]:
    """Return a line for each attempt that was set aside, with the reason."""
    return [
        f"{one['arm']}, repeat {one['repeat']}, attempt {one['attempt']}: {one['reason']}"
        for one in summary["repeated_cells"]
    ]


def machine_table(summary: Mapping[str, Any]) -> Table | None:
    """Return who had the CPU while each arm was measured; None where nobody watched."""
    machines = summary["machine"]
    if not machines:
        return None
    rows = []
    for arm in dict.fromkeys(one["arm"] for one in machines):
        own = [one for one in machines if one["arm"] == arm]
        cells = [_percent([one[field] for one in own]) for field in _SHOWN]
        rows.append([arm, *cells, _worst(own)])
    return Table(
        ["Share of the CPU", *_SHOWN.values(), "worst half second"],
        rows,
        "The machine while measuring, medians over repeats: the CPU time of all its cores that the lab's own "
        "processes, other processes and other virtual machines had; and the share of time in which a process "
        "waited for a core. Worst half second: the most that others had, in any repeat. "
        f"{ABSENT}: this system does not tell.",
    )


def _worst(machines: Sequence[Mapping[str, Any]]) -> str:
    moments = [one["worst"] for one in machines if one["worst"]]
    known = [
        (moment["steal_share"] or 0.0) + (moment["others_share"] or 0.0)
        for moment in moments
        if moment["steal_share"] is not None or moment["others_share"] is not None
    ]
    return f"{min(1.0, max(known)):.0%}" if known else ABSENT


def _percent(shares: Sequence[float | None]) -> str:
    known = [share for share in shares if share is not None]
    return f"{statistics.median(known):.0%}" if known else ABSENT


def machine_states(run: Run) -> dict[str, str]:
    """Return how busy others kept the machine in this run, in steps of 5 %: two calm runs look alike."""
    machines = [machine for cell in run.cells if (machine := read_machine(cell.folder)) is not None]
    states = {}
    for field in ("others_share", "steal_share"):
        known = [machine[field] for machine in machines if machine[field] is not None]
        if known:
            states[field] = f"{round(statistics.median(known) * 20) / 20:.0%} of the CPU"
    again = sum(len(planned.get("disturbed", ())) for planned in run.manifest["cells"])
    return {**states, "repeated_cells": str(again)} if machines else {}
