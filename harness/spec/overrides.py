"""The options of the command line that override fields of an experiment."""

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


def quick_overrides(experiment: ExperimentModel) -> dict[str, float]:
    """Return the overrides of `--quick`: one repeat, half the time. This is enough for a test, not for
    figures.

    With events the time stays, because events, health checks and time-outs need it.
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
    """Return the option (or field) that set one of `paths`; None if all of them come from the file."""
    for path in paths:
        name = ".".join(map(str, path))
        if name in overrides:
            return _option(name)
    return None


def _option(name: str) -> str:
    return OPTIONS.get(name, f"override of {name!r}")
