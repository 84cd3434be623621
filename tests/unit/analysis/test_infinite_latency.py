"""Claims, comparisons and records about a percentile that falls on failed requests: it is infinity."""

import json
import math
import shutil
from pathlib import Path

import pytest

from harness.analysis.claims import Claim, decide, decide_times
from harness.analysis.compare import Change
from harness.analysis.statistics import (
    Interval,
    Repeats,
    interval_over_repeats,
    ratio_interval,
    repeats_needed,
)
from harness.analysis.summary import summarise
from harness.metrics.metric import show
from harness.record.record_file import write_record
from harness.record.run_directory import read_run
from harness.record.summary import Finding
from harness.report.page import build_report
from tests.unit.synthetic.synthetic_run import GOLDEN

pytestmark = pytest.mark.whole_run

INFINITY = math.inf
THREE, SIX = Repeats(3, 3), Repeats(6, 6)


def by_repeat(*values: float) -> dict[int, float | None]:
    return dict(enumerate(values, start=1))


@pytest.mark.parametrize(
    ("values", "is_least", "verdict"),
    [
        ((INFINITY,) * 3, False, "refuted"),
        ((INFINITY,) * 3, True, "held"),
        ((500.0, INFINITY, 520.0), False, "inconclusive"),
        ((500.0, INFINITY, 520.0), True, "inconclusive"),  # three repeats exclude nothing
        ((600.0, *[INFINITY] * 5), False, "refuted"),
        ((600.0, *[INFINITY] * 5), True, "held"),
        ((500.0, *[INFINITY] * 5), False, "inconclusive"),
    ],
)
def test_a_claim_is_decided_by_it(values: tuple[float, ...], is_least: bool, verdict: str) -> None:
    repeats = Repeats(len(values), len(values))
    assert decide(by_repeat(*values), Claim(550, is_least), repeats).verdict == verdict


def test_an_interval_may_end_in_infinity() -> None:
    assert interval_over_repeats([INFINITY] * 3, THREE) == Interval(INFINITY, INFINITY)
    assert interval_over_repeats([500, INFINITY, 520], THREE) == Interval(0, INFINITY)
    assert interval_over_repeats([500, 505, 510, 515, 520, INFINITY], SIX) == Interval(500, INFINITY)
    reason = decide(by_repeat(500, 505, 510, 515, 520, INFINITY), Claim(510, is_least=False), SIX).reason
    assert reason == "the interval 500 to infinity contains the bound 510"
    assert repeats_needed([500, INFINITY, 520], 510) is None


def test_a_ratio_of_two_infinities_is_nothing() -> None:
    times = Claim(3, is_least=True)
    both = decide_times(by_repeat(INFINITY, 9, 9), by_repeat(INFINITY, 1, 1), times, THREE)
    assert (both.verdict, both.basis) == ("inconclusive", "nothing")
    assert both.reason == "infinity in both arms in repeat 1, so there is no ratio"
    assert decide_times(by_repeat(*[INFINITY] * 3), by_repeat(1, 2, 3), times, THREE).verdict == "held"
    assert decide_times(by_repeat(1, 2, 3), by_repeat(*[INFINITY] * 3), times, THREE).verdict == "refuted"


def test_two_runs_are_compared_without_an_interval() -> None:
    assert ratio_interval([1, 2, 3], [1, INFINITY, 3]) is None
    assert ratio_interval([1, 2, 3], [1, 2, 3]) is not None
    change = Change("sticky", "latency_ms.p99", INFINITY, 100, (3, 3), None)
    assert change.note == "no interval: was infinity, is 100"
    worse = Change("sticky", "latency_ms.p99", 100, INFINITY, (3, 3), None)
    assert worse.note == "no interval: x inf"


def test_a_finding_is_written_with_null_and_says_infinity_in_words(tmp_path: Path) -> None:
    finding = Finding(
        text="t",
        arm="sticky",
        metric="latency_ms.p99",
        of=None,
        bound=3,
        verdict="refuted",
        measured=INFINITY,
        interval=(500.0, INFINITY),
        basis="interval",
        reason="r",
        figures=show(INFINITY, "ms"),
    )
    write_record(tmp_path / "finding.json", finding)
    written = json.loads((tmp_path / "finding.json").read_text())
    assert (written["measured"], written["interval"], written["figures"]) == (None, [500.0, None], "infinity")


def test_a_summary_is_plain_json_and_says_what_is_known_at_least(tmp_path: Path) -> None:
    run = shutil.copytree(GOLDEN, tmp_path / "run")
    _, summary = build_report(run, plots=False)
    assert summary.arms["sticky"].metrics["latency_ms.max"] == INFINITY
    written = json.loads((run / "summary.json").read_text(), parse_constant=pytest.fail)
    for arm in written["arms"].values():
        for part in (arm, *arm["repeats"]):
            assert part["latency_ms"]["max"] is None
            assert part["at_least"]["latency_ms.max"] >= part["ok_latency_ms"]["max"]
    again = summarise(read_run(run)).model_dump(mode="json")
    assert again["arms"] == written["arms"]
