"""Makes one small change to the code after another and counts how many of these mutants the tests notice.

`make mutants`, or `python -m tests.mutants analysis.judge --sample 50`. Cosmic Ray makes the mutants.
Each is tried in a copy of the repository, in a process that is forked from one with the libraries loaded.
"""

import argparse
import ast
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import jinja2
import numpy
import polars
import pydantic
import pytest
import rich.console
import ruamel.yaml

LOADED = (hypothesis, jinja2, numpy, polars, pydantic, rich.console, ruamel.yaml)  # before the processes fork
ROOT = Path(__file__).resolve().parent.parent
# The packages of harness/ that turn a run's ledgers into figures and a verdict.
CORE = ("analysis", "metrics")
DRAWS = re.compile("plots|report_page")  # slow tests that check nothing else of the core
TAKES_S = 150  # at most, for all tests of one mutant
Position = tuple[int, int]


@dataclass(frozen=True)
class Mutant:
    """One change: a Cosmic Ray operator applied at one of its places in the file, by number."""

    path: Path
    operator: str
    occurrence: int
    start: Position


def mutants_of(path: Path) -> Iterator[Mutant]:
    """Return every mutant of a file, without those that no test can notice: see `unseen_in`."""
    from cosmic_ray.ast import ast_nodes, get_ast_from_path
    from cosmic_ray.plugins import get_operator, operator_names

    unseen = list(unseen_in(path.read_text()))
    tree = get_ast_from_path(path)
    for name in operator_names():
        operator = get_operator(name)
        if operator.arguments():
            continue
        places = (place for node in ast_nodes(tree) for place in operator().mutation_positions(node))
        for occurrence, (start, _) in enumerate(places):
            if not any(first <= start < last for first, last in unseen):
                yield Mutant(path, name, occurrence, start)


def unseen_in(source: str) -> Iterator[tuple[Position, Position]]:
    """Return the places of type hints, of code for type checkers only, and of @dataclass(frozen=True)."""
    for node in ast.walk(ast.parse(source)):
        found: list[ast.AST | None] = []
        if isinstance(node, ast.AnnAssign | ast.arg):
            found = [node.annotation]
        elif isinstance(node, ast.FunctionDef):
            found = [node.returns]
        elif isinstance(node, ast.ClassDef):
            found = [*node.decorator_list]
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            found = [node]
        for each in found:
            if isinstance(each, ast.expr | ast.stmt):
                assert each.end_lineno is not None and each.end_col_offset is not None
                yield (each.lineno, each.col_offset), (each.end_lineno, each.end_col_offset)


def drawn(mutants: Sequence[Mutant], count: int, rng: random.Random) -> list[Mutant]:
    """Return at most `count` mutants, one for each place, so that each place has the same weight."""
    by_place: dict[tuple[Path, Position], list[Mutant]] = {}
    for mutant in mutants:
        by_place.setdefault((mutant.path, mutant.start), []).append(mutant)
    places = sorted(by_place)
    return [rng.choice(by_place[place]) for place in rng.sample(places, min(count, len(places)))]


def mutated(source: str, mutant: Mutant) -> str:
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    code = mutate_code(source, get_operator(mutant.operator)(), mutant.occurrence)
    assert code
    return str(code)


def files_of_tests(copy: Path, folder: str, module: str) -> list[str]:
    """Return the tests of a folder that import the core, those that import `module` first."""
    texts = {str(path): path.read_text() for path in sorted((copy / folder).rglob("test_*.py"))}
    imports = re.compile(rf"^from harness\.({'|'.join(CORE)})\b", re.MULTILINE)
    own = re.compile(rf"^from harness\.{re.escape(module)}\b", re.MULTILINE)
    files = [name for name, text in texts.items() if imports.search(text) and not DRAWS.search(name)]
    return sorted(files, key=lambda name: (not own.search(texts[name]), "golden" not in name))


def outcome(copy: Path, files: Sequence[str]) -> str:
    """Run the tests on the copy as it is now; return "survived", "killed" or "took too long"."""
    child = os.fork()
    if child == 0:
        os.setsid()
        os.chdir(copy)
        sys.path[0] = str(copy)
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (1, 2):
            os.dup2(nothing, stream)
        options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--timeout=60"]
        options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of modules already loaded
        os._exit(int(pytest.main([*options, *files])))
    end_s = time.monotonic() + TAKES_S
    while time.monotonic() < end_s:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return "survived" if status == 0 else "killed"
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "took too long"


def copied(folder: Path) -> Path:
    """Return a copy of all files that git knows, as they are now."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, names.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def module_of(copy: Path, path: Path) -> str:
    """Return the module's name without "harness.": "analysis.judge"."""
    return ".".join(path.relative_to(copy / "harness").with_suffix("").parts)


def modules_of(copy: Path, names: Sequence[str]) -> list[Path]:
    """Return the files of these modules and packages of harness/. Ends the program if there are none."""
    found: set[Path] = set()
    for name in names:
        place = copy / "harness" / name.replace(".", "/")
        files = [*place.rglob("*.py"), *filter(Path.is_file, [place.with_suffix(".py")])]
        if not files:
            sys.exit(f"harness/ has no module {name}")
        found.update(files)
    return sorted(found)


def tried(copy: Path, mutant: Mutant, tests: str) -> str:
    source = mutant.path.read_text()
    mutant.path.write_text(mutated(source, mutant))
    try:
        return outcome(copy, files_of_tests(copy, tests, module_of(copy, mutant.path)))
    finally:
        mutant.path.write_text(source)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", default=CORE, help="modules or packages of harness/")
    parser.add_argument("--sample", type=int, default=300, help="how many mutants to try (default 300)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tests", default="tests/unit", help="folder of the tests to run")
    options = parser.parse_args()
    sys.dont_write_bytecode = True  # a file that changes twice in a second would be run with its old bytecode
    counts = {"killed": 0, "took too long": 0, "survived": 0}
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = copied(Path(folder))
        paths = modules_of(copy, options.modules)
        everywhere = [mutant for path in paths for mutant in mutants_of(path)]
        if outcome(copy, files_of_tests(copy, options.tests, "")) != "survived":
            sys.exit("the tests fail without any change")
        for mutant in drawn(everywhere, options.sample, random.Random(options.seed)):
            word = tried(copy, mutant, options.tests)
            counts[word] += 1
            line = mutant.path.read_text().splitlines()[mutant.start[0] - 1].strip()
            name = mutant.path.relative_to(copy)
            print(f"{word}: {name}:{mutant.start[0]}:{mutant.start[1]} {mutant.operator}: {line}", flush=True)
    total = sum(counts.values())
    noticed = total - counts["survived"]
    print(f"{noticed} of {total} mutants were noticed ({noticed / max(1, total):.1%}): {counts}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
