"""The commands and links in README.md and docs/ work."""

import re
import shlex
from pathlib import Path

import pytest

from harness.cli.main import app, main
from harness.spec.experiment import load_experiment
from harness.spec.heads import experiment_names

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "results" / "README.md"])
COMMAND_NAMES = [info.name or info.callback.__name__ for info in app.registered_commands if info.callback]
COMMANDS = sorted(
    {
        line.strip()
        for page in PAGES
        for line in page.read_text().replace("\\\n", " ").splitlines()
        if line.strip().startswith("python run_experiment.py ")
    }
)

# Options of `run` that `check` does not have.
RUN_OPTIONS = (
    *("--testbed", "--target", "--replica", "--ca", "--arm", "--processes", "--expect-workers"),
    *("--master-bind-host", "--master-bind-port", "--dask"),
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_point_to_existing_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    missing = [
        link for link in links if not link.startswith("https://") and not (page.parent / link).exists()
    ]
    assert not missing


def test_the_files_that_the_walk_through_the_code_names_exist() -> None:
    walk = (ROOT / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"`([\w/]+\.py|[\w/]+/)`", walk))
    assert len(named) > 15
    missing = [
        name for name in named if not any((folder / name).exists() for folder in (ROOT, ROOT / "harness"))
    ]
    assert not missing


@pytest.mark.parametrize("command", COMMANDS)
def test_documented_commands_name_existing_experiments_and_options(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "harness.cli.outlook.outlook", lambda _: ()
    )  # a second each, and nothing of it is asked
    arguments = shlex.split(command, comments=True)[2:]
    if arguments[0] not in COMMAND_NAMES:
        arguments = ["check", *_without_run_options(arguments)]  # check the plan of a run, but do not run it
    if arguments[-1].startswith("build/"):
        pytest.skip(f"the page's own commands make {arguments[-1]}")
    if arguments[0] != "check":
        pytest.skip(f"{arguments[0]} starts processes or needs a run")
    assert main(arguments) == 0
    assert "cells" in capsys.readouterr().out


def _without_run_options(arguments: list[str]) -> list[str]:
    """Return the arguments that `check` accepts, too."""
    if not arguments:
        return []
    first, rest = arguments[0], arguments[1:]
    if first == "--tls":
        return _without_run_options(rest)
    return _without_run_options(rest[1:]) if first in RUN_OPTIONS else [first, *_without_run_options(rest)]


def test_readme_lists_every_experiment_with_its_question() -> None:
    readme = (ROOT / "README.md").read_text()
    for name in experiment_names():
        assert f"| `{name}` | {load_experiment(name).question} |" in readme


def test_the_pictures_of_readme_exist() -> None:
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (ROOT / "README.md").read_text())
    assert pictures
    for picture in pictures:
        assert (ROOT / picture).read_bytes().startswith(b"\x89PNG")
