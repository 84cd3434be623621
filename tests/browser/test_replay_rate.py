"""The replay's strip draws the planned rate where it changes, and marks the moment shown on it."""

from pathlib import Path
from typing import Any

import pytest

from harness.report.assets import module_script
from tests.browser.report_page import OpenReport, ReportPage, Reports

RATE = {"light": (102, 57, 186), "dark": (210, 168, 255)}  # --replay-rate of replay.css
HEIGHT, AXIS, TOP, ERROR_ROWS = 74, 15, 14, 10  # of the strip: replay_timeline.js
PEAK_PER_S = 400


@pytest.fixture
def report(reports: Reports) -> Path:
    return reports["spiked"]


def coloured(page: ReportPage, time: int, colour: tuple[int, ...], reach: int = 6) -> set[int]:
    """Return how high above the strip's floor its pixels have that colour, within `reach` of a moment."""
    picture: dict[str, Any] = page.part("timeline").evaluate(
        """(canvas, [time, reach]) => {
          const slider = document.querySelector('[data-part=time]');
          const share = (time - slider.min) / (slider.max - slider.min);
          const left = Math.round(share * canvas.width) - reach;
          const copy = new OffscreenCanvas(2 * reach, canvas.height)
            .getContext('2d', { willReadFrequently: true });
          copy.drawImage(canvas, -left, 0);
          const { data } = copy.getImageData(0, 0, 2 * reach, canvas.height);
          return { data: [...data], width: 2 * reach };
        }""",
        [time, reach],
    )
    floor = HEIGHT - AXIS - ERROR_ROWS
    found = set()
    for place in range(0, len(picture["data"]), 4):
        close = all(abs(a - b) < 30 for a, b in zip(picture["data"][place : place + 3], colour, strict=True))
        if close and picture["data"][place + 3] > 200:
            found.add(floor - place // 4 // picture["width"])
    return found


def height(rate_per_s: float) -> int:
    return round(rate_per_s / PEAK_PER_S * (HEIGHT - AXIS - ERROR_ROWS - TOP))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_planned_rate_is_a_line_on_the_strip(
    report: Path, open_report: OpenReport, width: int, scheme: str
) -> None:
    page = open_report(report, width=width, color_scheme=scheme)
    for away in (0, 9000):  # the mark itself is elsewhere
        page.scrub(away)
        for time, rate_per_s in ((1500, 100), (4500, PEAK_PER_S), (7500, 100)):
            heights = coloured(page, time, RATE[scheme])
            assert heights, (time, away)
            assert all(abs(found - height(rate_per_s)) <= 2 for found in heights), (time, heights)
        assert (
            max(coloured(page, 3000, RATE[scheme])) - min(coloured(page, 3000, RATE[scheme])) > 20
        )  # a jump
    assert page.page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_dot_and_the_words_give_the_rate_of_the_moment(report: Path, open_report: OpenReport) -> None:
    page = open_report(report)
    told, tops = [], []
    for time in (2000, 4500, 8000):
        page.scrub(time)
        told.append(page.part("rate").inner_text().strip())
        marked = coloured(page, time, RATE["light"], reach=3)
        tops.append((min(marked), max(marked)))
        assert page.part("time").evaluate("slider => slider.ariaValueText").endswith(f". {told[-1]}")
    assert told == [f"Planned rate: {rate}/s now, at most 400/s" for rate in (100, 400, 100)]
    for (lowest, highest), rate_per_s in zip(tops, (100, PEAK_PER_S, 100), strict=True):
        assert lowest < height(rate_per_s) - 1  # it is higher than the line is thick
        assert highest > height(rate_per_s) + 1
    page.press("End")  # the last answers come after the load
    assert page.part("rate").inner_text().strip() == "Planned rate: none now, at most 400/s"


def test_a_steady_rate_is_not_drawn(reports: Reports, open_report: OpenReport) -> None:
    page = open_report(reports["lonely"])
    assert not page.part("rate").is_visible()
    assert not coloured(page, 5000, RATE["light"], reach=200)


def test_arms_with_different_plans_have_a_line_each(browser: Any) -> None:
    """Also: between two points the rate is a straight line, and nothing is planned after the last one."""
    context = browser.new_context()
    page = context.new_page()
    text = module_script("replay_player.js").text
    page.add_script_tag(
        content=f"{text}\nObject.assign(window, {{ratesOf, rateAt, rateWords}});", type="module"
    )
    page.evaluate("() => new Promise(resolve => setTimeout(resolve))")
    found = page.evaluate(
        """() => {
          const record = (name, rate) => ({ name, arm: { rate } });
          const rates = [[[0, 0], [100, 50], [100, 8.25], [200, 8.25]], [[0, 4], [200, 4]]];
          const each = ratesOf([record('one_arm', 0), record('two', 1)], rates);
          const one = ratesOf([record('one_arm', 0), record('two', null)], rates);
          const same = ratesOf([record('a', 1), record('b', 1)], rates);
          const now = each.map(({ line, record }) => ({ record, rate: rateAt(line, 50) }));
          return {
            moments: [0, 50, 99, 100, 200, 201].map((t) => rateAt(rates[0], t)),
            colours: [each, one, same].map((all) => all.map((line) => line.colour)),
            none: ratesOf([record('a', null), record('b', null)], rates),
            words: rateWords(now, 50),
          };
        }"""
    )
    context.close()
    assert found["moments"] == [0, 25, 49.5, 8.25, 8.25, None]
    assert found["colours"] == [["left", "right"], ["left"], ["rate"]]
    assert found["none"] == []
    assert found["words"] == "Planned rate: one arm 25/s now, two 4/s now, at most 50/s"
