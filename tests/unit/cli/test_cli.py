"""The command line as a user sees it: exit status, standard output and standard error."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli.main import main
from tests.unit.cli.conftest import LabHere

ROOT = Path(__file__).resolve().parents[3]


def lab(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "run_experiment.py"), *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("words", [[], ["list"]])
def test_the_experiments_with_their_questions_from_any_folder(words: list[str], tmp_path: Path) -> None:
    done = lab(*words, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^ +sticky +A few clients send many requests\.", done.stdout, re.MULTILINE)
    assert "Run one:     python run_experiment.py sticky\n" in done.stdout


def test_check_shows_the_plan_and_starts_nothing(tmp_path: Path) -> None:
    done = lab("check", "sticky", "--rate", "300", "--repeats", "2", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "4 (2 arms x 2 repeats)" in done.stdout
    assert "300/s together" in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["stiky"], "no experiment is called 'stiky'; did you mean 'sticky'?"),
        (["run", "stiky"], "no experiment is called 'stiky'; did you mean 'sticky'?"),
        (["nowhere/x.yaml"], "nowhere/x.yaml: no such file; expected an experiment file (YAML)"),
        (["experiments/"], "experiments is a folder; expected an experiment file (YAML)"),
        (["sticky", "--rate", "-5"], "--rate: workload.rate_per_s: -5.0 is out of range; expected a number"),
        (["sticky", "--rate", "nan"], "--rate: workload.rate_per_s: nan is not finite; expected a number"),
        (["sticky", "--rate", "fast"], "Invalid value for '--rate': "),
        (["sticky", "--clients", "1.5"], "Invalid value for '--clients': "),
        (["sticky", "--ratte", "5"], "No such option: --ratte"),
        (["sticky", "--testbed", "dokcer"], "--testbed: 'dokcer' is not known; expected one of local"),
        (["sticky", "--ca", "ca.pem"], "--ca: only --testbed external takes it, not local"),
        (["sticky", "--testbed", "external"], "--testbed external: expected --target HOST:PORT, --replica"),
        (["worker"], "Missing option '--master-host'"),
        (["sticky", "--web-port", "80"], "--web-port: there is no web page without --web"),
        (["up", "sticky", "--arm", "stiky"], "--arm: sticky has no arm 'stiky'; did you mean 'sticky'?"),
        (["check"], "Missing argument 'NAME|FILE'"),
        (["run"], "run: expected the NAME or FILE of one experiment, or --all (see list)"),
        (["run", "sticky", "--all"], "run: expected the NAME or FILE of one experiment, or --all (see list)"),
        (
            ["--all", "--clients", "0"],
            "--clients: workload.clients: 0 is out of range; expected a whole number",
        ),
        (["sticky", "round_robin"], "Got unexpected extra argument"),
    ],
)
def test_bad_usage_is_one_line_and_creates_nothing(
    lab_here: LabHere, words: list[str], message: str, tmp_path: Path
) -> None:
    (tmp_path / "experiments").mkdir()
    status, out, err = lab_here(*words, cwd=tmp_path)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.rglob("*")] == ["experiments"]


def test_bad_usage_ends_the_process_with_that_status(tmp_path: Path) -> None:
    done = lab("stiky", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: no experiment is called 'stiky'; did you mean 'sticky'?\n"


def test_help_of_every_command(lab_here: LabHere) -> None:
    for words in (
        ["--help"],
        ["-h"],
        *([verb, "--help"] for verb in ("run", "list", "check", "up", "report")),
    ):
        status, out, err = lab_here(*words)
        assert (status, err) == (0, "")
        assert out.startswith("Usage: python run_experiment.py")


def test_debug_adds_a_traceback_wherever_it_stands(lab_here: LabHere) -> None:
    for words in (["--debug", "stiky"], ["stiky", "--debug"]):
        status, _, err = lab_here(*words)
        assert status == 2
        assert "Traceback (most recent call last)" in err
        assert err.endswith("error: no experiment is called 'stiky'; did you mean 'sticky'?\n")


def test_an_unexpected_error_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("harness.cli.main.heads", lambda: 1 // 0)
    assert main(["list"]) == 4
    told = capsys.readouterr().err
    assert told.startswith(
        "error: unexpected ZeroDivisionError: integer division or modulo by zero; run again"
    )
    assert told.count("\n") == 1


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.cli.main.heads", interrupted)
    assert main(["list"]) == 130
    assert capsys.readouterr().err == ""


def test_a_reader_that_goes_away_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, str(ROOT / "run_experiment.py"), "list"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize(("closed", "word", "status"), [(">&-", "list", 0), ("<&- >&- 2>&-", "stiky", 2)])
def test_a_closed_stream_changes_no_exit_status(closed: str, word: str, status: int) -> None:
    command = f'exec "$0" "$1" "$2" {closed}'
    words = ["sh", "-c", command, sys.executable, str(ROOT / "run_experiment.py"), word]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done.stderr


def test_a_terminal_without_the_characters_changes_no_exit_status(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text((ROOT / "experiments" / "sticky.yaml").read_text().replace("title: ", "title: é 日 "))
    done = subprocess.run(
        [sys.executable, str(ROOT / "run_experiment.py"), "check", str(path)],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\xe9 \\u65e5" in done.stdout


def test_what_is_no_exception_is_no_verdict_either(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class PanicError(BaseException):
        """An exception of the same kind as polars' PanicException."""

    def panics() -> list[str]:
        raise PanicError("at once")

    monkeypatch.setattr("harness.cli.main.heads", panics)
    assert main(["list"]) == 4
    assert capsys.readouterr().err.startswith("error: unexpected PanicError: at once; ")
