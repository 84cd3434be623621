"""Every row of docs/under-fault.md names tests, and every test of faults has a row."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "under-fault.md"
FAULTS = ROOT / "tests" / "real" / "faults"
ROWS = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")][1:]


def functions_of(path: Path) -> set[str]:
    """Return the names of the test functions in a file."""
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    return {function.name for function in functions if function.name.startswith("test_")}


def named_in(text: str) -> set[tuple[Path, str]]:
    """Return (file, test) for every link to a test."""
    links = re.findall(r"\[`(test_\w+)`\]\(([^)]+\.py)\)", text)
    return {((PAGE.parent / path).resolve(), name) for name, path in links}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:40])
def test_every_row_names_tests_that_exist(row: str) -> None:
    named = named_in(row.split("|")[3])
    assert named
    assert not [name for path, name in named if name not in functions_of(path)]


def test_every_test_of_faults_has_a_row() -> None:
    tests = {(path, name) for path in FAULTS.glob("test_*.py") for name in functions_of(path)}
    assert tests
    assert tests - named_in("".join(ROWS)) == set()
