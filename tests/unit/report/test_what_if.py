"""What the what-if of a report is given: the arms that it can simulate, and what was measured."""

import json
import re
from dataclasses import replace

import pytest

from harness.analysis.summary import summarise
from harness.record.run_directory import read_run
from harness.report.assets import style
from harness.report.what_if import POLICIES, SLIDERS, policy_of, what_if_of
from harness.spec.arm import Arm
from harness.spec.experiment import load_experiment
from tests.unit.synthetic.synthetic_run import EXPERIMENT, GOLDEN


@pytest.fixture(scope="module")
def golden():
    run = read_run(GOLDEN)
    return run, summarise(run)


@pytest.mark.parametrize(
    ("own", "policy"),
    [
        ({"policy": "round_robin"}, "round_robin"),
        ({"policy": "round_robin", "clients": 7, "rate_per_s": 50, "skew": 1}, "round_robin"),
        ({"policy": "least_request"}, "least_request"),
        ({"policy": "random"}, "random"),
        ({"policy": "sticky"}, "sticky"),
        ({"policy": "sticky", "options": {"first_pick": "random"}}, "hash"),
        ({"policy": "ring_hash"}, "hash"),
        ({"policy": "maglev", "options": {"table_size": 13}}, "hash"),
        ({"policy": "maglev", "options": {"bounded_load_percent": 125}}, None),
        ({"policy": "least_request", "options": {"choices": 5}}, None),
        ({"policy": "sticky", "options": {"first_pick": "least_request"}}, None),
        ({"policy": "round_robin", "proxy_workers": 2}, None),
        ({"policy": "round_robin", "deadline_ms": 100}, None),
        ({"policy": "round_robin", "connections": "shared"}, None),
        ({"policy": "round_robin", "route": "direct"}, None),
        ({"policy": "weighted", "options": {"weights": [1, 2]}}, None),
    ],
)
def test_only_what_the_pages_simulator_knows_is_simulated(own, policy):
    assert policy_of(Arm.model_validate({"route": "envoy", **own})) == policy


def test_the_settings_and_figures_are_those_of_the_run(golden):
    run, summary = golden
    found = what_if_of(run, summary)
    assert found.arms == ["sticky", "round_robin"]
    sticky = found.data["arms"][0]
    work, replicas = run.experiment.workload, run.experiment.replicas
    assert sticky["settings"] == {
        "clients": work.clients,
        "rate_per_s": work.rate_per_s,
        "skew": work.skew,
        "replicas": replicas.count,
        "slots": replicas.slots,
        "service_ms": replicas.service_time_ms.mean,
        "policy": "sticky",
    }
    measured, arm = sticky["measured"], summary.arms["sticky"]
    assert measured["p99_ms"]["value"] == pytest.approx(arm.metrics["latency_ms.p99"], abs=1e-4)
    assert measured["p99_ms"]["at_least"] is False
    assert sum(measured["ranks_per_s"]) == pytest.approx(work.rate_per_s, rel=0.05)
    assert found.data["word"] == "measured"
    assert set(sticky["settings"]) == {*SLIDERS, "policy"}
    json.loads(str(found.script_data))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rate_per_s: 600", "think_time_ms: 20"),
        ("rate_per_s: 600", "rate_per_s: {shape: ramp, start_per_s: 80, end_per_s: 520}"),
        ("rate_per_s: 600", "rate_per_s: 600\n  bursts: {factor: 4, mean_s: 0.2, every_s: 1}"),
        ("calls: {AddVideo: 3, ListVideos: 1}", "calls: {GetVideo: 1}"),
        ("mean: 8}}", "mean: 8}, cache: {sessions: 3, hit_factor: 0.5}}"),
        ("mean: 8}}", "mean: 8}, different: {replica-1: {slots: 9}}}"),
        ("repeats: 3", "repeats: 3\nevents:\n  - {at_s: 0.5, do: slow, target: replica-1, factor: 3}"),
    ],
)
def test_a_run_that_cannot_be_simulated_has_none(old, new, golden, tmp_path):
    run, summary = golden
    assert old in EXPERIMENT
    text = re.sub(r"expect:.*", "", EXPERIMENT.replace(old, new), flags=re.DOTALL)
    (tmp_path / "sticky.yaml").write_text(text)
    experiment = load_experiment(str(tmp_path / "sticky.yaml"))
    assert what_if_of(replace(run, experiment=experiment), summary) is None


def test_an_external_testbed_has_none_and_a_simulated_run_was_not_measured(golden):
    run, summary = golden
    for testbed, word in (("external", None), ("simulated", "computed")):
        own = run.manifest.model_copy(update={"testbed": testbed})
        found = what_if_of(replace(run, manifest=own), summary)
        assert (found and found.data["word"]) == word


def test_figures_that_are_only_known_from_below_say_so(golden):
    run, summary = golden
    found = what_if_of(run, _with_sticky(summary, at_least={"latency_ms.p99": 77.0}))
    assert found.data["arms"][0]["measured"]["p99_ms"] == {"value": 77.0, "at_least": True}


def test_what_is_not_usable_is_no_measurement(golden):
    run, summary = golden
    late = what_if_of(
        run, _with_sticky(summary, invalid_reasons=["usable for counts only, because it was late"])
    )
    sticky = late.data["arms"][0]["measured"]
    assert sticky["p99_ms"] is None
    assert sticky["max_over_mean"]["value"] > 1
    wrong = what_if_of(
        run, _with_sticky(summary, invalid_reasons=["not usable, because it contradicts itself"])
    )
    assert wrong.arms == ["round_robin"]


def _with_sticky(summary, **changed):
    """The summary with other repeats of `sticky`."""
    arm = summary.arms["sticky"]
    arm = arm.model_copy(update={"repeats": [one.model_copy(update=changed) for one in arm.repeats]})
    return summary.model_copy(update={"arms": {**summary.arms, "sticky": arm}})


def test_page_and_script_have_the_same_policies_and_sliders():
    answer, sliders = style("whatif_answer.js"), style("whatif_sliders.js")
    policies = re.search(r"POLICIES = \{(.*?)\n\};", answer, re.DOTALL)[1]
    assert re.findall(r"^  (\w+):", policies, re.MULTILINE) == list(POLICIES)
    ranges = re.search(r"RANGES = \{(.*?)\n\};", sliders, re.DOTALL)[1]
    assert re.findall(r"^  (\w+):", ranges, re.MULTILINE) == list(SLIDERS)
