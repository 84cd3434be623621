"""The machine's counters, from handwritten snapshots of /proc: missing counters stay unknown."""

import os
import time
from pathlib import Path

import pytest

from harness.run.machine_watch import (
    MachineWatch,
    ProcessTrees,
    read_asleep_s,
    read_counters,
    read_frequency_mhz,
    read_pressure_s,
    read_waited_s,
)

TICK_S = 0.01
#             user nice system idle iowait irq softirq steal guest guest_nice
STAT = """cpu  1000 20 300 9000 50 7 80 120 0 0
cpu0 500 10 150 4500 25 3 40 60 0 0
cpu1 500 10 150 4500 25 4 40 60 0 0
intr 621414 0 0
ctxt 4711
btime 1790000000
procs_running 3
procs_blocked 0
"""
PRESSURE = """some avg10=41.50 avg60=17.86 avg300=6.77 total=29488794
full avg10=0.00 avg60=0.00 avg300=0.00 total=0
"""


def snapshot(folder: Path, **files: str) -> Path:
    """A /proc with these files; an underscore stands for a slash."""
    for name, text in files.items():
        path = folder / name.replace("_", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def process(
    proc: Path,
    pid: int,
    ticks: int,
    *children: int,
    started: int = 1,
    name: str = "a) (b",
    state: str = "S",
    parent: int = 1,
) -> None:
    """A process that has run for `ticks`, a third of them in the kernel."""
    folder = proc / str(pid)
    (folder / "task" / str(pid)).mkdir(parents=True, exist_ok=True)
    (folder / "task" / str(pid) / "children").write_text(" ".join(map(str, children)) + " ")
    system = ticks // 3
    fields = [state, str(parent), *["0"] * 9, str(ticks - system), str(system), *["0"] * 6, str(started), "0"]
    (folder / "stat").write_text(f"{pid} ({name}) {' '.join(fields)}\n")


def test_the_counters_of_a_linux_machine(tmp_path: Path) -> None:
    proc = snapshot(tmp_path, stat=STAT, pressure_cpu=PRESSURE)
    counters = read_counters(proc, TICK_S)
    assert counters is not None
    assert counters.busy_s == pytest.approx(13.2)  # user, nice and system, without interrupts
    assert counters.steal_s == pytest.approx(1.2)
    assert (counters.running, counters.cores) == (3, 2)
    assert read_pressure_s(proc) == pytest.approx(29.488794)


def test_a_kernel_without_pressure_and_steal(tmp_path: Path) -> None:
    proc = snapshot(tmp_path, stat="cpu  10 0 5 80\ncpu0 10 0 5 80\n")
    counters = read_counters(proc, TICK_S)
    assert counters is not None
    assert (counters.steal_s, counters.running, counters.cores) == (None, None, 1)
    assert read_pressure_s(proc) is None


def test_a_system_without_proc(tmp_path: Path) -> None:
    assert read_counters(tmp_path, TICK_S) is None
    assert read_pressure_s(tmp_path) is None
    assert read_frequency_mhz(tmp_path, tmp_path) is None


def test_the_frequency_of_the_moment_goes_before_the_one_of_the_label(tmp_path: Path) -> None:
    proc = snapshot(tmp_path / "proc", cpuinfo="cpu MHz\t\t: 2000.5\ncpu MHz\t\t: 3000.5\n")
    cpus = tmp_path / "cpus"
    assert read_frequency_mhz(cpus, proc) == pytest.approx(2500.5)
    for core, khz in enumerate((800_000, 3_200_000)):
        path = cpus / f"cpu{core}" / "cpufreq"
        path.mkdir(parents=True)
        (path / "scaling_cur_freq").write_text(f"{khz}\n")
    assert read_frequency_mhz(cpus, proc) == pytest.approx(2000)


def test_a_tree_counts_from_the_first_look_on(tmp_path: Path) -> None:
    own = os.getpid()
    process(tmp_path, own, 900, 70)
    process(tmp_path, 70, 500, 71)
    process(tmp_path, 71, 60)
    process(tmp_path, 80, 999_999)  # of another process
    process(tmp_path, 90, 30)
    trees = ProcessTrees(tmp_path, lambda: [own, 90], TICK_S)
    assert trees.cpu_s() == 0
    process(tmp_path, own, 906, 70)
    process(tmp_path, 71, 63)
    process(tmp_path, 90, 39)
    process(tmp_path, 80, 1_999_999)
    assert trees.cpu_s() == pytest.approx(0.18)


def test_who_starts_later_counts_whole_and_who_ends_keeps_what_it_had(tmp_path: Path) -> None:
    own = os.getpid()
    process(tmp_path, own, 0, 70)
    process(tmp_path, 70, 10)
    trees = ProcessTrees(tmp_path, lambda: [own], TICK_S)
    trees.cpu_s()
    process(tmp_path, 70, 20)
    assert trees.cpu_s() == pytest.approx(0.1)
    process(tmp_path, own, 0, 71)  # 70 has ended
    process(tmp_path, 71, 4)
    assert trees.cpu_s() == pytest.approx(0.14)
    process(tmp_path, 71, 2, started=2)  # the same id, another process
    assert trees.cpu_s() == pytest.approx(0.16)


def test_a_kernel_that_lists_no_children_leaves_others_unknown(tmp_path: Path) -> None:
    assert ProcessTrees(tmp_path, lambda: [1], TICK_S).cpu_s() is None


def test_where_nothing_can_be_read_the_summary_has_no_figures(tmp_path: Path) -> None:
    watch = MachineWatch(time.monotonic_ns(), tmp_path, tmp_path)
    watch.start({"replica-0": 1}, 2)
    time.sleep(0.25)
    watch.stop()
    summary = watch.summary(0, 10**9)
    assert summary.samples >= 2
    assert summary.seconds > 0
    shares = ("steal_share", "others_share", "lab_share", "pressure_share")
    for field in (*shares, "load_cores", "running_mean", "taken"):
        assert getattr(summary, field) is None, field
    assert summary.watch_late_ms_max is not None


def test_a_watch_that_never_began_has_no_samples() -> None:
    watch = MachineWatch(time.monotonic_ns())
    watch.stop()
    assert watch.summary(0, 10**9).samples == 0


def test_parts_that_are_not_known_leave_others_unknown(tmp_path: Path) -> None:
    proc = snapshot(tmp_path, stat=STAT)
    process(proc, os.getpid(), 100)
    watch = MachineWatch(time.monotonic_ns(), proc, tmp_path)
    process(proc, 70, 100)
    watch.start({}, 70)
    time.sleep(0.15)
    watch.stop()
    summary = watch.summary(0, 10**9)
    assert (summary.others_share, summary.lab_share, summary.steal_share) == (None, None, 0)
    assert summary.load_cores == 0


@pytest.mark.parametrize("state", ["T", "t"])
def test_parts_that_are_stopped_have_their_names(tmp_path: Path, state: str) -> None:
    own = os.getpid()
    process(tmp_path, own, 0, 60)
    process(tmp_path, 60, 0, 70, 71, parent=own, state=state)  # a fork server
    process(tmp_path, 70, 0, parent=60, state=state)
    process(tmp_path, 71, 0, parent=60, state=state)  # an event has stopped it
    process(tmp_path, 80, 0, 81, parent=60, state=state)
    process(tmp_path, 81, 0, parent=80, name="load-worker-0", state=state)
    watch = MachineWatch(time.monotonic_ns(), tmp_path, tmp_path)
    watch.start({"replica-0": 70, "replica-1": 71}, 80, {"replica-1"})
    time.sleep(0.15)
    watch.stop()
    assert watch.stopped == {"a fork server", "replica-0"}
    process(tmp_path, 60, 0, 70, 71, 80, parent=own)
    watch = MachineWatch(time.monotonic_ns(), tmp_path, tmp_path)
    watch.start({"replica-0": 70, "replica-1": 71}, 80, {"replica-1"})
    time.sleep(0.15)
    watch.stop()
    assert watch.stopped == {"replica-0", "load", "load-worker-0"}


def test_a_machine_that_slept_is_in_the_summary(tmp_path: Path) -> None:
    asleep_s = iter([5.0, 5.0, *[65.0] * 1000])
    watch = MachineWatch(time.monotonic_ns(), tmp_path, tmp_path, lambda: next(asleep_s))
    watch.start({}, 0)
    while len(watch.summary(0, 10**12).model_dump()["interruptions"]) == 0:
        time.sleep(0.02)
    watch.stop()
    (found,) = watch.summary(0, 10**12).interruptions
    assert (found.part, found.how, found.seconds) == ("this machine", "asleep", 60.0)


def test_the_time_asleep_is_that_between_two_clocks_of_this_machine() -> None:
    assert read_asleep_s() == pytest.approx(read_asleep_s(), abs=0.01)
    assert read_asleep_s() >= 0


def test_waiting_for_a_core_is_added_up_over_the_threads(tmp_path: Path) -> None:
    assert read_waited_s(tmp_path) is None
    for thread, waited_ns in ((1, 1_500_000_000), (2, 250_000_000)):
        folder = tmp_path / "self" / "task" / str(thread)
        folder.mkdir(parents=True)
        (folder / "schedstat").write_text(f"99 {waited_ns} 7\n")
    assert read_waited_s(tmp_path) == pytest.approx(1.75)
