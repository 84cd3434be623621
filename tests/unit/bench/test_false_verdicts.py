"""The judge against known truth, in a smaller version of `python -m bench.false_verdicts`."""

import pytest

from bench.false_verdicts import SCENARIOS, main, rates
from harness.analysis import claims
from harness.analysis.statistics import Interval, Repeats

JUDGEMENTS = 200
# Three standard deviations of a share of 2.5 % in 200 judgements above it.
MOST_FALSE = 0.058
NAMED = {scenario.name: scenario for scenario in SCENARIOS}


@pytest.mark.parametrize("name", ["lognormal, 0.2", "near-constant", "drift in both arms"])
@pytest.mark.parametrize("design", [Repeats(3, 3), Repeats(3, 9)], ids=["3", "3 to 9"])
def test_false_verdicts_are_rare(name: str, design: Repeats) -> None:
    found = rates(NAMED[name], design, JUDGEMENTS, seed=4, effects=())
    assert found.false_held <= MOST_FALSE
    assert found.false_refuted <= MOST_FALSE


def test_true_claims_with_a_margin_are_decided() -> None:
    (power,) = rates(NAMED["lognormal, 0.2"], Repeats(3, 9), JUDGEMENTS, seed=4, effects=(2.0,)).power
    assert power > 0.95


def test_the_simulation_notices_a_judge_without_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    def of_the_mean_alone(values: list[float], _: Repeats) -> Interval:
        mean = sum(values) / len(values)
        return Interval(mean, mean)

    monkeypatch.setattr(claims, "interval_over_repeats", of_the_mean_alone)
    found = rates(NAMED["lognormal, 0.2"], Repeats(3, 3), JUDGEMENTS, seed=4, effects=())
    assert found.false_held > 0.4
    assert found.false_refuted > 0.4
    assert not found.are_low


def test_the_table_says_whether_all_rates_are_low(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--judgements", "2"]) in (0, 1)  # chance, with so few
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 4 * len(SCENARIOS) + 1
    assert lines[-1].endswith("have a rate above 5% (2 judgements each)")
