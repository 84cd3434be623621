"""A report in the browser, as a reader has it: looked at, scrubbed, played, and asked for its figures."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from browser_page import BrowserPage

from harness.analysis.summary import summarise
from harness.record.run_directory import read_run
from harness.report.page import build_report, render_report
from tests.unit.synthetic import stories
from tests.unit.synthetic.synthetic_run import EXPERIMENT, synthesise_run

QUANTA_PER_S = 10_000
STORIES = {**stories.BY_NAME, "golden": EXPERIMENT, "spiked": stories.SPIKED}
WITH_PLOTS = ("golden", "killed")  # drawing them takes most of the time


class ReportPage(BrowserPage):
    """A report whose replay is ready."""

    def __init__(self, context: Any, report: Path) -> None:
        super().__init__(context, report)
        self.page.wait_for_selector("[data-replay][data-ready]", state="attached")

    def part(self, name: str) -> Any:
        """Return the element of the replay with that name."""
        return self.page.locator(f"[data-replay] [data-part={name}]")

    @property
    def replay(self) -> Any:
        return self.page.locator("[data-replay]")

    @property
    def seconds(self) -> float:
        """The time that the clock shows."""
        return float(self.part("clock").inner_text().removesuffix(" s"))

    @property
    def time(self) -> int:
        """Where the slider stands, in quanta."""
        return int(self.part("time").input_value())

    @property
    def playing(self) -> bool:
        return self.replay.get_attribute("data-playing") == "true"

    def scrub(self, quanta: int) -> None:
        """Move the slider."""
        self.part("time").evaluate(
            "(slider, time) => { slider.value = time; slider.dispatchEvent(new Event('input')); }", quanta
        )

    def await_arm(self, title: str) -> None:
        """Wait until that arm is shown."""
        self.page.wait_for_selector(f'[data-side] canvas[aria-label^="{title} at"]')

    def press(self, key: str) -> None:
        """Press a key while the slider has the focus."""
        self.part("time").focus()
        self.page.keyboard.press(key)

    def figures(self) -> dict[tuple[str, str], dict[str, int]]:
        """Return (arm, replica or "all") -> what the table of figures says of the moment."""
        details = self.part("figures")
        if details.get_attribute("open") is None:
            details.locator("summary").click()
            self.part("rows").locator("tr").first.wait_for()  # the page fills the table a moment later
        names = self.part("figures").locator("thead th").all_inner_texts()
        rows = (
            self.part("rows")
            .locator("tr")
            .evaluate_all("rows => rows.map(row => [...row.children].map(cell => cell.textContent))")
        )
        return {
            (row[0], row[1]): {
                name: int(text.replace(",", ""))
                for name, text in zip(names[2:], row[2:], strict=True)
                if text
            }
            for row in rows
        }

    def picture(self, side: int = 0) -> bytes:
        """Return what one arm's canvas shows, as PNG text."""
        canvas = self.page.locator("[data-side] canvas").nth(side)
        return bytes(canvas.evaluate("canvas => canvas.toDataURL()"), "ascii")

    def drawn(self, side: int) -> dict[str, int]:
        """Return how many requests stand in lines and in slots on one arm's drawing."""
        canvas = self.page.locator("[data-side] canvas").nth(side)
        return {name: int(canvas.get_attribute(f"data-{name}")) for name in ("waiting", "serving")}

    def nodes_drawn(self, side: int = 0) -> str:
        """Return what stands below the proxy's nodes on one arm's drawing, in the order of their names."""
        return str(self.page.locator("[data-side] canvas").nth(side).get_attribute("data-nodes"))

    def sentences(self) -> list[str]:
        """Return what is said of each arm."""
        return list(self.page.locator("[data-words]").all_inner_texts())


def _report_without_plots(run_dir: Path) -> Path:
    run = read_run(run_dir)
    report = run_dir / "report.html"
    report.write_text(render_report(run, summarise(run), {}), encoding="utf-8")
    return report


class Reports(Mapping[str, Path]):
    """Story (see tests.unit.synthetic.stories) -> the report of its synthetic run, made when asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, Path] = {}

    def __getitem__(self, story: str) -> Path:
        if story not in self._made:
            run = synthesise_run(self._folder / story, STORIES[story], requests=150)
            self._made[story] = build_report(run)[0] if story in WITH_PLOTS else _report_without_plots(run)
        return self._made[story]

    def __iter__(self) -> Iterator[str]:
        return iter(STORIES)

    def __len__(self) -> int:
        return len(STORIES)


OpenReport = Callable[..., ReportPage]
