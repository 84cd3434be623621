"""What `check` says of the planned load: each kind of replica, and a warning where it is too much."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli.check import plan_text
from harness.spec.experiment import Experiment, load_experiment
from tests.unit.cli.conftest import LabHere
from tests.unit.synthetic import stories

ROOT = Path(__file__).resolve().parents[3]


def told(tmp_path: Path, **more: object) -> list[str]:
    text = stories.experiment({"a": "route: envoy, policy: sticky"}, **more)  # type: ignore[arg-type]
    (tmp_path / "one.yaml").write_text(text)
    return plan_text(load_experiment(str(tmp_path / "one.yaml"))).splitlines()


def below(lines: list[str], label: str) -> list[str]:
    """Return the line with that label and those without one that follow it, without labels."""
    start = next(place for place, line in enumerate(lines) if line.startswith(label))
    more = lines[start + 1 :]
    end = next(place for place, line in enumerate(more) if not line.startswith(" "))
    return [line[12:].strip() for line in [lines[start], *more[:end]]]


def test_a_replica_that_differs_has_a_line_of_its_own(tmp_path: Path) -> None:
    lines = told(tmp_path, replicas=", different: {replica-3: {slow_factor: 10}}")
    assert below(lines, "replicas")[0] == (
        "4 x 2 slots, service time 10 ms (exponential); each can serve: replica-3 20 calls/s, "
        "replica-0 to replica-2 200 calls/s"
    )
    weak, strong = below(lines, "utilisation")
    assert weak.startswith("replica-3: 750% when spread evenly; ")
    assert strong.startswith("replica-0 to replica-2: 75% when spread evenly; ")
    assert below(lines, "warning")[0] == (
        "replica-3 would be at 750% when the load is spread evenly. Then each queue grows for as long as the "
        "load lasts."
    )
    assert below(lines, "settings") == ["replica-3: slow_factor: 10"]


def test_slow_replica_tells_of_the_slow_one() -> None:
    """It was said to be at 3 %, which is what the three others are at."""
    text = plan_text(load_experiment("slow_replica"))
    assert "replica-0: 31% when spread evenly" in text
    assert "replica-1 to replica-3: 3% when spread evenly" in text
    assert "warning" not in text


def test_replicas_that_are_alike_have_one_line(tmp_path: Path) -> None:
    lines = told(tmp_path)
    (line,) = below(lines, "utilisation")
    assert line.startswith("75% of each replica when spread evenly; ")
    assert not [line for line in lines if line.startswith("warning")]


def test_a_setting_of_all_replicas_counts(tmp_path: Path) -> None:
    lines = told(tmp_path, replicas=", slow_factor: 2")
    assert below(lines, "utilisation")[0].startswith("150% of each replica when spread evenly; ")
    assert below(lines, "warning")[0].startswith("each replica would be at 150% ")


def test_a_cache_has_two_utilisations_and_a_warning_if_hits_alone_are_too_much(tmp_path: Path) -> None:
    lines = told(tmp_path, replicas=", slow_factor: 2, cache: {sessions: 9, hit_factor: 0.1}")
    missing, hitting = below(lines, "utilisation")
    assert missing.startswith("150% of each replica when spread evenly; ")
    assert hitting == "these are requests that miss the session cache; 15% when spread evenly and all hit"
    assert not [line for line in lines if line.startswith("warning")]
    lines = told(tmp_path, replicas=", slow_factor: 20, cache: {sessions: 9, hit_factor: 0.1}")
    assert below(lines, "warning")[0].startswith("each replica would be at 150% ")


def test_a_client_that_is_too_much_for_a_replica(tmp_path: Path) -> None:
    lines = told(tmp_path, clients=2)
    assert below(lines, "warning") == [
        "each replica would be at 176% with the calls of the busiest client alone. Where these calls stay on "
        "one replica, its queue grows for as long as the load lasts."
    ]


def test_a_rate_that_changes_is_told_by_its_peak() -> None:
    lines = plan_text(load_experiment("flash_crowd")).splitlines()
    assert below(lines, "rate") == ["220/s, and 600/s from 0.8 s to 1.4 s; at most 600/s"]
    assert below(lines, "clients")[0].startswith("24: 265.6/s together on average, open loop, ")
    assert below(lines, "utilisation")[0].startswith("at the highest rate: 188% of each replica when spread")
    assert below(lines, "warning")[0].endswith("each queue grows for as long as such a rate lasts.")


def test_an_arm_with_a_workload_of_its_own_is_warned_of_by_name(tmp_path: Path) -> None:
    text = stories.experiment(
        {"few": "route: envoy, policy: sticky, clients: 2", "many": "route: envoy, policy: sticky"}
    )
    (tmp_path / "one.yaml").write_text(text)
    lines = plan_text(load_experiment(str(tmp_path / "one.yaml"))).splitlines()
    (line,) = [line for line in lines if line.startswith("warning")]
    assert line[13:].startswith("few: each replica would be at 176% ")


def test_replicas_without_service_time_have_no_limit(tmp_path: Path) -> None:
    text = stories.experiment({"a": "route: envoy, policy: sticky"}).replace("mean: 10", "mean: 0")
    (tmp_path / "one.yaml").write_text(text)
    lines = plan_text(load_experiment(str(tmp_path / "one.yaml"))).splitlines()
    assert below(lines, "replicas") == ["4 x 2 slots, no service time"]
    assert not [line for line in lines if line.startswith(("utilisation", "warning"))]


COMMAND = [sys.executable, str(ROOT / "run_experiment.py"), "check", "sticky", "--rate", "7000"]
SENTENCE = "each replica would be at 875% when the load is spread evenly."


def on_a_terminal(**environment: str) -> str:
    """Return what the command prints on a terminal."""
    controller, terminal = pty.openpty()
    left_out = ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLORTERM")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    with subprocess.Popen(
        COMMAND,
        stdout=terminal,
        stdin=subprocess.DEVNULL,
        env={**kept, "TERM": "xterm-256color", **environment},
    ) as done:
        os.close(terminal)
        output = b""
        while True:
            try:
                chunk = os.read(controller, 65536)
            except OSError:  # the other end is closed
                break
            if not chunk:
                break
            output += chunk
        assert done.wait(60) == 0
    os.close(controller)
    return output.decode()


YELLOW = "\x1b[1;33m"


def test_the_warning_is_in_colour_on_a_terminal() -> None:
    output = on_a_terminal()
    (line,) = [line for line in output.splitlines() if SENTENCE in line]
    assert line.startswith(f"{YELLOW}warning ")
    # Another warning is about this machine, if it has few cores.
    assert output.count(YELLOW) == sum(line.startswith(f"{YELLOW}warning ") for line in output.splitlines())


def test_no_color_is_honoured() -> None:
    output = on_a_terminal(NO_COLOR="1")
    assert SENTENCE in output
    assert "\x1b[1;33m" not in output
    assert "33" not in "".join(part.split("m")[0] for part in output.split("\x1b[")[1:])


@pytest.mark.parametrize("environment", [{}, {"COLUMNS": "40"}])
def test_a_file_gets_plain_lines_whatever_their_length(environment: dict[str, str]) -> None:
    env = {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"} | environment
    done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=60, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"\nwarning      {SENTENCE} Then each queue grows for as long as the load lasts.\n" in done.stdout
    assert "\x1b" not in done.stdout


def test_the_plan_is_printed_before_anything_is_simulated(
    lab_here: LabHere, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    printed: list[str] = []

    def outlook(_: Experiment) -> list[tuple[str, str, str]]:
        printed.append(capfd.readouterr().out)
        return [("outlook", "all will be well", "")]

    monkeypatch.setattr("harness.cli.outlook.outlook", outlook)
    _, after, _ = lab_here("check", "sticky")
    assert printed[0].startswith("sticky ")
    assert printed[0].rstrip().endswith(" latency_ms.p99 at least 3 times that of round_robin")
    assert after == "outlook      all will be well\n"
