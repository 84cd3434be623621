"""The site in a real browser: from disk, offline, with keys, on a phone and in dark colours."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.summary import summarise
from harness.record.record_file import write_record
from harness.record.run_directory import read_run
from harness.record.summary import SUMMARY
from harness.site.build import build_site
from tests.browser.site_page import OpenSite, SitePage
from tests.unit.synthetic.synthetic_run import EXPERIMENT, synthesise_run

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
SLIDES = "teacher/slides.html"
LESSON, NOT_RUN, THEORY = "lessons/sticky.html", "lessons/partition.html", "theory/zipf.html"


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a site with one run, of `sticky`."""
    results = tmp_path_factory.mktemp("results")
    assert "calls: {AddVideo: 3, ListVideos: 1}" in EXPERIMENT
    experiment = EXPERIMENT.replace("calls: {AddVideo: 3, ListVideos: 1}", "calls: {AddVideo: 1}")
    run = synthesise_run(results, experiment)
    write_record(run / SUMMARY, summarise(read_run(run)))
    return build_site(results).first_page.parent


@pytest.fixture
def open_site(browser: Any, site: Path) -> Iterator[OpenSite]:
    """Opens a page of the site: open_site("index.html", width=390, color_scheme="dark", ...).

    When the test has ended, no page may have had an error or asked for anything but pages
    of the site.
    """
    pages: list[SitePage] = []

    def open_page(path: str, *, width: int = 1280, height: int = 900, **options: Any) -> SitePage:
        defaults = {"color_scheme": "light", "reduced_motion": "reduce"}
        context = browser.new_context(
            viewport={"width": width, "height": height}, offline=True, **(defaults | options)
        )
        pages.append(SitePage(context, site / path))
        return pages[-1]

    yield open_page
    for page in pages:
        page.context.close()
        assert page.errors == []
        assert all(url.startswith(site.as_uri()) for url in page.requests)
        assert page.requests[0] == page.url


def violations(page: SitePage) -> list[str]:
    """Return what axe-core finds wrong: rule, and the elements."""
    page.page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {[node['html'][:150] for node in one['nodes'][:3]]}" for one in found["violations"]
    ]


def measured_share(site: Path) -> float:
    """Return the busiest replica's share under `sticky`, in percent, from the run's summary."""
    (summary,) = (site.parent / "sticky").glob("2*/summary.json")
    shares = json.loads(summary.read_text())["arms"]["sticky"]["share_by_rank"]
    return float(round(100 * shares[0], 1))


@pytest.mark.parametrize(
    ("path", "width", "theme"),
    [
        ("index.html", 390, "dark"),
        (LESSON, 1280, "light"),
        (LESSON, 390, "dark"),
        (NOT_RUN, 390, "light"),
        (THEORY, 390, "dark"),
        ("basics.html", 390, "light"),
        (SLIDES, 390, "dark"),
    ],
)
def test_axe_finds_no_violation_and_nothing_scrolls_sideways(
    path: str, width: int, theme: str, open_site: OpenSite
) -> None:
    page = open_site(path, width=width, color_scheme=theme)
    assert violations(page) == []
    assert page.width <= width
    if path == LESSON:
        page.predict()
        assert violations(page) == []
        assert page.width <= width


def test_what_happened_is_hidden_until_there_is_a_prediction(open_site: OpenSite) -> None:
    page = open_site(LESSON)
    assert not page.page.locator("[data-replay]").is_visible()
    assert not page.page.get_by_text("Why", exact=True).is_visible()
    page.predict()
    assert page.page.locator("[data-replay]").is_visible()
    assert page.page.locator("[data-replay] canvas").first.evaluate("one => one.height") > 100
    assert page.page.get_by_role("heading", name="Why", exact=True).is_visible()
    assert page.page.evaluate("document.activeElement.id") == "compare"


def test_a_prediction_by_keys_is_compared_with_the_run(open_site: OpenSite, site: Path) -> None:
    page = open_site(LESSON)
    assert page.press("#bar-0", "ArrowRight", 15) == "40 %"
    # The others share what is left, in proportion.
    assert [page.page.locator(f"#bar-{rank} + output").inner_text() for rank in (1, 2, 3)] == ["20 %"] * 3
    before = page.page.locator("#p99-0 + output").inner_text()
    assert page.press("#p99-0", "ArrowRight", 20) == "1 s" != before
    page.predict()
    said = page.part("findings").inner_text()
    measured = measured_share(site)
    assert f"You gave the busiest replica 40 % of the requests. It got {measured:g} %." in said
    assert "sticky: you said 1 s, it was " in said
    assert page.page.locator("#bar-0 ~ .meter").inner_text().split() == ["measured", f"{measured:g}", "%"]
    track, bar = (page.page.locator(f"#bar-0 ~ .meter {part}").bounding_box() for part in (".track", "i"))
    assert abs(bar["width"] / track["width"] - measured / 100) < 0.01
    assert abs(track["width"] - page.page.locator("#bar-0").bounding_box()["width"]) < 1
    assert re.search(r"In repeat 1, \d+ of \d+ clients suffered", said)


def test_a_lesson_has_the_what_if_of_its_run(open_site: OpenSite) -> None:
    page = open_site(LESSON, width=390)
    assert not page.page.locator("[data-what-if]").is_visible()
    page.predict()
    assert page.part("state").inner_text() == "Simulated, and measured: arm sticky."
    page.page.locator("#what-if-policy").select_option("least_request")
    page.page.get_by_text("Simulated, not measured.").wait_for()
    assert page.part("load").bounding_box()["width"] > 300


def test_without_a_choice_it_asks_for_one(open_site: OpenSite) -> None:
    page = open_site(LESSON)
    page.part("submit").click()
    assert page.page.get_by_role("alert").filter(has_text="Choose who suffers").is_visible()
    assert not page.page.locator("[data-replay]").is_visible()


def test_a_prediction_is_kept_shown_on_the_map_and_can_be_forgotten(open_site: OpenSite, site: Path) -> None:
    page = open_site(LESSON)
    page.press("#bar-0", "ArrowRight", 10)
    page.predict("most")
    page.page.reload()
    page.page.wait_for_selector("[data-lesson][data-ready]")
    assert "You gave the busiest replica 35 %" in page.part("findings").inner_text()
    page.page.get_by_role("link", name="Map").first.click()
    lessons = page.page.locator(".stop[data-lesson]").count()
    assert lessons > 30
    assert page.part("progress").inner_text() == f"You have predicted 1 of {lessons} lessons."
    assert page.page.locator("#sticky [data-part=done]").is_visible()
    page.part("forget").click()
    assert page.part("progress").inner_text() == ""
    page.page.locator("#sticky h3 a").click()
    assert not page.page.locator("[data-replay]").is_visible()


def test_it_can_be_predicted_again_or_skipped(open_site: OpenSite) -> None:
    page = open_site(LESSON)
    page.predict()
    page.part("again").click()
    assert not page.page.locator("[data-replay]").is_visible()
    page.part("skip").click()
    assert page.page.locator("[data-replay]").is_visible()
    assert not page.part("comparison").is_visible()
    page.predict()
    assert page.part("comparison").is_visible()


@pytest.mark.parametrize("kept", ["nonsense", '{"sticky": {"bars": [1]}}'])
def test_what_the_browser_kept_of_another_run_does_no_harm(kept: str, open_site: OpenSite) -> None:
    page = open_site(LESSON)
    page.page.evaluate("text => localStorage.setItem('lb-lab.predictions', text)", kept)
    page.page.reload()
    page.page.wait_for_selector("[data-lesson][data-ready]")
    assert not page.page.locator("[data-replay]").is_visible()
    page.predict()
    assert page.part("comparison").is_visible()


def test_a_browser_that_keeps_nothing_is_enough(browser: Any, site: Path) -> None:
    context = browser.new_context(offline=True)
    context.add_init_script(
        "Object.defineProperty(window, 'localStorage', {get() { throw new Error('no') }})"
    )
    page = SitePage(context, site / LESSON)
    page.predict()
    assert page.part("comparison").is_visible()
    page.page.goto((site / "index.html").as_uri())
    assert page.page.locator(".stop").first.is_visible()
    assert page.errors == []
    context.close()


def test_without_scripts_nothing_is_hidden(browser: Any, site: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site / LESSON).as_uri())
    assert page.get_by_role("heading", name="Why", exact=True).is_visible()
    context.close()


def test_slides_turn_by_keys_and_buttons(open_site: OpenSite) -> None:
    page = open_site(SLIDES)
    count = page.page.locator(".slide").count()
    assert page.part("place").inner_text() == f"1 of {count}"
    page.page.keyboard.press("ArrowRight")
    page.part("on").click()
    assert page.part("place").inner_text() == f"3 of {count}"
    strip, third = page.part("slides").bounding_box(), page.page.locator(".slide").nth(2).bounding_box()
    assert abs(third["x"] - strip["x"]) < 3
    page.page.keyboard.press("End")
    assert page.part("place").inner_text() == f"{count} of {count}"
    page.page.keyboard.press("ArrowRight")
    page.page.keyboard.press("ArrowLeft")
    assert page.part("place").inner_text() == f"{count - 1} of {count}"


def test_on_paper_a_sheet_is_a_page(open_site: OpenSite) -> None:
    page = open_site("teacher/sheets.html", color_scheme="dark")
    page.page.emulate_media(media="print")
    style = "(one, name) => getComputedStyle(one)[name]"
    assert page.page.locator("body").evaluate(style, "backgroundColor") == "rgb(255, 255, 255)"
    assert page.page.locator(".sheet").first.evaluate(style, "breakAfter") == "page"
    assert not page.page.locator(".site-header").is_visible()


def test_a_foreign_script_is_refused(open_site: OpenSite) -> None:
    page = open_site("index.html")
    page.page.evaluate(
        "const script = document.createElement('script'); script.textContent = 'window.evil = 1';"
        "document.body.append(script);"
    )
    assert page.page.evaluate("typeof window.evil") == "undefined"
    assert page.errors
    page.errors.clear()
