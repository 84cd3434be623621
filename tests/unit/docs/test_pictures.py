"""The pictures of README and docs are plots of the lab: each says of which experiment."""

import re

import pytest

from docs.pages.pictures import IMAGES, PICTURES, main
from harness.paths import ROOT
from harness.report.plots import PLOTS
from harness.spec.heads import experiment_names

OF_CAPACITY = "capacity.png"  # `make capacity`


def test_every_picture_is_made_by_a_command() -> None:
    assert {path.name for path in IMAGES.iterdir()} == {*PICTURES, OF_CAPACITY}


@pytest.mark.parametrize("picture", PICTURES)
def test_a_picture_is_a_plot_of_an_experiment_and_is_shown(picture: str) -> None:
    experiment, plot = PICTURES[picture]
    assert experiment in experiment_names()
    assert plot in PLOTS
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    shown = {name for page in pages for name in re.findall(r"images/([\w-]+\.png)\)", page.read_text())}
    assert picture in shown


def test_an_unknown_name_runs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stiky"]) == 2
    told = capsys.readouterr().err
    assert told == (
        "no picture is of stiky; expected some of sticky, few_vs_many, replica_crash, partition\n"
    )
