"""Decides whether the machine disturbed a finished cell, so that it is to be measured again. Pure.

The rule uses only what does not depend on the cell's result: how late the generator was, and what the machine
did meanwhile. It uses no latency, count or error of an answer, and it is the same for every arm.

A cell is disturbed when one of these is true:
- a part of the lab, or the machine, stood still for a while, and no event did that (interruptions.py);
- the generator sent more than MAX_LAG_P99_MS late for one request in a hundred;
- it sent outside MIN_ACHIEVED_SHARE to MAX_ACHIEVED_SHARE of the plan in time;
- others (other processes, other virtual machines) had TAKEN_SHARE of the machine for TAKEN_S or longer, and
  the generator was NOTABLE_LAG_MS late. It then receives late, too, and Envoy and the replicas wait for a
  core as it does. If that lasted for LASTING_SHARE of the window, the cell may still count: a second attempt
  would hardly fare better.
The first two limits are the judge's: a cell that breaks them does not count anyway. So no cell is repeated
for what it measured.

Only lateness that the machine or the lab causes counts. Clients that wait for an answer on purpose
(`await_each_answer`, the first answer of a session) are late from the end of that wait.

A second attempt fares no better where the lab itself kept the machine busy for the whole window, or each load
process its core: the load is too much for them. Such a cell is not worth repeating.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from harness.analysis.interruptions import interruptions_of
from harness.analysis.machine_samples import taken_share
from harness.analysis.statistics import percentiles
from harness.analysis.validity import MAX_ACHIEVED_SHARE, MAX_LAG_P99_MS, MIN_ACHIEVED_SHARE, TAKERS
from harness.fields import DisturbanceCause
from harness.metrics.metric import NS_PER_MS
from harness.record.cell_record import MACHINE, MachineRecord, read_machine
from harness.record.run_directory import Cell
from harness.record.tables import table_errors

TAKEN_S = 0.3  # how long others may have TAKEN_SHARE of the machine
LASTING_SHARE = 0.75  # of the window
NOTABLE_LAG_MS = 10.0  # a fifth of the limit; on a calm machine p99 is below 5 ms
LAB_ALONE_SHARE = 0.9  # of the machine, over the whole window: nothing is left that others could take
LOAD_CORES = 0.9  # of a load process, over the whole window: its event loop keeps one core busy, and is late
SEEN_SHARE = 0.2  # of the machine, in the worst moment: what others took below that explains no lateness


@dataclass(frozen=True)
class Disturbance:
    """Why the figures of a cell are spoilt: one sentence with figures, and who took the machine."""

    reason: str
    cause: DisturbanceCause

    @property
    def worth_repeating(self) -> bool:
        """Return whether a second attempt may fare better."""
        return self.cause not in ("lab", "load")


@dataclass(frozen=True)
class Lateness:
    """How late the generator was for want of a core. in_time_share: sent in the window / planned there.

    It is None where nothing was planned ahead (a closed loop, or clients that wait for each answer), and
    where the rows of a lost load worker are missing.
    """

    lag_p99_ms: float
    planned_rate_per_s: float
    in_time_share: float | None


def disturbance_of(cell: Cell) -> Disturbance | None:
    """Return why a completed cell is disturbed; None when it is not, or when it did not complete.

    Raises UserError naming the folder when the client's ledger cannot be read.
    """
    if cell.record.status != "completed":
        return None
    processes = len(cell.record.load_workers) or 1
    return find_disturbance(lateness_of(cell), read_machine(cell.folder), processes)


def find_disturbance(
    lateness: Lateness | None, machine: MachineRecord | None, load_processes: int = 1
) -> Disturbance | None:
    """Apply the rule above. `lateness`: None when no request was planned; `machine`: machine.json or None."""
    effects = [] if lateness is None else _effects(lateness)
    if machine is not None and machine.interruptions:
        cause: DisturbanceCause = "asleep" if machine.interruptions[0].part == MACHINE else "stopped"
        return Disturbance("; ".join([*interruptions_of(machine), *effects]), cause)
    if lateness is None:
        return None
    if not effects and not _robbed(lateness, machine):
        return None
    cause, words = _cause(machine, load_processes)
    return Disturbance("; ".join([words, *(effects or [_late(lateness)])]), cause)


def lateness_of(cell: Cell) -> Lateness | None:
    """Return how late the cell's generator was; None when no request was planned in the measured window."""
    record = cell.record
    start_ns, end_ns = record.measure_start_ns, record.measure_end_ns
    in_time: int | None = None
    with table_errors(cell.folder, "request rows written by this lab"):
        lags = lags_of(cell.requests())
        lag_ns = lags.filter(pl.col("planned_ns").is_between(start_ns, end_ns, closed="left"))["lag_ns"]
        if not record.awaits_answers:
            sent_ns = pl.col("planned_ns") + pl.col("lag_ns")
            in_time = lags.filter(sent_ns.is_between(start_ns, end_ns, closed="left")).height
    if lag_ns.is_empty():
        return None
    planned = record.planned_requests
    share = in_time / planned if in_time is not None and planned and not record.lost_clients else None
    return Lateness(percentiles(lag_ns)["p99"] / NS_PER_MS, planned / (record.window_ns / 1e9), share)


def lags_of(requests: pl.LazyFrame) -> pl.DataFrame:
    """Return planned_ns and lag_ns of each request: sent - ready, without the wait for answers."""
    return requests.select("planned_ns", (pl.col("sent_ns") - pl.col("ready_ns")).alias("lag_ns")).collect()


def _effects(lateness: Lateness) -> list[str]:
    effects = []
    if lateness.lag_p99_ms > MAX_LAG_P99_MS:
        effects.append(f"{_late(lateness)} (at most {MAX_LAG_P99_MS:g} ms)")
    share, planned = lateness.in_time_share, lateness.planned_rate_per_s
    if share is not None and not MIN_ACHIEVED_SHARE <= share <= MAX_ACHIEVED_SHARE:
        rates = f"{_figure(share * planned)} of {_figure(planned)} planned requests/s"
        effects.append(f"the generator sent {rates} in time")
    return effects


def _late(lateness: Lateness) -> str:
    return f"the generator sent {_figure(lateness.lag_p99_ms)} ms late at p99"


def _robbed(lateness: Lateness, machine: MachineRecord | None) -> bool:
    """Return whether others had the machine for a while, and the generator was late."""
    if machine is None or machine.taken is None or lateness.lag_p99_ms <= NOTABLE_LAG_MS:
        return False
    return TAKEN_S <= machine.taken.seconds <= LASTING_SHARE * machine.seconds


def _cause(machine: MachineRecord | None, load_processes: int) -> tuple[DisturbanceCause, str]:
    """Return who took the machine, and the same in words."""
    if machine is None:
        return "unknown", "what took the machine is not known"
    if machine.lab_share is not None and machine.lab_share >= LAB_ALONE_SHARE:
        return "lab", f"{TAKERS['lab']} took {_of_cores(machine.lab_share, machine)} all the time"
    if machine.load_cores is not None and machine.load_cores >= LOAD_CORES * load_processes:
        return "load", f"the load itself took {machine.load_cores:.1f} CPU cores all the time"
    moment = machine.taken or machine.worst
    share = taken_share(moment)
    if moment is None or share is None:
        return "unknown", "what took the machine is not known"
    if share < SEEN_SHARE:
        return "unknown", "no other process that took the machine was seen"
    took = f"took {_of_cores(share, machine)} for {moment.seconds:.1f} s"
    if (moment.steal_share or 0.0) > (moment.others_share or 0.0):
        return "hypervisor", f"{TAKERS['hypervisor']} {took}"
    return "processes", f"{TAKERS['processes']} {took}"


def _of_cores(share: float, machine: MachineRecord) -> str:
    cores = machine.cores
    return f"{share * cores:.1f} of {cores} CPU {'core' if cores == 1 else 'cores'}"


def _figure(value: float) -> str:
    """Return the value with three digits or all before the point, never as a power of ten."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
