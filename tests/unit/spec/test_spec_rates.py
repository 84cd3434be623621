"""`rate_per_s` with a shape: what the shapes mean, and what is refused in one line."""

from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserError
from harness.paths import EXPERIMENTS
from harness.spec.experiment import Experiment, experiment_yaml, load_experiment, quick_overrides
from harness.spec.yaml_file import dump_tree, read_tree

STEPS = {"shape": "steps", "steps": [[0, 100], [1, 400], [2, 100]]}
RAMP = {"shape": "ramp", "start_per_s": 50, "end_per_s": 150}
SPIKE = {"shape": "spike", "base_per_s": 100, "peak_per_s": 500, "at_s": 1, "for_s": 1}
SINE = {"shape": "sine", "mean_per_s": 200, "amplitude_per_s": 100, "period_s": 2}
POINTS = {"shape": "points", "points_per_s": [[0, 100], [2, 300], [4, 100]]}


def sticky(rate: object, folder: Path, **workload: object) -> Experiment:
    """Return the experiment sticky, of four measured seconds, with this rate."""
    tree = read_tree(EXPERIMENTS / "sticky.yaml", "sticky").value
    tree["workload"] |= {"rate_per_s": rate, **workload}
    path = folder / "own.yaml"
    path.write_text(dump_tree(tree))
    return load_experiment(str(path))


@pytest.mark.parametrize(
    ("rate", "mean", "peak", "first"),
    [
        (600, 600, 600, 600),
        (STEPS, 175, 400, 100),
        (RAMP, 100, 150, 50),
        (SPIKE, 200, 500, 100),
        (SPIKE | {"rise_s": 0.5}, 150, 500, 100),
        (SINE, 200, 300, 200),
        (POINTS, 200, 300, 100),
    ],
)
def test_the_rates_of_a_shape(rate: object, mean: float, peak: float, first: float, tmp_path: Path) -> None:
    work = sticky(rate, tmp_path).workload
    assert work.mean_rate_per_s == pytest.approx(mean)
    assert work.peak_rate_per_s == pytest.approx(peak, rel=1e-3)
    assert work.first_rate_per_s == pytest.approx(first)
    assert work.changes == isinstance(rate, dict)


@pytest.mark.parametrize("rate", [STEPS, RAMP, SPIKE, SINE, POINTS])
def test_a_shape_written_out_loads_again_equal(rate: object, tmp_path: Path) -> None:
    experiment = sticky(rate, tmp_path, bursts={"factor": 4, "mean_s": 0.2, "every_s": 1})
    copy = tmp_path / "copy.yaml"
    copy.write_text(experiment_yaml(experiment))
    assert load_experiment(str(copy), name="own") == experiment


def test_a_file_of_points_is_read_and_stored(tmp_path: Path) -> None:
    (tmp_path / "rates.csv").write_text("second,rate\n0,100\n\n2, 300\n4,100\n")
    experiment = sticky({"shape": "points", "file": "rates.csv"}, tmp_path)
    assert experiment == sticky(POINTS, tmp_path)
    assert "rates.csv" not in experiment_yaml(experiment)


def test_bursts_keep_the_mean_and_raise_the_peak(tmp_path: Path) -> None:
    work = sticky(300, tmp_path, bursts={"factor": 5, "mean_s": 0.5, "every_s": 2}).workload
    # A quarter of the time at five times the rate of the rest: 0.75 x + 0.25 * 5 x = 300.
    assert work.mean_rate_per_s == 300
    assert work.peak_rate_per_s == pytest.approx(750)


def test_only_a_ramp_may_be_cut_to_half_its_time(tmp_path: Path) -> None:
    assert quick_overrides(sticky(SPIKE, tmp_path)) == {"repeats": 1}
    assert quick_overrides(sticky(RAMP, tmp_path))["workload.duration_s"] == 2


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (0, "workload.rate_per_s: 0 is out of range; expected a number greater than 0 and at most 100000"),
        ("fast", "workload.rate_per_s: 'fast' is not a number"),
        ({"shape": "spyke"}, "workload.rate_per_s.shape: 'spyke' is not known here; did you mean 'spike'?"),
        (
            {"start_per_s": 1},
            "key 'shape' is missing; expected 'steps' or 'ramp' or 'spike' or 'sine' or 'points'",
        ),
        (RAMP | {"end": 1}, "workload.rate_per_s: unknown key 'end'"),
        ({"shape": "ramp", "start_per_s": 1}, "workload.rate_per_s: key 'end_per_s' is missing"),
        (
            RAMP | {"end_per_s": -1},
            "workload.rate_per_s.end_per_s: -1 is out of range; expected a number from 0 to 100000",
        ),
        (SPIKE | {"at_s": 3.5}, "changes at 4.5 s, after the end of the measured window (4 s)"),
        (SPIKE | {"rise_s": 0.6}, "rise_s 0.6 is too long; expected at most half of for_s, 0.5"),
        ({"shape": "steps", "steps": [[1, 5]]}, "the first point is at 1 s; expected 0"),
        ({"shape": "steps", "steps": [[0, 5], [0, 6]]}, "0 s after 0 s; expected ascending seconds"),
        ({"shape": "steps", "steps": [[0, 0]]}, "no requests at all; expected a rate above 0"),
        (SINE | {"amplitude_per_s": 201}, "amplitude_per_s 201 is too large"),
        ({"shape": "points"}, "neither of points_per_s and file given; expected exactly one"),
        ({"shape": "points", "file": "none.csv"}, "cannot be read (No such file or directory)"),
        ({"shape": "points", "file": "own.yaml"}, "expected two numbers, second,requests per second"),
        ({"shape": "points", "file": "."}, "not a regular file; expected a CSV file of points"),
    ],
)
def test_a_wrong_rate_is_refused_in_one_line(rate: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refusal:
        sticky(rate, tmp_path)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert "own.yaml:" in str(refusal.value)


def test_bursts_need_a_rate_and_pauses(tmp_path: Path) -> None:
    bursts = {"factor": 5, "mean_s": 0.5, "every_s": 2}
    with pytest.raises(UserError, match=r"workload\.bursts: a closed loop has no rate that could change"):
        sticky(None, tmp_path, think_time_ms=5, bursts=bursts)
    with pytest.raises(UserError, match=r"mean_s 2 is too long; expected less than every_s, 1"):
        sticky(100, tmp_path, bursts=bursts | {"mean_s": 2, "every_s": 1})
