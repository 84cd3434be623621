"""Verdicts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.facts import collect_facts
from harness.analysis.judge import CellResult, judge, measure, median
from harness.metrics.metric import show
from harness.metrics.registry import METRICS
from harness.spec.experiment import load_experiment
from tests.unit.synthetic import stories
from tests.unit.synthetic.handwritten_cell import MS, REPLICAS, row, write_cell
from tests.unit.synthetic.synthetic_run import EXPERIMENT

HEAD = EXPERIMENT.split("repeats: 2")[0]


@pytest.fixture(scope="module")
def experiment_expecting(tmp_path_factory):
    def load(*expectations, repeats=1):
        path = tmp_path_factory.mktemp("experiment") / "one.yaml"
        lines = "".join(f"  - {{{one}}}\n" for one in expectations)
        path.write_text(f"{HEAD}repeats: {repeats}\nexpect:{(lines and chr(10) + lines) or ' []'}\n")
        return load_experiment(str(path))

    return load


def cells(*values, metric="spread.cv", reasons=()):
    rest = dict.fromkeys(METRICS)
    return [CellResult(n, {**rest, metric: value}, tuple(reasons)) for n, value in enumerate(values, 1)]


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


def test_an_invalid_cell_makes_its_arm_inconclusive_and_keeps_the_figures(experiment_expecting):
    experiment = experiment_expecting(
        "arm: sticky, metric: spread.cv, at_most: 2",
        "arm: round_robin, metric: spread.cv, at_most: 2",
        "arm: round_robin, metric: spread.cv, at_most_times: 9, of: sticky",
    )
    found = judge(experiment, {"sticky": cells(1, reasons=["odd"]), "round_robin": cells(1)})
    assert [finding.verdict for finding in found.findings] == ["inconclusive", "held", "inconclusive"]
    assert found.findings[0].measured == 1
    assert (found.verdict, found.invalid_reasons) == (
        "inconclusive",
        ["sticky, repeat 1: not usable, because odd"],
    )


def test_refuted_outweighs_inconclusive(experiment_expecting):
    experiment = experiment_expecting(
        "arm: sticky, metric: spread.cv, at_most: 2", "arm: round_robin, metric: spread.cv, at_most: 2"
    )
    found = judge(experiment, {"sticky": cells(1, reasons=["odd"]), "round_robin": cells(3)})
    assert found.verdict == "refuted"


def test_missing_repeats_and_arms_are_inconclusive(experiment_expecting):
    experiment = experiment_expecting("arm: sticky, metric: spread.cv, at_most: 2", repeats=2)
    found = judge(experiment, {"sticky": cells(1)})
    assert found.verdict == "inconclusive"
    assert found.invalid_reasons == [
        "sticky: not usable, because 1 of 2 repeats were recorded",
        "round_robin: not usable, because 0 of 2 repeats were recorded",
    ]


def test_without_expectations_the_record_alone_decides(experiment_expecting):
    experiment = experiment_expecting()
    assert judge(experiment, {"sticky": cells(1), "round_robin": cells(1)}).verdict == "held"
    assert judge(experiment, {"sticky": cells(1)}).verdict == "inconclusive"


@pytest.mark.parametrize(
    ("rows", "more", "reason"),
    [
        ([row(0, "replica-0")], {"status": "interrupted"}, "the cell is interrupted"),
        ([], {}, "no request was recorded"),
        ([row(0, "replica-0")], {"envoy": []}, "the ledgers do not reconcile"),
        ([row(0, "replica-0")], {"planned_requests": 2}, "the generator sent 1 of 2 planned"),
        ([row(n, "replica-0") for n in range(11)], {"planned_requests": 10}, "sent 11 of 10 planned"),
        ([row(0, "replica-0", sent_ns=51 * MS)], {}, "the generator lagged 51 ms behind"),
    ],
)
def test_what_makes_a_cell_invalid(tmp_path, rows, more, reason):
    reasons = measure(collect_facts(write_cell(tmp_path, rows, **more))).invalid_reasons
    assert len(reasons) == 1
    assert reason in reasons[0]


def test_a_good_cell_is_valid(tmp_path):
    rows = [row(0, "replica-0", sent_ns=50 * MS, done_ns=51 * MS)]
    assert measure(collect_facts(write_cell(tmp_path, rows))).invalid_reasons == ()


@pytest.mark.parametrize(("late", "valid"), [(2, False), (1, True)])
def test_a_generator_is_judged_by_one_send_in_a_hundred(tmp_path, late, valid):
    """Neither by most of its sends nor by its worst: of 100 sends, 2 are late, or 1 is."""
    rows = [row(n, "replica-0", sent_ns=(900 if n < late else 1) * MS, done_ns=901 * MS) for n in range(100)]
    reasons = measure(collect_facts(write_cell(tmp_path, rows))).invalid_reasons
    expected = "the generator lagged 900 ms behind its plan at p99 (at most 50 ms)"
    assert reasons == (() if valid else (expected,))


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
        (0.0, "0"),
        (0.00004, "4e-05"),
        (1.00001, "1.00001"),
        (999.4, "999.4"),
        (1000.4, "1,000"),
        (-1234.5, "-1,234"),
        (12345678, "12,345,678"),
    ],
)
def test_figures_are_short_but_never_round_to_a_perfect_one(value, shown):
    assert show(value) == shown


def test_a_figure_has_its_unit_unless_the_name_says_enough():
    assert [show(2.5, unit) for unit in ("ms", "requests/s", "share", "ratio", "")] == [
        *("2.5 ms", "2.5 requests/s", "2.5", "2.5", "2.5"),
    ]
    assert show(None, "ms") == "not measured"


@pytest.mark.parametrize(("sent", "valid"), [(94, False), (95, True), (105, True), (106, False)])
def test_five_percent_more_or_less_than_planned_are_accepted(tmp_path, sent, valid):
    rows = [row(n, "replica-0") for n in range(sent)]
    reasons = measure(collect_facts(write_cell(tmp_path, rows, planned_requests=100))).invalid_reasons
    expected = f"the generator sent {sent} of 100 planned requests/s ({sent}%)"
    assert reasons == (() if valid else (expected,))


def test_the_reason_about_the_ledgers_says_what_is_wrong(tmp_path):
    rows = [row(n, "replica-0") for n in range(6)]
    envoy = [(n, REPLICAS["replica-0"]) for n in (2, 3, 4, 5, 10)]
    replica = [(n, "replica-0") for n in (2, 3, 4, 20, 21)]
    cell = write_cell(tmp_path, rows, envoy=envoy, replica=replica)
    assert measure(collect_facts(cell)).invalid_reasons == (
        "the ledgers do not reconcile (2 requests only at the client, 1 only at Envoy, "
        "2 only at a replica, 1 disagree)",
    )


def test_a_finding_says_the_range_over_the_repeats(experiment_expecting):
    experiment = experiment_expecting(
        "arm: sticky, metric: latency_ms.p99, at_least: 5",
        "arm: sticky, metric: latency_ms.p99, at_most_times: 4, of: round_robin",
        repeats=3,
    )
    sticky = cells(6, 12, 9, metric="latency_ms.p99")
    even = cells(3, 3, None, metric="latency_ms.p99")
    found = judge(experiment, {"sticky": sticky, "round_robin": even})
    assert [(finding.text, finding.figures) for finding in found.findings] == [
        ("sticky: latency_ms.p99 at least 5 ms", "9 ms (6 to 12 over repeats)"),
        (
            "sticky: latency_ms.p99 at most 4 times that of round_robin",
            "3 times: 9 ms (6 to 12 over repeats) against 3 ms (3 in each repeat)",
        ),
    ]
    assert found.verdict == "held"


def test_a_ratio_to_nothing_is_not_measured(experiment_expecting):
    experiment = experiment_expecting("arm: sticky, metric: spread.cv, at_most_times: 2, of: round_robin")
    none, half = (
        judge(experiment, {"sticky": cells(value), "round_robin": cells(0)}).findings[0] for value in (0, 0.5)
    )
    assert (none.measured, none.verdict, none.figures) == (None, "held", "0 against 0")
    assert (half.measured, half.verdict, half.figures) == (None, "refuted", "0.5 against 0")


def test_an_arm_that_lacks_the_metric_is_inconclusive_on_either_side(experiment_expecting):
    experiment = experiment_expecting("arm: sticky, metric: spread.cv, at_most_times: 2, of: round_robin")
    for sticky, other in ((None, 1), (1, None)):
        (finding,) = judge(experiment, {"sticky": cells(sticky), "round_robin": cells(other)}).findings
        assert (finding.verdict, finding.measured) == ("inconclusive", None)


def test_a_run_whose_expectations_were_all_left_out_is_inconclusive(experiment_expecting):
    good = {"sticky": cells(1), "round_robin": cells(1)}
    found = judge(experiment_expecting(), good, all_left_out=True)
    assert (found.verdict, found.invalid_reasons) == (
        "inconclusive",
        ["the run: not usable, because every expectation is about an arm that was not run"],
    )


def test_expectations_and_repeats_are_of_the_arms_as_run(tmp_path):
    path = tmp_path / "one.yaml"
    path.write_text(stories.SWEPT)
    experiment = load_experiment(str(path))
    purity = {name: cells(1, 1, metric="affinity.purity") for name in experiment.variants}
    assert judge(experiment, purity).verdict == "held"
    found = judge(experiment, {name: found for name, found in purity.items() if name != "sticky_12"})
    assert found.invalid_reasons == ["sticky_12: not usable, because 0 of 2 repeats were recorded"]
