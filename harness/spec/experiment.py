"""Reads the experiment file.

An Experiment is always valid. The fields check types and ranges. checks.py checks what the keys must satisfy
together, such as an expectation that names an arm. Units stand last in the names.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError, model_validator
from pydantic_core import PydanticCustomError

from harness.errors import UserError, did_you_mean
from harness.events.schedule import Event as Event
from harness.paths import EXPERIMENTS
from harness.spec.arm import Arm as Arm
from harness.spec.checks import problems_of
from harness.spec.expectation import Expectation as Expectation
from harness.spec.model import ExperimentModel
from harness.spec.model import Workload as Workload
from harness.spec.overrides import apply_overrides, overriding_option
from harness.spec.problems import WHOLE, Problem, first_problem
from harness.spec.replicas import Replicas as Replicas
from harness.spec.yaml_file import Tree, dump_tree, read_tree


class Experiment(ExperimentModel):
    """One question: replicas, a workload, arms, expectations. One YAML file in experiments/."""

    @model_validator(mode="after")
    def _is_valid_as_a_whole(self) -> Self:
        for problem in problems_of(self):
            raise PydanticCustomError(
                WHOLE, "{message}", {"message": problem.message, "paths": problem.paths}
            )
        return self


def load_experiment(
    name_or_path: str, overrides: Mapping[str, object] | None = None, *, name: str | None = None
) -> Experiment:
    """Return the experiment of that name in experiments/, or of any file (a path has a / or ends in .yaml).

    `overrides`: dotted field name -> value, as {"workload.rate_per_s": 300}; checked like the file.
    `name`: the experiment's name; by default the file's.
    Raises UserError: one line that names file, line, field, value and what was expected.
    """
    path = find_experiment(name_or_path)
    label = str(path) if _is_path(name_or_path) else f"experiments/{path.name}"
    tree = read_tree(path, label)
    return _validated(tree, label, name if name is not None else path.stem, overrides or {})


def find_experiment(name_or_path: str) -> Path:
    """Return the file of an experiment. Raises UserError for an unknown name; a path is not checked."""
    if _is_path(name_or_path):
        return Path(name_or_path)
    known = experiment_names()
    if name_or_path in known:
        return EXPERIMENTS / f"{name_or_path}.yaml"
    shown = name_or_path if len(name_or_path) <= 80 else name_or_path[:77] + "..."
    hint = did_you_mean(name_or_path, known) or f"; there are: {', '.join(known)}"
    raise UserError(f"no experiment is called {shown!r}{hint}")


def experiment_names() -> list[str]:
    """Return the names of the experiments that come with the lab, sorted."""
    return sorted(path.stem for path in EXPERIMENTS.glob("*.yaml"))


def experiment_yaml(experiment: Experiment) -> str:
    """Return the experiment as YAML text. It loads as an equal experiment; the file gives the name."""
    return dump_tree(experiment.model_dump(exclude={"name"}, exclude_none=True))


def _is_path(name_or_path: str) -> bool:
    return "/" in name_or_path or name_or_path.endswith((".yaml", ".yml"))


def _validated(tree: Tree, label: str, name: str, overrides: Mapping[str, object]) -> Experiment:
    if "name" in tree.value:
        raise UserError(
            f"{label}:{tree.line(('name',))}: unknown key 'name'; an experiment has the name of its file"
        )
    apply_overrides(tree.value, overrides)
    try:
        return Experiment.model_validate({"name": name, **tree.value})
    except ValidationError as error:
        problem = first_problem(error, _schema(), tree)
        raise UserError(_located(problem, tree, label, overrides)) from None


@cache
def _schema() -> dict[str, Any]:
    return Experiment.model_json_schema()


def _located(problem: Problem, tree: Tree, label: str, overrides: Mapping[str, object]) -> str:
    """Return the problem in one line, after the option or the file and line that it is about."""
    option = overriding_option(problem.paths, overrides)
    where = option if option is not None else f"{label}:{tree.line(problem.paths[0])}"
    return f"{where}: {problem.message}"
