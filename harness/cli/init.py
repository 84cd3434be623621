"""`init FILE`: writes a small file of the user's own, with comments, that runs as it is."""

import shlex
from pathlib import Path

from harness.cli.new_file import as_path, confirm_new, experiment_name, write_file
from harness.output.safe_text import say
from harness.paths import EXPERIMENTS, PROGRAM

STARTER = Path(__file__).with_name("starter.yaml")


def init_file(path: Path) -> int:
    """Write an experiment to `path`, say how to run it, and return the exit status.

    Raises UserError if there is something at the path, or if no experiment can have the file's name.
    """
    experiment_name(path, "init")
    confirm_new(path, "init")
    run, check = (f"{PROGRAM} {word}{shlex.quote(as_path(path))}" for word in ("", "check "))
    text = STARTER.read_text(encoding="utf-8")
    for mark, value in (("@SCHEMA@", EXPERIMENTS / "schema.json"), ("@RUN@", run), ("@CHECK@", check)):
        text = text.replace(mark, str(value))
    write_file(path, text, "init")
    say(f"experiment: {path}\ncheck it:   {check}\nrun it:     {run}")
    return 0
