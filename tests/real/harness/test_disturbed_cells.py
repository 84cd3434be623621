"""A real disturbance: other processes take the machine's cores while a cell is measured."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from lab_process import Lab, StartLab, experiment_file

from harness.record.run_directory import read_run
from harness.report.page import build_report

pytestmark = pytest.mark.alone

ARMS = {"proxy": {"route": "envoy", "policy": "round_robin"}}
EXPECT = [{"arm": "proxy", "metric": "latency_ms.p99", "at_most": 1000}]
LOAD = {"rate_per_s": 300, "warm_up_s": 0.3, "duration_s": 2.0}
HOGS = 2 * (os.cpu_count() or 1)
BUSY = "import sys, time\nend = time.monotonic() + float(sys.argv[1])\nwhile time.monotonic() < end: pass"


@contextmanager
def others_take_the_cores(lab: Lab, seconds: float) -> Iterator[None]:
    """Keep every core busy for some seconds. All processes have ended when this returns."""
    # The kernel shares CPU time fairly. Without a higher priority the others would leave the lab too much.
    family = lab.family()
    servers = psutil.Process(lab.process.pid).children()
    for part in set(family[1:]) - set(servers):  # they end with the cell; no priority is restored
        with suppress(psutil.Error):  # gone meanwhile
            part.nice(19)
    weigh_sessions(family, 19)
    words = [sys.executable, "-S", "-c", BUSY, str(seconds)]
    hogs = [subprocess.Popen(words, start_new_session=True) for _ in range(HOGS)]
    try:
        yield
    finally:
        for hog in hogs:
            hog.wait()
        weigh_sessions(family, 0)


def weigh_sessions(processes: list[psutil.Process], nice: int) -> None:
    """Give the sessions of the processes this weight, if Linux shares CPU time by sessions (autogroups)."""
    for process in processes:
        with suppress(OSError):  # the process has ended, or the kernel has no autogroups
            Path(f"/proc/{process.pid}/autogroup").write_text(str(nice))


def file_of(folder: Path, **workload: Any) -> Path:
    return experiment_file(folder, arms=ARMS, expect=EXPECT, workload=LOAD | workload)


def disturb(lab: Lab, seconds: float = 1.0) -> None:
    """Take the cores as soon as a cell is being measured."""
    lab.await_state("measure")
    with others_take_the_cores(lab, seconds):
        pass


def cell_info(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "cell.json").read_text()))


def test_a_disturbed_cell_is_measured_again_and_decided(start_lab: StartLab, tmp_path: Path) -> None:
    path = file_of(tmp_path)
    lab = start_lab(path.name, "--results", "results")  # not quiet: the test reads the progress lines
    disturb(lab)
    status, out, err = lab.end()
    assert status == 0, out + err

    (entry,) = lab.manifest["cells"]
    assert entry["attempts"] == 2
    (first,) = entry["disturbed"]
    assert (first["attempt"], first["folder"]) == (1, "disturbed/proxy.1.1")
    assert first["reason"].startswith("other processes took ")
    assert "the generator sent " in first["reason"]
    assert f"cell 1/1: proxy, repeat 1: measured again, because {first['reason']}" in err

    kept, counted = lab.run / first["folder"], lab.cell("proxy")
    assert cell_info(kept)["disturbed"] == first["reason"]
    assert (cell_info(counted)["attempt"], cell_info(counted)["disturbed"]) == (2, None)
    assert cell_info(kept)["replicas"].keys() == cell_info(counted)["replicas"].keys()
    assert cell_info(kept)["epoch_unix_ns"] < cell_info(counted)["epoch_unix_ns"]
    for name in ("requests.parquet", "proxy.parquet", "replicas.parquet", "machine.json", "events.jsonl"):
        assert (kept / name).exists(), name
        assert (counted / name).exists(), name
    worst = json.loads((kept / "machine.json").read_text())["worst"]
    assert worst["others_share"] > 0.5 > worst["lab_share"]

    summary = json.loads((lab.run / "summary.json").read_text())
    assert summary["verdict"] == "held"
    assert [one["folder"] for one in summary["repeated_cells"]] == ["disturbed/proxy.1.1"]
    assert summary["arms"]["proxy"]["requests"] == cell_info(counted)["planned_requests"]
    assert "1 cell was measured again" in " ".join(out.split())
    assert "1 cell was measured again" in (lab.run / "report.html").read_text()


def test_a_calm_run_is_measured_once(start_lab: StartLab, tmp_path: Path) -> None:
    lab = start_lab("run", file_of(tmp_path))
    status, out, err = lab.end()
    assert (status, err) == (0, ""), out
    assert [cell["attempts"] for cell in lab.manifest["cells"]] == [1]
    assert not (lab.run / "disturbed").exists()
    machine = json.loads((lab.cell("proxy") / "machine.json").read_text())
    assert machine["samples"] >= 18
    assert 0.02 < machine["lab_share"] < 0.9
    assert machine["seconds"] == pytest.approx(2.0, abs=0.3)


def test_two_load_processes_belong_to_the_lab(start_lab: StartLab, tmp_path: Path) -> None:
    lab = start_lab("run", file_of(tmp_path), "--processes", 2)
    disturb(lab)
    status, out, err = lab.end()
    assert status in (0, 3), out + err
    assert lab.manifest["cells"][0]["attempts"] == 2
    first = json.loads((lab.run / "disturbed/proxy.1.1/machine.json").read_text())
    counted = json.loads((lab.cell("proxy") / "machine.json").read_text())
    assert first["worst"]["others_share"] > 0.5
    assert 0.02 < counted["load_cores"] < counted["lab_share"] * counted["cores"]
    assert len(cell_info(lab.run / "disturbed/proxy.1.1")["load_workers"]) == 2


def test_redo_0_measures_once_and_says_what_would_help(start_lab: StartLab, tmp_path: Path) -> None:
    # A late generator spoils shares of errors, whatever the bound.
    expect = [{"arm": "proxy", "metric": "error_share", "at_most": 0.5}]
    path = experiment_file(tmp_path, arms=ARMS, expect=expect, workload=LOAD)
    lab = start_lab("run", path, "--redo", 0)
    disturb(lab, LOAD["duration_s"])
    status, out, err = lab.end()
    assert status == 3, out + err
    (entry,) = lab.manifest["cells"]
    assert (entry["attempts"], entry["disturbed"], lab.manifest["redo"]) == (1, [], 0)
    assert not (lab.run / "disturbed").exists()
    assert cell_info(lab.cell("proxy"))["disturbed_by"] == "processes"
    advice = (
        "This machine is too busy for 300 calls/s. Close other programs, or try --redo 2, --rate 150. "
        "--rate 150 asks another question: it shows figures, and judges nothing."
    )
    assert " ".join(out.split()).endswith(advice)


def test_what_the_machine_adds_to_a_latency_refutes_nothing(start_lab: StartLab, tmp_path: Path) -> None:
    expect = [{"arm": "proxy", "metric": "latency_ms.p99", "at_most": 25}]  # the planned work takes 1 ms
    lab = start_lab("run", experiment_file(tmp_path, arms=ARMS, expect=expect, workload=LOAD), "--redo", 0)
    disturb(lab, 0.7)
    status, out, err = lab.end()
    assert status == 3, out + err
    assert cell_info(lab.cell("proxy"))["disturbed_by"] == "processes"
    (finding,) = json.loads((lab.run / "summary.json").read_text())["expectations"]
    assert finding["measured"] > 25
    assert finding["verdict"] == "inconclusive"
    assert "of it may be the machine's, which was taken meanwhile" in finding["reason"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_stopped_during_the_second_attempt(number: int, start_lab: StartLab, tmp_path: Path) -> None:
    lab = start_lab("run", file_of(tmp_path, duration_s=4.0))
    disturb(lab, 2.0)
    while not list(lab.results.glob("*/*/disturbed/*")):
        assert lab.process.poll() is None, lab.end()
        time.sleep(0.01)
    lab.await_state("measure")
    time.sleep(0.5)
    lab.process.send_signal(number)
    status, _, err = lab.end()
    assert (status, err) == (130 if number == signal.SIGINT else -signal.SIGKILL, "")

    manifest = lab.manifest
    assert manifest["status"] == "interrupted"
    (entry,) = manifest["cells"]
    assert (entry["attempts"], len(entry["disturbed"])) == (1, 1)
    assert cell_info(lab.run / "disturbed/proxy.1.1")["status"] == "completed"
    build_report(lab.run, plots=False)
    summary = json.loads((lab.run / "summary.json").read_text())
    assert (summary["status"], summary["verdict"]) == ("interrupted", "inconclusive")
    assert len(summary["repeated_cells"]) == 1
    (cell,) = read_run(lab.run).cells
    assert cell.folder == lab.cell("proxy")
    assert cell.record.status == "interrupted"
