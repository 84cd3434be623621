"""Code that knows only results/README.md counts every figure of summary.json again, from a run's files."""

import ast
import json
import shutil
import sys
from pathlib import Path

import polars as pl
import pytest

from harness.analysis.summary import summarise
from harness.paths import ROOT
from harness.record.record_file import write_record
from harness.record.run_directory import read_run
from tests.recount.__main__ import main
from tests.recount.arithmetic import chi_square_tail, percentile
from tests.recount.comparison import recount_run, same
from tests.unit.synthetic.stories import BY_NAME
from tests.unit.synthetic.synthetic_run import GOLDEN, synthesise_run

pytestmark = pytest.mark.whole_run

# Streams and caches; retries; a full connection; kills and starts; a roll; many events; swept arms.
STORIES = ("cached", "twelve", "lonely", "killed", "rolled", "stormy", "swept")


def summarised(run: Path) -> Path:
    write_record(run / "summary.json", summarise(read_run(run)))
    return run


def disagreements(run: Path) -> list[str]:
    return [str(one) for one in recount_run(run) if not one.agrees]


def test_the_golden_run_agrees():
    assert disagreements(GOLDEN) == []


@pytest.mark.parametrize("name", STORIES)
def test_stories_agree(tmp_path, name):
    run = summarised(synthesise_run(tmp_path, BY_NAME[name], requests=400))
    assert disagreements(run) == []
    assert len(recount_run(run)) > 250


@pytest.fixture
def copy(tmp_path):
    return Path(shutil.copytree(GOLDEN, tmp_path / "run"))


def test_a_changed_figure_is_found(copy, capsys):
    summary = json.loads((copy / "summary.json").read_text())
    arm = summary["arms"]["sticky"]
    arm["repeats"][1]["latency_ms"]["p90"] *= 1.00001
    arm["ledgers"]["matched"] -= 1
    arm["random_placement"]["max_over_mean"] += 0.2
    summary["expectations"][0]["measured"] = 2.0
    (copy / "summary.json").write_text(json.dumps(summary))
    assert [line.split(":")[0] for line in disagreements(copy)] == [
        "sticky.2 latency_ms.p90",
        "sticky ledgers.matched",
        "sticky random_placement.max_over_mean",
        "measured",
    ]
    assert main([str(copy)]) == 1
    assert "1387 agree, 4 do not" in capsys.readouterr().out


def test_a_changed_row_is_found(copy):
    path = copy / "cells" / "round_robin.1" / "requests.parquet"
    rows = pl.read_parquet(path)
    last = pl.int_range(pl.len()) == rows.height - 1
    rows.with_columns(pl.when(last).then(pl.lit("CANCELLED")).otherwise("code").alias("code")).write_parquet(
        path
    )
    found = " ".join(disagreements(copy))
    assert "round_robin.1 error_share:" in found
    assert "round_robin errors.CANCELLED: nothing in summary.json, 1 recounted" in found


def test_without_a_run_it_says_how_to_use_it(capsys):
    assert main([]) == 2
    assert capsys.readouterr().err == "usage: python -m tests.recount RUN_DIR ...\n"


def test_numbers_agree_within_a_millionth():
    assert same(1.0, 1.0000005)
    assert not same(1.0, 1.00001)
    assert not same(1, None)
    assert not same(True, 1)


def test_percentiles_and_the_chi_square_tail_by_hand():
    assert percentile(range(1, 31), 900) == 27
    assert percentile(range(1, 29), 900) is None
    # Abramowitz and Stegun (1964), table 26.7.
    assert chi_square_tail(10.0, 4) == pytest.approx(0.04043, abs=5e-6)
    assert chi_square_tail(10.0, 5) == pytest.approx(0.07524, abs=5e-6)
    assert chi_square_tail(1.0, 1) == pytest.approx(0.31731, abs=5e-6)


def test_the_recount_imports_nothing_of_the_lab():
    for path in (ROOT / "tests" / "recount").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                top = name.split(".")[0]
                own = name == "tests.recount" or name.startswith("tests.recount.")
                assert own or top in {"polars", "ruamel"} or top in sys.stdlib_module_names, (path, name)
