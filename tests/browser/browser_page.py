"""A page from disk in a browser context of its own, and what went wrong on it."""

from pathlib import Path
from typing import Any


class BrowserPage:
    """errors: what went wrong on the page. requests: addresses that it asked for."""

    def __init__(self, context: Any, path: Path) -> None:
        self.context = context
        self.url = path.resolve().as_uri()
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
