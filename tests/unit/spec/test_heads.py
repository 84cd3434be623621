"""The heads of experiments: what `list` shows without reading whole files."""

import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli.main import listing
from harness.errors import UserError
from harness.paths import EXPERIMENTS, ROOT
from harness.spec import heads as module
from harness.spec.experiment import catalogue, place_of
from harness.spec.heads import Head, Place, heads
from harness.spec.yaml_file import read_keys, read_tree

GOOD = (EXPERIMENTS / "pick_first.yaml").read_text()


def of_files(texts: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    monkeypatch.setattr(module, "EXPERIMENTS", folder)


def test_the_heads_are_those_of_the_whole_files() -> None:
    whole = [Head(one.name, one.question, place_of(one.teaching)) for one in catalogue()]
    assert list(heads() or ()) == whole


def test_keys_are_read_as_in_the_whole_file_and_on_the_same_lines(tmp_path: Path) -> None:
    for path in sorted(EXPERIMENTS.glob("*.yaml")):
        tree, keys = read_tree(path, "x").value, ("lesson", "workload")
        assert read_keys(path, "x", keys) == {key: tree[key] for key in keys}
    path = tmp_path / "mine.yaml"
    path.write_text("title: [\nlesson: |\n  a\n\n  b\n# more\nseeds: 1\nquestion: a\nquestion: b\n")
    assert read_keys(path, "x", ("lesson",)) == {"lesson": "a\n\nb\n"}
    assert read_keys(path, "x", ("seed",)) == {}
    with pytest.raises(UserError, match=r"x:9: key 'question' is given twice \(first on line 8\)"):
        read_keys(path, "x", ("question",))


@pytest.mark.parametrize(
    "odd",
    [
        GOOD.replace("question:", '"question":'),
        GOOD.replace("  chapter: one_connection\n", "  chapter: no_such\n"),
        GOOD.replace("question:", "questions:"),
        "{question: a}",
        "question: [",
    ],
)
def test_a_file_that_is_written_otherwise_is_read_as_a_whole(
    odd: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_files({"a": GOOD, "b": odd}, tmp_path, monkeypatch)
    assert heads() is None
    assert "\n  sticky " in listing("lb-lab")


def test_an_experiment_without_a_lesson_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = "question: Why?\nexpect: [mistakes are not seen here\n"
    of_files(
        {"a": bare, "b": GOOD, "c": GOOD.replace("  chapter:", "  after: b\n  chapter:")},
        tmp_path,
        monkeypatch,
    )
    found = heads()
    assert found is not None
    assert [one.name for one in found] == ["b", "c", "a"]
    assert (found[1].place, found[2].place) == (Place("one_connection", "b"), None)
    assert "Others\n  a  Why?" in listing("lb-lab")


def test_the_list_and_a_wrong_name_import_no_models() -> None:
    code = (
        "import sys; from harness.cli.main import main\n"
        "for words in (['list'], ['stiky'], ['check', 'stiky'], ['sticky', '--no-such']): main(words)\n"
        "assert 'harness.spec.model' not in sys.modules and 'numpy' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("did you mean 'sticky'?") == 2
