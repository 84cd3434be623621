"""The report writes in the run's own folder only, whatever links are in it."""

import os
import shutil
from pathlib import Path

import pytest

from harness.cli.main import main
from harness.errors import UserError
from harness.report.page import build_report
from harness.report.plots import PLOTS
from tests.unit.synthetic.synthetic_run import GOLDEN

pytestmark = pytest.mark.whole_run

PRECIOUS = "precious"
LATENCY = PLOTS["latency"]


@pytest.fixture(autouse=True)
def _one_plot(without_plots: None) -> None:
    PLOTS["latency"] = LATENCY


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return shutil.copytree(GOLDEN, tmp_path / "run")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that is not the run's, with files that have the names of plots."""
    folder = tmp_path / "outside"
    folder.mkdir()
    for name in ("mine.png", "latency.png", "latency.svg"):
        (folder / name).write_text(PRECIOUS)
    return folder


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["plots", "joined"])
@pytest.mark.parametrize("relative", [True, False])
def test_a_linked_folder_is_refused(run: Path, outside: Path, name: str, relative: bool) -> None:
    before = content(outside)
    (run / name).symlink_to(os.path.relpath(outside, run) if relative else outside)
    with pytest.raises(UserError) as caught:
        build_report(run)
    assert str(caught.value) == (
        f"{run / name}: expected a folder of the run's own, found a link; "
        "the lab writes only in the run's folder: remove the link"
    )
    assert content(outside) == before
    assert not (run / "report.html").exists()


def test_a_file_in_the_place_of_the_plots_is_refused(run: Path) -> None:
    (run / "plots").write_text(PRECIOUS)
    with pytest.raises(UserError, match=r"plots: expected a folder of the run's own, found a file"):
        build_report(run)


@pytest.mark.parametrize("name", ["summary.json", "report.html", "plots/latency.png", "plots/latency.svg"])
@pytest.mark.parametrize("hard", [True, False])
def test_a_linked_file_is_replaced_and_its_target_kept(
    run: Path, outside: Path, name: str, hard: bool
) -> None:
    target, link = outside / "mine.png", run / name
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.hardlink_to(target) if hard else link.symlink_to(target)
    build_report(run)
    assert target.read_text() == PRECIOUS
    assert not link.is_symlink()
    assert PRECIOUS not in link.read_text(errors="replace")


def test_a_link_with_the_name_of_the_unfinished_file_is_not_followed(run: Path, outside: Path) -> None:
    (run / f".report.html.{os.getpid()}.tmp").symlink_to(outside / "mine.png")
    build_report(run)
    assert (outside / "mine.png").read_text() == PRECIOUS
    assert [path.name for path in run.iterdir() if path.name.startswith(".")] == []


def test_the_command_ends_with_one_line(run: Path, outside: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (run / "plots").symlink_to(outside)
    assert main(["report", str(run)]) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "plots: expected a folder of the run's own" in err


def test_a_run_may_be_named_by_a_link(run: Path, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(run)
    assert build_report(tmp_path / "latest")[0].exists()
    assert (run / "report.html").exists()
