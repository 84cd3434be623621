"""`python run_experiment.py sticky`: see `--help`, or README.md."""

import sys

from harness.cli import main

if __name__ == "__main__":
    sys.exit(main())
