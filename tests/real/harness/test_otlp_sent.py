"""`report DIR --export otlp` sends the metrics to the collector that the environment names."""

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from harness.cli.main import main
from harness.run import otlp_sender
from tests.unit.synthetic.synthetic_run import GOLDEN

pytestmark = pytest.mark.usefixtures("without_plots")

Got = list[tuple[str, dict[str, str], bytes]]


class Collector(HTTPServer):
    """An HTTP server that keeps what it is sent. status: what it answers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: Got = []
        self.status = 200


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, {key.lower(): value for key, value in self.headers.items()}, body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))  # it looks that often whether to end
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    shutil.copytree(GOLDEN, tmp_path / "run")
    return tmp_path / "run"


def test_the_file_is_sent_as_it_is(
    collector: Collector, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(otlp_sender.ENDPOINT, f"http://127.0.0.1:{collector.server_port}/")
    monkeypatch.setenv(otlp_sender.HEADERS, "x-key=a%20b, other=1")
    assert main(["report", str(run), "--export", "otlp"]) == 0
    ((path, headers, body),) = collector.got
    assert path == "/v1/metrics"
    assert (headers["content-type"], headers["x-key"], headers["other"]) == ("application/json", "a b", "1")
    assert body == (run / "metrics.otlp.jsonl").read_bytes()
    assert json.loads(body)["resourceMetrics"]
    assert "sent to http://127.0.0.1" in capsys.readouterr().out


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:PORT/no", "http://127.0.0.1:1", "ftp://127.0.0.1", "nowhere"]
)
def test_a_collector_that_takes_nothing_is_a_warning(
    url: str,
    collector: Collector,
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    collector.status = 503
    monkeypatch.setenv(otlp_sender.ENDPOINT_OF_METRICS, url.replace("PORT", str(collector.server_port)))
    assert main(["report", str(run), "--export", "otlp"]) == 0
    assert "did not take the metrics (" in capsys.readouterr().err
    assert (run / "metrics.otlp.jsonl").exists()


def test_without_the_variable_and_without_the_export_nothing_is_sent(
    collector: Collector, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["report", str(run), "--export", "otlp"]) == 0
    monkeypatch.setenv(otlp_sender.ENDPOINT, f"http://127.0.0.1:{collector.server_port}")
    assert main(["report", str(run), "--export", "csv"]) == 0
    assert not collector.got
