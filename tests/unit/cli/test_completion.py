"""Shell completion: what a shell asks, and what the lab answers. Asked as Typer's script for bash asks."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli.completion import ASKED
from harness.cli.main import main
from harness.spec.heads import experiment_names
from tests.unit.cli.conftest import LabHere


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def ask(line: str) -> list[str]:
        words = line.split(" ")
        monkeypatch.setenv(ASKED, "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        with pytest.raises(SystemExit) as end:
            main([])
        assert end.value.code == 0
        return capsys.readouterr().out.split("\n")[:-1]

    return ask


def test_the_first_word_is_a_command_or_an_experiment(complete) -> None:
    assert complete("lb-lab hist") == ["history"]
    assert complete("lb-lab stick") == [name for name in experiment_names() if name.startswith("stick")]
    assert {"run", "list", "sticky", "round_robin"} <= set(complete("lb-lab "))


@pytest.mark.parametrize("command", ["run ", "check ", "up ", "history "])
def test_the_word_after_a_command_is_an_experiment(command: str, complete) -> None:
    assert complete(f"lb-lab {command}slow") == ["slow_replica", "slow_start"]


@pytest.mark.parametrize("line", ["lb-lab run sticky --dur", "lb-lab sticky --dur"])
def test_options_follow_an_experiment_with_or_without_run(line: str, complete) -> None:
    assert complete(line) == ["--duration"]


def test_options_of_other_commands(complete) -> None:
    assert complete("lb-lab observe --keep-p") == ["--keep-paths"]


def test_only_the_installed_command_is_completed(lab_here: LabHere, monkeypatch: pytest.MonkeyPatch) -> None:
    status, out, err = lab_here("--show-completion")
    assert (status, out) == (2, "")
    assert "a shell completes the command lb-lab; type lb-lab --show-completion" in err


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_with_the_script_that_the_lab_prints(tmp_path: Path) -> None:
    """The whole way: bash loads the script, and calls the program that stands on the line."""
    program = tmp_path / "lb-lab"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nfrom harness.cli.main import main\n"
        f"sys.argv[0] = 'lb-lab'\nsys.exit(main())\n"
    )
    program.chmod(0o755)
    script = (
        'eval "$(lb-lab --show-completion)"; COMP_WORDS=(lb-lab stick); COMP_CWORD=1; '
        '_lb_lab_completion lb-lab; echo "${COMPREPLY[@]}"'
    )
    path = f"{tmp_path}:{os.environ['PATH']}"
    here = {"PATH": path, "PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(tmp_path)}
    done = subprocess.run(
        ["bash", "--norc", "-c", script], env=os.environ | here, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == [name for name in experiment_names() if name.startswith("stick")], (
        done.stderr
    )
