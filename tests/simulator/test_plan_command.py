"""The command `plan`: its answer, its files, and every mistake in one line before anything is computed."""

import sys
from pathlib import Path

import pytest

import tests.simulator.forecast_kernels  # noqa: F401
from harness.plan.question import FleetQuestion
from harness.plan.verification import scaled_question, verification_of
from harness.spec.experiment import load_experiment
from tests.unit.cli.conftest import LabHere

FLEET = ("--clients", "30", "--rate", "200", "--skew", "0.9", "--targets", "5", "--service-time", "20ms")
QUICK = (*FLEET, "--slots", "2", "--seconds", "1")
LARGE = FleetQuestion(clients=600, rate_per_s=1500, skew=0.8, targets=12, service_ms=40)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "plan: --clients, --rate, --targets, --service-time missing; expected"),
        ([*FLEET, "--targets", "0"], "--targets: 0: expected a whole number from 1 to 10,000"),
        ([*FLEET, "--rate", "nan"], "--rate: nan: expected more than 0"),
        ([*FLEET, "--rate", "1e8"], "--rate: 1e+08/s for 5 s are 5e+08 requests"),
        ([*FLEET, "--clients", "99999999999"], "--clients: 99999999999: expected"),
        (
            [*FLEET, "--targets", "9000", "--slots", "9000"],
            "--targets 9,000, --slots 9,000: 81,000,000 slots",
        ),
        ([*FLEET, "--service-time", "20"], "--service-time: '20': expected a time with a unit"),
        ([*FLEET, "--slo", "p98=3ms"], "--slo: 'p98=3ms': expected a percentile"),
        ([*FLEET, "--write", "my.txt"], "--write: my.txt: expected a file name"),
        ([*FLEET, "--placements", "7"], "--placements: 7: expected a whole number from 8 to 100,000"),
        ([*FLEET, "--dask", "http://a"], "--dask: 'http://a': expected the address of a dask scheduler, as "),
        (["stiky"], "no experiment is called 'stiky'; did you mean 'sticky'?"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    lab_here: LabHere, words: list[str], message: str, tmp_path: Path
) -> None:
    status, out, err = lab_here("plan", *words, cwd=tmp_path)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: {message}")
    assert not list(tmp_path.iterdir())


def test_without_the_extra_it_says_what_to_install(
    lab_here: LabHere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert lab_here("plan", *FLEET, "--dask", "127.0.0.1:8786", cwd=tmp_path) == (
        2,
        "",
        "error: --dask: distributed is not installed; install the extra: pip install 'lb-lab[dask]'\n",
    )
    assert not list(tmp_path.iterdir())


def test_real_parts_take_no_cluster(lab_here: LabHere) -> None:
    status, out, err = lab_here("sticky", "--dask", "127.0.0.1:8786")
    assert (status, out) == (2, "")
    assert err == "error: --dask: only --testbed simulated takes it, not local; give both, or neither\n"


def test_no_file_is_overwritten(lab_here: LabHere, tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("mine")
    status, _, err = lab_here("plan", *FLEET, "--write", "my.yaml", cwd=tmp_path)
    assert (status, err) == (
        2,
        "error: --write: my.yaml is there already; name another file, or remove it first\n",
    )


def test_one_table_one_recommendation_one_picture_and_an_experiment(
    lab_here: LabHere, tmp_path: Path
) -> None:
    status, out, err = lab_here("plan", *QUICK, "--svg", "a.svg", "--write", "my.yaml", cwd=tmp_path)
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    for policy in ("round robin", "two choices", "sticky", "hashing", "bounded hash"):
        assert f"\n{policy} " in out
    assert out.count("Recommendation\n") == 1
    assert "</svg>" in (tmp_path / "a.svg").read_text()
    status, out, err = lab_here("check", "./my.yaml", cwd=tmp_path)
    assert (status, err) == (0, "")
    assert "15 (5 arms x 3 repeats)" in out


def test_a_machine_that_cannot_carry_the_rate_gets_a_slower_copy(tmp_path: Path) -> None:
    scaled, words = scaled_question(LARGE, cores=2)
    assert scaled.utilisation == LARGE.utilisation
    assert (scaled.rate_per_s, scaled.service_ms, scaled.goal.at_most_ms) == (1500 / 3.2, 128, 1280)
    assert words == [
        "Time is stretched 3.2 times: 468.8 requests/s instead of 1500/s, and 128 ms a request. Placements "
        "and utilisation stay; every latency is 3.2 times as long."
    ]
    written = verification_of(LARGE, "my", cores=2)
    (tmp_path / "my.yaml").write_text(written.text)
    assert load_experiment(str(tmp_path / "my.yaml")).workload.rate_per_s == 468.75
    assert f"# Scaled to this machine: {words[0]}" in written.text


def test_what_the_machine_carries_is_not_scaled() -> None:
    small = FleetQuestion(clients=30, rate_per_s=200, skew=0.8, targets=4, service_ms=10)
    scaled, words = scaled_question(small, cores=2)
    assert (words, scaled.rate_per_s, scaled.service_ms) == ([], 200, 10)
