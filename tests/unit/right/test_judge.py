"""Verdicts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.facts import collect_facts
from harness.judge import CellResult, judge, measure, median, show
from harness.metrics import METRICS
from harness.spec import load_experiment
from tests.unit.right import stories
from tests.unit.right.invented import EXPERIMENT
from tests.unit.right.tiny import MS, row, write_cell

HEAD = EXPERIMENT.split("repeats: 2")[0]


@pytest.fixture(scope="module")
def experiment_expecting(tmp_path_factory):
    def load(*expectations, repeats=1):
        path = tmp_path_factory.mktemp("experiment") / "one.yaml"
        lines = "".join(f"  - {{{one}}}\n" for one in expectations)
        path.write_text(f"{HEAD}repeats: {repeats}\nexpect:{(lines and chr(10) + lines) or ' []'}\n")
        return load_experiment(str(path))

    return load


def cells(*values, metric="spread.cv", doubts=()):
    rest = dict.fromkeys(METRICS)
    return [CellResult(n, {**rest, metric: value}, tuple(doubts)) for n, value in enumerate(values, 1)]


@pytest.mark.parametrize(
    ("bound", "value", "verdict"),
    [
        ("at_most: 2", 2, "held"),
        ("at_most: 2", 2.001, "refuted"),
        ("at_least: 2", 2, "held"),
        ("at_least: 2", 1.999, "refuted"),
        ("at_most_times: 2, of: round_robin", 6, "held"),
        ("at_most_times: 2, of: round_robin", 6.01, "refuted"),
        ("at_least_times: 2, of: round_robin", 6, "held"),
        ("at_least_times: 2, of: round_robin", 5.99, "refuted"),
        ("at_least: 2", None, "inconclusive"),
    ],
)
def test_a_bound_is_held_against_the_value(experiment_expecting, bound, value, verdict):
    experiment = experiment_expecting(f"arm: sticky, metric: spread.cv, {bound}")
    found = judge(experiment, {"sticky": cells(value), "round_robin": cells(3)})
    assert found.verdict == found.findings[0].verdict == verdict
    if "times" in bound:
        assert found.findings[0].measured == pytest.approx(value / 3)
        assert "times: " in found.findings[0].figures
    else:
        assert found.findings[0].measured == value


def test_the_median_over_repeats_counts(experiment_expecting):
    experiment = experiment_expecting("arm: sticky, metric: spread.cv, at_most: 2", repeats=3)
    found = judge(experiment, {"sticky": cells(1, 9, 2), "round_robin": cells(1, 1, 1)})
    assert (found.verdict, found.findings[0].measured) == ("held", 2)
    assert found.findings[0].figures == "2 (1 to 9 over repeats)"


def test_a_doubtful_cell_makes_its_arm_inconclusive_and_keeps_the_figures(experiment_expecting):
    experiment = experiment_expecting(
        "arm: sticky, metric: spread.cv, at_most: 2",
        "arm: round_robin, metric: spread.cv, at_most: 2",
        "arm: round_robin, metric: spread.cv, at_most_times: 9, of: sticky",
    )
    found = judge(experiment, {"sticky": cells(1, doubts=["odd"]), "round_robin": cells(1)})
    assert [finding.verdict for finding in found.findings] == ["inconclusive", "held", "inconclusive"]
    assert found.findings[0].measured == 1
    assert (found.verdict, found.doubts) == ("inconclusive", ["sticky, repeat 1: odd"])


def test_refuted_outweighs_inconclusive(experiment_expecting):
    experiment = experiment_expecting(
        "arm: sticky, metric: spread.cv, at_most: 2", "arm: round_robin, metric: spread.cv, at_most: 2"
    )
    found = judge(experiment, {"sticky": cells(1, doubts=["odd"]), "round_robin": cells(3)})
    assert found.verdict == "refuted"


def test_missing_repeats_and_arms_are_inconclusive(experiment_expecting):
    experiment = experiment_expecting("arm: sticky, metric: spread.cv, at_most: 2", repeats=2)
    found = judge(experiment, {"sticky": cells(1)})
    assert found.verdict == "inconclusive"
    assert found.doubts == [
        "sticky: 1 of 2 repeats were recorded",
        "round_robin: 0 of 2 repeats were recorded",
    ]


def test_without_expectations_the_record_alone_decides(experiment_expecting):
    experiment = experiment_expecting()
    assert judge(experiment, {"sticky": cells(1), "round_robin": cells(1)}).verdict == "held"
    assert judge(experiment, {"sticky": cells(1)}).verdict == "inconclusive"


@pytest.mark.parametrize(
    ("rows", "more", "doubt"),
    [
        ([row(0, "replica-0")], {"status": "interrupted"}, "the cell is interrupted"),
        ([], {}, "no request was recorded"),
        ([row(0, "replica-0")], {"envoy": []}, "the ledgers do not reconcile"),
        ([row(0, "replica-0")], {"planned_requests": 2}, "the generator sent 1 of 2 planned"),
        ([row(n, "replica-0") for n in range(11)], {"planned_requests": 10}, "sent 11 of 10 planned"),
        ([row(0, "replica-0", sent_ns=51 * MS)], {}, "the generator lagged 51 ms behind"),
    ],
)
def test_what_casts_doubt_on_a_cell(tmp_path, rows, more, doubt):
    doubts = measure(collect_facts(write_cell(tmp_path, rows, **more))).doubts
    assert len(doubts) == 1
    assert doubt in doubts[0]


def test_a_good_cell_has_no_doubts(tmp_path):
    rows = [row(0, "replica-0", sent_ns=50 * MS, done_ns=51 * MS)]
    assert measure(collect_facts(write_cell(tmp_path, rows))).doubts == ()


@pytest.mark.parametrize(("late", "doubtful"), [(2, True), (1, False)])
def test_a_generator_is_judged_by_one_send_in_a_hundred(tmp_path, late, doubtful):
    """Neither by most of its sends nor by its worst: of 100 sends, 2 are late, or 1 is."""
    rows = [row(n, "replica-0", sent_ns=(900 if n < late else 1) * MS, done_ns=901 * MS) for n in range(100)]
    doubts = measure(collect_facts(write_cell(tmp_path, rows))).doubts
    assert ["the generator lagged 900 ms behind its plan at p99" in doubt for doubt in doubts] == [
        True
    ] * doubtful


@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=5), st.floats(0.001, 1e6))
def test_at_most_and_at_least_never_both_fail(experiment_expecting, values, bound):
    experiment = experiment_expecting(
        f"arm: sticky, metric: spread.cv, at_most: {bound}",
        f"arm: sticky, metric: spread.cv, at_least: {bound}",
    )
    found = judge(experiment, {"sticky": cells(*values), "round_robin": cells(1)})
    words = [finding.verdict for finding in found.findings]
    assert "held" in words
    assert (words == ["held", "held"]) == (median(values) == bound)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "not measured"),
        (1.0, "1"),
        (0.99998, "0.99998"),
        (1234.5, "1,234"),
        (0.27751, "0.2775"),
        (58.0034, "58"),
    ],
)
def test_figures_are_short_but_never_round_to_a_perfect_one(value, shown):
    assert show(value) == shown


def test_expectations_and_repeats_are_of_the_arms_as_run(tmp_path):
    path = tmp_path / "one.yaml"
    path.write_text(stories.SWEPT)
    experiment = load_experiment(str(path))
    purity = {name: cells(1, 1, metric="affinity.purity") for name in experiment.variants}
    assert judge(experiment, purity).verdict == "held"
    found = judge(experiment, {name: found for name, found in purity.items() if name != "sticky_12"})
    assert found.doubts == ["sticky_12: 0 of 2 repeats were recorded"]
