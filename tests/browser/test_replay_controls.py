"""The replay plays, pauses, scrubs, changes speed, obeys keys and fingers, and keeps still if asked to."""

from pathlib import Path

import pytest

from tests.browser.report_page import QUANTA_PER_S, OpenReport, ReportPage, Reports


@pytest.fixture
def report(reports: Reports) -> Path:
    return reports["golden"]


def await_clock(page: ReportPage, past: float) -> None:
    """Wait until the clock shows more than `past` seconds."""
    for _ in range(200):
        if page.seconds > past:
            return
        page.page.wait_for_timeout(50)
    raise AssertionError(f"the clock stands at {page.seconds} s")


def test_at_first_it_stands_still_within_the_load(report: Path, open_report: OpenReport) -> None:
    page = open_report(report)
    assert not page.playing
    assert page.part("play").inner_text() == "Play"
    assert 0 < page.seconds <= 1
    first = page.time
    page.page.wait_for_timeout(200)
    assert page.time == first


def test_play_begins_at_the_beginning_and_what_is_drawn_moves(report: Path, open_report: OpenReport) -> None:
    page = open_report(report)
    page.part("speed").select_option("0.05")
    page.part("play").click()
    assert page.playing
    assert page.part("play").inner_text() == "Pause"
    await_clock(page, 0)
    assert page.seconds < 0.5
    page.scrub(3000)  # a hand on the slider stops it
    assert not page.playing
    before = [page.picture(side) for side in (0, 1)]
    page.part("play").click()
    await_clock(page, 0.32)
    page.part("play").click()
    assert page.seconds > 0.3  # it went on from there
    assert all(page.picture(side) != before[side] for side in (0, 1))
    stopped = (page.time, page.picture())
    page.page.wait_for_timeout(300)
    assert (page.time, page.picture()) == stopped


def test_at_the_end_it_stops_and_begins_again(report: Path, open_report: OpenReport) -> None:
    page = open_report(report)
    end = int(page.part("time").get_attribute("max"))
    page.part("speed").select_option("1")
    page.scrub(end - 2000)
    page.part("play").click()
    page.page.wait_for_selector("[data-replay][data-playing=false]", state="attached")
    assert page.time == end
    page.part("speed").select_option("0.05")
    page.part("play").click()
    assert page.playing
    assert page.time < end


def test_the_same_moment_is_the_same_picture(report: Path, open_report: OpenReport) -> None:
    page = open_report(report)
    page.scrub(4000)
    picture, figures = page.picture(), page.figures()
    page.scrub(7000)
    assert page.picture() != picture
    page.scrub(4000)
    assert (page.picture(), page.figures()) == (picture, figures)


def test_the_colours_can_tell_clients_sessions_or_outcomes(reports: Reports, open_report: OpenReport) -> None:
    page = open_report(reports["cached"])
    page.scrub(5000)
    pictures = set()
    for choice in ("client", "session", "outcome"):
        page.part("colour").select_option(choice)
        pictures.add(page.picture())
    assert len(pictures) == 3


def test_keys(report: Path, open_report: OpenReport) -> None:
    page = open_report(report)
    page.scrub(2 * QUANTA_PER_S // 10)
    page.press("ArrowRight")
    assert page.time == 2500
    page.press("Shift+ArrowRight")
    assert page.time == 7500
    page.press("ArrowLeft")
    assert page.time == 7000
    page.press("Home")
    assert page.time == 0
    page.press("ArrowLeft")
    assert page.time == 0
    page.press("End")
    assert page.time == int(page.part("time").get_attribute("max"))
    for key, speed in (("+", "0.5"), ("+", "1"), ("+", "1"), ("-", "0.5")):
        page.press(key)
        assert page.part("speed").input_value() == speed
    page.press("Home")
    for key in (" ", "k"):
        page.press(key)
        assert page.playing, key
        page.press(key)
        assert not page.playing, key


def test_keys_that_a_list_or_a_button_needs_are_left_to_it(report: Path, open_report: OpenReport) -> None:
    page = open_report(report)
    page.scrub(2000)
    page.part("speed").focus()
    page.page.keyboard.press("ArrowDown")
    assert page.time == 2000
    page.part("play").focus()
    page.page.keyboard.press(" ")
    assert page.playing
    page.page.keyboard.press(" ")
    assert not page.playing


def test_everything_can_be_reached_with_the_tab_key(report: Path, open_report: OpenReport) -> None:
    page = open_report(report)
    page.part("play").focus()
    reached = []
    for _ in range(5):
        reached.append(
            page.page.evaluate("document.activeElement.dataset.part || document.activeElement.tagName")
        )
        page.page.keyboard.press("Tab")
    assert reached == ["play", "speed", "colour", "time", "SUMMARY"]


def test_a_finger_scrubs_and_plays(report: Path, open_report: OpenReport) -> None:
    page = open_report(report, width=390, has_touch=True, is_mobile=True)
    strip = page.part("timeline")
    strip.scroll_into_view_if_needed()
    box = strip.bounding_box()
    end = int(page.part("time").get_attribute("max"))
    for share in (0.25, 0.8):
        page.page.touchscreen.tap(box["x"] + share * box["width"], box["y"] + 20)
        assert page.time == pytest.approx(share * end, abs=end / 100)
    page.page.locator("[data-side] canvas").first.tap()
    assert page.playing
    page.page.locator("[data-side] canvas").first.tap()
    assert not page.playing


def test_a_mouse_drags(report: Path, open_report: OpenReport) -> None:
    page = open_report(report)
    strip = page.part("timeline")
    strip.scroll_into_view_if_needed()
    box = strip.bounding_box()
    end = int(page.part("time").get_attribute("max"))
    y = box["y"] + 20
    page.page.mouse.move(box["x"] + 10, y)
    page.page.mouse.down()
    page.page.mouse.move(box["x"] + box["width"] / 2, y, steps=4)
    assert page.time == pytest.approx(end / 2, abs=end / 100)
    page.page.mouse.up()
    page.page.mouse.move(box["x"] + 10, y)
    assert page.time == pytest.approx(end / 2, abs=end / 100)


def test_without_motion_it_shows_one_still_after_another(report: Path, open_report: OpenReport) -> None:
    page = open_report(report, reduced_motion="reduce")
    button = page.part("play")
    assert button.inner_text() == "Next picture"
    page.scrub(0)
    end = int(page.part("time").get_attribute("max"))
    for number in (1, 2):
        button.click()
        assert page.time == pytest.approx(number * end / 12, abs=2)
        stands = (page.time, page.picture())
        page.page.wait_for_timeout(200)
        assert (page.time, page.picture()) == stands
        assert not page.playing
    page.scrub(end)
    button.click()
    assert page.time == 0


def test_motion_stops_when_it_is_no_longer_wanted(report: Path, open_report: OpenReport) -> None:
    page = open_report(report)
    page.part("speed").select_option("0.05")
    page.part("play").click()
    assert page.playing
    page.page.emulate_media(reduced_motion="reduce")
    page.page.wait_for_selector("[data-replay][data-playing=false]", state="attached")
    assert page.time < int(page.part("time").get_attribute("max"))
    assert page.part("play").inner_text() == "Next picture"


def test_what_is_said_is_announced_only_while_it_stands(report: Path, open_report: OpenReport) -> None:
    page = open_report(report)
    words = page.page.locator("[data-words]").first
    assert words.get_attribute("aria-live") == "polite"
    page.part("speed").select_option("0.05")
    page.part("play").click()
    assert words.get_attribute("aria-live") == "off"
    page.part("play").click()
    assert words.get_attribute("aria-live") == "polite"
    assert page.part("time").get_attribute("aria-valuetext") == page.part("clock").inner_text()
    label = page.page.locator("[data-side] canvas").first.get_attribute("aria-label")
    assert label == f"sticky at {page.part('clock').inner_text()}. {page.sentences()[0]}"
