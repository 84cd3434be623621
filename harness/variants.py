"""The arms of an experiment as they are run: one that sweeps a factor stands for one for each value."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.spec_arm import Arm

OPTIONS_PREFIX = "options."

# Numeric keys of an arm: what a plot can have on its horizontal axis.
FACTORS = (
    *("clients", "rate_per_s", "skew", "messages_per_stream", "message_gap_ms", "deadline_ms"),
    *("proxy_workers", "connections", "session_lifetime_s", "keepalive_ms", "max_connection_age_s"),
)


@dataclass(frozen=True)
class Variant:
    """One arm as it is run. base: the arm of the file; factor, value: what is swept there, else None."""

    name: str
    arm: Arm
    base: str
    factor: str | None = None
    value: int | float | None = None


def variants_of(arms: Mapping[str, Arm]) -> dict[str, Variant]:
    """Every arm as it is run, by name, in the order of the file.

    Raises pydantic's ValidationError where a swept value is none that the factor can have.
    """
    return {variant.name: variant for name, arm in arms.items() for variant in variants_of_arm(name, arm)}


def variants_of_arm(name: str, arm: Arm) -> list[Variant]:
    """The variants of one arm; itself where it sweeps nothing."""
    if not arm.sweep:
        return [Variant(name, arm, name)]
    ((factor, values),) = arm.sweep.items()
    return [
        Variant(variant_name(name, value), _with(arm, factor, value), name, factor, value) for value in values
    ]


def variant_name(arm: str, value: int | float) -> str:
    """`sticky`, 12 -> "sticky_12"; 0.5 -> "sticky_0_5"."""
    return f"{arm}_{value:g}".replace(".", "_").replace("-", "_").replace("+", "")


def _with(arm: Arm, factor: str, value: int | float) -> Arm:
    tree: dict[str, Any] = arm.model_dump(exclude={"sweep"}, exclude_unset=True)
    if factor.startswith(OPTIONS_PREFIX):
        tree["options"] = {**arm.options, factor.removeprefix(OPTIONS_PREFIX): value}
    else:
        tree[factor] = value
    return Arm.model_validate(tree)
