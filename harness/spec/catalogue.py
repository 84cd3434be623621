"""The experiments that come with the lab, in the order of the lessons."""

from collections.abc import Sequence
from functools import cache

from harness.errors import UserError
from harness.spec.experiment import Experiment, experiment_names, load_experiment
from harness.spec.model import CHAPTERS


@cache
def catalogue() -> tuple[Experiment, ...]:
    """Return all experiments of the lab, by chapter. In a chapter each comes after the one in its `after`.

    Experiments without `teaching` come last, by name. Raises UserError for an `after` that names no
    experiment, or for a cycle of `after`.
    """
    found = {name: load_experiment(name) for name in experiment_names()}
    ordered: dict[str, Experiment] = {}
    for chapter in CHAPTERS:
        for name, experiment in found.items():
            if experiment.teaching is not None and experiment.teaching.chapter == chapter:
                _add(name, chapter, found, ordered, ())
    return (*ordered.values(), *(one for name, one in found.items() if name not in ordered))


def _add(
    name: str,
    chapter: str,
    found: dict[str, Experiment],
    ordered: dict[str, Experiment],
    path: Sequence[str],
) -> None:
    """Append the experiment to `ordered`, after the experiments of its chapter that come before it.

    path: the experiments whose `after` led to this one.
    """
    if name in path:
        raise UserError(f"experiments/{name}.yaml: teaching.after: leads back to {name} by {path[-1]}")
    teaching = found[name].teaching
    if name in ordered or teaching is None:
        return
    if teaching.after is not None:
        if teaching.after not in found:
            raise UserError(
                f"experiments/{name}.yaml: teaching.after: '{teaching.after}': there is no such experiment"
            )
        before = found[teaching.after].teaching
        if before is not None and before.chapter == chapter:
            _add(teaching.after, chapter, found, ordered, (*path, name))
    ordered[name] = found[name]
