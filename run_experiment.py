"""`python run_experiment.py sticky`: see `--help`, or README.md."""

import sys

INTERRUPTED = 130

if __name__ == "__main__":
    try:
        from harness.cli.main import main

        sys.exit(main())
    except KeyboardInterrupt:  # while the imports were still under way; later ones are main's
        sys.exit(INTERRUPTED)
