"""The experiments as `list` prints them: by chapter, in the order of the lessons."""

import textwrap

from harness.spec.catalogue import catalogue
from harness.spec.model import CHAPTERS

WIDTH = 80


def listing(program: str) -> str:
    """Return all experiments with their questions, wrapped by words at 80 columns.

    `program`: how the reader calls the lab, as in "python run_experiment.py".
    """
    experiments = catalogue()
    indent = max((len(one.name) for one in experiments), default=0) + 4
    lines: list[str] = []
    heading = None
    for one in experiments:
        own = CHAPTERS[one.teaching.chapter][0] if one.teaching else "Others"
        if own != heading:
            heading = own
            lines += ["", heading]
        lines += textwrap.wrap(
            one.question,
            WIDTH,
            initial_indent=f"  {one.name:<{indent - 2}}",
            subsequent_indent=" " * indent,
            break_on_hyphens=False,
        )
    first = experiments[0].name if experiments else "FILE"
    lines += ["", f"Run one:     {program} {first}", f"All options: {program} run --help"]
    return "\n".join(lines).lstrip("\n")
