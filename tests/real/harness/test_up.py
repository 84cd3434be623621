"""The command `up`: the addresses that it prints work, and after Ctrl-C nothing is left."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lab_process import ROOT, Lab, StartLab, experiment_file
from other_clients import path_with
from tls_calls import make_all_four_calls, refused

from harness.proxy.tls import make_certificate

# The exact commands of the article that the video service comes from, each with a piece of its answer.
SINGLE_CALLS = [
    (
        """grpcurl -proto video_service.proto -plaintext $SERVER video_service.VideoService/ListVideos""",
        '"title": "Sample Video',
    ),
    (
        """grpcurl -proto video_service.proto -plaintext -d '{"id":"2", "title": "Sample Video", "author": "John Doe", "url": "https://example.com/sample.mp4", "duration": 120}' $SERVER video_service.VideoService/AddVideo""",  # noqa: E501
        '"id": "2"',
    ),
    (
        """grpcurl -proto video_service.proto -plaintext -d '{"id":"1", "title": "Sample Video", "author": "John Doe", "url": "https://example.com/sample.mp4", "duration": 120}' $SERVER video_service.VideoService/AddVideo""",  # noqa: E501
        '"id": "1"',
    ),
    (
        """grpcurl -proto video_service.proto -plaintext -d @ $SERVER video_service.VideoService/GetVideos << EOF
{"id":"2"}
{"id":"1"}
EOF""",  # noqa: E501
        '"id": "1"',
    ),
    (
        """grpcurl --plaintext $SERVER list""",
        "video_service.VideoService",
    ),
]
CONVERSATION = (
    "grpcurl --proto video_service.proto -insecure -vv -d @ $SERVER video_service.VideoService/GetVideo"
)


def startup_text(lab: Lab) -> str:
    """Return the text that `up` prints before it waits."""
    assert lab.process.stdout is not None
    lines = []
    for line in lab.process.stdout:
        lines.append(line)
        if line.startswith("Ctrl-C"):
            return "".join(lines)
    raise AssertionError(lab.end())


def addresses(text: str) -> dict[str, tuple[str, str]]:
    """Return the name of each server -> its address for clear text and its address for TLS."""
    rows = re.findall(r"^  (envoy|replica-\d) +(\S+)   \(TLS (the same|\S+:\d+)", text, re.M)
    return {name: (clear, clear if tls == "the same" else tls) for name, clear, tls in rows}


def shell(server: str) -> dict[str, Any]:
    """Return the settings of the shell in which the article's commands run."""
    env = {**os.environ, "SERVER": server}
    return {
        "cwd": ROOT / "services",
        "env": env,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
    }


def driver_line(text: str) -> list[str]:
    found = re.search(r"^ +python (-m lb\.driver .*)$", text, re.M)
    assert found is not None, text
    return [sys.executable, *found[1].split()]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.mark.parametrize(("arm", "servers"), [("sticky", 4), ("client", 3), ("mesh", 3)])
def test_the_printed_addresses_and_command_work(
    arm: str, servers: int, start_lab: StartLab, tmp_path: Path, temporary: Path
) -> None:
    arms = {
        "client": {"route": "direct", "policy": "round_robin"},
        "mesh": {"route": "xds", "policy": "round_robin"},
        "sticky": {"route": "envoy", "policy": "sticky"},
    }
    lab = start_lab("up", experiment_file(tmp_path, arms=arms), "--arm", arm)
    text = startup_text(lab)
    assert len(re.findall(r"^  (?:envoy|replica-\d) +127\.0\.0\.1:\d+", text, re.M)) == servers
    done = subprocess.run(driver_line(text), cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "codes: OK 100" in done.stdout
    family = lab.family()
    lab.process.send_signal(signal.SIGINT)
    status, _, err = lab.end(15)
    assert (status, err) == (0, "")
    assert not [process for process in family if process.is_running()]
    assert list(temporary.iterdir()) == []
    assert not lab.results.exists()


def test_up_ends_when_envoy_is_killed(start_lab: StartLab, tmp_path: Path, temporary: Path) -> None:
    lab = start_lab("up", experiment_file(tmp_path))
    startup_text(lab)
    lab.component("envoy").send_signal(signal.SIGKILL)
    status, _, err = lab.end(15)
    assert status == 4
    assert err.splitlines()[-1] == (
        "error: envoy was killed by SIGKILL (status -9); its log ends as shown above"
    )
    assert list(temporary.iterdir()) == []


def test_the_end_of_the_log_is_shown_when_a_process_dies(
    start_lab: StartLab, tmp_path: Path, temporary: Path
) -> None:
    lab = start_lab("up", experiment_file(tmp_path))
    startup_text(lab)
    # Envoy writes what went wrong, and where, before it dies of this.
    lab.component("envoy").send_signal(signal.SIGABRT)
    status, _, err = lab.end(15)
    assert status == 4
    first, *shown, last = err.splitlines()
    assert first == "The end of envoy.log:"
    assert any("Caught Aborted" in line for line in shown)
    assert all(line.startswith("  ") for line in shown)
    assert len(shown) <= 20
    assert last == "error: envoy was killed by SIGABRT (status -6); its log ends as shown above"
    assert list(temporary.iterdir()) == []


def test_every_server_accepts_clear_text_and_tls(
    start_lab: StartLab, tmp_path: Path, temporary: Path
) -> None:
    lab = start_lab("up", experiment_file(tmp_path, replicas={"count": 1}))
    text = startup_text(lab)
    (key,) = temporary.glob("*/tls/key.pem")
    assert (key.stat().st_mode & 0o777, key.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    authority = key.with_name("authority.pem")
    assert str(authority) in text
    other_authority = make_certificate(tmp_path / "other").authority
    servers = addresses(text)
    assert set(servers) == {"envoy", "replica-0"}
    for name, (clear, tls) in servers.items():
        make_all_four_calls(clear, None, f"{name}-clear")
        make_all_four_calls(tls, authority, f"{name}-tls")
        assert "CERTIFICATE_VERIFY_FAILED" in refused(tls, other_authority)
    assert servers["envoy"][0] == servers["envoy"][1]
    lab.process.send_signal(signal.SIGTERM)
    assert lab.end(15)[0] == 0
    assert list(temporary.iterdir()) == []


@pytest.mark.calm
def test_a_measured_run_has_no_tls(start_lab: StartLab, tmp_path: Path, temporary: Path) -> None:
    arms = {"sticky": {"route": "envoy", "policy": "sticky"}}
    lab = start_lab("run", experiment_file(tmp_path, arms=arms))
    status, _, err = lab.end()
    assert (status, err) == (0, "")
    cell = lab.cell("sticky")
    config = (cell / "envoy" / "envoy.yaml").read_text()
    assert "http_connection_manager" in config
    assert not re.search("transport_socket|tls_", config)
    assert "tls" not in (cell / "logs" / "replica-0.ready.json").read_text()
    assert list(tmp_path.rglob("*.pem")) == []


def test_other_commands_do_not_import_the_certificate_library() -> None:
    code = "import sys, harness.cli.main, harness.cli.up; print('trustme' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


@pytest.fixture
def grpcurl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", path_with("grpcurl", tmp_path / "commands"))


@pytest.mark.usefixtures("grpcurl", "temporary")
@pytest.mark.parametrize("server", ["envoy", "replica-0"])
def test_the_commands_of_the_article_work(server: str, start_lab: StartLab, tmp_path: Path) -> None:
    # There is one replica, because grpcurl keeps no cookies and each replica stores its own videos.
    lab = start_lab("up", experiment_file(tmp_path, replicas={"count": 1}))
    clear, tls = addresses(startup_text(lab))[server]
    for command, answer in SINGLE_CALLS:
        done = subprocess.run(["bash", "-c", command], **shell(clear), timeout=30)
        assert (done.returncode, done.stderr) == (0, ""), command
        assert answer in done.stdout
    with subprocess.Popen(["bash", "-c", CONVERSATION], stdin=subprocess.PIPE, **shell(tls)) as talk:
        assert talk.stdin is not None and talk.stdout is not None
        for number in ("2", "1"):  # send the next request after the answer to the one before
            talk.stdin.write(f'{{"id":"{number}"}}\n')
            talk.stdin.flush()
            assert any(f'"id": "{number}"' in line for line in talk.stdout)
        talk.stdin.close()
        assert talk.wait(30) == 0, talk.stderr and talk.stderr.read()
    lab.process.send_signal(signal.SIGINT)
    assert lab.end(15)[0] == 0
