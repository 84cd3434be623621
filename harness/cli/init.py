"""`init FILE`: writes a small experiment or Locust file of the user's own, which runs as it is."""

import shlex
from pathlib import Path

from harness.cli.new_file import as_path, confirm_new, experiment_name, write_file
from harness.output.safe_text import say
from harness.paths import EXPERIMENTS, PROGRAM, ROOT

STARTER = Path(__file__).with_name("starter.yaml")
LOCUSTFILE = ROOT / "load" / "locustfile.py"


def init_file(path: Path) -> int:
    """Write an experiment to `path`, say how to run it, and return the exit status.

    A path that ends in .py gets a Locust file instead.
    Raises UserError if there is something at the path, or if no experiment can have the file's name.
    """
    if path.suffix == ".py":
        return _init_locustfile(path)
    experiment_name(path, "init")
    confirm_new(path, "init")
    run, check = (f"{PROGRAM} {word}{shlex.quote(as_path(path))}" for word in ("", "check "))
    text = STARTER.read_text(encoding="utf-8")
    for mark, value in (("@SCHEMA@", EXPERIMENTS / "schema.json"), ("@RUN@", run), ("@CHECK@", check)):
        text = text.replace(mark, str(value))
    write_file(path, text, "init")
    say(f"experiment: {path}\ncheck it:   {check}\nrun it:     {run}")
    return 0


def _init_locustfile(path: Path) -> int:
    """Write a copy of the lab's own Locust file, and say how to run it."""
    confirm_new(path, "init")
    text = LOCUSTFILE.read_text(encoding="utf-8").replace("load/locustfile.py", str(path))
    write_file(path, text, "init")
    say(f"Locust file: {path}\nrun it:      locust -f {shlex.quote(str(path))} --host HOST:PORT")
    return 0
