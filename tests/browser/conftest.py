"""Fixtures for a real Chromium, driven by Playwright. Where either is missing, these tests are skipped.

With the environment variable LB_LAB_CHROMIUM=required, as in continuous integration, they fail instead.
LB_LAB_CHROMIUM may also name the browser's program.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.paths import ROOT
from tests.browser.report_page import OpenReport, ReportPage, Reports

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
WANTED = os.environ.get("LB_LAB_CHROMIUM", "")
TEST_TAKES_S = 300  # at most: the first test makes a run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests in this folder."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(TEST_TAKES_S))


def _missing(reason: str) -> None:
    if WANTED == "required":
        pytest.fail(f"{reason}; and LB_LAB_CHROMIUM is `required`")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A Chromium without a window."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("no Playwright: make setup installs it")
    names = (WANTED,) if "/" in WANTED else PROGRAMS
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        _missing(f"no Chromium: found none of {', '.join(names)}")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program)
        yield chromium
        chromium.close()


@pytest.fixture
def open_report(browser: Any) -> Iterator[OpenReport]:
    """Opens a report from disk: open_report(path, width=390, color_scheme="dark", ...).

    When the test has ended, the page must have had no error and must have asked for nothing but itself.
    """
    pages: list[ReportPage] = []

    def open_page(report: Path, *, width: int = 1280, height: int = 900, **options: Any) -> ReportPage:
        defaults = {"reduced_motion": "no-preference", "color_scheme": "light"}
        context = browser.new_context(
            viewport={"width": width, "height": height}, offline=True, **(defaults | options)
        )
        pages.append(ReportPage(context, report))
        return pages[-1]

    yield open_page
    for page in pages:
        page.context.close()
        assert page.errors == []
        assert page.requests == [page.url]


@pytest.fixture(scope="session")
def sticky_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a short real run of `sticky`, with its report."""
    folder = tmp_path_factory.mktemp("sticky")
    words = [
        "sticky",
        "--repeats",
        "1",
        "--duration",
        "3",
        "--redo",
        "0",
        "--quiet",
        "--results",
        str(folder),
    ]
    done = subprocess.run(
        [sys.executable, str(ROOT / "run_experiment.py"), *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=TEST_TAKES_S,
    )
    # What the run says of stickiness is not what is tested here; on a busy machine it may say nothing.
    assert done.returncode in (0, 1, 3), done.stderr
    (run,) = (path for path in (folder / "sticky").iterdir() if not path.is_symlink())
    return run


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Reports:
    """Story -> report.html of its synthetic run."""
    return Reports(tmp_path_factory.mktemp("reports"))
