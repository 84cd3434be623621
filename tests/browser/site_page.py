"""A page of the site in the browser, as a learner has it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from browser_page import BrowserPage


class SitePage(BrowserPage):
    """A page of the site."""

    def __init__(self, context: Any, page: Path) -> None:
        context.set_default_timeout(10_000)  # ms; what these tests wait for takes a fraction of a second
        super().__init__(context, page)

    def part(self, name: str) -> Any:
        """Return the element of the page with that name."""
        return self.page.locator(f"[data-part={name}]")

    @property
    def width(self) -> int:
        """How wide the page is, in CSS pixels: more than the window means sideways scrolling."""
        return int(self.page.evaluate("document.documentElement.scrollWidth"))

    def press(self, slider: str, key: str, times: int) -> str:
        """Press a key on a slider; return what it then says."""
        self.page.locator(slider).focus()
        for _ in range(times):
            self.page.keyboard.press(key)
        return str(self.page.locator(f"{slider} + output").inner_text())

    def predict(self, who: str = "nobody") -> None:
        """Make a prediction with the sliders as they are."""
        self.page.locator(f"[data-choice] input[value={who}]").check()
        self.part("submit").click()


OpenSite = Callable[..., SitePage]
