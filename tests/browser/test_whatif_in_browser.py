"""The what-if of a report in a real browser: sliders, policies, measured marks beside simulated bands."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.browser.report_page import OpenReport, ReportPage, Reports
from tests.browser.test_report_in_browser import axe_violations


@pytest.fixture
def report(reports: Reports) -> Path:
    return reports["golden"]


def text(page: ReportPage, part: str) -> str:
    """What a part of the what-if says."""
    return str(page.page.locator(f"[data-what-if] [data-part={part}]").text_content())


def count(page: ReportPage, kind: str) -> int:
    """How many marks of a kind are drawn: in the drawing of the load and on the scales."""
    return int(page.page.locator(f"[data-what-if] svg[data-part] .what-if-{kind}").count())


def press(page: ReportPage, setting: str, key: str, times: int = 1) -> None:
    """Press a key on a slider, and wait until the answer is there."""
    page.page.locator(f"#what-if-{setting}").focus()
    for _ in range(times):
        page.page.keyboard.press(key)
    await_answer(page)


def choose(page: ReportPage, name: str, value: str) -> None:
    page.page.locator(f"#what-if-{name}").select_option(value)
    await_answer(page)


def await_answer(page: ReportPage) -> None:
    page.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def measured(report: Path) -> dict[str, Any]:
    return dict(json.loads((report.parent / "summary.json").read_text())["arms"])


def test_at_first_it_has_the_settings_of_the_run_and_what_was_measured(
    report: Path, open_report: OpenReport
) -> None:
    page = open_report(report)
    assert text(page, "state") == "Simulated, and measured: arm sticky."
    assert text(page, "changes") == ""
    assert page.page.locator("#what-if-clients + output").text_content() == "12"
    assert page.page.locator("#what-if-rate_per_s + output").text_content() == "150/s"
    arm = measured(report)["sticky"]
    busiest = arm["spread"]["max_over_mean"]
    assert float(text(page, "measured-max_over_mean")) == pytest.approx(busiest, rel=0.005)
    assert text(page, "measured-p99_ms") == "no usable figure"  # of so few requests
    assert (count(page, "measured"), count(page, "elsewhere")) == (4 + 2, 0)
    assert not page.page.locator("[data-what-if] [data-part=back]").is_visible()


def test_away_from_the_run_it_says_that_nothing_was_measured(report: Path, open_report: OpenReport) -> None:
    page = open_report(report)
    press(page, "clients", "ArrowRight", 2)
    assert text(page, "state") == "Simulated, not measured."
    assert text(page, "changes") == "Changed from arm sticky: 20 clients instead of 12."
    cells = page.page.locator("[data-what-if] [data-part^=measured-]").all_text_contents()
    assert cells == ["not measured"] * 3
    # What the run measured with its own settings stays on the scales, as another mark.
    assert (count(page, "measured"), count(page, "elsewhere")) == (0, 2)
    assert page.page.locator("[data-part=mark-elsewhere]").is_visible()
    assert not page.page.locator("[data-part=mark-here]").is_visible()
    page.page.locator("[data-what-if] [data-part=back]").click()
    assert text(page, "state") == "Simulated, and measured: arm sticky."
    assert count(page, "measured") == 6


def test_the_policy_of_another_arm_was_measured_too(report: Path, open_report: OpenReport) -> None:
    page = open_report(report)
    sticky = text(page, "simulated-max_over_mean")
    choose(page, "policy", "round_robin")
    assert text(page, "state") == "Simulated, and measured: arm round robin."
    assert text(page, "simulated-max_over_mean") != sticky
    assert page.page.locator("#what-if-arm").input_value() == "round_robin"
    choose(page, "policy", "hash")
    assert text(page, "state") == "Simulated, not measured."
    assert page.page.locator("#what-if-arm").input_value() == ""
    choose(page, "arm", "sticky")
    assert text(page, "simulated-max_over_mean") == sticky


def test_an_overloaded_replica_is_named_and_drawn(report: Path, open_report: OpenReport) -> None:
    page = open_report(report)
    assert "that it can serve. Its line grows" not in text(page, "words")
    assert count(page, "over") == 0
    press(page, "skew", "End")
    overloaded = "In all 39 simulations a replica gets more than the 125/s that it can serve."
    assert overloaded not in text(page, "words")
    press(page, "rate_per_s", "ArrowRight", 4)
    assert overloaded in text(page, "words")
    assert count(page, "over") >= 1
    press(page, "rate_per_s", "End")
    assert text(page, "words").startswith("All replicas together can serve 500/s, and 10,000/s arrive.")


def test_the_slider_says_its_value_to_those_who_cannot_see_it(report: Path, open_report: OpenReport) -> None:
    page = open_report(report)
    slider = page.page.locator("#what-if-service_ms")
    assert slider.evaluate("one => one.ariaValueText") == "8 ms"
    press(page, "service_ms", "ArrowLeft")
    assert slider.evaluate("one => one.ariaValueText") == "6 ms"
    drawing = page.page.get_by_role("img", name="Simulated, not measured. Requests a second of each replica.")
    assert drawing.count() == 1


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_axe_finds_no_violation_in_either_state(
    width: int, theme: str, report: Path, open_report: OpenReport
) -> None:
    page = open_report(report, width=width, color_scheme=theme)
    assert axe_violations(page) == []
    press(page, "replicas", "End")
    assert axe_violations(page) == []
    assert page.page.evaluate("document.documentElement.scrollWidth") <= width


def test_on_paper_the_answer_stands_without_its_sliders(report: Path, open_report: OpenReport) -> None:
    page = open_report(report)
    page.page.emulate_media(media="print")
    assert not page.page.locator("#what-if-clients").is_visible()
    assert page.page.locator("[data-what-if] [data-part=load]").is_visible()


def test_a_run_with_events_has_none(reports: Reports, open_report: OpenReport) -> None:
    assert open_report(reports["killed"]).page.locator("[data-what-if]").count() == 0
