"""Which package may import which. A new direction is a mistake, or a decision to record here and in docs.

docs/architecture.md draws the same packages; a test there compares the two.
"""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.paths import ROOT

OURS = ("services", "lb", "load", "simulator", "harness")
STUBS = {
    f"services.{path.stem}{kind}"
    for path in (ROOT / "services").glob("*.proto")
    for kind in ("_pb2", "_pb2_grpc")
}
# Plain data of other packages: what the harness may use of the replica, the client and the load engine.
PLAIN_DATA = {
    *(
        "lb.ca_certificates",
        "lb.policies",
        "lb.plan",
        "lb.rate_curve",
        "lb.rows",
        "lb.settings",
        "lb.source_address",
        "lb.subsets",
        "lb.target",
        "lb.trace_id",
        "load.order",
        "load.secret",
        "services.service_time",
        "services.settings",
        "services.uniform",
    ),
}

ALLOWED = {
    "services": {"services"},
    "lb": {"lb", *STUBS},
    "load": {"load", "lb", *STUBS},
    "simulator": {"simulator"},
    "harness": {"harness", "simulator", *PLAIN_DATA, *STUBS},
}
# The packages of the harness in layers: a package imports from the layers below its own, and from itself.
LAYERS = (
    ("errors", "paths", "interrupt", "fields", "output", "leftovers"),
    ("policies", "events", "metrics"),
    ("spec",),
    ("record", "plan"),
    ("proxy", "analysis"),
    ("traces",),
    ("testbed", "report"),
    ("run", "site"),
    ("cli",),
)
# These packages need only a run directory. They use no process, socket or engine. Nor does the simulator.
PURE = ("record", "metrics", "analysis", "traces", "report", "site")
LIVE = {
    *("asyncio", "docker", "gevent", "grpc", "locust", "multiprocessing", "psutil", "signal", "socket"),
    *("subprocess", "uvloop", "services", "load", "harness.testbed", "harness.run", "harness.proxy"),
}


def imports_in(source: str, package: str) -> set[str]:
    """Dotted names of all that `source` imports: at the top, inside functions, and for type checkers.

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


@functools.cache
def is_package(name: str) -> bool:
    return name.split(".")[0] in OURS and (ROOT / Path(*name.split(".")) / "__init__.py").exists()


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def our_modules() -> dict[str, frozenset[str]]:
    """Return each module of the lab -> what it imports."""
    found = {}
    for path in sorted(path for part in OURS for path in (ROOT / part).rglob("*.py")):
        module = module_of(path)
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        found[module] = frozenset(imports_in(path.read_text(), package))
    return found


def reached_from(module: str) -> dict[str, str]:
    """Everything that `module` imports by way of our own modules: name -> the module that imports it."""
    reached: dict[str, str] = {}
    todo = [module]
    while todo:
        here = todo.pop()
        for name in our_modules().get(here, ()):
            if name not in reached:
                reached[name] = here
                todo.append(name)
    return reached


def within(name: str, roots: set[str]) -> bool:
    return any(name == root or name.startswith(f"{root}.") for root in roots)


def harness_package(module: str) -> str:
    """The package (or the module in the harness' root) that a module of the harness belongs to."""
    return module.split(".")[1]


def test_a_module_imports_only_what_its_package_may() -> None:
    wrong = [
        f"{module} imports {name}"
        for module, names in our_modules().items()
        for name in names
        if name.split(".")[0] in OURS and not within(name, ALLOWED[module.split(".")[0]])
    ]
    assert wrong == []


def test_every_package_of_the_harness_has_a_layer() -> None:
    named = [package for layer in LAYERS for package in layer]
    found = {harness_package(module) for module in our_modules() if module.startswith("harness.")}
    assert sorted(named) == sorted(found)


def test_imports_in_the_harness_point_downwards() -> None:
    layer_of = {package: number for number, layer in enumerate(LAYERS) for package in layer}
    wrong = []
    for module, name in imports_within_the_harness():
        package, imported = harness_package(module), harness_package(name)
        if package != imported and layer_of[imported] >= layer_of[package]:
            wrong.append(f"{module} imports {name}")
    assert not wrong, wrong


def test_the_picture_in_the_docs_shows_these_layers() -> None:
    """The picture's boxes are the layers' packages; its arrows point downwards, and each one is real."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    picture = page.partition("<!-- layers -->\n```mermaid\n")[2].partition("```")[0]
    drawn = re.findall(r"subgraph \w+ \[ \]\n(.*?)  end\n", picture, re.DOTALL)
    assert [tuple(box.split()) for box in drawn] == list(reversed(LAYERS[1:]))
    real = {(harness_package(module), harness_package(name)) for module, name in imports_within_the_harness()}
    arrows = set(re.findall(r"^  (\w+) --> (\w+)$", picture, re.MULTILINE))
    assert arrows
    assert arrows <= real


def imports_within_the_harness() -> Iterator[tuple[str, str]]:
    for module, names in our_modules().items():
        if module.startswith("harness."):
            yield from ((module, name) for name in sorted(names) if name.startswith("harness."))


def test_no_module_imports_itself_by_way_of_others() -> None:
    cycles = {module: by for module in our_modules() if (by := reached_from(module).get(module))}
    assert not cycles, f"module: imported again by {cycles}"


@pytest.mark.parametrize("package", [*(f"harness.{package}" for package in PURE), "simulator"])
def test_what_is_pure_touches_nothing_live(package: str) -> None:
    modules = [module for module in our_modules() if module.startswith(f"{package}.")]
    assert modules
    for module in modules:
        wrong = {
            name: by
            for name, by in reached_from(module).items()
            if within(name, LIVE) and name not in PLAIN_DATA
        }
        assert not wrong, f"{module} reaches (name: imported by) {wrong}"


def test_the_envoy_folder_is_no_package() -> None:
    """With an __init__.py it would hide the wheel's own `envoy` module."""
    assert not list((ROOT / "envoy").rglob("*.py"))


def test_imports_are_found_wherever_they_stand() -> None:
    source = (
        "import os\nfrom lb import plan\ndef f():\n  from harness.spec import Arm\n  from . import x\n"
        "if TYPE_CHECKING:\n  from harness.run import experiment\n"
    )
    assert imports_in(source, "harness.testbed") == {
        *("os", "lb.plan", "harness.spec.Arm", "harness.testbed.x", "harness.run.experiment"),
    }
