"""Finds what stood still in the measured window: parts of the lab, the harness, or the whole machine. Pure.

A part that somebody stops (SIGSTOP, a debugger) is seen in its state, ten times a second. A machine that
sleeps is seen in its clocks: the time since the boot goes on, the monotonic clock does not. A machine or a
container that is paused is seen in a gap between two samples, in which the watch did not wait for a core and
the load had no CPU time. If the load went on in such a gap, only the harness stood still.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator, Sequence
from typing import Literal

from harness.analysis.machine_samples import NS_PER_S, Sample
from harness.record.cell_record import HARNESS, MACHINE, Interruption, MachineRecord

MIN_STOPPED_S = 0.25  # a part; with ten samples a second, a shorter stop may be seen once or not at all
MIN_INSIDE_S = 0.01  # of the window
MIN_ASLEEP_S = 0.1
MIN_GAP_S = 1.0
MAX_WAITED_SHARE = 0.5  # of a gap: with more, the watch was late because it waited for a core
MAX_OTHERS_SHARE = 0.2  # of the machine in a gap: the same, where the kernel does not tell who waits
GOES_ON_SHARE = 0.3  # of the load's usual CPU time in a gap: with more, the load went on


def find_interruptions(
    samples: Sequence[Sample], cores: int, start_ns: int, end_ns: int
) -> list[Interruption]:
    """Return what stood still between `start_ns` and `end_ns`, by time.

    Stops that an event of the experiment caused are not in the samples.
    """
    pairs = list(itertools.pairwise(samples))
    found = [*_stopped(samples, end_ns), *_asleep(pairs), *_gaps(pairs, cores)]
    inside = [
        (part, how, max(begin_ns, start_ns), min(finish_ns, end_ns), seconds)
        for part, how, begin_ns, finish_ns, seconds in found
        if min(finish_ns, end_ns) - max(begin_ns, start_ns) >= MIN_INSIDE_S * NS_PER_S
    ]
    return [
        Interruption(
            part=part,
            how=how,
            at_s=round((begin_ns - start_ns) / NS_PER_S, 3),
            seconds=round((finish_ns - begin_ns) / NS_PER_S if seconds is None else seconds, 3),
        )
        for part, how, begin_ns, finish_ns, seconds in sorted(inside, key=lambda one: one[2:4])
    ]


def interruption_in_words(one: Interruption) -> str:
    """Return what stood still, for how long and when, as a clause."""
    when = f"for {one.seconds:.1f} s, {max(0.0, one.at_s):.1f} s after measuring began"
    if one.how == "stopped":
        return f"{one.part} was stopped (SIGSTOP) {when}, and no event did that"
    if one.how == "asleep":
        return f"this machine was asleep {when}"
    return f"{one.part} stood still {when}"


def interruptions_of(machine: MachineRecord | None) -> tuple[str, ...]:
    """Return what stood still while a cell was measured, a clause each."""
    return tuple(map(interruption_in_words, machine.interruptions if machine else ()))


How = Literal["stopped", "asleep", "stood still"]
_Found = tuple[str, How, int, int, float | None]  # part, how, begin and end, seconds if they are known apart


def _stopped(samples: Sequence[Sample], end_ns: int) -> Iterator[_Found]:
    """Yield each time in which a part was stopped, from the first sample that saw it to the next one."""
    since: dict[str, int] = {}
    for sample in samples:
        for part in since.keys() - sample.stopped:
            yield from _long_enough(part, since.pop(part), sample.at_ns)
        for part in sample.stopped - since.keys():
            since[part] = sample.at_ns
    for part, begin_ns in since.items():
        yield from _long_enough(part, begin_ns, max(end_ns, samples[-1].at_ns))


def _long_enough(part: str, begin_ns: int, finish_ns: int) -> Iterator[_Found]:
    if finish_ns - begin_ns >= MIN_STOPPED_S * NS_PER_S:
        yield part, "stopped", begin_ns, finish_ns, None


def _asleep(pairs: Sequence[tuple[Sample, Sample]]) -> Iterator[_Found]:
    for before, after in pairs:
        slept_s = after.asleep_s - before.asleep_s
        if slept_s >= MIN_ASLEEP_S:
            yield MACHINE, "asleep", before.at_ns, after.at_ns, slept_s


def _gaps(pairs: Sequence[tuple[Sample, Sample]], cores: int) -> Iterator[_Found]:
    usual = _usual_load(pairs)
    for before, after in pairs:
        seconds = (after.at_ns - before.at_ns) / NS_PER_S
        if after.late_s < MIN_GAP_S or _waited_for_a_core(before, after, cores):
            continue
        own = _rate(before, after)
        goes_on = usual is not None and own is not None and own > GOES_ON_SHARE * usual
        # The watch was late by that much; before, it waited for its next sample as planned.
        begin_ns = after.at_ns - round(min(after.late_s, seconds) * NS_PER_S)
        yield HARNESS if goes_on else MACHINE, "stood still", begin_ns, after.at_ns, None


def _rate(before: Sample, after: Sample) -> float | None:
    """Return the CPU cores that the load had between two samples; None where that is not known."""
    if before.load_s is None or after.load_s is None or after.at_ns <= before.at_ns:
        return None
    return (after.load_s - before.load_s) / ((after.at_ns - before.at_ns) / NS_PER_S)


def _usual_load(pairs: Sequence[tuple[Sample, Sample]]) -> float | None:
    known = [rate for pair in pairs if pair[1].late_s < MIN_GAP_S and (rate := _rate(*pair)) is not None]
    return statistics.fmean(known) if known else None


def _waited_for_a_core(before: Sample, after: Sample, cores: int) -> bool:
    """Return whether the watch was late because others had the cores."""
    if before.waited_s is not None and after.waited_s is not None:
        return after.waited_s - before.waited_s > MAX_WAITED_SHARE * after.late_s
    return _others_share(before, after, cores) > MAX_OTHERS_SHARE


def _others_share(before: Sample, after: Sample, cores: int) -> float:
    """Return the share of the machine that others had between two samples; 0 where that is not known."""
    seconds = (after.at_ns - before.at_ns) / NS_PER_S
    if before.busy_s is None or after.busy_s is None or before.lab_s is None or after.lab_s is None:
        return 0.0
    others_s = (after.busy_s - before.busy_s) - (after.lab_s - before.lab_s)
    steal_s = (after.steal_s or 0.0) - (before.steal_s or 0.0)
    return (max(0.0, others_s) + max(0.0, steal_s)) / (cores * seconds) if seconds > 0 else 0.0
