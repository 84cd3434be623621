"""Two runs side by side: what differed, what changed, and what is chance."""

import json
import shutil
from io import StringIO

import pytest
from rich.console import Console

from harness.analysis.compare import SHOWN, compare, differences, print_comparison
from harness.errors import UserError
from harness.record.run_directory import read_run
from tests.unit.synthetic import stories
from tests.unit.synthetic.synthetic_run import GOLDEN, synthesise_run

pytestmark = pytest.mark.whole_run


@pytest.fixture
def golden():
    return read_run(GOLDEN)


def test_a_run_is_the_same_as_itself(golden):
    changes = compare(golden, golden)
    assert [(change.arm, change.metric) for change in changes] == [
        (arm, metric) for arm in ("sticky", "round_robin") for metric in SHOWN
    ]
    # Not measured: percentiles of too few requests.
    notes = {change.note for change in changes if change.before is not None}
    assert notes == {"same"}
    assert differences(golden, golden) == []


def test_what_differed_is_named(golden, tmp_path):
    other = shutil.copytree(GOLDEN, tmp_path / "run")
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["versions"]["envoy"] = "9.9.9"
    manifest |= {"testbed": "docker", "load": {"processes": 2, "expect_workers": 0}}
    (other / "manifest.json").write_text(json.dumps(manifest))
    text = (other / "experiment.yaml").read_text().replace("policy: sticky", "policy: maglev")
    (other / "experiment.yaml").write_text(text)
    after = read_run(other)
    assert differences(golden, after) == [
        ("experiment.arms.sticky.policy", "sticky", "maglev"),
        ("load.processes", "1", "2"),
        ("testbed", "local", "docker"),
        ("versions.envoy", "1.40.0", "9.9.9"),
    ]
    out = StringIO()
    print_comparison(golden, after, Console(file=out, width=120))
    assert "differs: versions.envoy: 1.40.0 -> 9.9.9" in out.getvalue()


def test_arms_that_a_sweep_stands_for_are_compared_each(runs):
    run = read_run(runs["swept"])
    assert {change.arm for change in compare(run, run)} == {*run.experiment.variants}


def test_a_change_beyond_the_repeats_ranges_has_a_factor(tmp_path):
    slow, quick = (
        read_run(synthesise_run(tmp_path / factor, story(factor), requests=150)) for factor in ("4.0", "1.0")
    )
    notes = {change.metric: change.note for change in compare(quick, slow)}
    # Two repeats have so wide an interval that it must hold 1, unless they are nearly alike.
    assert "times)" in notes["latency_ms.p50"] or notes["latency_ms.p50"].startswith("x ")
    assert notes["affinity.purity"] == "same"


def story(factor):
    return stories.experiment(
        {"sticky": "route: envoy, policy: sticky"}, replicas=f", slow_factor: {factor}", repeats=2
    )


def test_runs_of_different_experiments_or_arms_are_refused(golden, runs, tmp_path):
    with pytest.raises(UserError, match="expected two runs of the same experiment"):
        compare(golden, read_run(synthesise_run(tmp_path, requests=10, name="other")))
    with pytest.raises(UserError, match="no arm in common"):
        compare(read_run(runs["lonely"]), golden)
