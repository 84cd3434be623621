"""`init FILE`: an experiment of the user's own that runs as it is."""

import re
from pathlib import Path

import pytest

from harness.paths import EXPERIMENTS
from harness.spec.experiment import load_experiment
from tests.unit.cli.conftest import LabHere


def test_the_file_is_an_experiment_with_a_comment_on_every_number(lab_here: LabHere, tmp_path: Path) -> None:
    status, out, err = lab_here("init", "my.yaml", cwd=tmp_path)
    assert (status, err) == (0, "")
    assert "run it:     python run_experiment.py ./my.yaml\n" in out
    made = load_experiment(str(tmp_path / "my.yaml"))
    assert (made.name, len(made.arms), len(made.expect)) == ("my", 2, 2)
    text = (tmp_path / "my.yaml").read_text()
    schema = re.match(r"# yaml-language-server: \$schema=(.+)\n", text)
    assert schema
    assert Path(schema[1]) == EXPERIMENTS / "schema.json"
    assert "@" not in text
    for line in text.partition("replicas:")[2].partition("# The ways")[0].splitlines():
        assert not re.search(r"\d", line.partition("#")[0]) or "#" in line, line


def test_its_plan_can_be_shown(lab_here: LabHere, tmp_path: Path) -> None:
    lab_here("init", "folder/my-own.yml", cwd=tmp_path)
    status, out, _ = lab_here("check", "folder/my-own.yml", cwd=tmp_path)
    assert status == 0
    assert "6 (2 arms x 3" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mine.yaml"], "init: mine.yaml is there already; name another file, or remove it first"),
        (["link.yaml"], "init: link.yaml is there already"),
        (["mine"], "init: mine: expected a file name of A-Z a-z 0-9 _ . - that ends in .yaml"),
        (["my own.yaml"], "init: my own.yaml: expected a file name of"),
        (["mine.yaml/other.yaml"], "init: mine.yaml/other.yaml: cannot be written ("),
        ([], "Missing argument 'FILE.yaml|FILE.py'"),
    ],
)
def test_it_overwrites_nothing_and_says_why(
    words: list[str], message: str, lab_here: LabHere, tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text("mine")
    (tmp_path / "link.yaml").symlink_to("nowhere")
    status, out, err = lab_here("init", *words, cwd=tmp_path)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1
    assert (tmp_path / "mine.yaml").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.yaml", "mine.yaml"]


def test_a_locust_file_is_a_copy_that_python_can_read(lab_here: LabHere, tmp_path: Path) -> None:
    status, out, err = lab_here("init", "tasks.py", cwd=tmp_path)
    assert (status, err) == (0, "")
    assert "locust -f tasks.py --host HOST:PORT" in out
    text = (tmp_path / "tasks.py").read_text()
    compile(text, "tasks.py", "exec")
    assert "class VideoUser(LabUser):" in text
    assert "load/locustfile.py" not in text
    assert lab_here("init", "tasks.py", cwd=tmp_path)[0] == 2
