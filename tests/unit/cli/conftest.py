"""A command line that runs in the process of the tests."""

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cli.main import main

ROOT = Path(__file__).resolve().parents[3]
LabHere = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _nothing_is_simulated(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Leave out what `check` simulates, which takes a second: tests/simulator has its tests."""
    monkeypatch.setattr("harness.cli.outlook.outlook", lambda _: ())
    # A process of its own simulates only if the simulator is compiled, and it looks for that here.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "no cache"))


@pytest.fixture
def lab_here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> LabHere:
    """Runs one command line in this process, because starting a process takes longer than the command.

    Returns its exit status, and what it wrote to stdout and stderr.
    """

    def carry_out(*words: str, cwd: Path = ROOT) -> tuple[int, str, str]:
        monkeypatch.chdir(cwd)
        monkeypatch.setattr("sys.argv", [str(ROOT / "run_experiment.py"), *words])
        return main(), *capfd.readouterr()

    return carry_out
