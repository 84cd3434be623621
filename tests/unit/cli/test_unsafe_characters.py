"""Control and bidirectional characters: refused in what users write, shown in what comes from elsewhere."""

import json
import os
import shutil
from pathlib import Path

import pytest

from harness.output.safe_text import first_unsafe
from tests.unit.cli.conftest import LabHere
from tests.unit.synthetic.synthetic_run import EXPERIMENT, GOLDEN

pytestmark = pytest.mark.whole_run

ESCAPE = "\x1b]0;owned\x07\u202e"


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A run whose record has such characters wherever text may be, as somebody else may have written it."""
    run = shutil.copytree(GOLDEN, tmp_path / "run")
    manifest = json.loads((run / "manifest.json").read_text())
    manifest |= {
        **{"run": ESCAPE, "status": "failed", "error": ESCAPE, "notes": [ESCAPE], "not_judged": [ESCAPE]},
        **{"versions": {ESCAPE: ESCAPE}, "git_commit": ESCAPE, "testbed": ESCAPE, "started_utc": ESCAPE},
        **{"testbed_options": [ESCAPE], "host": manifest["host"] | {"system": ESCAPE}},
    }
    (run / "manifest.json").write_text(json.dumps(manifest))
    text = (run / "experiment.yaml").read_text().split("\n", 2)[2]
    head = f"title: {json.dumps(ESCAPE)}\nquestion: {json.dumps(ESCAPE)}\n"
    (run / "experiment.yaml").write_text(head + text)
    return run


def test_a_report_shows_them(hostile: Path, lab_here: LabHere) -> None:
    assert lab_here("report", str(hostile)) == (0, f"{hostile / 'report.html'}\n", "")
    page = (hostile / "report.html").read_text()
    assert first_unsafe(page) is None
    assert page.count("␛]0;owned␇\ufffd") >= 8


def test_a_comparison_shows_them(hostile: Path, lab_here: LabHere) -> None:
    status, out, err = lab_here("compare", str(hostile), str(GOLDEN))
    assert (status, err) == (0, "")
    assert first_unsafe(out) is None
    assert out.count("␛]0;owned") >= 3


def test_an_error_shows_them(tmp_path: Path, lab_here: LabHere) -> None:
    run = shutil.copytree(GOLDEN, tmp_path / "run")
    (run / "cells" / "sticky.1" / "replicas.parquet").unlink()
    (run / "cells" / "sticky.1" / "replica-0.csv").write_text(f"{ESCAPE}\n1\n")
    status, out, err = lab_here("report", str(run))
    assert (status, out) == (2, "")
    assert first_unsafe(err) is None
    assert "found ␛]0;owned␇\ufffd" in err


def test_a_folder_of_any_name_is_shown(tmp_path: Path, lab_here: LabHere) -> None:
    """The folder is reached without its name on the command line."""
    for name in (ESCAPE.encode(), b"not-utf-8-\xff"):
        folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
        shutil.copytree(GOLDEN, folder)
        (folder / "manifest.json").write_text("{}")
        status, _, err = lab_here("report", ".", cwd=folder)
        assert status == 2
        assert first_unsafe(err) is None


FIELDS = {
    "title": (f"title: {json.dumps('A' + ESCAPE)}\n", 1, "title"),
    "key": (f"{json.dumps('ti' + ESCAPE)}: A\n", 1, None),
    "lesson": ("lesson: |\n  A line.\n  Another with \u202e.\n", 1, "lesson"),
    "arm's option": (
        'arms:\n  sticky:\n    route: envoy\n    policy: "stick\\x1by"\n',
        4,
        "arms.sticky.policy",
    ),
    "list": ('title: A\nexpect:\n  - {arm: sticky, metric: "purity\\u200f"}\n', 3, "expect[0].metric"),
}


@pytest.mark.parametrize("place", FIELDS)
def test_an_experiment_file_may_not_have_them(place: str, tmp_path: Path, lab_here: LabHere) -> None:
    text, line, field = FIELDS[place]
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    status, out, err = lab_here("check", str(path))
    assert (status, out, err.count("\n")) == (2, "", 1)
    where = f"{path}:{line}: {f'{field}: ' if field else ''}"
    assert err.startswith(f"error: {where}"), err
    assert err.endswith("; expected text without control and bidirectional characters\n")
    assert "character U+" in err


@pytest.mark.parametrize("words", [[ESCAPE], ["sticky", "--arm", ESCAPE], ["report", f"results/{ESCAPE}"]])
def test_the_command_line_may_not_have_them(words: list[str], lab_here: LabHere) -> None:
    status, out, err = lab_here(*words)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert "control character U+001B; expected a word of the command line without it" in err
    assert first_unsafe(err) is None


def test_words_and_files_may_have_all_other_characters(tmp_path: Path, lab_here: LabHere) -> None:
    folder = tmp_path / "日本語 [é] 👩‍💻 שלום"
    folder.mkdir()
    path = folder / "mine.yaml"
    path.write_text(EXPERIMENT.replace("title: Sticky", "title: שלום 👩‍💻 Sticky"))
    status, out, err = lab_here("check", str(path))
    assert (status, err) == (0, "")
    assert "שלום" in out
