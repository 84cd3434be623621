"""Summarises what this machine did while a cell was measured, from samples of its counters. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.record.cell_record import CpuShares, MachineMoment, MachineRecord

NS_PER_S = 1_000_000_000
WORST_S = 0.5  # length of the worst moment
# A stretch in which others took at least this share of the machine counts: the lab's processes then wait for
# each other.
TAKEN_SHARE = 0.5
MAX_GAP_S = 0.25  # longest calmer moment in a stretch: counters tick every 10 ms, and shares of 100 ms jump


@dataclass(frozen=True, slots=True)
class Sample:
    """The machine's counters at `at_ns` from the cell's start; those in _s count up. None: not known.

    steal_s: CPU time that the hypervisor gave to other virtual machines while this one wanted it.
    busy_s: CPU time of all processes. lab_s: of the lab's own processes. load_s: of those that send.
    pressure_s: time in which a process waited for a core (PSI, "some"). running: processes that run or wait
    for a core. late_s: how much later than planned the sample was taken. stopped: parts of the lab that were
    stopped then, without those that an event has stopped. asleep_s: how long the machine has slept. waited_s:
    how long the threads of the harness, which take the samples, have waited for a core.
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
    stopped: frozenset[str] = frozenset()
    asleep_s: float = 0.0
    waited_s: float | None = None


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
        **dict(_shares(spans)),
        load_cores=_load_cores(inside),
        running_mean=round(sum(running) / len(running), 2) if running else None,
        running_max=max(running, default=None),
        frequency_mhz=round(sum(frequencies) / len(frequencies)) if frequencies else None,
        watch_late_ms_max=max((round(sample.late_s * 1000, 1) for sample in inside), default=None),
        worst=_worst(spans, start_ns),
        taken=_taken(spans, start_ns),
    )


def _load_cores(samples: Sequence[Sample]) -> float | None:
    """Return the mean number of CPU cores that the load had from the first to the last sample."""
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
        """Return the share of the machine that others had."""
        taken_s = (self.steal_s or 0.0) + (self.others_s or 0.0)
        return taken_s / (self.cores * self.seconds) if self.seconds > 0 else 0.0


def _passed(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else max(0.0, after - before)


def _shares(spans: Sequence[_Span]) -> CpuShares:
    seconds = _seconds(spans)
    cpu_s = seconds * (spans[0].cores if spans else 1)

    def share(of: Callable[[_Span], float | None], whole_s: float) -> float | None:
        known = [value for span in spans if (value := of(span)) is not None]
        return round(min(1.0, sum(known) / whole_s), 4) if known and len(known) == len(spans) else None

    return CpuShares(
        seconds=round(seconds, 3),
        steal_share=share(lambda span: span.steal_s, cpu_s),
        others_share=share(lambda span: span.others_s, cpu_s),
        lab_share=share(lambda span: span.lab_s, cpu_s),
        pressure_share=share(lambda span: span.pressure_s, seconds),
    )


def _moment(spans: Sequence[_Span], start_ns: int) -> MachineMoment:
    at_s = round((spans[0].start_ns - start_ns) / NS_PER_S, 3)
    return MachineMoment(at_s=at_s, **dict(_shares(spans)))


def _worst(spans: Sequence[_Span], start_ns: int) -> MachineMoment | None:
    """Return the WORST_S in which others took most of the machine; None without a span."""
    moments = [_from(spans, first) for first in range(len(spans))]
    whole = [moment for moment in moments if _seconds(moment) >= WORST_S] or moments[:1]
    return _moment(max(whole, key=_mean_taken), start_ns) if whole else None


def _from(spans: Sequence[_Span], first: int) -> Sequence[_Span]:
    """Return the spans from `first` on that last WORST_S together, or all that are left."""
    for last in range(first, len(spans)):
        if spans[last].end_ns - spans[first].start_ns >= WORST_S * NS_PER_S:
            return spans[first : last + 1]
    return spans[first:]


def _taken(spans: Sequence[_Span], start_ns: int) -> MachineMoment | None:
    """Return the longest stretch in which others took TAKEN_SHARE of the machine; None without any."""
    stretches: list[tuple[int, int]] = []
    for place, span in enumerate(spans):
        if span.taken_share >= TAKEN_SHARE:
            first = place
            if stretches and (span.start_ns - spans[stretches[-1][1]].end_ns) / NS_PER_S <= MAX_GAP_S:
                first, _ = stretches.pop()
            stretches.append((first, place))
    longest = max((spans[first : last + 1] for first, last in stretches), key=_seconds, default=None)
    return _moment(longest, start_ns) if longest else None


def _seconds(spans: Sequence[_Span]) -> float:
    return sum(span.seconds for span in spans)


def _mean_taken(spans: Sequence[_Span]) -> float:
    seconds = _seconds(spans)
    return sum(span.taken_share * span.seconds for span in spans) / seconds if seconds else 0.0
