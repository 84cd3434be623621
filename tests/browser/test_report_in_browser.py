"""The report in a real browser: opens from disk, without errors, in both themes, on a phone, and on paper."""

from pathlib import Path
from typing import Any

import pytest

from tests.browser.report_page import OpenReport, ReportPage, Reports

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
# 600 KB is what the page of `sticky` may take, with its plots and the replay.
MOST_BYTES = 600_000


def axe_violations(page: ReportPage) -> list[str]:
    """Return what axe-core finds wrong: rule, and the elements."""
    page.page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {one['help']}: {[node['html'][:150] for node in one['nodes'][:3]]}"
        for one in found["violations"]
    ]


def unfold(page: ReportPage) -> None:
    """Open all folded sections."""
    page.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")


def test_a_real_run_opens_from_disk(sticky_run: Path, open_report: OpenReport) -> None:
    """That there is no error and no request is checked for every page: see `open_report`."""
    report = sticky_run / "report.html"
    page = open_report(report)
    assert page.page.title().startswith("Sticky sessions overload a replica")
    assert page.page.locator(".finding").inner_text().startswith(("With ", "The measurement does not decide"))
    assert report.stat().st_size < MOST_BYTES
    unfold(page)
    assert axe_violations(page) == []  # its tables of machine and prediction, too
    assert page.part("problem").inner_text() == ""


@pytest.mark.parametrize("story", ["lonely", "swept", "stormy", "rolled", "cached"])
def test_reports_of_all_sorts_open(story: str, reports: Reports, open_report: OpenReport) -> None:
    page = open_report(reports[story])
    end = int(page.part("time").get_attribute("max"))
    for step in range(11):
        page.scrub(end * step // 10)
    assert len(page.sentences()) == (1 if story == "lonely" else 2)


def test_scripts_that_are_not_the_pages_own_are_refused(reports: Reports, open_report: OpenReport) -> None:
    page = open_report(reports["golden"])
    page.page.evaluate(
        "const script = document.createElement('script'); script.textContent = 'window.evil = 1';"
        "document.body.append(script);"
    )
    assert page.page.evaluate("typeof window.evil") == "undefined"
    assert [error for error in page.errors if "Content Security Policy" in error] == page.errors != []
    page.errors.clear()


@pytest.mark.parametrize(
    ("story", "width", "theme"),
    [("golden", 1280, "light"), ("golden", 390, "dark"), ("killed", 1280, "dark"), ("killed", 390, "light")],
)
def test_axe_finds_no_violation(
    story: str, width: int, theme: str, reports: Reports, open_report: OpenReport
) -> None:
    page = open_report(reports[story], width=width, color_scheme=theme)
    assert axe_violations(page) == []
    unfold(page)
    assert axe_violations(page) == []


def test_the_drawing_follows_the_theme(reports: Reports, open_report: OpenReport) -> None:
    page = open_report(reports["golden"])
    page.scrub(4000)
    light = page.picture()
    page.page.emulate_media(color_scheme="dark")
    dark = page.picture()
    assert dark != light
    page.page.emulate_media(color_scheme="light")
    assert page.picture() == light


@pytest.mark.parametrize("story", ["golden", "killed", "crowded", "stormy"])
def test_a_phone_needs_no_sideways_scrolling(story: str, reports: Reports, open_report: OpenReport) -> None:
    page = open_report(reports[story], width=390)
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 390
    unfold(page)
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 390
    first, second = (page.page.locator("[data-side]").nth(side).bounding_box() for side in (0, 1))
    assert second["y"] >= first["y"] + first["height"]
    assert first["width"] <= 390


@pytest.mark.parametrize("story", ["golden", "killed"])
def test_the_plot_beside_the_lesson_can_be_read_on_a_phone(
    story: str, reports: Reports, open_report: OpenReport
) -> None:
    page = open_report(reports[story], width=390)
    plot = page.page.locator(".beside .plot:not(.wide) svg")
    assert plot.bounding_box()["width"] <= 390
    heights = plot.locator("text:not([transform])").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect().height)"
    )
    assert min(heights) >= 8


def test_the_text_of_plots_and_drawing_can_be_selected_and_searched(
    reports: Reports, open_report: OpenReport
) -> None:
    page = open_report(reports["golden"])
    unfold(page)
    selected = page.page.evaluate(
        "const all = document.createRange(); all.selectNodeContents(document.querySelector('main'));"
        "getSelection().removeAllRanges(); getSelection().addRange(all); getSelection().toString()"
    )
    for words in (
        "replica-3",
        "Percentile of requests (%)",
        "policy round_robin",
        "what the replica can serve",
    ):
        assert words in selected
    assert page.page.evaluate("getSelection().removeAllRanges(); window.find('Percentile of requests')")


def test_plots_follow_the_theme(reports: Reports, open_report: OpenReport) -> None:
    page = open_report(reports["golden"])
    unfold(page)
    for theme, page_colour, ink in (
        ("light", "rgb(255, 255, 255)", "rgb(27, 31, 36)"),
        ("dark", "rgb(13, 17, 23)", "rgb(230, 237, 243)"),
    ):
        page.page.emulate_media(color_scheme=theme)
        background, text = page.page.evaluate(
            "[...document.querySelectorAll('.plot svg')].map(svg => [svg.querySelector('path'), "
            "svg.querySelector('text')].map(one => getComputedStyle(one).fill))[0]"
        )
        assert (background, text) == (page_colour, ink)


def test_folded_sections_are_printed_open(reports: Reports, open_report: OpenReport) -> None:
    page = open_report(reports["golden"], color_scheme="dark")
    table = page.page.locator("#trust table").first
    assert not table.is_visible()
    page.page.emulate_media(media="print")
    assert table.is_visible()
    assert page.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.page.emulate_media(media="screen")
    assert not table.is_visible()


def test_a_turned_phone_gets_a_new_drawing(reports: Reports, open_report: OpenReport) -> None:
    page = open_report(reports["golden"], width=390)
    canvas = page.page.locator("[data-side] canvas").first
    narrow = canvas.evaluate("canvas => canvas.width")
    page.page.set_viewport_size({"width": 844, "height": 390})
    page.page.wait_for_timeout(200)
    assert canvas.evaluate("canvas => canvas.width") > narrow
    assert canvas.evaluate("canvas => canvas.width === canvas.clientWidth")


def test_on_paper_the_moment_stands_still_in_light_colours(reports: Reports, open_report: OpenReport) -> None:
    light = open_report(reports["golden"])
    light.scrub(4000)
    page = open_report(reports["golden"], color_scheme="dark")
    page.scrub(4000)
    page.page.emulate_media(media="print")
    assert not page.part("play").is_visible()
    assert not page.part("time").is_visible()
    assert page.part("rows").locator("tr").count() == 2 * (1 + 4)
    assert page.picture() == light.picture()
    assert page.page.pdf().startswith(b"%PDF")
    page.page.emulate_media(media="screen")
    assert page.part("play").is_visible()
    assert page.picture() != light.picture()


def test_it_does_not_play_while_it_is_printed(reports: Reports, open_report: OpenReport) -> None:
    page = open_report(reports["golden"])
    page.part("speed").select_option("0.05")
    page.part("play").click()
    page.page.emulate_media(media="print")
    page.page.wait_for_selector("[data-replay][data-playing=false]", state="attached")


def test_without_scripts_the_rest_can_be_read(reports: Reports, browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(reports["golden"].as_uri())
    assert "<noscript>" in page.content()  # which this way of switching scripts off does not show
    assert page.get_by_text("Verdict:").is_visible()
    page.get_by_text("Can the figures be trusted?").last.click()
    assert page.locator("#trust table").first.is_visible()
    context.close()


def test_a_browser_that_cannot_unpack_says_so(reports: Reports, browser: Any) -> None:
    context = browser.new_context()
    context.add_init_script("delete window.DecompressionStream")
    page = context.new_page()
    page.goto(reports["golden"].as_uri())
    page.get_by_text("The replay cannot be shown").wait_for()
    context.close()
