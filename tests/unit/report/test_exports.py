"""Exports of finished runs: every metric, every expectation, and nothing that another tool would obey."""

import csv
import json
import math
import re
from xml.etree import ElementTree as Xml

import pytest

from harness.cli.main import main
from harness.metrics.registry import CAPACITY, METRICS
from harness.record.summary import ArmSearch, RepeatSearch, SearchSummary, Summary
from harness.report.exports import (
    CSV_COLUMNS,
    EXPORTS,
    VERDICTS,
    family_name,
    junit,
    metrics_csv,
    openmetrics,
    otlp,
)
from tests.unit.synthetic import stories

pytestmark = pytest.mark.whole_run

STORIES = ("golden", *list(stories.BY_NAME)[:3])
# Grammar of a sample line: OpenMetrics 1.0, section "ABNF".
SAMPLE = re.compile(
    r'^([a-zA-Z_:][a-zA-Z0-9_:]*)\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*)\} (\S+)$', re.ASCII
)


@pytest.fixture(params=STORIES)
def summary(request, summaries) -> Summary:
    return summaries[request.param]


def test_csv_has_every_metric_of_every_arm_and_repeat(summary: Summary) -> None:
    rows = list(csv.DictReader(metrics_csv(summary).splitlines()))
    assert tuple(rows[0]) == CSV_COLUMNS
    found = {(row["arm"], row["repeat"], row["metric"]): row["value"] for row in rows}
    assert len(found) == len(rows)
    for arm, measured in summary.arms.items():
        for repeat, figures in [("", measured), *((str(one.repeat), one) for one in measured.repeats)]:
            for name, value in figures.metrics.items():
                text = found.pop((arm, repeat, name))
                assert (float(text) if text else None) == (None if value in (None, math.inf) else value)
    assert not found


def test_openmetrics_is_well_formed_and_complete(summary: Summary) -> None:
    *lines, last, empty = openmetrics(summary).split("\n")
    assert (last, empty) == ("# EOF", "")
    values, family = {}, ""
    for line in lines:
        if line.startswith("# TYPE "):
            assert line.split()[2] not in values
            family = line.split()[2]
            continue
        if line.startswith("# HELP "):
            assert line.split()[2] == family
            continue
        sample = SAMPLE.match(line)
        assert sample, line
        assert sample[1] == family
        labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', sample[2]))
        assert labels["experiment"] == summary.experiment
        values.setdefault(family, {})[labels.get("arm", labels.get("lb_lab_verdict"))] = float(sample[3])
    assert values.pop("lb_lab_verdict") == {
        word: float(word == summary.verdict) for word in ("held", "refuted", "inconclusive", "measured")
    }
    expected = {
        (family_name(name), arm): value
        for arm, one in summary.arms.items()
        for name, value in one.metrics.items()
        if value is not None
    }
    assert {(name, arm): value for name, arms in values.items() for arm, value in arms.items()} == expected


def test_names_in_openmetrics_differ() -> None:
    assert len({family_name(name) for name in METRICS}) == len(METRICS)


def test_junit_has_one_test_for_each_expectation(summary: Summary) -> None:
    suite = Xml.fromstring(junit(summary)).find("testsuite")
    assert suite is not None
    verdicts = {"failure": "refuted", "error": "inconclusive", "skipped": "not judged"}
    found = {
        case.get("name"): next((verdicts[child.tag] for child in case), "held")
        for case in suite.findall("testcase")
    }
    expected = {finding.text: finding.verdict for finding in summary.expectations}
    assert found == expected | dict.fromkeys(summary.not_judged, "not judged")
    for count, verdict in (("failures", "refuted"), ("errors", "inconclusive")):
        assert int(suite.get(count, "")) == list(expected.values()).count(verdict)
    assert int(suite.get("tests", "")) == len(found)


def test_what_other_tools_would_obey_is_only_shown(summaries) -> None:
    harmful = 'a" b\\ <x> & \x1b[2J ]]> \n\ufffe'
    summary = summaries["golden"].model_copy(deep=True)
    summary.expectations[0].text = f"arm: {harmful}"
    summary.expectations[0].verdict = "refuted"
    summary.expectations[0].figures = summary.expectations[0].reason = harmful
    summary.run = harmful
    case = Xml.fromstring(junit(summary)).find("./testsuite/testcase")
    assert case is not None
    assert "\x1b" not in junit(summary)
    assert "<x> &" in str(case.get("name"))
    for line in openmetrics(summary).splitlines():
        assert line.startswith("# ") or SAMPLE.match(line), line
    rows = list(csv.DictReader(metrics_csv(summary).splitlines(keepends=True)))
    assert {row["run"] for row in rows} == {harmful}


def test_report_writes_the_exports(runs, tmp_path, capsys, without_plots) -> None:
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(runs["golden"], folder)
    assert main(["report", str(folder), "--export", "junit", "--export", "csv"]) == 0
    assert [line.rpartition("/")[2] for line in capsys.readouterr().out.splitlines()] == [
        *("junit.xml", "metrics.csv", "report.html"),
    ]
    assert (folder / "junit.xml").read_text().startswith("<?xml")
    assert not (folder / EXPORTS["prometheus"].file).exists()


@pytest.mark.parametrize("words", [["report", "nowhere"], ["run", "sticky"]])
def test_an_unknown_kind_is_one_line_before_anything_runs(words: list[str], capsys) -> None:
    assert main([*words, "--export", "junitt"]) == 2
    error = capsys.readouterr().err
    assert "--export: 'junitt' is no kind of export; did you mean 'junit'" in error
    assert len(error.splitlines()) == 1


def test_otlp_has_every_median_as_a_gauge(summary: Summary) -> None:
    """Names and types are those of opentelemetry.proto in protobuf's JSON."""
    (line,) = otlp(summary).splitlines()
    (of_resource,) = json.loads(line)["resourceMetrics"]
    (of_scope,) = of_resource["scopeMetrics"]
    found = {}
    for metric in of_scope["metrics"]:
        assert set(metric) == {"name", "description", "unit", "gauge"}
        for point in metric["gauge"]["dataPoints"]:
            attributes = {one["key"]: one["value"]["stringValue"] for one in point["attributes"]}
            assert (attributes["experiment"], attributes["run"]) == (summary.experiment, summary.run)
            assert point["timeUnixNano"].isdecimal()
            key = attributes.get("arm", attributes.get("verdict"))
            found[metric["name"].removeprefix("lb_lab."), key] = float(point["asDouble"])
    verdicts = {word: found.pop(("verdict", word)) for word in VERDICTS}
    assert [word for word, value in verdicts.items() if value] == [summary.verdict]
    assert found == {
        (name, arm): value
        for arm, one in summary.arms.items()
        for name, value in one.metrics.items()
        if value is not None
    }


@pytest.mark.parametrize(
    ("run", "moment"), [("20261126T120000Z-abcdef", "1795694400000000000"), ("no time", "0")]
)
def test_otlp_has_the_time_of_the_run(run: str, moment: str, summaries) -> None:
    summary = summaries["golden"].model_copy(update={"run": run})
    assert f'"timeUnixNano": "{moment}"' in otlp(summary)


def test_what_a_search_found_is_exported(summaries) -> None:
    """The medians in all three formats, and in the CSV each repeat. Of an open bracket, what is known."""

    def found(*ends: tuple[float | None, float | None]) -> ArmSearch:
        repeats = [
            RepeatSearch(repeat=number, low=low, high=high, is_found=True, cells=[])
            for number, (low, high) in enumerate(ends, 1)
        ]
        low, high = ends[0]
        return ArmSearch(low=low, high=high, capacity_per_s=low, repeats=repeats, contradictions=[])

    arms = {"sticky": found((160.0, 250.0), (90.0, None)), "turns": found((300.0, None))}
    search = SearchSummary(
        factor="rate_per_s", metric="latency_ms.p99", bound=200, condition="", within=0.1, arms=arms
    )
    summary = summaries["golden"].model_copy(update={"search": search})
    rows = {
        (row["arm"], row["repeat"], row["metric"]): (row["value"], row["at_least"])
        for row in csv.DictReader(metrics_csv(summary).splitlines())
    }
    assert {key: value for key, value in rows.items() if key[0] in arms and key[2] == CAPACITY} == {
        ("sticky", "", CAPACITY): ("200.0", ""),
        ("sticky", "1", CAPACITY): ("200.0", ""),
        ("sticky", "2", CAPACITY): ("", "90.0"),
        ("turns", "", CAPACITY): ("", "300.0"),
        ("turns", "1", CAPACITY): ("", "300.0"),
    }
    assert rows["sticky", "", "capacity_per_s.high"] == ("250.0", "")
    samples = re.findall(r'^lb_lab_capacity_per_s(\w*)\{.*arm="(\w+)"\} (\S+)$', openmetrics(summary), re.M)
    assert {(end, arm): float(value) for end, arm, value in samples} == {
        ("", "sticky"): 200,
        ("_low", "sticky"): 160,
        ("_high", "sticky"): 250,
        ("_low", "turns"): 300,
    }
    (of_resource,) = json.loads(otlp(summary))["resourceMetrics"]
    units = {one["name"]: one["unit"] for one in of_resource["scopeMetrics"][0]["metrics"]}
    assert units["lb_lab.capacity_per_s"] == units["lb_lab.capacity_per_s.low"] == "requests/s"
