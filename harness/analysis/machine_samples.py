"""What else this machine did while a cell was measured: its counters as one summary. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypedDict

from harness.record.machine import MachineMoment, MachineRecord

NS_PER_S = 1_000_000_000
WORST_S = 0.5  # length of the worst moment
# From this share of the machine's CPU time on, what others take counts as a stretch of its own: with half of
# the machine gone, the parts of the lab wait for each other.
TAKEN_SHARE = 0.5
MAX_GAP_S = 0.25  # calmer moments within a stretch: counters tick every 10 ms, and shares of 100 ms jump


@dataclass(frozen=True)
class Sample:
    """The machine's counters at `at_ns` from the cell's start; those in _s count up. None: not known.

    steal_s: CPU time that the hypervisor gave to other virtual machines while this one wanted it.
    busy_s: CPU time of all processes. lab_s: of the lab's own processes. load_s: of those that send.
    pressure_s: time in which a process waited for a core (PSI, "some"). running: processes that run or wait
    for a core. late_s: how much later than planned the sample was taken.
    """

    at_ns: int
    steal_s: float | None = None
    busy_s: float | None = None
    lab_s: float | None = None
    load_s: float | None = None
    pressure_s: float | None = None
    running: int | None = None
    frequency_mhz: float | None = None
    late_s: float = 0.0


def taken_share(moment: MachineMoment | None) -> float | None:
    """Return the share of the machine that others had; None where that is not known."""
    if moment is None or moment.steal_share is moment.others_share is None:
        return None
    return min(1.0, (moment.steal_share or 0.0) + (moment.others_share or 0.0))


def summarise_machine(samples: Sequence[Sample], cores: int, start_ns: int, end_ns: int) -> MachineRecord:
    """Return machine.json for the measured window from `start_ns` to `end_ns`.

    Shares are of the machine's whole CPU time: cores x seconds.
    """
    spans = [
        _Span(before, after, cores)
        for before, after in itertools.pairwise(samples)
        if before.at_ns < end_ns and after.at_ns > start_ns
    ]
    inside = [sample for sample in samples if start_ns <= sample.at_ns <= end_ns]
    running = [sample.running for sample in inside if sample.running is not None]
    frequencies = [sample.frequency_mhz for sample in inside if sample.frequency_mhz is not None]
    return MachineRecord(
        cores=cores,
        samples=len(inside),
        **_shares(spans),
        load_cores=_cores(inside),
        running_mean=round(sum(running) / len(running), 2) if running else None,
        running_max=max(running, default=None),
        frequency_mhz=round(sum(frequencies) / len(frequencies)) if frequencies else None,
        watch_late_ms_max=max((round(sample.late_s * 1000, 1) for sample in inside), default=None),
        worst=_worst(spans, start_ns),
        taken=_taken(spans, start_ns),
    )


def _cores(samples: Sequence[Sample]) -> float | None:
    """CPU cores that the load had in the mean, from the first to the last of `samples`."""
    if len(samples) < 2 or samples[0].load_s is None or samples[-1].load_s is None:
        return None
    seconds = (samples[-1].at_ns - samples[0].at_ns) / NS_PER_S
    return round((samples[-1].load_s - samples[0].load_s) / seconds, 3)


class _Span:
    """What happened between two samples, in seconds of CPU time."""

    def __init__(self, before: Sample, after: Sample, cores: int) -> None:
        self.start_ns, self.end_ns = before.at_ns, after.at_ns
        self.seconds = (after.at_ns - before.at_ns) / NS_PER_S
        self.cores = cores
        self.steal_s = _passed(before.steal_s, after.steal_s)
        self.lab_s = _passed(before.lab_s, after.lab_s)
        self.pressure_s = _passed(before.pressure_s, after.pressure_s)
        busy_s = _passed(before.busy_s, after.busy_s)
        # The two are counted apart, so that their difference may be a little below 0.
        known = busy_s is not None and self.lab_s is not None
        self.others_s = max(0.0, busy_s - self.lab_s) if known else None  # type: ignore[operator]

    @property
    def taken_share(self) -> float:
        """The share of the machine that somebody else had."""
        taken_s = (self.steal_s or 0.0) + (self.others_s or 0.0)
        return taken_s / (self.cores * self.seconds) if self.seconds > 0 else 0.0


def _passed(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else max(0.0, after - before)


class _Shares(TypedDict):
    """The fields of CpuShares."""

    seconds: float
    steal_share: float | None
    others_share: float | None
    lab_share: float | None
    pressure_share: float | None


def _shares(spans: Sequence[_Span]) -> _Shares:
    seconds = sum(span.seconds for span in spans)
    cpu_s = seconds * (spans[0].cores if spans else 1)

    def share(of: Callable[[_Span], float | None], whole_s: float) -> float | None:
        parts = [of(span) for span in spans]
        known = [part for part in parts if part is not None]
        if not known or len(known) < len(parts):
            return None
        return round(min(1.0, sum(known) / whole_s), 4)

    return {
        "seconds": round(seconds, 3),
        "steal_share": share(lambda span: span.steal_s, cpu_s),
        "others_share": share(lambda span: span.others_s, cpu_s),
        "lab_share": share(lambda span: span.lab_s, cpu_s),
        "pressure_share": share(lambda span: span.pressure_s, seconds),
    }


def _worst(spans: Sequence[_Span], start_ns: int) -> MachineMoment | None:
    """The WORST_S in which others took most of the machine; None without a span."""
    moments = [list(_from(spans, first)) for first in range(len(spans))]
    whole = [moment for moment in moments if _seconds(moment) >= WORST_S] or moments[:1]
    if not whole:
        return None
    worst = max(whole, key=_mean_taken)
    return MachineMoment(at_s=_at_s(worst, start_ns), **_shares(worst))


def _from(spans: Sequence[_Span], first: int) -> Sequence[_Span]:
    """The spans from the `first` on that last WORST_S together, or all that are left."""
    for last in range(first, len(spans)):
        if spans[last].end_ns - spans[first].start_ns >= WORST_S * NS_PER_S:
            return spans[first : last + 1]
    return spans[first:]


def _taken(spans: Sequence[_Span], start_ns: int) -> MachineMoment | None:
    """The longest stretch in which others took TAKEN_SHARE of the machine; None where there is none."""
    stretches: list[list[int]] = []
    for place, span in enumerate(spans):
        if span.taken_share < TAKEN_SHARE:
            continue
        last = stretches[-1] if stretches else None
        if last is not None and (span.start_ns - spans[last[1]].end_ns) / NS_PER_S <= MAX_GAP_S:
            last[1] = place
        else:
            stretches.append([place, place])
    if not stretches:
        return None
    longest = max((list(spans[first : last + 1]) for first, last in stretches), key=_seconds)
    return MachineMoment(at_s=_at_s(longest, start_ns), **_shares(longest))


def _seconds(spans: Sequence[_Span]) -> float:
    return sum(span.seconds for span in spans)


def _mean_taken(spans: Sequence[_Span]) -> float:
    seconds = _seconds(spans)
    return sum(span.taken_share * span.seconds for span in spans) / seconds if seconds else 0.0


def _at_s(spans: Sequence[_Span], start_ns: int) -> float:
    return round((spans[0].start_ns - start_ns) / NS_PER_S, 3)
