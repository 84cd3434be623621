"""Was a finished cell disturbed, so that it is to be measured again? Pure.

The rule asks only what does not depend on the cell's result: how late the generator was, and what the machine
did meanwhile. No latency, count or error of an answer enters it, and it is the same for every arm.

A cell is disturbed when its figures would be spoilt:
- the generator sent more than MAX_LAG_P99_MS late for one request in a hundred, or
- it sent outside MIN_ACHIEVED_SHARE to MAX_ACHIEVED_SHARE of the plan in time, or
- others (other processes, other virtual machines) had TAKEN_SHARE of the machine for TAKEN_S or longer, and
  the generator was NOTABLE_LAG_MS late: what sends late receives late, too, and Envoy and the replicas wait
  for a core as the generator does. Only when that passed: where it lasted for LASTING_SHARE of the window, a
  second attempt would hardly fare better, and this one may still count.
The first two limits are the judge's: a cell that breaks them does not count anyway. So a repetition never
takes the place of a cell for what that cell measured.

Lateness counts only where the machine or the lab is the cause. Clients that wait for an answer on purpose
(`await_each_answer`, the first answer of a session) are late from the end of that wait.

A disturbed cell is worth a repetition unless the lab itself kept the machine busy for the whole window, or
each load process its core: the load is too much for them then, and a second attempt would fare no better.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from harness.analysis.generator_lag import lag_after_answers
from harness.analysis.judge import MAX_ACHIEVED_SHARE, MAX_LAG_P99_MS, MIN_ACHIEVED_SHARE
from harness.analysis.percentiles import percentiles
from harness.metrics.metric import NS_PER_MS
from harness.record.cell_record import DisturbanceCause, MachineRecord, read_machine
from harness.record.reader import Cell
from harness.record.tables import table_errors

TAKEN_S = 0.3  # how long others may have TAKEN_SHARE of the machine
LASTING_SHARE = 0.75  # of the window
NOTABLE_LAG_MS = 10.0  # a fifth of the limit; on a calm machine p99 is below 5 ms
LAB_ALONE_SHARE = 0.9  # of the machine, over the whole window: nothing is left that others could take
LOAD_CORES = 0.9  # of a load process, over the whole window: its event loop keeps one core busy, and is late
SEEN_SHARE = 0.2  # of the machine, in the worst moment: what others took below that explains no lateness


@dataclass(frozen=True)
class Disturbance:
    """Why the figures of a cell are spoilt.

    reason: one sentence with figures. cause: who took the machine. worth_repeating: whether a second attempt
    may fare better.
    """

    reason: str
    cause: DisturbanceCause

    @property
    def worth_repeating(self) -> bool:
        """Whether a second attempt may fare better."""
        return self.cause not in ("lab", "load")


@dataclass(frozen=True)
class Lateness:
    """How late the generator was, for want of a core. in_time_share: sent in the window / planned there.

    None: nothing was planned ahead (a closed loop, or clients that wait for each answer), or the rows of a
    lost load worker are missing.
    """

    lag_p99_ms: float
    planned_rate_per_s: float
    in_time_share: float | None

    @classmethod
    def of(cls, lag_ns: pl.Series, cell: Cell, in_time: int | None) -> Lateness:
        """Return what `lag_ns` of the window's requests comes to; `in_time`: requests sent in the window."""
        planned = cell.record.planned_requests
        window_s = cell.record.window_ns / 1e9
        share = in_time / planned if in_time is not None and planned else None
        return cls(percentiles(lag_ns)["p99"] / NS_PER_MS, planned / window_s, share)


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
    if lateness is None:
        return None
    effects = _effects(lateness)
    if not effects and not _robbed(lateness, machine):
        return None
    cause, words = _cause(machine, load_processes)
    if not effects:
        effects = [f"the generator sent {_figure(lateness.lag_p99_ms)} ms late at p99"]
    return Disturbance("; ".join([words, *effects]), cause)


def lateness_of(cell: Cell) -> Lateness | None:
    """Return how late the cell's generator was; None when no request was planned in the measured window."""
    start_ns, end_ns = cell.record.measure_start_ns, cell.record.measure_end_ns
    with table_errors(cell.folder, "request rows written by this lab"):
        if cell.record.awaits_answers:
            lag_ns = lag_after_answers(cell.requests(), start_ns, end_ns)
            return Lateness.of(lag_ns, cell, None) if lag_ns.len() else None
        lags = lags_of(cell.requests())
    lag_ns = lags.filter(pl.col("planned_ns").is_between(start_ns, end_ns, closed="left"))["lag_ns"]
    sent_ns = pl.col("planned_ns") + pl.col("lag_ns")
    in_time = lags.filter(sent_ns.is_between(start_ns, end_ns, closed="left")).height
    return Lateness.of(lag_ns, cell, None if cell.record.lost_clients else in_time) if lag_ns.len() else None


def lags_of(requests: pl.LazyFrame) -> pl.DataFrame:
    """Return planned_ns and lag_ns of each request: sent - planned, without the wait for a first answer."""
    first = pl.col("done_ns").sort_by("request_id").first().over("client", "session")
    waited = (pl.col("planned_ns") < first) & (pl.col("sent_ns") >= first)
    due_ns = pl.when(waited).then(first).otherwise("planned_ns")
    return requests.select("planned_ns", (pl.col("sent_ns") - due_ns).alias("lag_ns")).collect()


def _effects(lateness: Lateness) -> list[str]:
    """What the lateness spoils, in words."""
    effects = []
    if lateness.lag_p99_ms > MAX_LAG_P99_MS:
        late_ms = _figure(lateness.lag_p99_ms)
        effects.append(f"the generator sent {late_ms} ms late at p99 (at most {MAX_LAG_P99_MS:g} ms)")
    share = lateness.in_time_share
    if share is not None and not MIN_ACHIEVED_SHARE <= share <= MAX_ACHIEVED_SHARE:
        planned = lateness.planned_rate_per_s
        effects.append(
            f"the generator sent {_figure(share * planned)} of {_figure(planned)} planned requests/s in time"
        )
    return effects


def _robbed(lateness: Lateness, machine: MachineRecord | None) -> bool:
    """Whether others had the machine for a while, and the generator felt it."""
    if machine is None or machine.taken is None or lateness.lag_p99_ms <= NOTABLE_LAG_MS:
        return False
    seconds = machine.taken.seconds
    return TAKEN_S <= seconds <= LASTING_SHARE * machine.seconds


def _cause(machine: MachineRecord | None, load_processes: int) -> tuple[DisturbanceCause, str]:
    """Who took the machine, and the same in words."""
    if machine is None:
        return "unknown", "what took the machine is not known"
    lab_share = machine.lab_share
    if lab_share is not None and lab_share >= LAB_ALONE_SHARE:
        return "lab", f"the lab's own processes took {_of_cores(lab_share, machine)} all the time"
    load_cores = machine.load_cores
    if load_cores is not None and load_cores >= LOAD_CORES * load_processes:
        return "load", f"the load itself took {load_cores:.1f} CPU cores all the time"
    moment = machine.taken or machine.worst
    if moment is None or moment.steal_share is moment.others_share is None:
        return "unknown", "what took the machine is not known"
    steal, others = moment.steal_share or 0.0, moment.others_share or 0.0
    if steal + others < SEEN_SHARE:
        return "unknown", "no other process that took the machine was seen"
    share = min(1.0, steal + others)
    who: DisturbanceCause = "hypervisor" if steal > others else "processes"
    names = {"hypervisor": "other virtual machines", "processes": "other processes"}
    return who, f"{names[who]} took {_of_cores(share, machine)} for {moment.seconds:.1f} s"


def _of_cores(share: float, machine: MachineRecord) -> str:
    cores = machine.cores
    return f"{share * cores:.1f} of {cores} CPU {'core' if cores == 1 else 'cores'}"


def _figure(value: float) -> str:
    """The value with three digits or all before the point, never as a power of ten."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
