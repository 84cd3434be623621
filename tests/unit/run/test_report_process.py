"""Reports made in a process beside: the same as in this one, whatever happens to the process."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from harness.errors import LabError, UserError
from harness.paths import ROOT
from harness.report.page import JudgedRun, build_report, judge_run
from harness.run import report_process
from harness.run.report_process import Reports, in_forks
from tests.unit.synthetic.synthetic_run import GOLDEN

pytestmark = pytest.mark.whole_run


@pytest.fixture(scope="module")
def reports() -> Iterator[Reports]:
    with Reports() as reports:
        yield reports


def judged(folder: Path, *, plots: bool = True) -> JudgedRun:
    left_out = shutil.ignore_patterns("plots", "report.html")
    return judge_run(shutil.copytree(GOLDEN, folder / "golden" / "run", ignore=left_out), plots=plots)


def made(found: JudgedRun) -> dict[str, bytes]:
    files = [found.page, *(found.run.path / "plots").iterdir()]
    return {path.name: path.read_bytes() for path in files}


def process_of(reports: Reports) -> psutil.Process:
    assert reports._process is not None
    return psutil.Process(reports._process._process.pid)


def test_it_is_the_report_that_this_process_would_make(reports: Reports, tmp_path: Path) -> None:
    beside, here = judged(tmp_path / "a"), judged(tmp_path / "b")
    reports.make(beside)
    build_report(here.run.path)
    reports.finish()
    assert len(made(here)) > 10
    assert made(beside) == made(here)


def test_after_the_wait_the_process_has_no_forks_and_computes_nothing(
    reports: Reports, tmp_path: Path
) -> None:
    found = judged(tmp_path)
    reports.make(found)
    reports.wait()
    assert found.page.exists()
    process = process_of(reports)
    assert process.children() == []
    names = [path.read_text() for path in Path(f"/proc/{process.pid}/task").glob("*/comm")]
    assert not [name for name in names if re.match(r"polars-\d", name)], "it has to fork again"
    while process.status() != psutil.STATUS_SLEEPING:
        time.sleep(0.001)
    before = process.cpu_times()
    time.sleep(0.1)
    assert process.cpu_times() == before


def test_a_report_that_the_process_cannot_make_is_made_here(
    reports: Reports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed, unwritable = judged(tmp_path / "a"), judged(tmp_path / "b")
    here: list[JudgedRun] = []
    monkeypatch.setattr(report_process, "_finish", here.append)
    reports.make(killed)
    process_of(reports).kill()
    reports.wait()  # a load that starts now knows nothing of it
    reports.finish()
    assert here == [killed]
    (unwritable.run.path / "plots").rmdir()
    (unwritable.run.path / "plots").write_text("")
    reports.make(unwritable)  # another process has taken its place
    reports.finish()
    assert here == [killed, unwritable]
    monkeypatch.undo()
    reports.make(unwritable)
    with pytest.raises(UserError, match="plots: expected a folder"):
        reports.finish()


def test_a_report_without_plots_takes_no_process(tmp_path: Path) -> None:
    with Reports() as reports:
        found = judged(tmp_path, plots=False)
        reports.make(found)
        assert found.page.exists()
        assert reports._process is None


def _number_and_whether_child_of(number: int, parent: int) -> tuple[int, bool]:
    return number, os.getppid() == parent


def test_results_of_forks_are_in_the_order_of_the_jobs() -> None:
    results = in_forks([partial(_number_and_whether_child_of, number, os.getpid()) for number in range(9)])
    assert results == [(number, True) for number in range(9)]


def _ends() -> None:
    os._exit(7)


def _fails() -> None:
    raise UserError("no space left")


@pytest.mark.parametrize(("job", "problem"), [(_fails, "UserError: no space left"), (_ends, "status 7")])
def test_a_job_that_fails_is_named(job: Callable[[], None], problem: str) -> None:
    with pytest.raises(LabError, match=problem):
        in_forks([lambda: None, job, lambda: None])


def test_no_fork_outlives_its_process() -> None:
    code = (
        "import os, time; from harness.run.report_process import in_forks\n"
        "in_forks([lambda: (os.write(1, b'%d\\n' % os.getpid()), time.sleep(60))])"
    )
    command = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
    assert command.stdout is not None
    fork = psutil.Process(int(command.stdout.readline()))
    command.kill()
    command.wait()
    while fork.is_running() and fork.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    command.stdout.close()
