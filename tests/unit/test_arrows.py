"""Who may import whom. An arrow that is not here is a mistake, or a decision to write down here."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("services", "lb", "load", "harness")

STUBS = {"services.video_service_pb2", "services.video_service_pb2_grpc"}
# What of `lb` and `load` is plain data, and what the harness may therefore use of them.
LOAD_DATA = {"lb.authority", "lb.policies", "lb.plan", "lb.rows", "lb.settings", "lb.target", "load.order"}

ALLOWED = {
    "services": {"services"},
    "lb": {"lb", *STUBS},
    "load": {"load", "lb", *STUBS},
    "harness": {"harness", *LOAD_DATA, *STUBS},
}

# Everything that is derived from a run directory alone, on any machine.
RIGHT_OF_RECORD = [
    "harness.record",
    "harness.facts",
    "harness.ledgers",
    "harness.metrics",
    "harness.judge",
    "harness.summary",
    "harness.plots",
    "harness.report",
    "harness.console",
]
LIVE = {
    *("asyncio", "docker", "gevent", "grpc", "locust", "multiprocessing", "psutil", "signal", "socket"),
    *("subprocess", "uvloop", "services", "load", "harness.testbed", "harness.run"),
}


def imports_in(source: str, package: str) -> set[str]:
    """Dotted names of all that `source` imports, at the top and inside functions.

    `from a import b` counts as a.b when a is a package of ours (or relative), else as a.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parts, *([base] if base else [])])
            whole = is_package(base)
            found |= {f"{base}.{alias.name}" if whole else base for alias in node.names}
    return found


def is_package(name: str) -> bool:
    return name.split(".")[0] in OURS and (ROOT / Path(*name.split(".")) / "__init__.py").exists()


def source_of(module: str) -> Path | None:
    path = ROOT / Path(*module.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.exists()), None)


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports_of(path: Path) -> set[str]:
    module = module_of(path)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return imports_in(path.read_text(), package)


def reached_from(module: str) -> dict[str, str]:
    """Everything that `module` imports by way of our own modules: name -> the module that imports it."""
    reached: dict[str, str] = {}
    todo = [module]
    while todo:
        here = todo.pop()
        path = source_of(here) if here.split(".")[0] in OURS else None
        for name in imports_of(path) if path else ():
            if name not in reached:
                reached[name] = here
                todo.append(name)
    return reached


def within(name: str, roots: set[str]) -> bool:
    return any(name == root or name.startswith(f"{root}.") for root in roots)


def our_files() -> list[Path]:
    return sorted(path for part in OURS for path in (ROOT / part).rglob("*.py"))


@pytest.mark.parametrize("path", our_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_what_its_part_may(path: Path) -> None:
    allowed = ALLOWED[module_of(path).split(".")[0]]
    ours = {name for name in imports_of(path) if name.split(".")[0] in OURS}
    wrong = {name for name in ours if not within(name, allowed)}
    assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


@pytest.mark.parametrize("module", RIGHT_OF_RECORD)
def test_nothing_right_of_record_touches_what_is_live(module: str) -> None:
    assert source_of(module), f"{module} is gone; update RIGHT_OF_RECORD"
    reached = reached_from(module)
    wrong = {name: by for name, by in reached.items() if within(name, LIVE)}
    assert not wrong, f"{module} reaches (name: imported by) {wrong}"


def test_the_envoy_folder_is_no_package() -> None:
    """With an __init__.py it would hide the wheel's own `envoy` module."""
    assert not list((ROOT / "envoy").rglob("*.py"))


def test_imports_are_found_wherever_they_stand() -> None:
    source = (
        "import os\nfrom lb import plan\ndef f():\n    from harness.spec import Arm\n    from . import x\n"
    )
    assert imports_in(source, "harness.testbed") == {"os", "lb.plan", "harness.spec", "harness.testbed.x"}
