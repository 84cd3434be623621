"""Stored and synthetic runs, made once for all unit tests."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest

from harness.analysis.summary import facts_of, summarise
from harness.record.run_directory import read_run
from harness.report.plotting import PlotData
from tests.unit.synthetic import stories
from tests.unit.synthetic.synthetic_run import GOLDEN, synthesise_run

Value = TypeVar("Value")


class OfEachStory(Mapping[str, Value], Generic[Value]):
    """Story -> what `make` returns for its name; called once for a story, when it is first asked for."""

    def __init__(self, make: Callable[[str], Value]) -> None:
        self._make = make
        self._made: dict[str, Value] = {}

    def __getitem__(self, story: str) -> Value:
        if story not in self._made:
            self._made[story] = self._make(story)
        return self._made[story]

    def __iter__(self) -> Iterator[str]:
        return iter(("golden", *stories.BY_NAME))

    def __len__(self) -> int:
        return 1 + len(stories.BY_NAME)


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Story -> the directory of its synthetic run."""
    folder = tmp_path_factory.mktemp("runs")

    def synthesise(story: str) -> Path:
        if story == "golden":
            return GOLDEN
        return synthesise_run(folder, stories.BY_NAME[story], requests=330)

    return OfEachStory(synthesise)


@pytest.fixture(scope="session")
def facts(runs):
    """Story -> the experiment of its run, and the facts of its cells."""

    def gather(story: str) -> tuple[Any, Any]:
        run = read_run(runs[story])
        return run.experiment, facts_of(run)

    return OfEachStory(gather)


@pytest.fixture(scope="session")
def told(facts):
    """Story -> the data from which plots are drawn."""
    return OfEachStory(lambda story: PlotData.of(*facts[story]))


@pytest.fixture(scope="session")
def summaries(runs, facts):
    """Story -> the summary of its run; not to be changed."""
    return OfEachStory(lambda story: summarise(read_run(runs[story]), facts[story][1]))
