"""Verdicts."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.facts import collect_facts
from harness.analysis.judge import judge
from harness.analysis.validity import CellResult, InvalidReason, measure
from harness.metrics.metric import show
from harness.metrics.registry import METRICS
from harness.spec.experiment import load_experiment
from tests.unit.synthetic import stories
from tests.unit.synthetic.handwritten_cell import MS, REPLICAS, row, write_cell
from tests.unit.synthetic.synthetic_run import EXPERIMENT

HEAD = EXPERIMENT.split("repeats: 3")[0]


@pytest.fixture(scope="module")
def experiment_expecting(tmp_path_factory):
    def load(*expectations, repeats=1):
        path = tmp_path_factory.mktemp("experiment") / "one.yaml"
        lines = "".join(f"  - {{{one}}}\n" for one in expectations)
        path.write_text(f"{HEAD}repeats: {repeats}\nexpect:{(lines and chr(10) + lines) or ' []'}\n")
        return load_experiment(str(path))

    return load


def cells(*values, metric="balance.max_off_fair_requests", reasons=(), lag_ms=0.0):
    """Return a cell for each value. reasons: what is wrong with each; lag_ms: at every rank."""
    rest = dict.fromkeys(METRICS)
    lags = dict.fromkeys(("p50", "p90", "p99", "max"), lag_ms)
    return [CellResult(n, {**rest, metric: value}, tuple(reasons), lags) for n, value in enumerate(values, 1)]


ODD = InvalidReason("odd")


def test_expectations_of_another_question_are_measured_and_not_judged(experiment_expecting):
    experiment = experiment_expecting(
        "arm: sticky, metric: balance.max_off_fair_requests, at_most: 2",
        "arm: sticky, metric: balance.max_off_fair_requests, at_least_times: 2, of: round_robin",
    )
    results = {"sticky": cells(9), "round_robin": cells(3)}
    assert judge(experiment, results).verdict == "refuted"
    found = judge(experiment, results, changes=["--skew 0 instead of 1"])
    assert found.verdict == "measured"
    assert [(one.verdict, one.basis, one.measured) for one in found.findings] == [
        ("inconclusive", "nothing", 9),
        ("inconclusive", "nothing", 3),
    ]
    assert not found.more_repeats_help
    assert judge(experiment, {"sticky": cells(9)}, changes=["x"]).verdict == "inconclusive", (
        "an arm is missing"
    )


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
    experiment = experiment_expecting(f"arm: sticky, metric: balance.max_off_fair_requests, {bound}")
    found = judge(experiment, {"sticky": cells(value), "round_robin": cells(3)})
    assert found.verdict == found.findings[0].verdict == verdict
    if "times" in bound:
        assert found.findings[0].measured == pytest.approx(value / 3)
        assert "times: " in found.findings[0].figures
    else:
        assert found.findings[0].measured == value


def test_the_interval_over_repeats_decides(experiment_expecting):
    experiment = experiment_expecting(
        "arm: sticky, metric: balance.max_off_fair_requests, at_most: 2", repeats=3
    )
    found = judge(experiment, {"sticky": cells(1, 9, 2), "round_robin": cells(1, 1, 1)})
    (finding,) = found.findings
    assert (finding.measured, finding.basis, finding.verdict) == (2, "interval", "inconclusive")
    assert finding.figures.startswith("2 requests (the interval ")
    assert "contains the bound 2" in finding.figures
    found = judge(experiment, {"sticky": cells(1, 1.1, 1.2), "round_robin": cells(1, 1, 1)})
    (finding,) = found.findings
    assert (found.verdict, finding.verdict, finding.measured) == ("held", "held", 1.1)
    assert finding.interval is not None
    assert finding.interval[0] < 1 < 1.2 < finding.interval[1] < 2


def test_an_invalid_cell_makes_its_arm_inconclusive_and_keeps_the_figures(experiment_expecting):
    experiment = experiment_expecting(
        "arm: sticky, metric: balance.max_off_fair_requests, at_most: 2",
        "arm: round_robin, metric: balance.max_off_fair_requests, at_most: 2",
        "arm: round_robin, metric: balance.max_off_fair_requests, at_most_times: 9, of: sticky",
    )
    found = judge(experiment, {"sticky": cells(1, reasons=[ODD]), "round_robin": cells(1)})
    assert [finding.verdict for finding in found.findings] == ["inconclusive", "held", "inconclusive"]
    assert found.findings[0].figures == "1 requests (no repeat can be used)"
    assert (found.verdict, found.invalid_reasons) == (
        "inconclusive",
        ["sticky, repeat 1: not usable, because odd"],
    )


def test_refuted_outweighs_inconclusive(experiment_expecting):
    experiment = experiment_expecting(
        "arm: sticky, metric: balance.max_off_fair_requests, at_most: 2",
        "arm: round_robin, metric: balance.max_off_fair_requests, at_most: 2",
    )
    found = judge(experiment, {"sticky": cells(1, reasons=[ODD]), "round_robin": cells(3)})
    assert found.verdict == "refuted"


def test_missing_repeats_and_arms_are_inconclusive(experiment_expecting):
    experiment = experiment_expecting(
        "arm: sticky, metric: balance.max_off_fair_requests, at_most: 2", repeats=2
    )
    found = judge(experiment, {"sticky": cells(1)})
    assert found.verdict == "inconclusive"
    assert found.invalid_reasons == [
        "sticky: not usable, because 1 of 2 repeats were recorded",
        "round_robin: not usable, because 0 of 2 repeats were recorded",
    ]


def test_without_expectations_nothing_is_held(experiment_expecting):
    experiment = experiment_expecting()
    assert judge(experiment, {"sticky": cells(1), "round_robin": cells(1)}).verdict == "measured"
    assert judge(experiment, {"sticky": cells(1, reasons=[ODD]), "round_robin": cells(1)}).verdict == (
        "inconclusive"
    )
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
    assert reason in reasons[0].text


def test_a_good_cell_is_valid(tmp_path):
    rows = [row(0, "replica-0", sent_ns=50 * MS, done_ns=51 * MS)]
    assert measure(collect_facts(write_cell(tmp_path, rows))).invalid_reasons == ()


@pytest.mark.parametrize(("late", "valid"), [(2, False), (1, True)])
def test_a_generator_is_judged_by_one_send_in_a_hundred(tmp_path, late, valid):
    """The p99 counts, not the median and not the worst send: of 100 sends, 2 are late, or 1 is."""
    rows = [row(n, "replica-0", sent_ns=(900 if n < late else 1) * MS, done_ns=901 * MS) for n in range(100)]
    reasons = measure(collect_facts(write_cell(tmp_path, rows))).invalid_reasons
    expected = "the generator lagged 900 ms behind its plan at p99 (at most 50 ms)"
    assert reasons == (() if valid else (InvalidReason(expected, "lag"),))


@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=5), st.floats(0.001, 1e6))
def test_where_a_claim_is_refuted_its_opposite_is_held(experiment_expecting, values, bound):
    experiment = experiment_expecting(
        f"arm: sticky, metric: balance.max_off_fair_requests, at_most: {bound}",
        f"arm: sticky, metric: balance.max_off_fair_requests, at_least: {bound}",
    )
    found = judge(experiment, {"sticky": cells(*values), "round_robin": cells(1)})
    words = [finding.verdict for finding in found.findings]
    if "refuted" in words:
        assert set(words) == {"held", "refuted"}
    if words == ["held", "held"]:
        assert set(values) == {bound} or len(values) == 1


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
    assert reasons == (() if valid else (InvalidReason(expected, "rate"),))


def test_the_reason_about_the_ledgers_says_what_is_wrong(tmp_path):
    rows = [row(n, "replica-0") for n in range(6)]
    envoy = [(n, REPLICAS["replica-0"]) for n in (2, 3, 4, 5, 10)]
    replica = [(n, "replica-0") for n in (2, 3, 4, 20, 21)]
    cell = write_cell(tmp_path, rows, envoy=envoy, replica=replica)
    (reason,) = measure(collect_facts(cell)).invalid_reasons
    assert reason.cause == "record"
    assert reason.text == (
        "the ledgers do not reconcile (2 requests only at the client, 1 only at Envoy, "
        "2 only at a replica, 1 disagree)"
    )


def test_a_finding_says_what_was_measured_and_why_the_verdict_is_so(experiment_expecting):
    experiment = experiment_expecting(
        "arm: sticky, metric: latency_ms.p99, at_least: 5",
        "arm: sticky, metric: latency_ms.p99, at_most_times: 40, of: round_robin",
        repeats=3,
    )
    sticky = cells(9, 9.5, 9.2, metric="latency_ms.p99")
    even = cells(3, 3.1, 3, metric="latency_ms.p99")
    found = judge(experiment, {"sticky": sticky, "round_robin": even})
    first, second = found.findings
    assert first.text == "sticky: latency_ms.p99 at least 5 ms"
    assert first.figures == "9.2 ms (the interval is 8.628 to 9.876)"
    assert second.figures.startswith("3.065 times: 9.2 ms against 3 ms (the interval is ")
    assert found.verdict == "held"
    assert not found.more_repeats_help


@pytest.mark.parametrize(
    ("metric", "hint"),
    [
        ("latency_ms.p99", "; p99 takes 299 values in a cell)"),
        ("latency_ms.p999", "; p999 takes 2,995 values in a cell)"),
        ("spread.cv", "not measured in repeat 2)"),
    ],
)
def test_a_percentile_of_too_few_values_is_inconclusive_and_says_how_many_it_takes(
    experiment_expecting, metric, hint
):
    experiment = experiment_expecting(f"arm: sticky, metric: {metric}, at_least: 1", repeats=3)
    (finding,) = judge(experiment, {"sticky": cells(5, None, 5, metric=metric)}).findings
    assert finding.verdict == "inconclusive"
    assert "not measured in repeat 2" in finding.figures
    assert finding.figures.endswith(hint)


def test_a_ratio_to_nothing_is_not_measured(experiment_expecting):
    metric = "balance.max_off_fair_requests"
    experiment = experiment_expecting(f"arm: sticky, metric: {metric}, at_most_times: 2, of: round_robin")
    for value in (0, 0.5):
        (finding,) = judge(experiment, {"sticky": cells(value), "round_robin": cells(0)}).findings
        assert (finding.measured, finding.verdict, finding.basis) == (None, "inconclusive", "nothing")
        assert "nothing is a multiple of the 0 measured in repeat 1" in finding.figures


@pytest.mark.parametrize(
    ("metric", "cause", "told"),
    [
        ("spread.max_over_mean", "record", False),
        ("spread.max_over_mean", "cut_off", False),
        ("spread.max_over_mean", "rate", True),
        ("spread.max_over_mean", "starved", True),
        ("spread.max_over_mean", "lag", True),
        ("latency_ms.p99", "record", False),
        ("latency_ms.p99", "rate", False),
        ("latency_ms.p99", "starved", False),
        ("latency_ms.p99", "slowed", False),  # here the planned work is not known
        ("latency_ms.p99", "lag", True),
        ("error_share", "record", False),
        ("error_share", "rate", False),
        ("error_share", "starved", False),
        ("error_share", "lag", False),
    ],
)
def test_what_is_wrong_with_a_cell_spoils_only_what_depends_on_it(metric, cause, told):
    (cell,) = cells(1, metric=metric, reasons=[InvalidReason("odd", cause)])
    assert cell.can_tell(metric) == told


@pytest.mark.parametrize(
    ("cut_off", "late_ms", "purity_counts"),
    [(2, 60, False), (1, 60, True), (2, 0, True)],
)
def test_calls_cut_off_on_a_slow_machine_spoil_counts_too(tmp_path, cut_off, late_ms, purity_counts):
    """A client whose first answer never came sent no cookie: purity is then the machine's work."""
    rows = [
        row(n, "" if n < cut_off else "replica-0", code="DEADLINE_EXCEEDED" if n < cut_off else "OK")
        | {"sent_ns": late_ms * MS, "done_ns": (late_ms + 10) * MS}
        for n in range(100)
    ]
    cell = measure(collect_facts(write_cell(tmp_path, rows)))
    assert cell.can_tell("affinity.purity") == purity_counts
    if not purity_counts:
        assert cell.invalid_reasons[0].in_words == (
            "not usable, because 2% of the calls ended at their deadline "
            "while the generator did not keep its plan"
        )


def test_a_late_generator_leaves_counts_decided(experiment_expecting):
    experiment = experiment_expecting(
        "arm: sticky, metric: affinity.purity, at_least: 1.0",
        "arm: sticky, metric: error_share, at_most: 0.5",
        repeats=3,
    )
    late = cells(1, 1, 1, metric="affinity.purity", reasons=[InvalidReason("late", "lag")])
    found = judge(experiment, {"sticky": late, "round_robin": cells(1, 1, 1)})
    assert [finding.verdict for finding in found.findings] == ["held", "inconclusive"]
    assert found.invalid_reasons[0] == (
        "sticky, repeat 1: usable for counts only, and for durations less its lag, because late"
    )


@pytest.mark.parametrize(("cause", "helps"), [("starved", True), ("record", False)])
def test_more_repeats_help_where_the_machine_was_taken_in_all_so_far(experiment_expecting, cause, helps):
    experiment = experiment_expecting(
        "arm: sticky, metric: latency_ms.p99, at_most: 100", repeats="{min: 3, max: 9}"
    )
    bad = cells(50, 50, 50, metric="latency_ms.p99", reasons=[InvalidReason("odd", cause)])
    found = judge(experiment, {"sticky": bad, "round_robin": cells(1, 1, 1)})
    assert (found.findings[0].verdict, found.findings[0].basis) == ("inconclusive", "nothing")
    assert found.more_repeats_help == helps


@pytest.mark.parametrize(
    ("bound", "lag_ms", "verdict"),
    [
        ("at_least: 1000", 50, "held"),  # 1,150 and more without the lag
        ("at_least: 1000", 300, "inconclusive"),  # may have been 900
        ("at_most: 1500", 300, "held"),  # the lag only makes it longer
        ("at_most: 1000", 50, "refuted"),
        ("at_most: 1000", 300, "inconclusive"),
        ("at_least_times: 10, of: round_robin", 50, "held"),
        ("at_least_times: 10, of: round_robin", 500, "inconclusive"),
    ],
)
def test_late_sending_counts_against_the_claim_and_not_against_the_cell(
    experiment_expecting, bound, lag_ms, verdict
):
    experiment = experiment_expecting(f"arm: sticky, metric: latency_ms.p99, {bound}", repeats=3)
    slow = cells(1200, 1210, 1205, metric="latency_ms.p99", lag_ms=lag_ms)
    quick = cells(80, 81, 80, metric="latency_ms.p99")
    (finding,) = judge(experiment, {"sticky": slow, "round_robin": quick}).findings
    assert finding.verdict == verdict
    if verdict == "inconclusive":
        assert f"but the generator was up to {lag_ms} ms late (p99), which may be in it" in finding.reason


def test_lag_of_the_other_arm_counts_too(experiment_expecting):
    bound = "at_most_times: 18, of: round_robin"
    experiment = experiment_expecting(f"arm: sticky, metric: latency_ms.p99, {bound}", repeats=3)
    slow = cells(1200, 1210, 1205, metric="latency_ms.p99")
    for lag_ms, verdict in ((1, "held"), (30, "inconclusive")):
        quick = cells(80, 81, 80, metric="latency_ms.p99", lag_ms=lag_ms)
        (finding,) = judge(experiment, {"sticky": slow, "round_robin": quick}).findings
        assert finding.verdict == verdict


@pytest.mark.parametrize(
    ("bound", "slow_least_ms", "quick_least_ms", "verdict"),
    [
        ("at_least: 1000", 1100, 60, "held"),
        ("at_least: 1000", 900, 60, "inconclusive"),
        ("at_most: 1500", 100, 60, "held"),  # the machine only makes it longer
        ("at_most: 1000", 900, 60, "inconclusive"),
        ("at_most: 1000", 1100, 60, "refuted"),
        ("at_least_times: 10, of: round_robin", 900, 60, "held"),
        ("at_least_times: 10, of: round_robin", 700, 60, "inconclusive"),
        ("at_most_times: 18, of: round_robin", 900, 75, "held"),
        ("at_most_times: 18, of: round_robin", 900, 60, "inconclusive"),
        ("at_least_times: 18, of: round_robin", 900, 75, "refuted"),
        ("at_least_times: 18, of: round_robin", 900, 60, "inconclusive"),  # in containers, beside a browser
    ],
)
def test_where_the_machine_was_taken_a_latency_is_between_the_planned_works_and_the_measured(
    experiment_expecting, bound, slow_least_ms, quick_least_ms, verdict
):
    experiment = experiment_expecting(f"arm: sticky, metric: latency_ms.p99, {bound}", repeats=3)

    def slowed(*values, least_ms):
        found = cells(*values, metric="latency_ms.p99", reasons=[InvalidReason("odd", "slowed")], lag_ms=60)
        return [replace(cell, least_ms={"latency_ms.p99": least_ms}) for cell in found]

    arms = {
        "sticky": slowed(1200, 1210, 1205, least_ms=slow_least_ms),
        "round_robin": slowed(80, 81, 80, least_ms=quick_least_ms),
    }
    (finding,) = judge(experiment, arms).findings
    assert finding.verdict == verdict
    if verdict == "inconclusive":
        assert "of it may be the machine's, which was taken meanwhile" in finding.reason
    assert not arms["sticky"][0].can_tell("queue_ms.p99")


def test_more_repeats_are_wanted_until_all_is_decided(experiment_expecting):
    experiment = experiment_expecting(
        "arm: sticky, metric: balance.max_off_fair_requests, at_most: 2", repeats="{min: 3, max: 9}"
    )
    open_, decided = (
        judge(experiment, {"sticky": cells(*values), "round_robin": cells(1, 1, 1)})
        for values in ((1, 1.9, 1.5), (1, 1.001, 0.999))
    )
    assert (open_.verdict, open_.more_repeats_help) == ("inconclusive", True)
    assert (decided.verdict, decided.more_repeats_help) == ("held", False)


def test_one_repeat_is_a_look_only_where_one_was_planned(experiment_expecting):
    claim = "arm: sticky, metric: balance.max_off_fair_requests, at_most: 2"
    for repeats, verdict, reason in (
        (1, "held", "one repeat, no interval"),
        (3, "inconclusive", "one usable repeat of 3 has no interval"),
    ):
        found = judge(experiment_expecting(claim, repeats=repeats), {"sticky": cells(1)})
        (finding,) = found.findings
        assert (finding.verdict, finding.basis, finding.interval) == (verdict, "one repeat", None)
        assert reason in finding.figures


def test_few_failures_widen_the_interval(experiment_expecting):
    """No failure in 3 x 100 requests does not show a share below 1 %: 3.7 failures may be expected."""
    claim = "arm: sticky, metric: error_share, at_most: 0.01"
    experiment = experiment_expecting(claim, repeats=3)
    rest = dict.fromkeys(METRICS)
    for requests, verdict in ((100, "inconclusive"), (1000, "held")):
        found = [
            CellResult(n, {**rest, "error_share": 0.0}, one_event={"error_share": 1 / requests})
            for n in (1, 2, 3)
        ]
        (finding,) = judge(experiment, {"sticky": found, "round_robin": cells(1, 1, 1)}).findings
        assert finding.verdict == verdict


def test_an_arm_that_lacks_the_metric_is_inconclusive_on_either_side(experiment_expecting):
    experiment = experiment_expecting(
        "arm: sticky, metric: balance.max_off_fair_requests, at_most_times: 2, of: round_robin"
    )
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
