"""A finished run for other tools: metrics as CSV, OpenMetrics or OTLP, expectations as JUnit XML."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as Xml

from harness.errors import UserError, did_you_mean
from harness.metrics.registry import CAPACITY, METRICS
from harness.output.safe_text import visible
from harness.plan.search import Bracket
from harness.record.record_file import write_text
from harness.record.summary import Figure, Summary

CSV_COLUMNS = ("experiment", "run", "arm", "repeat", "metric", "unit", "value", "at_least")
PREFIX = "lb_lab_"
BRACKET = {
    f"{CAPACITY}.low": "The highest rate at which the condition of the search held",
    f"{CAPACITY}.high": "The lowest rate above it at which the condition did not hold",
}
VERDICTS = ("held", "refuted", "inconclusive", "measured")


@dataclass(frozen=True)
class Export:
    """One kind of export: the file in the run's folder, and what makes its text."""

    file: str
    text: Callable[[Summary], str]


def metrics_csv(summary: Summary) -> str:
    """Return one row for each metric of each arm, and of each of its repeats.

    Of a search, the arms as run come first, then the arms of the file with their capacities. repeat is empty
    for the median over the repeats. value is empty where the metric is not defined; at_least then says what
    it is at least, if that is known.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for figures in _figures(summary):
        for name, value in figures.metrics.items():
            shown = "" if value is None or math.isinf(value) else repr(value)
            least = figures.at_least.get(name)
            known = "" if least is None else repr(least)
            of = (summary.experiment, summary.run, figures.arm, figures.repeat, name, _unit(name))
            writer.writerow([*of, shown, known])
    return out.getvalue()


@dataclass(frozen=True)
class _Figures:
    """The metrics of an arm: medians over the repeats, or those of one. repeat: empty of medians."""

    arm: str
    repeat: str
    metrics: Mapping[str, Figure]
    at_least: Mapping[str, float]


def _figures(summary: Summary) -> Iterator[_Figures]:
    """Yield those of the arms as run, then those of the arms of a search, each with its repeats."""
    for arm, measured in summary.arms.items():
        yield _Figures(arm, "", measured.metrics, measured.at_least)
        for one in measured.repeats:
            yield _Figures(arm, str(one.repeat), one.metrics, one.at_least)
    for arm, found in () if summary.search is None else summary.search.arms.items():
        yield _capacity(arm, "", found.low, found.high)
        for search in found.repeats:
            yield _capacity(arm, str(search.repeat), search.low, search.high)


def _capacity(arm: str, repeat: str, low: float | None, high: float | None) -> _Figures:
    """Return the capacity and its bracket. The capacity is known where both ends are."""
    bracket = Bracket(low or 0.0, math.inf if high is None else high)
    ends: dict[str, Figure] = dict(zip(BRACKET, (low, high), strict=True))
    middle = bracket.middle if bracket.is_closed else None
    return _Figures(arm, repeat, {CAPACITY: middle, **ends}, {} if low is None or middle else {CAPACITY: low})


def _unit(metric: str) -> str:
    metric = CAPACITY if metric in BRACKET else metric
    return METRICS[metric].unit if metric in METRICS else ""


def openmetrics(summary: Summary) -> str:
    """Return the medians of each arm as OpenMetrics text, one gauge for each metric that is defined.

    Source of the format: the OpenMetrics specification 1.0, which Prometheus reads.
    """
    lines: list[str] = []
    for name, samples in _medians(summary):
        family = family_name(name)
        lines += [f"# TYPE {family} gauge", f"# HELP {family} {_escaped(_help(name))}"]
        lines += [f"{family}{_labels(summary, arm=arm)} {_number(value)}" for arm, value in samples]
    lines += [f"# TYPE {PREFIX}verdict stateset"]
    lines += [
        f"{PREFIX}verdict{_labels(summary, **{f'{PREFIX}verdict': word})} {int(word == summary.verdict)}"
        for word in VERDICTS
    ]
    return "\n".join([*lines, "# EOF", ""])


def _medians(summary: Summary) -> Iterator[tuple[str, list[tuple[str, int | float]]]]:
    """Yield each metric that is defined in an arm: its name, and [(arm, median over the repeats)]."""
    found: dict[str, list[tuple[str, int | float]]] = {}
    for figures in _figures(summary):
        for name, value in figures.metrics.items():
            if not figures.repeat and value is not None:
                found.setdefault(name, []).append((figures.arm, value))
    yield from found.items()


def otlp(summary: Summary) -> str:
    """Return the medians of each arm as one line of OTLP in JSON, one gauge for each metric.

    It is the body of a request to a collector (POST /v1/metrics), and a line of a file that the collector's
    receiver `otlpjsonfile` reads. Source of the format: the OpenTelemetry protocol 1.5, "JSON Protobuf
    Encoding". A moment of 0 means unknown.
    """
    of_run = {"experiment": summary.experiment, "run": summary.run}
    moment = _started_ns(summary.run)

    def point(value: float, **own: str) -> dict[str, object]:
        attributes = _attributes({**of_run, **own})
        return {"attributes": attributes, "timeUnixNano": moment, "asDouble": _as_double(value)}

    metrics = [
        _gauge(name, _help(name), _unit(name), [point(value, arm=arm) for arm, value in samples])
        for name, samples in _medians(summary)
    ]
    verdicts = [point(word == summary.verdict, verdict=word) for word in VERDICTS]
    metrics.append(_gauge("verdict", "1: this is the verdict of the run", "1", verdicts))
    scope = {"scope": {"name": "lb-lab"}, "metrics": metrics}
    resource = {"attributes": _attributes({"service.name": "lb-lab"})}
    return json.dumps({"resourceMetrics": [{"resource": resource, "scopeMetrics": [scope]}]}) + "\n"


def _gauge(name: str, meaning: str, unit: str, points: list[dict[str, object]]) -> dict[str, object]:
    gauge = {"dataPoints": points}
    return {"name": f"lb_lab.{name}", "description": meaning, "unit": unit, "gauge": gauge}


def _as_double(value: float) -> float | str:
    """Return a number as protobuf's JSON has it."""
    return float(value) if math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"


def _attributes(values: Mapping[str, str]) -> list[dict[str, object]]:
    return [{"key": key, "value": {"stringValue": visible(value)}} for key, value in values.items()]


def _started_ns(run: str) -> str:
    """Return when a run began, from its name: nanoseconds since 1970, as OTLP writes them."""
    try:
        started = datetime.strptime(run.partition("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return "0"
    return str(round(started.timestamp()) * 1_000_000_000)


def family_name(metric: str) -> str:
    """Return the name of a metric in OpenMetrics, as lb_lab_spread_cv."""
    return PREFIX + "".join(letter if letter.isalnum() else "_" for letter in metric)


def _help(metric: str) -> str:
    if metric not in METRICS and metric not in BRACKET:
        return metric
    meaning = BRACKET[metric] if metric in BRACKET else METRICS[metric].meaning
    return f"{meaning} ({_unit(metric)}). Median over the repeats"


def _labels(summary: Summary, **own: str) -> str:
    labels = {"experiment": summary.experiment, "run": summary.run, **own}
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(text: str) -> str:
    return visible(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: Figure) -> str:
    assert value is not None
    return repr(value) if math.isfinite(value) else "+Inf" if value > 0 else "-Inf"


def junit(summary: Summary) -> str:
    """Return JUnit XML with one test for each expectation.

    held: the test passes. refuted: it fails. inconclusive: it has an error, because nothing was decided. An
    expectation that was not judged is skipped.
    """
    suite = Xml.Element("testsuite", name=_xml(summary.experiment), hostname="lb-lab")
    for finding in summary.expectations:
        case = _case(suite, summary, finding.text)
        if finding.verdict != "held":
            kind = "failure" if finding.verdict == "refuted" else "error"
            problem = Xml.SubElement(case, kind, type=finding.verdict, message=_xml(finding.figures))
            problem.text = _xml(finding.reason)
    for text in summary.not_judged:
        Xml.SubElement(_case(suite, summary, text), "skipped", message="an arm was not run")
    counts = {kind: len(suite.findall(f"./testcase/{kind}")) for kind in ("failure", "error", "skipped")}
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("failures", str(counts["failure"]))
    suite.set("errors", str(counts["error"]))
    suite.set("skipped", str(counts["skipped"]))
    if summary.invalid_reasons:
        Xml.SubElement(suite, "system-out").text = _xml("\n".join(summary.invalid_reasons))
    root = Xml.Element("testsuites")
    root.append(suite)
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: Xml.Element, summary: Summary, text: str) -> Xml.Element:
    arm, _, _ = text.partition(":")
    return Xml.SubElement(suite, "testcase", classname=_xml(f"{summary.experiment}.{arm}"), name=_xml(text))


def _xml(text: str) -> str:
    """Return text without characters that XML 1.0 cannot hold."""
    return visible(text).replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd")


EXPORTS: Mapping[str, Export] = {
    "csv": Export("metrics.csv", metrics_csv),
    "prometheus": Export("metrics.openmetrics.txt", openmetrics),
    "otlp": Export("metrics.otlp.jsonl", otlp),
    "junit": Export("junit.xml", junit),
}


def confirm_exports(kinds: Iterable[str]) -> None:
    """Raise UserError for a kind of export that does not exist."""
    for kind in kinds:
        if kind not in EXPORTS:
            hint = did_you_mean(kind, EXPORTS) or f"; expected one of {', '.join(EXPORTS)}"
            raise UserError(f"--export: {kind[:80]!r} is no kind of export{hint}")


def write_exports(run_dir: Path, summary: Summary, kinds: Sequence[str]) -> list[Path]:
    """Write the exports into the run's folder; return their paths. Raises UserError if that fails."""
    written = []
    for kind in dict.fromkeys(kinds):
        path = run_dir / EXPORTS[kind].file
        try:
            write_text(path, EXPORTS[kind].text(summary))
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror})") from error
        written.append(path)
    return written
