"""Guards Locust's web page: it answers this machine's own pages only, and can be made read-only.

Locust's page sends `Access-Control-Allow-Origin: *` and checks neither Host nor Origin. So any page that is
open in the user's browser could read it and stop the load, under its own name or one that resolves to
127.0.0.1.
"""

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

OWN_HOSTS = ("127.0.0.1", "localhost", "::1")
SAFE_METHODS = ("GET", "HEAD")

Headers = list[tuple[str, str]]


class PageGuard:
    """A WSGI application that passes the allowed requests on to `application`.

    `read_only`: requests that could change something are refused.
    """

    def __init__(self, application: Callable[..., Iterable[bytes]], read_only: bool) -> None:
        self._application = application
        self._read_only = read_only

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        reason = self._refusal(environ)
        if reason is not None:
            start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
            return [f"{reason}\n".encode()]

        def start_own_response(status: str, headers: Headers, *more: object) -> Any:
            kept = [header for header in headers if not header[0].lower().startswith("access-control-")]
            return start_response(status, [*kept, ("X-Frame-Options", "DENY")], *more)

        return self._application(environ, start_own_response)

    def _refusal(self, environ: dict[str, Any]) -> str | None:
        """Return why the request is refused, or None if it is allowed."""
        host, origin = environ.get("HTTP_HOST", ""), environ.get("HTTP_ORIGIN")
        if _name(host) not in OWN_HOSTS:
            return "The page answers at 127.0.0.1 and localhost only."
        if origin is not None and origin != f"http://{host}":
            return "Pages of other origins may not use this one."
        if self._read_only and environ["REQUEST_METHOD"] not in SAFE_METHODS:
            return (
                "The page is read-only: a cell is being measured. Ctrl-C in the run's terminal ends the run."
            )
        return None


def _name(host: str) -> str | None:
    """Return the name or address in a Host header, without the port; None if there is none."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def guard_page(page: Any, read_only: bool) -> None:
    """Put a PageGuard before Locust's page, a locust.web.WebUI."""
    page.app.wsgi_app = PageGuard(page.app.wsgi_app, read_only)
