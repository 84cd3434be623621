"""Sends a run's exported metrics to an OpenTelemetry collector, if the environment names one."""

import os
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from harness.output.safe_text import say

# Source of names and meaning: OpenTelemetry, "Protocol Exporter", configuration options.
ENDPOINT, ENDPOINT_OF_METRICS = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"
HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"
PATH = "/v1/metrics"
TIMEOUT_S = 10.0


def endpoint() -> str | None:
    """Return the URL that takes metrics; None: the environment names none."""
    if own := os.environ.get(ENDPOINT_OF_METRICS):
        return own
    base = os.environ.get(ENDPOINT)
    return f"{base.rstrip('/')}{PATH}" if base else None


def send_otlp(written: Iterable[Path], file: str) -> None:
    """Send the exported file called `file`, if it was written and the environment names a collector.

    Prints where it went. A collector that does not take it is a warning: the run has its figures, and the
    file can be sent again with `report DIR --export otlp`.
    """
    url = endpoint()
    for path in written:
        if path.name == file and url is not None:
            refused = _send(url, path.read_bytes())
            if refused is None:
                say(f"sent to {url}: {path}")
            else:
                say(f"warning: {url} did not take the metrics ({refused}); they are in {path}", error=True)


def _send(url: str, body: bytes) -> str | None:
    """Send metrics; return None, or why they were not taken."""
    if urlsplit(url).scheme not in ("http", "https"):
        return "expected a URL that begins with http:// or https://"
    pairs = (pair.partition("=") for pair in os.environ.get(HEADERS, "").split(",") if "=" in pair)
    headers = {unquote(name).strip(): unquote(value).strip() for name, _, value in pairs}
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **headers})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S):  # noqa: S310 - http or https, see above
            return None
    except urllib.error.HTTPError as error:
        return f"status {error.code}"
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))
