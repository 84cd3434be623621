"""What a search has found, from the cells of its arms."""

import math

import pytest

from harness.analysis.judge import judge
from harness.analysis.search import arms_at_the_ends, search_summary, searches_of
from harness.analysis.validity import CellResult, InvalidReason
from harness.metrics.registry import METRICS
from harness.spec.experiment import as_asked, load_experiment, with_searched_values
from tests.unit.synthetic.synthetic_run import EXPERIMENT

HEAD = EXPERIMENT.split("repeats: 3")[0]
SEARCH = "search: {factor: rate_per_s, while: {metric: latency_ms.p99, at_most: 100}, within: 10 %}\n"


@pytest.fixture
def expecting(tmp_path):
    def load(*expectations, repeats=1):
        path = tmp_path / "one.yaml"
        lines = "".join(f"  - {{{one}}}\n" for one in expectations)
        text = f"{HEAD}{SEARCH}repeats: {repeats}\nexpect:{(lines and chr(10) + lines) or ' []'}\n"
        path.write_text(text)
        return load_experiment(str(path))

    return load


def cell(p99_ms, repeat=1, **wrong):
    values = {**dict.fromkeys(METRICS), "latency_ms.p99": p99_ms}
    return CellResult(repeat, values, **wrong)


def measured(experiment, arms):
    """Return the experiment with the values, and the results. arms: name -> {(value, repeat): cell}."""
    as_run = with_searched_values(experiment, {arm: [value for value, _ in own] for arm, own in arms.items()})
    results = {
        name: [one for (value, _), one in arms[variant.base].items() if value == variant.value]
        for name, variant in as_run.variants.items()
        if variant.value is not None
    }
    return as_run, results


def bracket(low, high, repeat=1):
    return {(low, repeat): cell(50.0, repeat), (high, repeat): cell(500.0, repeat)}


def test_searched_values_are_arms_and_can_be_taken_back(expecting):
    experiment = expecting()
    as_run = with_searched_values(experiment, {"sticky": [210.0, 200.0, 200.0]})
    assert list(as_run.variants) == ["sticky_200", "sticky_210", "round_robin"]
    assert [one.arm.rate_per_s for one in as_run.variants.values()] == [200.0, 210.0, None]
    assert as_asked(as_run) == experiment


@pytest.mark.parametrize(
    ("one", "held", "reason"),
    [
        (cell(100.0), True, ""),
        (cell(100.1), False, ""),
        (cell(math.inf), False, ""),
        (cell(None), None, "latency_ms.p99 was not measured: too few requests"),
        (cell(50.0, disturbed="others had the machine"), None, "disturbed: others had the machine"),
        (cell(50.0, invalid_reasons=(InvalidReason("it lagged", "lag"),)), True, ""),
        (cell(50.0, invalid_reasons=(InvalidReason("half was sent", "rate"),)), None, "half was sent"),
        (cell(104.0, lag_ms={"p99": 5.0}), None, "up to 5 ms may be the generator's own"),
        (cell(106.0, lag_ms={"p99": 5.0}), False, ""),
    ],
)
def test_a_cell_is_judged_only_if_it_can_say(expecting, one, held, reason):
    experiment, results = measured(expecting(), {"sticky": {(200.0, 1): one}})
    (trial,) = searches_of(experiment, results)["sticky"][1]
    assert (trial.value, trial.held, trial.reason) == (200.0, held, reason)


@pytest.mark.parametrize(
    ("bound", "verdict"),
    [
        ("at_least: 200", "held"),
        ("at_least: 201", "inconclusive"),
        ("at_most: 220", "held"),
        ("at_most: 199", "refuted"),
        ("at_least: 221", "refuted"),
        ("at_most_times: 0.55, of: round_robin", "held"),  # 200 / 440 to 220 / 400
        ("at_most_times: 0.5, of: round_robin", "inconclusive"),
        ("at_least_times: 0.6, of: round_robin", "refuted"),
    ],
)
def test_both_ends_of_the_brackets_decide(expecting, bound, verdict):
    experiment = expecting(f"arm: sticky, metric: capacity_per_s, {bound}")
    found = judge(*measured(experiment, {"sticky": bracket(200, 220), "round_robin": bracket(400, 440)}))
    assert found.findings[0].verdict == found.verdict == verdict
    assert found.findings[0].basis == "one repeat"
    low, high = found.findings[0].interval
    assert (low, high) == pytest.approx((200 / 440, 220 / 400) if "times" in bound else (200, 220))
    assert not found.invalid_reasons


def test_an_open_bracket_decides_what_it_can(expecting):
    experiment = expecting(
        "arm: round_robin, metric: capacity_per_s, at_least: 300",
        "arm: round_robin, metric: capacity_per_s, at_most: 500",
        "arm: sticky, metric: capacity_per_s, at_least_times: 0.1, of: round_robin",
    )
    arms = {"sticky": bracket(200, 220), "round_robin": {(400, 1): cell(50.0)}}
    found = judge(*measured(experiment, arms))
    assert [one.verdict for one in found.findings] == ["held", "inconclusive", "inconclusive"]
    assert [one.measured for one in found.findings] == [None, None, None]


def test_repeats_give_the_interval_and_more_of_them_may_help(expecting):
    experiment = expecting("arm: sticky, metric: capacity_per_s, at_most: 240", repeats="{min: 3, max: 9}")
    close = {**bracket(200, 210, 1), **bracket(205, 215, 2), **bracket(195, 205, 3)}
    arms = {"sticky": close, "round_robin": {**bracket(400, 440, 1), **bracket(400, 440, 2)}}
    as_run, results = measured(experiment, arms)
    found = judge(as_run, results)
    assert found.findings[0].verdict == "held"
    assert found.findings[0].basis == "interval"
    assert found.findings[0].interval[0] < 195 < 215 < found.findings[0].interval[1] < 240
    assert found.invalid_reasons == ["round_robin: not usable, because 2 of 3 repeats were recorded"]
    wide = {**bracket(100, 110, 1), **bracket(205, 215, 2), **bracket(195, 205, 3)}
    undecided = judge(*measured(experiment, {"sticky": wide, "round_robin": close}))
    assert undecided.findings[0].verdict == "inconclusive"
    assert undecided.more_repeats_help


def test_the_summary_has_every_cell_and_says_what_is_contradicted(expecting):
    arms = {"sticky": {**bracket(200, 220, 1), **bracket(230, 250, 2)}, "round_robin": {(400, 1): cell(None)}}
    found = search_summary(*measured(expecting(repeats=2), arms))
    sticky, turns = found.arms["sticky"], found.arms["round_robin"]
    assert found.condition == "p99 latency at most 100 ms"
    assert (sticky.low, sticky.high) == (215, 235)
    assert sticky.capacity_per_s == pytest.approx(math.sqrt(215 * 235))
    assert [(one.low, one.high, one.is_found) for one in sticky.repeats] == [
        (200, 220, True),
        (230, 250, True),
    ]
    assert [cell.arm for cell in sticky.repeats[1].cells] == ["sticky_230", "sticky_250"]
    assert sticky.contradictions == ["it failed at 220 in repeat 1 and held at 230 in repeat 2"]
    assert (turns.low, turns.high, turns.capacity_per_s) == (None, None, math.inf)
    assert arms_at_the_ends(found) == {"sticky_200", "sticky_220"}
    assert search_summary(as_asked(expecting()).model_copy(update={"search": None}), {}) is None
