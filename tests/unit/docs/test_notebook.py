"""docs/notebook.ipynb can be executed from its first cell to its last, and shows the figures of the run."""

import ast
import json
from typing import Any

import polars as pl
import pytest
from matplotlib.figure import Figure

from harness.analysis.summary import summarise
from harness.paths import ROOT
from harness.record.run_directory import read_run
from tests.unit.synthetic.synthetic_run import GOLDEN

pytestmark = pytest.mark.whole_run

NOTEBOOK = json.loads((ROOT / "docs" / "notebook.ipynb").read_text(encoding="utf-8"))
CELLS = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def shown(cell: str, names: dict[str, Any]) -> Any:
    """Execute a cell and return the value of its last line, as a notebook shows it."""
    tree = ast.parse(cell)
    last = tree.body.pop()
    assert isinstance(last, ast.Expr), "a cell ends with what it shows"
    exec(compile(tree, "notebook", "exec"), names)
    return eval(compile(ast.Expression(last.value), "notebook", "eval"), names)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    folder = tmp_path_factory.mktemp("lab")
    (folder / "results" / "sticky").mkdir(parents=True)
    (folder / "results" / "sticky" / "latest").symlink_to(GOLDEN)
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return [shown(cell, names) for cell in CELLS]


def test_every_cell_shows_something(executed: list[Any]) -> None:
    *tables, figure = executed
    assert all(isinstance(table, pl.DataFrame) and table.height for table in tables)
    assert isinstance(figure, Figure)
    assert all(axes.lines for axes in figure.axes)


def test_its_figures_are_those_of_the_summary(executed: list[Any]) -> None:
    summary = summarise(read_run(GOLDEN))
    shares, latencies = executed[1], executed[2]
    for arm, figures in summary.arms.items():
        for repeat in figures.repeats:
            busiest = shares.filter(arm=arm, repeat=repeat.repeat)["share"].max()
            assert busiest == pytest.approx(repeat.share_by_rank[0])
            (row,) = latencies.filter(arm=arm, repeat=repeat.repeat).to_dicts()
            assert row["slowest_ms"] == pytest.approx(repeat.metrics["ok_latency_ms.max"])
            assert row["headline"] == "p99 latency"


def test_it_is_stored_without_output() -> None:
    assert NOTEBOOK["nbformat"] == 4
    assert not [cell for cell in NOTEBOOK["cells"] if cell.get("outputs")]
    assert all(NOTEBOOK["cells"][place]["cell_type"] == "markdown" for place in (0, 2))
