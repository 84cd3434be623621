"""What a run says of the machine and of cells measured again: words for people, and a table. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from harness.record.summary import CellMachine, Summary
from harness.report.tables import ABSENT, Table

_SHOWN = {
    "lab_share": "lab",
    "others_share": "other processes",
    "steal_share": "other virtual machines",
    "pressure_share": "waiting for a core",
}


def repeated_in_words(summary: Summary) -> str | None:
    """Return how many cells were measured again, as a sentence; None where none was."""
    cells = {(one.arm, one.repeat) for one in summary.repeated_cells}
    if not cells:
        return None
    times = len(summary.repeated_cells)
    often = "" if times == len(cells) else f", {times} times in all"
    return f"{len(cells)} {'cell was' if len(cells) == 1 else 'cells were'} measured again{often}"


def repeated_lines(summary: Summary) -> list[str]:
    """Return a line for each attempt that was set aside, with the reason."""
    return [
        f"{one.arm}, repeat {one.repeat}, attempt {one.attempt}: {one.reason}"
        for one in summary.repeated_cells
    ]


def machine_table(summary: Summary) -> Table | None:
    """Return who had the CPU while each arm was measured; None where nobody watched."""
    machines = summary.machine
    if not machines:
        return None
    rows = []
    for arm in dict.fromkeys(one.arm for one in machines):
        own = [one for one in machines if one.arm == arm]
        cells = [_percent([getattr(one, field) for one in own]) for field in _SHOWN]
        rows.append([arm, *cells, _worst(own)])
    return Table(
        ["Share of the CPU", *_SHOWN.values(), "worst half second"],
        rows,
        "The machine while measuring, medians over repeats: the CPU time of all its cores that the lab's own "
        "processes, other processes and other virtual machines had; and the share of time in which a process "
        "waited for a core. Worst half second: the most that others had, in any repeat. "
        f"{ABSENT}: this system does not tell.",
    )


def _worst(machines: Sequence[CellMachine]) -> str:
    moments = [one.worst for one in machines if one.worst]
    known = [
        (moment.steal_share or 0.0) + (moment.others_share or 0.0)
        for moment in moments
        if moment.steal_share is not None or moment.others_share is not None
    ]
    return f"{min(1.0, max(known)):.0%}" if known else ABSENT


def _percent(shares: Sequence[float | None]) -> str:
    known = [share for share in shares if share is not None]
    return f"{statistics.median(known):.0%}" if known else ABSENT
