"""Reads experiment files: one of them with the options that override its fields, or the whole catalogue.

An Experiment is always valid. The fields check types and ranges. checks.py checks what the keys must satisfy
together, such as an expectation that names an arm. Units stand last in the names.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError, model_validator
from pydantic_core import PydanticCustomError

from harness.errors import UserError
from harness.events.registry import kind_of
from harness.events.schedule import Event as Event
from harness.paths import PROGRAM
from harness.spec.arm import Arm as Arm
from harness.spec.checks import problems_of
from harness.spec.heads import OPTIONS, Place, experiment_names, find_experiment, is_path, lesson_order
from harness.spec.locust_workload import REFUSED_WITH_LOCUSTFILE, fill_in_locustfile
from harness.spec.model import Expectation as Expectation
from harness.spec.model import ExperimentModel, Teaching
from harness.spec.model import Replicas as Replicas
from harness.spec.model import Workload as Workload
from harness.spec.own_service import fill_in_service, without_filled_in
from harness.spec.problems import WHOLE, Problem, first_problem
from harness.spec.rate import changes_at_times
from harness.spec.rate_file import fill_in_rates
from harness.spec.traced_workload import REFUSED, fill_in_trace
from harness.spec.yaml_file import Tree, Where, dotted, dump_tree, read_tree


def apply_overrides(tree: dict[str, Any], overrides: Mapping[str, object]) -> None:
    """Write every override (dotted field name -> value) into `tree`, in place, without a check of the value.

    Raises UserError where the file has a scalar or a list in place of a mapping.
    """
    for name, value in overrides.items():
        *parents, last = name.split(".")
        mapping: Any = tree
        for parent in parents:
            mapping = mapping.setdefault(parent, {})
            if not isinstance(mapping, dict):
                raise UserError(
                    f"{_option(name)}: '{parent}' holds a value, not keys; expected a mapping there"
                )
        mapping[last] = value


QUICK_CELLS = 2  # of each arm in the search of a quick run


def quick_overrides(experiment: ExperimentModel) -> dict[str, float]:
    """Return the overrides of `--quick`: one repeat, half the time. This is enough for a test, not for
    figures.

    With events the time stays, because events, health checks and time-outs need it. A trace has its own, and
    so has a rate that changes at given times.
    A search tries few values.
    """
    few = {} if experiment.search is None else {"search.max_cells": QUICK_CELLS}
    work = experiment.workload
    timed = any(
        experiment.events_of(arm) or changes_at_times(experiment.workload_of(arm).rate_per_s)
        for arm in experiment.arms.values()
    )
    if timed or work.trace is not None:
        return {"repeats": 1, **few}
    return {
        "repeats": 1,
        **few,
        "workload.warm_up_s": work.warm_up_s / 2,
        "workload.duration_s": work.duration_s / 2,
    }


# Overrides that change what the expectations were written for. The others change only how long and how often
# it is measured, and with which chance.
OF_THE_QUESTION = ("replicas.count", "workload.clients", "workload.rate_per_s", "workload.skew")


def changes_of_question(experiment: ExperimentModel, overrides: Mapping[str, object]) -> tuple[str, ...]:
    """Return "--skew 0 instead of 1" for each override that changes the question of `experiment`.

    `experiment`: as in its file, without the overrides.
    """
    found = []
    for name in OF_THE_QUESTION:
        if name == "workload.rate_per_s" and experiment.search is not None:
            continue  # where a search begins changes nothing in what it asks
        value: Any = experiment
        for part in name.split("."):
            value = getattr(value, part)
        if name in overrides and value is not None and value != overrides[name]:
            was = f"{value:g}" if isinstance(value, int | float) else value.in_words
            found.append(f"{_option(name)} {overrides[name]:g} instead of {was}")
    return tuple(found)


def overriding_option(paths: Sequence[Where], overrides: Mapping[str, object]) -> str | None:
    """Return the option (or field) that set one of `paths`; None if all of them come from the file."""
    for path in paths:
        name = ".".join(map(str, path))
        if name in overrides:
            return _option(name)
    return None


def _option(name: str) -> str:
    return OPTIONS.get(name, f"override of {name!r}")


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
    name_or_path: str,
    overrides: Mapping[str, object] | None = None,
    *,
    name: str | None = None,
    stored: bool = False,
) -> Experiment:
    """Return the experiment of that name in experiments/, or of any file (a path has a / or ends in .yaml).

    `overrides`: dotted field name -> value, as {"workload.rate_per_s": 300}; checked like the file.
    `name`: the experiment's name; by default the file's. `stored`: see `read_tree`.
    Raises UserError: one line that names file, line, field, value and what was expected.
    """
    path = find_experiment(name_or_path)
    label = str(path) if is_path(name_or_path) else f"experiments/{path.name}"
    tree = read_tree(path, label, stored=stored)
    name = name if name is not None else path.stem
    return _validated(tree, label, name, overrides or {}, path.parent, stored=stored)


def with_searched_values(experiment: Experiment, values: Mapping[str, Sequence[float]]) -> Experiment:
    """Return the experiment with each arm as a sweep over the values that its search has measured.

    values: arm in the file -> values of the search's factor. An arm without any stays as it is. So what a
    search has measured has the names, tables and records of a sweep.
    """
    if experiment.search is None:
        return experiment
    factor = experiment.search.factor
    swept = {name: {factor: sorted(set(own))} for name, own in values.items() if own}
    arms = {name: arm.model_copy(update={"sweep": swept.get(name)}) for name, arm in experiment.arms.items()}
    return experiment.model_copy(update={"arms": arms})


# Fields that describe an experiment, and change nothing that is measured.
WORDS = frozenset({"title", "question", "lesson"})


def as_asked(experiment: Experiment) -> Experiment:
    """Return the experiment as its file has it: `with_searched_values` undone."""
    if experiment.search is None:
        return experiment
    arms = {name: arm.model_copy(update={"sweep": None}) for name, arm in experiment.arms.items()}
    return experiment.model_copy(update={"arms": arms})


def experiment_yaml(experiment: Experiment) -> str:
    """Return the experiment as YAML text. It loads as an equal experiment; the file gives the name.

    What a trace or a Locust file gives to the workload is left out.
    """
    tree = experiment.model_dump(exclude={"name"}, exclude_none=True)
    if experiment.service is not None:
        tree = without_filled_in(tree)
    if experiment.workload.trace is not None:
        tree["workload"] = {key: value for key, value in tree["workload"].items() if key not in REFUSED}
        if experiment.workload.trace.service_times == "recorded":
            tree["replicas"].pop("service_time_ms", None)
    if experiment.workload.locustfile is not None:
        for key in REFUSED_WITH_LOCUSTFILE:
            tree["workload"].pop(key, None)
    return dump_tree(tree)


def _validated(
    tree: Tree, label: str, name: str, overrides: Mapping[str, object], folder: Path, *, stored: bool
) -> Experiment:
    if "name" in tree.value:
        raise UserError(
            f"{label}:{tree.line(('name',))}: unknown key 'name'; an experiment has the name of its file"
        )
    apply_overrides(tree.value, overrides)
    for path, wrong in fill_in_rates(tree.value, folder):
        raise UserError(_located(Problem((path,), f"{dotted(path)}: {wrong}"), tree, label, overrides))
    try:
        fill_in_service(tree.value, folder)
        fill_in_locustfile(tree.value, folder, stored=stored)
        fill_in_trace(tree.value, folder)
    except UserError as error:
        key = tuple(str(error).partition(": ")[0].split("."))
        raise UserError(_located(Problem((key,), str(error)), tree, label, overrides)) from None
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


@cache
def catalogue() -> tuple[Experiment, ...]:
    """Return all experiments of the lab, by chapter. In a chapter each comes after the one in its `after`.

    Experiments without `teaching` come last, by name. Raises UserError for an `after` that names no
    experiment, or for a cycle of `after`.
    """
    found = {name: load_experiment(name) for name in experiment_names()}
    places = {name: place_of(one.teaching) for name, one in found.items()}
    return tuple(found[name] for name in lesson_order(places))


def place_of(teaching: Teaching | None) -> Place | None:
    """Return where a lesson stands among the others."""
    return None if teaching is None else Place(teaching.chapter, teaching.after)


def command_of(experiment: ExperimentModel) -> str:
    """Return the command line that runs the experiment as its file says."""
    arms = experiment.arms.values()
    contained = any(kind_of(event.do).needs_containers for arm in arms for event in experiment.events_of(arm))
    return f"{PROGRAM} {experiment.name}" + (" --testbed docker" if contained else "")
