"""The paths of the lab's own folders: in a clone (or the image), or where a wheel of it is installed."""

from pathlib import Path

# The folder that has the lab's packages: the clone, or the one that pip installs into.
ROOT = Path(__file__).resolve().parents[1]
IN_CLONE = (ROOT / "run_experiment.py").is_file()
# setup.py puts the clone's folders of data there.
_DATA = ROOT if IN_CLONE else Path(__file__).with_name("data")
EXPERIMENTS = _DATA / "experiments"
ENVOY_TEMPLATES = _DATA / "envoy"
# What the image of --testbed docker is built with, besides the packages.
IMAGE_FILES = ROOT if IN_CLONE else _DATA / "image"
# Where runs are kept: in the clone, or else in the folder from which the lab is called.
RESULTS = ROOT / "results" if IN_CLONE else Path("results")
# How the reader calls the lab.
PROGRAM = "python run_experiment.py" if IN_CLONE else "lb-lab"
