"""What a lesson asks, computes and answers, from a synthetic run."""

import math
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.record.manifest import MANIFEST, Manifest
from harness.record.record_file import read_record
from harness.record.stored_runs import StoredRun
from harness.site.chosen import Choice
from harness.site.exercise import answers_of
from harness.site.formulas import formula_of
from harness.site.prediction import MAX_BARS, _bars, prediction_of, time_in_words
from harness.site.run_facts import RunFacts, read_facts
from harness.site.sufferers import _who, sufferers_of
from harness.spec.experiment import catalogue, load_experiment
from tests.unit.synthetic.synthetic_run import GOLDEN


@pytest.fixture(scope="module")
def facts() -> RunFacts:
    return read_facts(StoredRun(GOLDEN, read_record(GOLDEN / MANIFEST, Manifest)))


def test_the_bars_are_the_shares_by_rank_of_the_least_even_arm(facts: RunFacts) -> None:
    prediction = prediction_of(facts)
    assert prediction is not None
    assert prediction.bars_arm == "sticky"
    shares = facts.summary.arms["sticky"].share_by_rank
    assert [bar.percent for bar in prediction.bars] == [round(100 * share, 1) for share in shares]
    assert [bar.label for bar in prediction.bars] == ["Busiest replica", "2nd", "3rd", "4th"]


def test_many_replicas_share_the_last_bar() -> None:
    bars = list(_bars([0.3, *[0.1] * 7]))
    assert len(bars) == MAX_BARS
    assert bars[-1].label == "The 4 others together"
    assert bars[-1].replicas == 4
    assert math.isclose(sum(bar.percent for bar in bars), 100, abs_tol=0.3)


def test_p99_is_asked_of_both_arms_and_failures_only_where_something_makes_them(facts: RunFacts) -> None:
    prediction = prediction_of(facts)
    assert prediction is not None
    (scale,) = prediction.scales
    assert scale.name == "p99"
    assert [(mark.arm, mark.value) for mark in scale.marks] == [
        (name, facts.summary.arms[name].metrics["latency_ms.p99"]) for name in ("sticky", "round_robin")
    ]


@pytest.mark.parametrize(
    ("milliseconds", "words"), [(0.25, "0.25 ms"), (1, "1 ms"), (999, "999 ms"), (4435, "4.43 s")]
)
def test_times_have_few_digits(milliseconds: float, words: str) -> None:
    assert time_in_words(milliseconds) == words


@given(st.integers(2, 30).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))))
def test_who_suffers_is_one_of_four(case: tuple[int, set[int]]) -> None:
    count, suffering = case
    who = _who(list(range(count)), suffering)
    assert (who == "nobody") == (not suffering)
    assert (who == "most") == (2 * len(suffering) > count)
    if who == "busiest":
        assert suffering == set(range(len(suffering)))
    elif who == "some":
        assert suffering != set(range(len(suffering)))


def test_nobody_suffers_beside_the_own_arm_when_all_are_alike(facts: RunFacts) -> None:
    found = sufferers_of(facts.run, "round_robin", "round_robin")
    assert found is not None
    assert found.suffering < found.clients
    assert sufferers_of(facts.run, "no such arm", "round_robin") is None


def test_the_formula_has_the_runs_numbers(facts: RunFacts) -> None:
    assert formula_of(facts) is None, "the synthetic run has streams, too"
    alone = facts.run.experiment.workload.model_copy(update={"calls": {"AddVideo": 1.0}})
    experiment = facts.run.experiment.model_copy(update={"workload": alone})
    formula = formula_of(replace(facts, run=replace(facts.run, experiment=experiment)))
    assert formula is not None
    work, replicas = facts.run.experiment.workload, facts.run.experiment.replicas
    share = facts.summary.arms["sticky"].share_by_rank[0]
    capacity_per_s = replicas.slots * 1000 / replicas.service_time_ms.mean
    line = formula.lines[0]
    assert line.arm == "sticky"
    assert work.rate_per_s is not None
    assert f"{work.rate_per_s:g}/s × {share:.1%} / {capacity_per_s:.4g}/s" in line.numbers
    assert f"= {work.rate_per_s * share / capacity_per_s:.0%} of the busiest replica" in line.numbers


@pytest.mark.parametrize("name", [one.name for one in catalogue()])
def test_what_an_exercise_changes_is_a_valid_experiment(name: str) -> None:
    (experiment,) = (one for one in catalogue() if one.name == name)
    for answer in answers_of(Choice(experiment, None), None):
        assert answer.table is None
        assert answer.command.endswith(answer.options)
        words = answer.options.split()
        fields = {"--replicas": "replicas.count", "--skew": "workload.skew", "--clients": "workload.clients"}
        fields |= {"--rate": "workload.rate_per_s", "--duration": "workload.duration_s"}
        overrides = {
            fields[option]: float(value) if "." in value else int(value)
            for option, value in zip(words[::2], words[1::2], strict=True)
        }
        assert load_experiment(name, overrides) != load_experiment(name), "it changes something"


@pytest.mark.parametrize("name", [one.name for one in catalogue()])
def test_an_exercise_has_an_answer_with_what_was_measured(name: str) -> None:
    (experiment,) = (one for one in catalogue() if one.name == name)
    assert experiment.teaching is not None and experiment.teaching.answer is not None
    assert re.search(r"\d|none|no\b", experiment.teaching.answer, re.IGNORECASE)


def test_most_exercises_are_options_of_the_command_line() -> None:
    with_answer = [one.name for one in catalogue() if answers_of(Choice(one, None), None)]
    assert {"sticky", "pick_first", "retry_storm"} <= set(with_answer)


def test_an_exercise_that_was_run_has_its_figures(facts: RunFacts) -> None:
    (experiment,) = (one for one in catalogue() if one.name == "sticky")
    changed = facts.stored.manifest.model_copy(update={"overrides": {"workload.skew": 0.0, "repeats": 1}})
    choice = Choice(experiment, facts.stored, [StoredRun(GOLDEN, changed)])
    equal_rates, more_clients = answers_of(choice, facts)
    assert equal_rates.options == "--skew 0"
    assert equal_rates.table is not None
    assert [row[0] for row in equal_rates.table.rows] == [
        "sticky, as it is",
        "sticky, --skew 0",
        "round robin, as it is",
        "round robin, --skew 0",
    ]
    assert more_clients.options == "--clients 120"
    assert more_clients.table is None


def test_no_question_of_who_suffers_where_nothing_is_usual(facts: RunFacts) -> None:
    assert sufferers_of(facts.run, "sticky", "no such arm") is None
