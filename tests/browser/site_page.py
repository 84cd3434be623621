"""A page of the site in the browser, as a learner has it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any


class SitePage:
    """One page in a browser context of its own. errors: what went wrong. requests: addresses asked for."""

    def __init__(self, context: Any, page: Path) -> None:
        self.context = context
        context.set_default_timeout(10_000)  # ms; what these tests wait for takes a fraction of a second
        self.url = page.resolve().as_uri()
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page = context.new_page()
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._request)
        self.page.goto(self.url)

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _request(self, request: Any) -> None:
        if not request.url.startswith("data:"):
            self.requests.append(request.url)

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
