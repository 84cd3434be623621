"""Makes docs/lessons.md and the README's table of experiments from the experiment files."""

from collections.abc import Iterator

from harness.spec.experiment import Experiment, catalogue, command_of
from harness.spec.heads import CHAPTERS

TABLE_BEGINS, TABLE_ENDS = "<!-- experiments: made by `make schema` -->\n", "<!-- end of experiments -->\n"

INTRODUCTION = """\
# Lessons
Each experiment is one step. Each step has a question, a command, what to read in the report, and
one thing to change. The experiment's report has the full lesson. It also says what the result means for a
real AWS Application Load Balancer (ALB). If you take only one, take `sticky`: it needs no other. The words
are explained in [terminology.md](terminology.md).

`python run_experiment.py site` makes web pages of these lessons from your own runs. They have a map. In each
lesson you make a prediction, and see it beside what was measured.

`python run_experiment.py run --all` runs all experiments in half an hour and ends with one table.
`run --all --quick` takes a shorter look.

`make schema` writes this page from the key `teaching` of the files in `experiments/`.
"""

INCONCLUSIVE = """\
## When a run says `inconclusive`
The measurement cannot decide. Each expectation says why. There are three reasons:
- The confidence interval contains the bound: the repeats differ too much. The line says about how many
  repeats would decide it (`--repeats`).
- The generator fell behind its plan, because another program kept the processors busy. The lab has then
  already measured the disturbed cell again, up to twice ([decision
  7](decisions/0007-disturbed-cells-are-measured-again.md)). The last line on the terminal says what would
  help. Close other programs, or lower `--rate`, and run it again.
- The ledgers disagree. Then nothing of the cell counts.

The same file on another machine should give the same verdict, but not the same milliseconds.
"""


def lessons_page() -> str:
    """Return the text of docs/lessons.md."""
    return "\n".join([INTRODUCTION, *_chapters(), INCONCLUSIVE])


def readme_page(readme: str) -> str:
    """Return the text of README.md with a new table of experiments."""
    before, begins, rest = readme.partition(TABLE_BEGINS)
    _, ends, after = rest.partition(TABLE_ENDS)
    assert begins and ends, "README.md lacks the marks of its table of experiments"
    return f"{before}{begins}{experiment_table()}{ends}{after}"


def experiment_table() -> str:
    """Return a table of all experiments by chapter: name and question."""
    lines = ["| experiment | question |", "|---|---|"]
    chapter = None
    for experiment in catalogue():
        if experiment.teaching is not None and experiment.teaching.chapter != chapter:
            chapter = experiment.teaching.chapter
            lines.append(f"| **{CHAPTERS[chapter][0]}** | |")
        lines.append(f"| `{experiment.name}` | {experiment.question} |")
    return "\n".join(lines) + "\n"


def _chapters() -> Iterator[str]:
    number = 0
    for chapter, (heading, introduction) in CHAPTERS.items():
        yield f"## {heading}\n{introduction}\n"
        for experiment in catalogue():
            if experiment.teaching is not None and experiment.teaching.chapter == chapter:
                number += 1
                yield _lesson(number, experiment)


def _lesson(number: int, experiment: Experiment) -> str:
    teaching = experiment.teaching
    assert teaching is not None
    return (
        f"### {number}. {teaching.heading}: `{experiment.name}`\n"
        f"*{experiment.question}*\n\n"
        f"```sh\n{command_of(experiment)}\n```\n\n"
        f"{teaching.read.strip()}\n\n"
        f"Change one thing: {teaching.exercise.strip()}\n"
        f"{_answer(teaching.answer)}"
    )


def _answer(answer: str | None) -> str:
    return f"\n<details><summary>The answer</summary>\n\n{answer.strip()}\n\n</details>\n" if answer else ""
