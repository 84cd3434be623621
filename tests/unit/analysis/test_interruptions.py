"""What stood still, from handwritten samples: parts, the harness, the machine; and what did not."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.interruptions import find_interruptions, interruption_in_words
from harness.analysis.machine_samples import Sample
from harness.analysis.summary import summarise
from harness.record.cell_record import Interruption, write_machine
from harness.record.run_directory import read_run
from tests.unit.synthetic.edited_run import seal_again
from tests.unit.synthetic.handwritten_machine import machine
from tests.unit.synthetic.synthetic_run import GOLDEN

S = 1_000_000_000
CORES = 2
START_NS, END_NS = 2 * S, 6 * S


def calm(at_s: float, late_s: float = 0.0, **changes: object) -> Sample:
    """A sample of a calm machine: the lab has 0.6 of a core, its load 0.3, others 0.04."""
    counted = {"steal_s": 0.0, "busy_s": 0.64 * at_s, "lab_s": 0.6 * at_s, "load_s": 0.3 * at_s}
    return Sample(round(at_s * S), late_s=late_s, **(counted | changes))  # type: ignore[arg-type]


def found(samples: Sequence[Sample]) -> list[str]:
    return [interruption_in_words(one) for one in find_interruptions(samples, CORES, START_NS, END_NS)]


def ten_a_second(first: int = 0, last: int = 80) -> list[int]:
    return list(range(first, last))


def test_a_calm_machine_is_not_interrupted() -> None:
    assert found([calm(n / 10) for n in ten_a_second()]) == []
    assert found([]) == []
    assert found([Sample(0), Sample(S), Sample(5 * S)]) == []  # nothing is known


@pytest.mark.parametrize("part", ["replica-1", "envoy", "load", "load-worker-0", "a fork server"])
def test_a_part_that_was_stopped_is_named(part: str) -> None:
    samples = [
        calm(n / 10, stopped=frozenset({part}) if 30 <= n < 60 else frozenset()) for n in ten_a_second()
    ]
    assert found(samples) == [
        f"{part} was stopped (SIGSTOP) for 3.0 s, 1.0 s after measuring began, and no event did that"
    ]


def test_a_stop_counts_only_inside_the_window() -> None:
    def stopped(first: int, last: int) -> list[Sample]:
        names = frozenset({"envoy"})
        return [
            calm(n / 10, stopped=names if first <= n < last else frozenset()) for n in ten_a_second(0, 70)
        ]

    assert found(stopped(0, 19)) == found(stopped(61, 70)) == []
    (one,) = find_interruptions(stopped(10, 30), CORES, START_NS, END_NS)
    assert (one.at_s, one.seconds) == (0.0, 1.0)
    (one,) = find_interruptions(stopped(50, 70), CORES, START_NS, END_NS)  # never seen to go on
    assert (one.at_s, one.seconds) == (3.0, 1.0)


def test_a_stop_that_one_sample_saw_is_none() -> None:
    samples = [
        calm(n / 10, stopped=frozenset({"envoy"}) if n in (30, 40, 41) else frozenset())
        for n in ten_a_second()
    ]
    assert found(samples) == []


def test_two_parts_at_once_and_one_part_twice() -> None:
    def names(n: int) -> frozenset[str]:
        parts = {"envoy"} if 30 <= n < 35 or 50 <= n < 55 else set()
        return frozenset(parts | ({"replica-0"} if 32 <= n < 36 else set()))

    interruptions = find_interruptions(
        [calm(n / 10, stopped=names(n)) for n in ten_a_second()], CORES, START_NS, END_NS
    )
    assert [(one.part, one.at_s, one.seconds) for one in interruptions] == [
        ("envoy", 1.0, 0.5),
        ("replica-0", 1.2, 0.4),
        ("envoy", 3.0, 0.5),
    ]


def test_a_machine_that_slept() -> None:
    """The monotonic clock stops meanwhile, so no sample is late."""
    samples = [calm(n / 10, asleep_s=7.0 + (60.0 if n >= 40 else 0.0)) for n in ten_a_second()]
    assert found(samples) == ["this machine was asleep for 60.0 s, 1.9 s after measuring began"]


def gap(frozen: str, late_s: float = 3.0) -> list[Sample]:
    """A watch that was late: nothing of the lab ran then, or all of it did, or others had the machine."""
    before = [calm(n / 10) for n in ten_a_second(0, 30)]
    last = before[-1]
    seconds = late_s + 0.1
    lab_s, load_s, busy_s = {
        "all": (0.01, 0.005, 0.05),
        "harness": (0.55 * seconds, 0.29 * seconds, 0.6 * seconds),
        "none, others were busy": (0.1, 0.05, 1.9 * seconds),
    }[frozen]
    after = calm(
        2.9 + seconds,
        late_s,
        busy_s=(last.busy_s or 0) + busy_s,
        lab_s=(last.lab_s or 0) + lab_s,
        load_s=(last.load_s or 0) + load_s,
    )
    return [*before, after]


def test_a_paused_machine_and_a_stopped_harness_are_told_apart() -> None:
    assert found(gap("all")) == ["this machine stood still for 3.0 s, 1.0 s after measuring began"]
    assert found(gap("harness")) == ["the harness stood still for 3.0 s, 1.0 s after measuring began"]


def test_a_watch_that_waited_for_a_core_saw_no_interruption() -> None:
    assert found(gap("none, others were busy")) == []
    assert found(gap("all", late_s=0.9)) == []


@pytest.mark.parametrize("frozen", ["all", "harness", "none, others were busy"])
@pytest.mark.parametrize("waited_s", [0.2, 2.9])
def test_who_waited_for_a_core_is_known_where_the_kernel_counts_it(frozen: str, waited_s: float) -> None:
    """Then it does not matter what others did."""
    *before, last = gap(frozen)
    samples = [*(replace(one, waited_s=1.0) for one in before), replace(last, waited_s=1.0 + waited_s)]
    assert len(found(samples)) == (1 if waited_s < 1 else 0)


def test_without_the_loads_time_a_gap_is_the_machines() -> None:
    late = [Sample(2 * S), Sample(2 * S + S // 10), Sample(5 * S, late_s=2.8)]
    assert found(late) == ["this machine stood still for 2.8 s, 0.2 s after measuring began"]


@given(
    st.lists(
        st.builds(
            Sample,
            st.integers(0, 10 * S),
            steal_s=st.none() | st.floats(0, 1e3),
            busy_s=st.none() | st.floats(0, 1e3),
            lab_s=st.none() | st.floats(0, 1e3),
            load_s=st.none() | st.floats(0, 1e3),
            late_s=st.floats(0, 20),
            stopped=st.frozensets(st.sampled_from(["envoy", "load"])),
            asleep_s=st.floats(0, 1e6),
            waited_s=st.none() | st.floats(0, 20),
        ),
        max_size=30,
    )
)
def test_interruptions_lie_in_the_window_in_order(samples: list[Sample]) -> None:
    samples.sort(key=lambda sample: sample.at_ns)
    interruptions = find_interruptions(samples, CORES, START_NS, END_NS)
    assert [one.at_s for one in interruptions] == sorted(one.at_s for one in interruptions)
    for one in interruptions:
        assert 0 <= one.at_s <= (END_NS - START_NS) / S
        assert one.seconds > 0
        assert one.how == "asleep" or one.at_s + one.seconds <= (END_NS - START_NS) / S + 0.002


@pytest.mark.parametrize("at_s", [-0.1, 0.0, 2.04])
def test_the_words_say_how_long_and_when(at_s: float) -> None:
    one = Interruption(part="envoy", how="stopped", at_s=at_s, seconds=2.96)
    when = f"{max(0.0, at_s):.1f} s after measuring began"
    assert interruption_in_words(one) == (
        f"envoy was stopped (SIGSTOP) for 3.0 s, {when}, and no event did that"
    )


def test_a_cell_in_which_a_part_stood_still_is_not_usable(tmp_path: Path) -> None:
    run = shutil.copytree(GOLDEN, tmp_path / "run")
    frozen = {"part": "envoy", "how": "stopped", "at_s": 0.5, "seconds": 0.4}
    write_machine(run / "cells" / "sticky.2", machine(interruptions=[frozen]))
    seal_again(run)
    summary = summarise(read_run(run))
    assert summary.invalid_reasons == [
        "sticky, repeat 2: not usable, because envoy was stopped (SIGSTOP) for 0.4 s, 0.5 s after measuring "
        "began, and no event did that"
    ]
    assert summary.verdict == "inconclusive"
    assert [len(cell.invalid_reasons) for cell in summary.arms["sticky"].repeats] == [0, 1, 0]
