"""Makes the pictures of README and docs from real runs: python -m docs.pages.pictures [EXPERIMENT ...].

A picture is a plot of a run with the experiment's own settings. Without names, all experiments of PICTURES
are run. That is some minutes of load. A picture is replaced only by a run whose verdict is `held`: one that a
busy machine spoilt would show the machine.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.paths import ROOT
from harness.spec.experiment import load_experiment
from harness.testbed.choice import incompatibility

IMAGES = ROOT / "docs" / "images"
RUNS = ROOT / "build" / "pictures"

# Picture below docs/images -> experiment and plot. capacity.png is made by `make capacity`.
PICTURES: dict[str, tuple[str, str]] = {
    "sticky-share.png": ("sticky", "share_per_replica"),
    "few-vs-many-sweep.png": ("few_vs_many", "sweep"),
    "crash-ribbon.png": ("replica_crash", "session_ribbon"),
    "partition-ribbon.png": ("partition", "session_ribbon"),
}


def main(names: Sequence[str]) -> int:
    """Run the named experiments (none: all) and replace their pictures; return 1 if one could not be made."""
    known = list(dict.fromkeys(name for name, _ in PICTURES.values()))
    if unknown := [name for name in names if name not in known]:
        print(f"no picture is of {unknown[0]}; expected some of {', '.join(known)}", file=sys.stderr)
        return 2
    made = [_make(name) for name in names or known]
    return 0 if all(made) else 1


def _make(name: str) -> bool:
    testbed = "docker" if incompatibility(load_experiment(name), "local") else "local"
    command = [sys.executable, str(ROOT / "run_experiment.py"), name, "--testbed", testbed]
    done = subprocess.run([*command, "--results", str(RUNS)], check=False)  # noqa: S603 - the lab itself
    if done.returncode != 0:
        print(f"{name}: exit status {done.returncode}, its pictures stay as they are", file=sys.stderr)
        return False
    for picture, (experiment, plot) in PICTURES.items():
        if experiment == name:
            _replace(RUNS / name / "latest" / "plots" / f"{plot}.png", IMAGES / picture)
    return True


def _replace(plot: Path, picture: Path) -> None:
    new = picture.with_name(f".{picture.name}.new")
    shutil.copyfile(plot, new)
    new.replace(picture)
    print(f"{picture.relative_to(ROOT)} is made of {plot.resolve().relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
