"""`python -m tests.recount RUN_DIR ...`: recount every figure of each run, and print those that differ."""

import sys
from pathlib import Path

from tests.recount.comparison import recount_run


def main(directories: list[str]) -> int:
    """Print each disagreement and a total for each run; return 1 if any differs."""
    if not directories:
        print("usage: python -m tests.recount RUN_DIR ...", file=sys.stderr)
        return 2
    wrong = 0
    for directory in directories:
        found = recount_run(Path(directory))
        differ = [one for one in found if not one.agrees]
        for one in differ:
            print(one)
        defined = sum(one.told is not None for one in found)
        print(
            f"{directory}: {len(found)} figures compared ({defined} of them not null), "
            f"{len(found) - len(differ)} agree, {len(differ)} do not"
        )
        wrong += len(differ)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
