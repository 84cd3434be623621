"""What README and docs/ say can be done, can be done."""

import re
import shlex
from pathlib import Path

import pytest

from harness.cli.main import app, main
from harness.spec.experiment import experiment_names, load_experiment
from harness.spec.lessons_page import lessons_page, readme_page

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "results" / "README.md"])
VERBS = [info.name or info.callback.__name__ for info in app.registered_commands if info.callback]
COMMANDS = sorted(
    {
        line.strip()
        for page in PAGES
        for line in page.read_text().replace("\\\n", " ").splitlines()
        if line.strip().startswith("python run_experiment.py ")
    }
)

OF_THE_RUN = (
    *("--testbed", "--target", "--replica", "--ca", "--arm", "--processes", "--expect-workers"),
    *("--master-bind-host", "--master-bind-port"),
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    missing = [
        link for link in links if not link.startswith("https://") and not (page.parent / link).exists()
    ]
    assert not missing


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_name_real_experiments_and_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(command, comments=True)[2:]
    if words[0] not in VERBS:
        words = ["check", *_of_the_plan(words)]  # a run, planned instead of run
    if words[0] != "check":
        pytest.skip(f"{words[0]} starts processes or needs a run")
    assert main(words) == 0
    assert "cells" in capsys.readouterr().out


def _of_the_plan(words: list[str]) -> list[str]:
    """The words without options that say where and by whom the plan is carried out."""
    if not words:
        return []
    word, rest = words[0], words[1:]
    if word == "--tls":
        return _of_the_plan(rest)
    return _of_the_plan(rest[1:]) if word in OF_THE_RUN else [word, *_of_the_plan(rest)]


def test_readme_lists_every_experiment_with_its_question() -> None:
    readme = (ROOT / "README.md").read_text()
    assert readme_page(readme) == readme
    for name in experiment_names():
        assert f"| `{name}` | {load_experiment(name).question} |" in readme


def test_the_page_of_lessons_is_current() -> None:
    assert (ROOT / "docs" / "lessons.md").read_text() == lessons_page()


def test_the_picture_is_there() -> None:
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (ROOT / "README.md").read_text())
    assert pictures
    for picture in pictures:
        assert (ROOT / picture).read_bytes().startswith(b"\x89PNG")
