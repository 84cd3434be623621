"""Properties are checked without a deadline: a busy machine is not a mistake."""

import pytest
from hypothesis import settings

from harness.analysis.summary import facts_of
from harness.record.reader import read_run
from harness.report.plotting import PlotData
from tests.unit.synthetic import stories
from tests.unit.synthetic.synthetic_run import GOLDEN, synthesise_run

settings.register_profile("lab", deadline=None)
settings.load_profile("lab")


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Story -> the directory of its synthetic run."""
    folder = tmp_path_factory.mktemp("runs")
    synthetic = {name: synthesise_run(folder, text, requests=150) for name, text in stories.BY_NAME.items()}
    return {"golden": GOLDEN, **synthetic}


@pytest.fixture(scope="session")
def told(runs):
    """Story -> what plots are drawn from."""
    found = {name: read_run(path) for name, path in runs.items()}
    return {name: PlotData.of(run.experiment, facts_of(run)) for name, run in found.items()}
