"""Options of the command line that change an experiment: dotted field name -> option, and back."""

from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import UserError
from harness.spec.model import ExperimentModel
from harness.spec.yaml_file import Where

OPTIONS: dict[str, str] = {
    "replicas.count": "--replicas",
    "workload.clients": "--clients",
    "workload.rate_per_s": "--rate",
    "workload.skew": "--skew",
    "workload.warm_up_s": "--warm-up",
    "workload.duration_s": "--duration",
    "repeats": "--repeats",
    "seed": "--seed",
}


def apply_overrides(tree: dict[str, Any], overrides: Mapping[str, object]) -> None:
    """Put every override (dotted field name -> value) into `tree`, in place, unvalidated.

    Raises UserError where the file has a scalar or a list on the way.
    """
    for name, value in overrides.items():
        *parents, last = name.split(".")
        place: Any = tree
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise UserError(
                    f"{_option(name)}: '{parent}' holds a value, not keys; expected a mapping there"
                )
        place[last] = value


def quick_overrides(experiment: ExperimentModel) -> dict[str, float]:
    """Overrides for a quick look: one repeat, half the time. Enough for a test, not for a figure.

    With events the time stays as it is: they need theirs, as health checks and time-outs do.
    """
    work = experiment.workload
    if any(experiment.events_of(arm) for arm in experiment.arms.values()):
        return {"repeats": 1}
    return {
        "repeats": 1,
        "workload.warm_up_s": work.warm_up_s / 2,
        "workload.duration_s": work.duration_s / 2,
    }


def overriding_option(paths: Sequence[Where], overrides: Mapping[str, object]) -> str | None:
    """The option (or field) that set one of `paths`; None when all of them come from the file."""
    for path in paths:
        name = ".".join(str(part) for part in path)
        if name in overrides:
            return _option(name)
    return None


def _option(name: str) -> str:
    return OPTIONS.get(name, f"override of {name!r}")
