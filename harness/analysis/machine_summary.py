"""What summary.json says of the machine and of disturbed cells. Pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import TypedDict

from harness.record.cell_record import read_machine
from harness.record.reader import Run
from harness.record.summary import CellMachine, DisturbedCell, RepeatedCell, VerdictWord


class MachineFields(TypedDict):
    """The fields of a summary that this module knows."""

    repeated_cells: list[RepeatedCell]
    disturbed_cells: list[DisturbedCell]
    machine: list[CellMachine]
    advice: str | None


def machine_fields(run: Run, verdict: VerdictWord) -> MachineFields:
    """Return the fields of summary.json that this module knows."""
    disturbed = [
        DisturbedCell(
            arm=cell.record.arm,
            repeat=cell.record.repeat,
            reason=cell.record.disturbed,
            cause=cell.record.disturbed_by or "unknown",
            planned_rate_per_s=cell.record.planned_rate_per_s,
        )
        for cell in run.cells
        if cell.record.disturbed
    ]
    machines = [(cell.record, read_machine(cell.folder)) for cell in run.cells]
    return {
        "repeated_cells": [
            RepeatedCell(arm=planned.arm, repeat=planned.repeat, **attempt.model_dump())
            for planned in run.manifest.cells
            for attempt in planned.disturbed
        ],
        "disturbed_cells": disturbed,
        "machine": [
            CellMachine(arm=record.arm, repeat=record.repeat, **machine.model_dump())
            for record, machine in machines
            if machine
        ],
        "advice": _advice(disturbed, run.manifest.redo) if verdict == "inconclusive" else None,
    }


def _advice(disturbed: Sequence[DisturbedCell], redo: int) -> str | None:
    """What would help the user to a verdict; None where the machine is not what stands in the way."""
    if not disturbed:
        return None
    (cause, _), *_ = Counter(one.cause for one in disturbed).most_common(1)
    rate = max((one.planned_rate_per_s or 0.0 for one in disturbed), default=0.0)
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


def machine_states(run: Run) -> dict[str, str]:
    """Return how busy others kept the machine in this run, in steps of 5 %: two calm runs look alike."""
    machines = [machine for cell in run.cells if (machine := read_machine(cell.folder)) is not None]
    states = {}
    for field in ("others_share", "steal_share"):
        known = [share for machine in machines if (share := getattr(machine, field)) is not None]
        if known:
            states[field] = f"{round(statistics.median(known) * 20) / 20:.0%} of the CPU"
    again = sum(len(planned.disturbed) for planned in run.manifest.cells)
    return {**states, "repeated_cells": str(again)} if machines else {}
