"""A part that is frozen (SIGSTOP) in the measured window, without an event: noticed, and told by its name."""

import json
import re
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from lab_process import ROOT, Lab, StartLab, experiment_file

from harness.run.cell import LOAD_GRACE_S

STOPPED_S = 1.5
ARMS = {"proxy": {"route": "envoy", "policy": "round_robin"}}
LOAD = {"rate_per_s": 150, "warm_up_s": 0.2, "duration_s": 3.0, "deadline_ms": 4000}

# The lab with less patience for a load that does not end.
HASTY_S = 12.0
HASTY = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from harness.run import cell
cell.LOAD_GRACE_S = {HASTY_S}
from harness.cli.main import main
sys.exit(main())
"""


@contextmanager
def stopped(processes: Sequence[psutil.Process]) -> Iterator[None]:
    """Stop the processes for STOPPED_S."""
    for process in processes:
        process.suspend()
    try:
        time.sleep(STOPPED_S)
        yield
    finally:
        for process in processes:
            process.resume()


def start(start_lab: StartLab, folder: Path, *options: object, **changes: Any) -> Lab:
    lab = start_lab("run", experiment_file(folder, **{"arms": ARMS, "workload": LOAD} | changes), *options)
    lab.await_state("measure")
    time.sleep(0.3)
    return lab


def interruptions(lab: Lab, folder: str = "cells/proxy.1") -> list[tuple[str, str]]:
    machine = json.loads((lab.run / folder / "machine.json").read_text())
    return [(one["part"], one["how"]) for one in machine["interruptions"] if one["seconds"] > 0.9 * STOPPED_S]


def named(lab: Lab, name: str) -> psutil.Process:
    """A part by its log, or a worker of the load by its name."""
    if name.startswith("load-worker"):
        return next(process for process in lab.family() if process.name() == name)
    return lab.component(name)


@pytest.mark.parametrize(
    ("name", "processes"), [("replica-1", 1), ("envoy", 1), ("load", 1), ("load", 2), ("load-worker-1", 2)]
)
def test_it_is_named_everywhere(name: str, processes: int, start_lab: StartLab, tmp_path: Path) -> None:
    lab = start(start_lab, tmp_path, "--redo", 0, "--processes", processes)
    with stopped([named(lab, name)]):
        pass
    status, out, err = lab.end()
    assert interruptions(lab) == [(name, "stopped")], err
    reason = f"{name} was stopped (SIGSTOP) for "
    assert status == 3, out + err
    assert reason in " ".join(out.split())
    summary = json.loads((lab.run / "summary.json").read_text())
    assert f"proxy, repeat 1: not usable, because {reason}" in " ".join(summary["invalid_reasons"])
    assert [one["cause"] for one in summary["disturbed_cells"]] == ["stopped"]
    assert reason in (lab.run / "report.html").read_text()


def test_the_cell_is_measured_again(start_lab: StartLab, tmp_path: Path) -> None:
    lab = start(start_lab, tmp_path)
    with stopped([lab.component("replica-0")]):
        pass
    lab.end()
    (entry,) = lab.manifest["cells"]
    assert entry["attempts"] >= 2
    assert entry["disturbed"][0]["reason"].startswith("replica-0 was stopped (SIGSTOP) for ")
    assert interruptions(lab) == []
    assert interruptions(lab, "disturbed/proxy.1.1") == [("replica-0", "stopped")]


def test_what_an_event_stops_is_no_interruption(start_lab: StartLab, tmp_path: Path) -> None:
    pause = [{"at_s": 0.5, "do": "pause", "target": "replica-1", "for_s": STOPPED_S}]
    lab = start(start_lab, tmp_path, "--redo", 0, events=pause)
    _, out, err = lab.end()
    assert interruptions(lab) == [], out + err
    assert "SIGSTOP" not in out


@pytest.mark.calm  # on a busy machine the load may go on before the watch does
def test_a_paused_machine_is_named(start_lab: StartLab, tmp_path: Path) -> None:
    """All processes of the lab are stopped at once, as when a container or a virtual machine is paused."""
    lab = start(start_lab, tmp_path, "--redo", 0)
    with stopped(lab.family()):
        pass
    status, out, err = lab.end()
    found = interruptions(lab)
    assert ("this machine", "stood still") in found, (found, err)
    assert status == 3, err
    assert "this machine stood still for " in " ".join(out.split())


def test_a_stopped_harness_is_named(start_lab: StartLab, tmp_path: Path) -> None:
    lab = start(start_lab, tmp_path, "--redo", 0)
    with stopped([psutil.Process(lab.process.pid)]):
        pass
    _, out, err = lab.end()
    assert interruptions(lab) == [("the harness", "stood still")], out + err


@pytest.mark.parametrize("name", ["replica-1", "envoy"])
def test_a_part_that_is_never_continued(name: str, start_lab: StartLab, tmp_path: Path) -> None:
    """The lab ends it all the same."""
    short = {"workload": LOAD | {"duration_s": 1.5, "deadline_ms": 500}}
    lab = start(start_lab, tmp_path, "--redo", 0, **short)
    lab.component(name).send_signal(signal.SIGSTOP)
    status, out, err = lab.end()
    assert status == 3, out + err
    assert f"{name} was stopped (SIGSTOP) for " in " ".join(out.split())


def fork_servers(lab: Lab) -> list[psutil.Process]:
    """Return the fork server of replicas and Envoy, and that of the load."""
    children = sorted(psutil.Process(lab.process.pid).children(), key=lambda child: child.pid)
    return [child for child in children if "harness.testbed.forkserver" in child.cmdline()]


@pytest.mark.parametrize("number", [0, 1])
def test_a_fork_server_that_is_stopped(number: int, start_lab: StartLab, tmp_path: Path) -> None:
    lab = start(start_lab, tmp_path, "--redo", 0)
    with stopped([fork_servers(lab)[number]]):
        pass
    status, out, err = lab.end()
    assert interruptions(lab) == [("a fork server", "stopped")], out + err
    assert status == 3, err


def test_a_fork_server_that_is_never_continued(start_lab: StartLab, tmp_path: Path) -> None:
    """The fork server of the replicas: the lab kills it at the end of the cell."""
    lab = start(start_lab, tmp_path, "--redo", 0, workload=LOAD | {"duration_s": 1.5, "deadline_ms": 500})
    replicas, _load = fork_servers(lab)
    replicas.suspend()
    status, out, err = lab.end()
    assert status == 3, err
    assert "a fork server was stopped (SIGSTOP) for " in " ".join(out.split())


@pytest.fixture
def two_labs(tmp_path: Path) -> Iterator[list[Lab]]:
    """Two short runs at the same time, both measuring, with less patience."""
    labs = []
    for name in ("first", "second"):
        (folder := tmp_path / name).mkdir()
        path = experiment_file(folder, arms=ARMS, workload=LOAD | {"deadline_ms": 500})
        labs.append(Lab(folder, ("run", path, "--redo", 0), ("-c", HASTY)))
    for lab in labs:
        lab.await_state("measure")
    yield labs
    for lab in labs:
        lab.process.kill()
        lab.process.communicate()


def test_nobody_hears_of_the_loads_end(two_labs: list[Lab]) -> None:
    """The lab waits for as long as calls may take, and half a minute. Then it says why.

    In one run the load is stopped. In the other its fork server is stopped, which would tell of its end.
    """
    assert LOAD_GRACE_S == 30  # here it is HASTY_S
    own, other = two_labs
    own.component("load").send_signal(signal.SIGSTOP)
    _replicas, load = fork_servers(other)
    load.suspend()
    for lab, part in ((own, "load"), (other, "a fork server")):
        status, out, err = lab.end(90)
        assert (status, out) == (4, "")
        told = (
            rf"error: the load did not end after .* s, and {part} is stopped \(SIGSTOP\); see .*/load\.log\n"
        )
        assert re.fullmatch(told, err)
