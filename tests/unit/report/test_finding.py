"""The finding in a sentence: which expectation it tells, with its figures, and no more than the verdict."""

import math
import re
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from harness.metrics.headlines import clause_of, digits_of, figure_in_words, headline_of
from harness.metrics.metric import SHOWN_UNITS
from harness.metrics.registry import METRICS
from harness.record.manifest import SIMULATED
from harness.record.summary import Finding
from harness.report.finding import expectation_in_words, finding_of, value_of
from harness.report.terminal import print_summary

pytestmark = pytest.mark.whole_run


def claim(metric, arm="sticky", of=None, *, verdict="held", measured=1.0, basis="interval", bound=3.0):
    words = f"{arm}: {metric} at least {bound:g}" + (f" times that of {of}" if of else "")
    return Finding(
        **{"text": words, "arm": arm, "metric": metric, "of": of, "bound": bound, "verdict": verdict},
        **{"measured": measured, "interval": None, "basis": basis, "reason": "r", "figures": "f"},
    )


def on_terminal(summary, width):
    out = StringIO()
    print_summary(summary, Console(file=out, width=width))
    return out.getvalue()


SPREAD = claim("spread.max_over_mean", measured=1.663, bound=1.4)
EVEN = claim("spread.max_over_mean", "round_robin", measured=1.002, bound=1.02)
RATIO = claim("latency_ms.p99", of="round_robin", measured=14.21)
PURE = claim("affinity.purity", basis="every repeat", bound=1.0)


@pytest.fixture
def tell(summaries):
    """Tells the finding of a run of `sticky` with these expectations and this verdict."""

    def told(expectations, verdict="held", **values):
        summary = summaries["golden"].model_copy(
            deep=True, update={"expectations": expectations, "verdict": verdict}
        )
        summary.arms["sticky"].metrics |= {"spread.max_over_mean": 1.663, "latency_ms.p99": 1130.0} | values
        summary.arms["round_robin"].metrics |= {"spread.max_over_mean": 1.002, "latency_ms.p99": 79.5}
        return finding_of(summary)

    return told


def test_a_ratio_between_arms_tells_most_and_what_explains_it_comes_first(tell):
    told = tell([EVEN, PURE, SPREAD, RATIO])
    assert told.text == (
        "With sticky, the busiest replica got 1.66 times its fair share; with round_robin, 1.002. "
        "With sticky, the p99 latency was 1,130 ms; with round_robin, 79.5 ms. "
        "In the median repeat, that is 14.2 times as much."
    )
    assert told.metrics == ["spread.max_over_mean", "latency_ms.p99"]


def test_a_ratio_of_one_repeat_is_that_of_its_two_figures(summaries):
    summary = summaries["golden"].model_copy(deep=True, update={"expectations": [RATIO], "verdict": "held"})
    for arm in summary.arms.values():
        arm.repeats = arm.repeats[:1]
    assert "That is 14.2 times that of round_robin" in finding_of(summary).text


def test_a_refuted_expectation_is_the_finding_and_is_named(tell):
    wrong = RATIO.model_copy(update={"verdict": "refuted", "measured": 2.9999})
    told = tell([EVEN, SPREAD, wrong], "refuted")
    assert told.metrics == ["latency_ms.p99"]
    assert "2.9999 times as much" in told.text, "it must not read like the bound"
    assert told.text.endswith(
        "This refutes what was expected, “sticky: p99 latency at least 3 times that of round_robin”."
    )


def test_an_open_verdict_claims_nothing(tell):
    open_ = RATIO.model_copy(update={"verdict": "inconclusive"})
    told = tell([SPREAD.model_copy(update={"verdict": "held"}), open_], "inconclusive")
    assert told.text.startswith("The measurement does not decide the question. 1 of 2 expectations is open. ")
    assert "Measured, but not decided: With sticky, the p99 latency was" in told.text
    assert "fair share" not in told.text


def test_one_repeat_is_no_interval_and_the_sentence_says_so(tell):
    assert "This rests on one repeat" in tell([RATIO.model_copy(update={"basis": "one repeat"})]).text
    assert "one repeat" not in tell([RATIO]).text


def test_a_percentile_on_failed_requests_is_told_by_what_it_is_at_least(summaries):
    summary = summaries["golden"].model_copy(deep=True)
    arm = summary.arms["sticky"]
    arm.metrics["latency_ms.p99"], arm.at_least["latency_ms.p99"] = math.inf, 10_000.0
    summary.expectations = [RATIO.model_copy(update={"measured": math.inf})]
    summary.verdict = "held"
    text = finding_of(summary).text
    assert "the p99 latency was at least 10,000 ms (it falls on failed requests); with round_robin," in text
    assert "inf" not in text


def test_an_event_is_named_once(summaries):
    summary = summaries["killed"].model_copy(deep=True)
    summary.verdict = "held"
    summary.expectations = [
        claim("event1.failed_requests", "sticky", measured=3.0),
        claim("event1.failed_requests", "round_robin", measured=9.0),
        claim("event1.goodput_per_s", "sticky", "round_robin", measured=0.5),
    ]
    text = finding_of(summary).text
    assert text.count("event 1") == 1
    assert text.startswith("After event 1 (kill replica-1), with sticky, ")
    assert value_of(summary, "sticky", "event1.failed_requests") is not None
    assert value_of(summary, "calm", "event1.failed_requests") is None


@pytest.mark.parametrize("story", ["lonely", "swept", "cached", "crowded", "killed", "golden", "stormy"])
def test_every_run_has_a_finding_or_says_why_not(summaries, story):
    summary = summaries[story]
    text = finding_of(summary).text
    assert text.endswith(".")
    assert not re.search(r"\b\w+_ms\.|spread\.|affinity\.|None|nan", text), text
    if not summary.expectations:
        assert re.match(
            r"Nothing was expected\. (With \w+, |[A-Z][^.]*: from [\d.]+.* with \w+ to )", text
        ), text


def test_a_simulated_run_says_so_in_its_first_word(summaries):
    summary = summaries["golden"].model_copy(update={"notes": [SIMULATED]})
    assert finding_of(summary).text == f"Simulated: {finding_of(summaries['golden']).text}"


def test_nothing_measured_is_no_finding(summaries):
    summary = summaries["golden"].model_copy(deep=True)
    for arm in summary.arms.values():
        arm.repeats = []
    assert finding_of(summary).text == "Nothing was measured."


def test_every_metric_has_a_headline_of_its_own():
    headlines = {name: headline_of(name) for name in METRICS}
    assert all(METRICS[name].headline for name in METRICS)
    assert len(set(headlines.values())) == len(headlines)
    assert not [one for one in headlines.values() if re.search(r"[a-z]\.[a-z]|_ms\b", one)]


def test_a_clause_holds_its_figure():
    assert not [name for name in METRICS if clause_of(name, "FIGURE").count("FIGURE") != 1]


@given(
    st.floats(min_value=1e-9, max_value=1e12),
    st.lists(st.floats(min_value=1e-9, max_value=1e12), max_size=3),
)
def test_digits_tell_a_figure_from_its_bounds(value, bounds):
    text = digits_of(value, bounds)
    assert "e" not in text or value < 1e-4
    assert all(float(text.replace(",", "")) != bound for bound in bounds if bound != value)
    assert float(text.replace(",", "")) == pytest.approx(value, rel=0.006)


def test_figures_have_units_and_shares_are_percentages():
    assert figure_in_words("latency_ms.p99", 1130.4) == "1,130 ms"
    assert figure_in_words("cpu.proxy_us_per_request", 1225.2) == "1,225 us"
    assert figure_in_words("error_share", 0.4163) == "41.6 %"
    assert figure_in_words("error_share", 0.04997, [0.05]) == "4.997 %"
    assert figure_in_words("event1.failed_requests", 1) == "1 request"
    assert figure_in_words("spread.max_over_mean", 1.6629) == "1.66"
    assert figure_in_words("spread.max_over_mean", None) == "not measured"
    assert "ms" in SHOWN_UNITS


def test_the_terminal_says_the_finding_then_the_table_then_verdicts_in_words(summaries):
    for width in (80, 120):
        text = on_terminal(summaries["golden"], width)
        places = [
            text.index(summaries["golden"].question.split()[0]),
            text.index("With sticky, "),
            text.index("busiest / fair"),
            text.index("At least one expectation"),
            text.index("; measured"),
        ]
        assert places == sorted(places)
        assert "latency_ms" not in text
        assert all(len(line) <= width for line in text.splitlines())


def test_no_word_is_broken_at_80_columns(summaries):
    for story in ("golden", "killed", "cached"):
        summary = summaries[story]
        text = " ".join(on_terminal(summary, 80).split())
        for one in summary.expectations:
            assert all(word in text.split() for word in expectation_in_words(one).split()[1:-1])
        assert "…" not in text
