"""Leaves out the arms of an experiment that a testbed cannot run."""

from collections.abc import Mapping

from harness.spec.arm import Arm, Variant
from harness.spec.experiment import Experiment


def without_arms(
    experiment: Experiment, omitted: Mapping[str, str]
) -> tuple[Experiment, list[str], list[str]]:
    """Return the experiment without the variants `omitted` (name -> reason), and what a manifest says of it.

    These are a note for each variant that is left out, and the expectations that cannot be judged without it.
    A sweep stays one arm if all its values are kept.
    """
    chosen = {name: variant for name, variant in experiment.variants.items() if name not in omitted}
    kept = [one for one in experiment.expect if {one.arm, one.of or one.arm} <= chosen.keys()]
    reduced = experiment.model_copy(update={"arms": _arms(experiment, chosen), "expect": kept})
    notes = [f"{name} was not run: {omitted[name]}" for name in experiment.variants if name in omitted]
    return reduced, notes, [one.in_words() for one in experiment.expect if one not in kept]


def _arms(experiment: Experiment, chosen: Mapping[str, Variant]) -> dict[str, Arm]:
    """Return the chosen arms as an experiment file has them."""
    arms: dict[str, Arm] = {}
    for base, arm in experiment.arms.items():
        values = [variant for variant in experiment.variants.values() if variant.base == base]
        kept = [variant for variant in values if variant.name in chosen]
        arms |= {base: arm} if kept == values else {variant.name: variant.arm for variant in kept}
    return arms
