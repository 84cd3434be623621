"""`python run_experiment.py sticky`: see `--help`, or README.md."""

import sys

from harness.interrupt import ignore_interrupts, one_interrupt

INTERRUPTED = 130


def run() -> int:
    """Return the exit status of the command line; also that of a signal during the imports."""
    try:
        with one_interrupt():
            from harness.cli.main import main

            return main()
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    status = run()
    ignore_interrupts()
    sys.exit(status)
