"""Which mutants `make mutants` leaves out, and how it draws from the others."""

import random
from collections import Counter
from pathlib import Path

import pytest

from tests.mutants import CORE, ROOT, Mutant, drawn, files_of_tests, module_of, modules_of, unseen_in

SOURCE = """\
@dataclass(frozen=True)
class Counts:
    some: int | None = 3

def f(x: int | str, y=1 | 2) -> bool | None:
    if TYPE_CHECKING:
        from a import b
    return x < y
"""


def test_type_hints_are_left_out_and_nothing_else() -> None:
    lines = SOURCE.splitlines()
    left = [list(line) for line in lines]
    for (first, start), (last, end) in unseen_in(SOURCE):
        for number in range(first, last + 1):
            line = left[number - 1]
            begin, stop = start if number == first else 0, end if number == last else len(line)
            line[begin:stop] = "_" * (stop - begin)
    assert [line for line in map("".join, left) if line.strip("_ ")] == [
        f"@{'_' * len('dataclass(frozen=True)')}",
        "class Counts:",
        f"    some: {'_' * len('int | None')} = 3",
        f"def f(x: {'_' * len('int | str')}, y=1 | 2) -> {'_' * len('bool | None')}:",
        "    return x < y",
    ]


def test_each_place_is_drawn_as_often_as_any_other_whatever_may_be_done_there() -> None:
    path = Path("x.py")
    many = [Mutant(path, f"operator-{number}", 0, (1, 0)) for number in range(50)]
    found = drawn([*many, Mutant(path, "operator", 0, (2, 0))], 2, random.Random(1))
    assert Counter(mutant.start for mutant in found) == {(1, 0): 1, (2, 0): 1}
    assert len(drawn(many, 9, random.Random(1))) == 1


def test_the_tests_of_the_module_come_first() -> None:
    names = [Path(name).name for name in files_of_tests(ROOT, "tests/unit", "analysis.judge")]
    assert names.index("test_judge.py") < names.index("test_short_run_fairness.py")
    assert "test_plots_drawn.py" not in names


def test_the_core_is_there_and_a_module_is_found_by_its_name() -> None:
    core = {module_of(ROOT, path) for path in modules_of(ROOT, CORE)}
    assert {"analysis.judge", "analysis.ledgers", "metrics.metric"} <= core
    assert modules_of(ROOT, ["analysis.judge"]) == [ROOT / "harness" / "analysis" / "judge.py"]
    with pytest.raises(SystemExit, match="harness/ has no module jugde"):
        modules_of(ROOT, ["jugde"])
